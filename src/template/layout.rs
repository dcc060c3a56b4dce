//! A template's text, filled within limits.

use std::fmt;
use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use super::values::context;
use crate::engine::printable::printable;
use crate::engine::template::{Layout, Model};

/// Steps of the template's program, for all that is no service or server...
const STEPS: u64 = 1_000_000;
/// ...and for each of these. One that loops over all lines takes some 100, and 10; over all values of servers, 50 for each.
const STEPS_PER_SERVICE: u64 = 2_000;
const STEPS_PER_SERVER: u64 = 500;
/// So many times as long as in the built-in layout may a text be...
const TIMES_BUILT_IN: usize = 10;
/// ...and so many bytes longer.
const MORE_BYTES: usize = 1 << 20;
/// So many characters of a line that is wrong are told.
const MOST_SHOWN: usize = 100;

/// A template's text. It is read anew each time that it is filled, which takes less than filling it does.
pub(super) struct Jinja {
    path: String,
    source: String,
}

impl Jinja {
    /// Reads `source`, the text at `path`.
    ///
    /// # Errors
    /// Where and why it is no template.
    pub(super) fn new(path: &str, source: &str) -> Result<Self, String> {
        let read = |environment: Environment<'_>| {
            environment.template_from_named_str(path, source).map(|_template| ())
        };
        environment().and_then(read).map_err(|error| told(path, source, &error))?;
        Ok(Self { path: path.to_owned(), source: source.to_owned() })
    }
}

impl fmt::Debug for Jinja {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jinja({})", self.path)
    }
}

impl Layout for Jinja {
    fn write(&self, model: &Model) -> Result<String, String> {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let of_services = STEPS_PER_SERVICE.saturating_mul(count(model.services.len()));
        let of_servers = STEPS_PER_SERVER.saturating_mul(count(model.server_count()));
        let steps = STEPS.saturating_add(of_services).saturating_add(of_servers);
        let most = model.built_in_bytes.saturating_mul(TIMES_BUILT_IN).saturating_add(MORE_BYTES);
        let mut text = Bounded { text: Vec::with_capacity(model.built_in_bytes), most, is_over: false };
        let fill = |mut environment: Environment<'_>| {
            environment.set_fuel(Some(steps));
            let template = environment.template_from_named_str(&self.path, &self.source)?;
            template.render_captured_to(context(model), &mut text).map(|_written| ())
        };
        let filled = environment().and_then(fill);
        if text.is_over {
            return Err(format!(
                "{}: it writes more than {TIMES_BUILT_IN} times what the built-in layout does, and {MORE_BYTES} bytes; mend the loop in it that does",
                self.path
            ));
        }
        filled.map_err(|error| told(&self.path, &self.source, &error))?;
        let text = String::from_utf8(text.text).map_err(|error| format!("{}: {error}", self.path))?;
        match text.lines().position(|line| line.contains('\0')) {
            Some(line) => {
                Err(format!("{}: line {} of its output holds a NUL character", self.path, line + 1))
            }
            None => Ok(text),
        }
    }
}

/// No loader, so that no other file is read; no escapes, since haproxy.cfg is no HTML.
fn environment<'source>() -> Result<Environment<'source>, Error> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_name| AutoEscape::None);
    Ok(environment)
}

/// `PATH:LINE: what is wrong in 'the line'`.
fn told(path: &str, source: &str, error: &Error) -> String {
    let kind = error.kind();
    let mut what = if kind == ErrorKind::OutOfFuel {
        "it takes too many steps; a loop may do the same again and again".to_owned()
    } else {
        kind.to_string()
    };
    if let Some(detail) = error.detail() {
        what = format!("{what}: {detail}");
    }
    let mut at = path.to_owned();
    if let Some(line) = error.line() {
        let text = line.checked_sub(1).and_then(|before| source.lines().nth(before)).unwrap_or_default();
        let text: String = text.trim().chars().take(MOST_SHOWN).collect();
        at = format!("{path}:{line}");
        what = format!("{what}, in '{text}'");
    }
    let help =
        if kind == ErrorKind::UndefinedError { "; the README lists what there is (Templates)" } else { "" };
    printable(&format!("{at}: {what}{help}"))
}

/// A text that does not grow beyond a limit.
struct Bounded {
    text: Vec<u8>,
    most: usize,
    is_over: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.text.len().saturating_add(bytes.len()) > self.most {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

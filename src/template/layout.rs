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
/// ...and for each of these. The built-in layout takes 20 for a service; one that writes servers by their values, 20 for each.
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
        let most = model.built_in_bytes.saturating_mul(TIMES_BUILT_IN).saturating_add(MORE_BYTES);
        let mut text = Bounded { text: Vec::with_capacity(model.built_in_bytes), most, is_over: false };
        let fill = |mut environment: Environment<'_>| {
            environment.set_fuel(Some(steps_for(model)));
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

fn steps_for(model: &Model) -> u64 {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let of_services = STEPS_PER_SERVICE.saturating_mul(count(model.services.len()));
    let of_servers = STEPS_PER_SERVER.saturating_mul(count(model.server_count()));
    STEPS.saturating_add(of_services).saturating_add(of_servers)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::engine::render::Renderer;
    use crate::engine::risk::Allowed;
    use crate::engine::section::{Base, Section};
    use crate::engine::server::Server;
    use crate::engine::service::{ServiceName, ServiceSpec};
    use crate::engine::state::{AppliedState, DesiredService, DesiredState};
    use crate::engine::template::Template;
    use crate::service_config::{Format, RawDefinition, parse};

    /// Keeps what it is given.
    #[derive(Debug, Default, Clone)]
    struct Given(Arc<Mutex<Option<Model>>>);

    impl Layout for Given {
        fn write(&self, model: &Model) -> Result<String, String> {
            *self.0.lock().unwrap() = Some(model.clone());
            Err("kept".into())
        }
    }

    fn spec(port: u16) -> Arc<ServiceSpec> {
        let data = serde_json::json!({
            "type": "file", "file": "/s", "port": port, "listen_options": ["mode http"], "server_options": ["check"],
        });
        let data = data.to_string().into_bytes();
        let raw = RawDefinition { data: data.into(), format: Format::Json, origin: "here".into() };
        parse(&ServiceName::parse("web").unwrap(), &raw, &Allowed::new()).unwrap().spec.into()
    }

    /// Services of 10 servers each.
    fn model(services: u16) -> Model {
        let base = Base {
            global: Vec::new(),
            defaults: Vec::new(),
            bind_address: [0, 0, 0, 0].into(),
            operators_socket: None,
            program: None,
            frontends: BTreeMap::new(),
            cookie_key: None,
        };
        let service = |number: u16| {
            let section = Arc::new(Section::of(&spec(1000 + number), base.bind_address));
            let servers = (1..=10).map(|port| Server::at(([10, 0, 0, 1], port).into()).unwrap());
            let name = ServiceName::parse(&format!("s{number}")).unwrap();
            (name, Arc::new(DesiredService::new(section, servers)))
        };
        let services = (0..services).map(service).collect();
        let given = Given::default();
        let template = Some(Template::new("/t", "", Box::new(given.clone())));
        let desired = DesiredState { base: Arc::new(base), services, includes: Arc::default(), template };
        Renderer::default().by_template(&AppliedState::loaded(&desired, None)).unwrap_err();
        given.0.lock().unwrap().take().unwrap()
    }

    fn steps(source: &str, model: &Model) -> u64 {
        let mut environment = environment().unwrap();
        environment.set_fuel(Some(u64::MAX / 2));
        let template = environment.template_from_named_str("/t", source).unwrap();
        let written = template.render_captured_to(context(model), io::sink()).unwrap();
        written.state().fuel_levels().unwrap().0
    }

    #[test]
    fn a_template_that_writes_everything_twice_takes_far_less_than_it_may() {
        let source = "{% for twice in range(2) %}{% for service in services %}{% for line in service.option_lines %}{{ line }}\
            {% endfor %}{% for server in service.servers %}{{ server.name }} {{ server.address }} {{ server.id }} {{ server.weight }}\
            {% if server.backup %} backup{% endif %}{% if server.options %}{{ server.options | upper }}{% endif %}{% endfor %}\
            {% endfor %}{% endfor %}";
        let (few, many) = (model(10), model(1000));
        let (of_few, of_many) = (steps(source, &few), steps(source, &many));
        let of_one = (of_many - of_few) / 990;
        println!("{of_one} steps for a service of 10 servers");
        assert!(of_one * 4 < STEPS_PER_SERVICE + 10 * STEPS_PER_SERVER, "{of_one}");
        assert!(of_many < steps_for(&many) / 4);
        let built_in = steps(include_str!("../../config/haproxy.cfg.j2"), &many);
        println!("{built_in} steps for the built-in layout of 1000 services");
        assert!(built_in < 100 * 1000);
    }
}

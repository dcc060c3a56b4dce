//! What is on the other side of stdout.

use std::io::{self, IsTerminal as _};

use rustix::termios::tcgetwinsize;

/// How text is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Screen {
    /// Whether it understands colours (ECMA-48).
    pub(super) colour: bool,
    /// How many characters a line holds.
    pub(super) width: Option<usize>,
    /// How many lines it holds.
    pub(super) height: Option<usize>,
}

impl Screen {
    /// That of stdout; no limits and no colours where it is no terminal.
    pub(super) fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::default();
        }
        let size = tcgetwinsize(&stdout).ok();
        let known = |number: u16| (number > 0).then_some(usize::from(number));
        Self {
            colour: wants_colour(&|name| std::env::var(name).ok()),
            width: size.and_then(|size| known(size.ws_col)),
            height: size.and_then(|size| known(size.ws_row)),
        }
    }
}

/// Not where the user says so (<https://no-color.org>), nor where the terminal is known to be none that has them.
fn wants_colour(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_said = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    !is_said("NO_COLOR") && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out_where_the_user_says_so() {
        let with = |variables: &[(&str, &str)]| {
            wants_colour(&|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(with(&[]) && with(&[("TERM", "xterm"), ("NO_COLOR", "")]));
        assert!(!with(&[("NO_COLOR", "1")]) && !with(&[("TERM", "dumb")]));
    }
}

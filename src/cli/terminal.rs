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
            colour: true,
            width: size.and_then(|size| known(size.ws_col)),
            height: size.and_then(|size| known(size.ws_row)),
        }
    }
}

//! `proxymgr status`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Exit;
use super::args::StatusArgs;
use super::output::answer;
use super::report_text::one_line;
use super::running::{ask, socket_of, tell_failure};
use super::status_text;
use super::terminal::Screen;
use crate::admin::client::ClientError;
use crate::admin::protocol::Command;
use crate::admin::status::{Status, StatusQuery};
use crate::engine::error_text::with_causes;

/// How often `--watch` asks.
const EVERY: Duration = Duration::from_secs(1);

/// Shows what runs.
pub fn status(args: &StatusArgs) -> Exit {
    let socket = match socket_of(&args.running) {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let query = StatusQuery { service: args.service.clone(), servers: args.json || args.service.is_some() };
    let command = Command::Status(query);
    if args.watch {
        return watch(args, &socket, &command);
    }
    match ask(&socket, &command, &mut |_| {})
        .and_then(|status| shown(args, &status, Screen::of_stdout(), false))
    {
        Ok(text) => answer(&text, Exit::Success),
        Err(error) => failed(&error),
    }
}

fn failed(error: &ClientError) -> Exit {
    tell_failure(error);
    Exit::Failure
}

/// The answer as JSON, or as text for people.
fn shown(args: &StatusArgs, status: &Value, screen: Screen, in_a_line: bool) -> Result<String, ClientError> {
    let text = match (args.json, in_a_line) {
        (true, true) => serde_json::to_string(status).map(|json| json + "\n"),
        (true, false) => serde_json::to_string_pretty(status).map(|json| json + "\n"),
        (false, _) => <Status as serde::Deserialize>::deserialize(status)
            .map(|status| status_text::text(&status, args.service.is_some(), screen)),
    };
    text.map_err(ClientError::NotUnderstood)
}

/// Shows it until it is interrupted. What fails after the first time may pass: another program takes over.
fn watch(args: &StatusArgs, socket: &Path, command: &Command) -> Exit {
    let mut was_told = false;
    loop {
        let screen = Screen::of_stdout();
        let text =
            match ask(socket, command, &mut |_| {}).and_then(|status| shown(args, &status, screen, true)) {
                Ok(text) => {
                    was_told = true;
                    text
                }
                Err(error) if !was_told => return failed(&error),
                Err(error) if screen.height.is_none() => {
                    tell_failure(&error);
                    String::new()
                }
                Err(error) => format!("proxymgr: {}\n", one_line(&with_causes(&error))),
            };
        let text = screen.height.map_or_else(|| text.clone(), |height| redrawn(&text, height));
        let mut stdout = io::stdout().lock();
        if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
            // Nobody looks any more.
            return Exit::Success;
        }
        drop(stdout);
        std::thread::sleep(EVERY);
    }
}

/// The text in the place of the one before, as many lines as fit (ECMA-48: CUP, EL, ED).
fn redrawn(text: &str, height: usize) -> String {
    let mut drawn = "\x1b[H".to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let shown = if lines.len() < height { lines.len() } else { height.saturating_sub(2) };
    for line in lines.iter().take(shown) {
        drawn.push_str(line);
        drawn.push_str("\x1b[K\n");
    }
    if let Some(more) = lines.len().checked_sub(shown).filter(|more| *more > 0) {
        let _ = writeln!(drawn, "... {more} more lines\x1b[K");
    }
    drawn.push_str("\x1b[J");
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_lines_are_drawn_than_fit() {
        assert_eq!(redrawn("a\nb\n", 24), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        let many = "x\n".repeat(50);
        let drawn = redrawn(&many, 10);
        assert_eq!(drawn.lines().count(), 10, "nine lines, and the cursor stands in the tenth");
        assert!(drawn.contains("... 42 more lines"), "{drawn:?}");
    }
}

//! `proxymgr upgrade` and `proxymgr reload`: another program, or the same one anew, takes the place of the running one.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::Exit;
use super::args::ControlArgs;
use super::output::{answer, answer_json};
use super::running::{connect, socket_of, tell_failure, tell_waiting};
use crate::admin::client::{Client, ClientError};
use crate::admin::protocol::{Command, Failure, FailureCode, Hello};
use crate::engine::error_text::with_causes;

/// How long a program that took over may take to open its control socket.
const SUCCESSOR_LIMIT: Duration = Duration::from_secs(30);

/// What `--json` prints. Keys are never renamed or removed, and never absent; new ones may come.
#[derive(Debug, Default, Serialize)]
struct Report {
    done: bool,
    pid: Option<u32>,
    before: Option<Program>,
    now: Option<Program>,
    error: Option<Failure>,
}

#[derive(Debug, Serialize)]
struct Program {
    release: String,
}

/// Why nobody took over, or nobody knows.
#[derive(Debug, thiserror::Error)]
enum ReplaceError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("ProxyMgr ended, and another process answers now (pid {0}); its log tells why")]
    AnotherProcess(u32),
    #[error("ProxyMgr gave up what it was asked for; its log tells why")]
    SameProgram,
    #[error(
        "a program took over, but does not answer here; its log tells why, unless runtime_dir was changed"
    )]
    NoSuccessor(#[source] ClientError),
}

/// Lets the installed program take over.
pub fn upgrade(args: &ControlArgs) -> Exit {
    replace(args, &Command::Upgrade, "upgraded")
}

/// Lets proxymgr.yml be read again.
pub fn reload(args: &ControlArgs) -> Exit {
    replace(args, &Command::Reload, "proxymgr.yml is read again")
}

fn replace(args: &ControlArgs, command: &Command, done: &str) -> Exit {
    let socket = match socket_of(&args.running) {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let mut report = Report::default();
    match try_replace(&socket, command, &mut report, &mut tell_waiting(args.json)) {
        Ok(successor) => {
            let text = format!("{done}: ProxyMgr {} (pid {}) goes on\n", successor.release, successor.pid);
            report.done = true;
            report.now = Some(Program { release: successor.release });
            tell(&report, &text, args.json, Exit::Success)
        }
        Err(error) => {
            if !args.json {
                tell_failure(&error);
            }
            report.error = Some(Failure::new(error.code(), with_causes(&error)));
            tell(&report, "", args.json, Exit::Failure)
        }
    }
}

/// Asks, and gives the program that answers afterwards.
fn try_replace(
    socket: &Path,
    command: &Command,
    report: &mut Report,
    waiting: &mut dyn FnMut(&str),
) -> Result<Hello, ReplaceError> {
    let mut client = connect(socket)?;
    let before = client.hello().clone();
    report.pid = Some(before.pid);
    report.before = Some(Program { release: before.release.clone() });
    let answer = client.ask(command, waiting);
    match answer {
        // With the program that was asked.
        Err(ClientError::Closed) => {}
        Ok(_) => return Err(ReplaceError::SameProgram),
        Err(error) => {
            if let ClientError::Failed(_) = error {
                report.now = Some(Program { release: before.release });
            }
            return Err(error.into());
        }
    }
    waiting("the program that takes over to answer");
    let mut client = Client::connect(socket, SUCCESSOR_LIMIT).map_err(ReplaceError::NoSuccessor)?;
    let now = client.hello().clone();
    if now.pid != before.pid {
        return Err(ReplaceError::AnotherProcess(now.pid));
    }
    if now.incarnation == before.incarnation {
        return Err(ReplaceError::SameProgram);
    }
    client.ask(&Command::Ping, &mut |_| {}).map_err(ReplaceError::NoSuccessor)?;
    Ok(now)
}

impl ReplaceError {
    fn code(&self) -> FailureCode {
        match self {
            Self::Client(error) => error.code(),
            Self::AnotherProcess(_) | Self::SameProgram | Self::NoSuccessor(_) => FailureCode::NoAnswer,
        }
    }
}

fn tell(report: &Report, text: &str, json: bool, exit: Exit) -> Exit {
    if json { answer_json(report, exit) } else { answer(text, exit) }
}

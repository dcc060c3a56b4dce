//! `proxymgr drain`, `undrain` and `confirm`.

use serde::Serialize;
use serde_json::Value;

use super::Exit;
use super::args::{ConfirmArgs, DrainArgs, RunningArgs};
use super::output::{answer, answer_json};
use super::running::{ask, socket_of, tell_failure, tell_waiting};
use crate::admin::client::ClientError;
use crate::admin::protocol::{Command, Failure};
use crate::engine::error_text::with_causes;

/// What `--json` prints of `drain` and `undrain`. Keys are never renamed or removed, and never absent; new ones may come.
#[derive(Debug, Serialize)]
struct DrainReport<'a> {
    done: bool,
    service: &'a str,
    server: &'a str,
    saved: Option<bool>,
    error: Option<Failure>,
}

/// The same of `confirm`.
#[derive(Debug, Serialize)]
struct ConfirmReport<'a> {
    done: bool,
    service: &'a str,
    servers: Option<u64>,
    error: Option<Failure>,
}

/// Gives a server no new connections.
pub fn drain(args: &DrainArgs) -> Exit {
    change_drain(args, &Command::Drain(args.server.clone()), "drains: it gets no new connections")
}

/// Gives it connections again.
pub fn undrain(args: &DrainArgs) -> Exit {
    change_drain(args, &Command::Undrain(args.server.clone()), "is drained by no operator any more")
}

fn change_drain(args: &DrainArgs, command: &Command, done: &str) -> Exit {
    let result = match asked(&args.running, command, args.json) {
        Ok(result) => result,
        Err(exit) => return exit,
    };
    let saved = result.as_ref().ok().and_then(|said| said.get("saved")?.as_bool());
    if args.json {
        let (service, server) = (&args.server.service, &args.server.server);
        let error = result.as_ref().err().map(failure);
        let report = DrainReport { done: error.is_none(), service, server, saved, error };
        return answer_json(&report, exit_of(&result));
    }
    if saved == Some(false) {
        eprintln!("proxymgr: it ends with ProxyMgr: state_dir can't be written, ProxyMgr's log tells why");
    }
    tell(&result, &format!("{} {done}\n", args.server))
}

/// Lets servers go whose loss is not believed.
pub fn confirm(args: &ConfirmArgs) -> Exit {
    let command = Command::Confirm { service: args.service.clone() };
    let result = match asked(&args.running, &command, args.json) {
        Ok(result) => result,
        Err(exit) => return exit,
    };
    let servers = result.as_ref().ok().and_then(|said| said.get("servers")?.as_u64());
    if args.json {
        let error = result.as_ref().err().map(failure);
        let report = ConfirmReport { done: error.is_none(), service: &args.service, servers, error };
        return answer_json(&report, exit_of(&result));
    }
    let count = match servers {
        Some(1) => "1 server leaves".to_owned(),
        Some(count) => format!("{count} servers leave"),
        None => "the missing servers leave".to_owned(),
    };
    tell(&result, &format!("{}: {count}\n", args.service))
}

type Said = Result<Value, ClientError>;

fn asked(running: &RunningArgs, command: &Command, json: bool) -> Result<Said, Exit> {
    let socket = socket_of(running)?;
    Ok(ask(&socket, command, &mut tell_waiting(json)))
}

fn failure(error: &ClientError) -> Failure {
    Failure::new(error.code(), with_causes(error))
}

fn exit_of(said: &Said) -> Exit {
    if said.is_ok() { Exit::Success } else { Exit::Failure }
}

fn tell(said: &Said, done: &str) -> Exit {
    match said {
        Ok(_) => answer(done, Exit::Success),
        Err(error) => {
            tell_failure(error);
            Exit::Failure
        }
    }
}

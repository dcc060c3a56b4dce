//! `proxymgr events`: the last changes, and those to come.

use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::Exit;
use super::args::EventsArgs;
use super::events_text::line;
use super::output::answer;
use super::running::{ask, connect, socket_of, tell_failure};
use super::terminal::Screen;
use crate::admin::client::ClientError;
use crate::admin::history::{Change, EventsQuery};
use crate::admin::protocol::Command;

/// How long a program that takes over may leave who follows alone.
const SUCCESSOR_LIMIT: Duration = Duration::from_secs(30);

/// What is printed of an answer.
#[derive(Deserialize)]
struct Events {
    events: Vec<Value>,
}

/// Shows the last changes, oldest first.
pub fn events(args: &EventsArgs) -> Exit {
    let socket = match socket_of(&args.running) {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let query = EventsQuery {
        service: args.service.clone(),
        last: Some(args.number),
        after: None,
        follow: args.follow,
    };
    let shown = if args.follow { follow(args, query, &socket) } else { show(args, query, &socket) };
    shown.unwrap_or_else(|error| {
        tell_failure(&error);
        Exit::Failure
    })
}

fn show(args: &EventsArgs, query: EventsQuery, socket: &Path) -> Result<Exit, ClientError> {
    let told = ask(socket, &Command::Events(query), &mut |_| {})?;
    let told = Events::deserialize(told).map_err(ClientError::NotUnderstood)?;
    let screen = Screen::of_stdout();
    let lines = told.events.iter().map(|event| shown(event, args.json, screen));
    Ok(answer(&lines.collect::<Result<String, _>>()?, Exit::Success))
}

/// Follows until it is interrupted, or nobody reads any more; when another program takes over, that one.
fn follow(args: &EventsArgs, query: EventsQuery, socket: &Path) -> Result<Exit, ClientError> {
    let mut query = query;
    let mut lost_since: Option<Instant> = None;
    loop {
        let mut failed = None;
        let mut last_seen = None;
        let followed = connect(socket).and_then(|mut client| {
            client.follow(&Command::Events(query.clone()), &mut |event| {
                last_seen = event.get("number").and_then(Value::as_u64).or(last_seen);
                match shown(&event, args.json, Screen::of_stdout()) {
                    Ok(text) if print(&text).is_ok() => ControlFlow::Continue(()),
                    // Nobody reads any more.
                    Ok(_) => ControlFlow::Break(()),
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if last_seen.is_some() {
            lost_since = None;
            // What was seen is not told again, nor is what came while nobody answered left out.
            (query.after, query.last) = (last_seen, None);
        }
        let error = match followed {
            Ok(()) => return Ok(Exit::Success),
            Err(error @ (ClientError::Closed | ClientError::NotRunning(_) | ClientError::Silent)) => error,
            Err(error) => return Err(error),
        };
        let was_running =
            lost_since.is_some() || query.after.is_some() || matches!(error, ClientError::Closed);
        let since = *lost_since.get_or_insert_with(Instant::now);
        if !was_running || since.elapsed() > SUCCESSOR_LIMIT {
            return Err(error);
        }
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

fn shown(event: &Value, json: bool, screen: Screen) -> Result<String, ClientError> {
    if json {
        return Ok(format!("{event}\n"));
    }
    let change = Change::deserialize(event).map_err(ClientError::NotUnderstood)?;
    Ok(line(&change, screen) + "\n")
}

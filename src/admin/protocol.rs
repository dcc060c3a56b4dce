//! What the lines of the control socket say.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::history::EventsQuery;
use super::inquiry::{Request, WHY, needed};
use super::status::StatusQuery;
use crate::engine::printable::printable;

/// Changes only when an older client would misread what it gets; keys and commands come without it.
pub const VERSION: u32 = 1;

/// A line of `ProxyMgr`; `R` is what a command's result looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply<R> {
    /// The first line of a connection.
    Hello(Hello),
    /// The answer follows once this has come.
    WaitingFor(String),
    /// One of many, of a command that goes on.
    Event(R),
    /// It is done.
    Result(R),
    /// It isn't.
    Error(Failure),
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Of the protocol.
    pub version: u32,
    /// Of the program.
    pub release: String,
    /// The process, which stays the same when another program takes over.
    pub pid: u32,
    /// Tells one program from the next in the same process.
    pub incarnation: String,
}

impl Hello {
    /// That of this program. Each call gives another incarnation.
    pub fn of_this_program() -> Self {
        Self {
            version: VERSION,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            // The keys of std's hash maps are the kernel's random numbers.
            incarnation: format!("{:016x}", RandomState::new().hash_one(())),
        }
    }
}

/// Why a command is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub code: FailureCode,
    /// For people: what is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The line is no request.
    Malformed,
    /// There is no such command.
    UnknownCommand,
    /// The request is of another version of the protocol.
    Version,
    /// The client's user may not ask.
    Forbidden,
    /// Too many clients are connected.
    Busy,
    /// No whole line came in time.
    Slow,
    /// It was tried, and refused.
    Refused,
    /// There is no such service or server.
    NotFound,
    /// Nothing waits to be confirmed.
    NothingHeld,
    /// A defect of `ProxyMgr`.
    Internal,
    /// Another request took its place.
    Superseded,
    /// `ProxyMgr` is about to end.
    Ending,
    /// Nobody answers; clients say so.
    NoAnswer,
    /// One that this version doesn't know.
    #[serde(other)]
    Other,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Whether the loop answers.
    Ping,
    /// Read proxymgr.yml again, as SIGHUP does.
    Reload,
    /// Go on with the program that is installed now, as SIGUSR2 does.
    Upgrade,
    /// Tell what runs.
    Status(StatusQuery),
    /// Tell the last changes.
    Events(EventsQuery),
    /// Tell everything in numbers.
    Metrics,
    /// Tell where a service, and one of its servers, is written.
    Origin {
        /// The service.
        service: String,
        /// The server's name in `HAProxy`.
        server: Option<String>,
    },
    /// Believe a loss of servers that is held, or an empty answer.
    Confirm {
        /// Whose servers.
        service: String,
    },
    /// Give a server no new traffic, until it is undrained.
    Drain(ServerAddress),
    /// Give it traffic again.
    Undrain(ServerAddress),
}

/// Which server is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Its service.
    pub service: String,
    /// Its name in `HAProxy`.
    pub server: String,
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", printable(&self.service), printable(&self.server))
    }
}

impl Command {
    const NAMES: &[&str] = &[
        "confirm", "drain", "events", "metrics", "origin", "ping", "reload", "status", "undrain", "upgrade",
    ];

    fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
            Self::Status(_) => "status",
            Self::Events(_) => "events",
            Self::Metrics => "metrics",
            Self::Origin { .. } => "origin",
            Self::Confirm { .. } => "confirm",
            Self::Drain(_) => "drain",
            Self::Undrain(_) => "undrain",
        }
    }

    /// The line that asks for it, without its end.
    pub fn to_line(&self) -> String {
        let mut request = Request { version: VERSION, command: self.name().to_owned(), ..Request::default() };
        match self {
            Self::Ping | Self::Reload | Self::Upgrade | Self::Metrics => {}
            Self::Status(query) => {
                request.service.clone_from(&query.service);
                request.servers = query.servers;
            }
            Self::Events(query) => {
                request.service.clone_from(&query.service);
                (request.last, request.after, request.follow) = (query.last, query.after, query.follow);
            }
            Self::Origin { service, server } => {
                request.service = Some(service.clone());
                request.server.clone_from(server);
            }
            Self::Confirm { service } => request.service = Some(service.clone()),
            Self::Drain(of) | Self::Undrain(of) => {
                request.service = Some(of.service.clone());
                request.server = Some(of.server.clone());
            }
        }
        json!(request).to_string()
    }

    pub(super) fn of(request: Request) -> Result<Self, Failure> {
        let Request { version: _, command, service, server, servers, last, after, follow } = request;
        match command.as_str() {
            "ping" => Ok(Self::Ping),
            "metrics" => Ok(Self::Metrics),
            "reload" => Ok(Self::Reload),
            "status" => Ok(Self::Status(StatusQuery { service, servers })),
            "events" => Ok(Self::Events(EventsQuery { service, last, after, follow })),
            "origin" => Ok(Self::Origin { service: needed(service, "service")?, server }),
            "upgrade" => Ok(Self::Upgrade),
            "confirm" => Ok(Self::Confirm { service: needed(service, "service")? }),
            "drain" => Ok(Self::Drain(ServerAddress::of(service, server)?)),
            "undrain" => Ok(Self::Undrain(ServerAddress::of(service, server)?)),
            other => {
                let (other, known) = (printable(other), Self::NAMES.join(", "));
                let message = format!("there is no command '{other}' here; there are {known}, {WHY}");
                Err(Failure::new(FailureCode::UnknownCommand, message))
            }
        }
    }
}

impl ServerAddress {
    fn of(service: Option<String>, server: Option<String>) -> Result<Self, Failure> {
        Ok(Self { service: needed(service, "service")?, server: needed(server, "server")? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::admin::inquiry::Inquiry;

    fn read(line: &[u8]) -> Result<Command, Failure> {
        Request::from_line(line).and_then(Command::of)
    }

    fn refusal(line: &str) -> (FailureCode, String) {
        let failure = read(line.as_bytes()).unwrap_err();
        (failure.code, failure.message)
    }

    #[test]
    fn every_command_is_read_as_it_is_written() {
        let query = StatusQuery { service: Some("web".into()), servers: true };
        let server = ServerAddress { service: "web".into(), server: "1.1.1.1:1".into() };
        let events = EventsQuery { service: Some("web".into()), last: Some(3), after: Some(7), follow: true };
        let all = [
            Command::Confirm { service: "web".into() },
            Command::Drain(server.clone()),
            Command::Events(events),
            Command::Metrics,
            Command::Origin { service: "web".into(), server: Some("1.1.1.1:1".into()) },
            Command::Ping,
            Command::Reload,
            Command::Status(query),
            Command::Undrain(server),
            Command::Upgrade,
        ];
        let why = Inquiry::Why { service: "web".into(), server: None };
        assert_eq!(Inquiry::from_line(br#"{"command": "why", "service": "web"}"#), Ok(why));
        assert_eq!(all.each_ref().map(Command::name), Command::NAMES);
        for command in all {
            assert_eq!(read(command.to_line().as_bytes()), Ok(command));
        }
    }

    #[test]
    fn unknown_keys_and_a_missing_version_are_no_mistake() {
        assert_eq!(read(br#"{"command": "ping"}"#), Ok(Command::Ping));
        assert_eq!(read(br#"{"command": "ping", "version": 1, "colour": [1, {}]}"#), Ok(Command::Ping));
    }

    #[test]
    fn a_bad_line_is_told_what_is_wrong_with_it() {
        for line in [
            "",
            "garbage",
            "[1]",
            "{}",
            r#"{"command": 1}"#,
            r#"{"command": "ping""#,
            "\u{0}",
            r#"{"command": "drain"}"#,
        ] {
            assert_eq!(refusal(line).0, FailureCode::Malformed, "{line:?}");
        }
        assert_eq!(read(b"\xff\xfe{}").unwrap_err().code, FailureCode::Malformed, "no text at all");
        let (code, message) = refusal(r#"{"command": "fly\n"}"#);
        assert_eq!(code, FailureCode::UnknownCommand);
        assert_eq!(
            message,
            "there is no command 'fly\\n' here; there are confirm, drain, events, metrics, origin, ping, reload, status, undrain, upgrade, why"
        );
        assert_eq!(refusal(r#"{"version": 2, "command": "ping"}"#).0, FailureCode::Version);
    }

    proptest! {
        #[test]
        fn no_line_is_too_odd_to_be_read(line in prop::collection::vec(any::<u8>(), 0..200), key in "[a-z]{1,8}", value in any::<i64>()) {
            let _refused = read(&line);
            let named = json!({"command": "status", key: value}).to_string();
            if let Err(failure) = read(named.as_bytes()) {
                prop_assert!(matches!(failure.code, FailureCode::Malformed | FailureCode::Version | FailureCode::UnknownCommand));
            }
        }
    }

    #[test]
    fn what_a_newer_program_says_is_understood_as_far_as_possible() {
        let reply = json!({"error": {"code": "tired", "message": "later", "until": 7}});
        let failure = Failure::new(FailureCode::Other, "later");
        assert_eq!(serde_json::from_value::<Reply<Value>>(reply).unwrap(), Reply::Error(failure));
        let hello = json!({"hello": {"version": 1, "release": "9.9", "pid": 1, "incarnation": "a", "x": 1}});
        assert!(matches!(serde_json::from_value::<Reply<Value>>(hello).unwrap(), Reply::Hello(_)));
    }

    #[test]
    fn each_program_has_another_incarnation() {
        let [one, other] = [(); 2].map(|()| Hello::of_this_program());
        assert_eq!((one.version, one.pid), (1, std::process::id()));
        assert_ne!(one.incarnation, other.incarnation);
    }
}

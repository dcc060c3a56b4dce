//! What clients of the control socket write.

use serde::{Deserialize, Serialize};

use super::protocol::{Command, Failure, FailureCode, VERSION};

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inquiry {
    /// One command for the loop.
    Command(Command),
    /// Why a service, or one of its servers, gets traffic or none: made of several answers of the loop.
    Why {
        /// The service.
        service: String,
        /// The server's name in `HAProxy`.
        server: Option<String>,
    },
}

/// The one that is no [`Command`].
pub(super) const WHY: &str = "why";

impl Inquiry {
    /// Reads a line that [`Command::to_line`], or somebody by hand, wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_line(line: &[u8]) -> Result<Self, Failure> {
        let request = Request::from_line(line)?;
        if request.command == WHY {
            let service = needed(request.service, "service")?;
            return Ok(Self::Why { service, server: request.server });
        }
        Command::of(request).map(Self::Command)
    }
}

impl Request {
    pub(super) fn from_line(line: &[u8]) -> Result<Self, Failure> {
        let request: Self = serde_json::from_slice(line).map_err(|error| {
            let message = format!(r#"the line is no request such as {{"command": "ping"}}: {error}"#);
            Failure::new(FailureCode::Malformed, message)
        })?;
        if request.version != VERSION {
            let message = format!(
                "the request is of version {}, this ProxyMgr speaks version {VERSION}; use the proxymgr that runs here",
                request.version
            );
            return Err(Failure::new(FailureCode::Version, message));
        }
        Ok(request)
    }
}

pub(super) fn needed(value: Option<String>, key: &str) -> Result<String, Failure> {
    value.ok_or_else(|| Failure::new(FailureCode::Malformed, format!("the request lacks \"{key}\"")))
}

/// As it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Request {
    /// Left out by people.
    #[serde(default = "this_version")]
    pub(super) version: u32,
    pub(super) command: String,
    #[serde(default)]
    pub(super) service: Option<String>,
    #[serde(default)]
    pub(super) server: Option<String>,
    #[serde(default)]
    pub(super) servers: bool,
    #[serde(default)]
    pub(super) last: Option<usize>,
    #[serde(default)]
    pub(super) after: Option<u64>,
    #[serde(default)]
    pub(super) follow: bool,
}

fn this_version() -> u32 {
    VERSION
}

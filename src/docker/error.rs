//! What goes wrong between us and a daemon.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use bollard::errors::Error;

use super::transport::TooLong;
use crate::engine::error_text::with_causes;
use crate::engine::printable::printable;

/// Why a daemon can't be followed now.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No TLS for a daemon that is reached over the network.
    #[error(
        "the daemon is reached without TLS, which gives everyone the whole machine; name it in service_config with tls: {{ca, cert, key}}"
    )]
    NoTls,
    /// No socket, or we may not use it, or the handshake failed.
    #[error(
        "no connection: {0}; check docker_host, that Docker runs there, and that ProxyMgr's user may use its socket (group docker)"
    )]
    Connection(#[source] io::Error),
    /// It refuses, or its answer can't be read.
    #[error("{0}")]
    Answer(String),
    /// It is silent.
    #[error("no answer within {} s; see what the daemon does", .0.as_secs())]
    NoAnswer(Duration),
    /// The stream of events is at its end.
    #[error("the stream of events has ended")]
    EventsEnded,
    /// A list shows what no event told.
    #[error("a change was not told by any event")]
    MissedEvent,
}

impl From<Error> for DockerError {
    fn from(error: Error) -> Self {
        if matches!(error, Error::RequestTimeoutError) {
            return Self::NoAnswer(super::client::PATIENCE);
        }
        if let Error::IOError { err } = error {
            return Self::Connection(err);
        }
        Self::Answer(printable(&with_causes(&error)))
    }
}

/// Whether `error` is about the one thing asked for, not about the daemon.
pub(super) fn is_of_the_answer(error: &Error) -> bool {
    let unexpected = matches!(
        error,
        Error::DockerResponseServerError { .. } | Error::JsonDataError { .. } | Error::JsonSerdeError { .. }
    );
    unexpected || is_too_long(error)
}

/// Whether `error` says that there is no such container.
pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the answer was longer than is read.
fn is_too_long(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inside.is_some_and(<dyn std::error::Error + Send + Sync>::is::<TooLong>) {
            return true;
        }
        cause = error.source();
    }
    false
}

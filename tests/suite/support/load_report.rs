//! What a load client saw.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use super::http::ReadError;

/// Everything seen since the start of the load.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// How long the load has run.
    pub elapsed: Duration,
    pub successes: u64,
    /// All of them, in the order they happened.
    pub errors: Vec<LoadError>,
    /// Successes by what the answer's body said: the backend's name.
    pub by_backend: BTreeMap<String, u64>,
    /// The longest time without a success, from the start to the end of the load.
    pub longest_gap: Duration,
    /// When the last success came, after the start.
    pub last_success: Duration,
}

/// One request that failed.
#[derive(Clone, Debug)]
pub struct LoadError {
    /// After the start of the load.
    pub at: Duration,
    pub kind: ErrorKind,
    pub client: Client,
}

/// How a worker uses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// One request each.
    Short,
    /// As many requests as the server allows.
    KeepAlive,
}

/// How a request failed, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// Nobody listens.
    ConnectRefused,
    /// No connection within the time-out.
    ConnectTimeout,
    /// Another error of `connect()`.
    ConnectFailed(String),
    /// A TCP reset after the connection was made.
    Reset,
    /// The connection ended before a whole answer.
    EarlyEof,
    /// A connection that had served a request, and that the server had not announced to close, was closed or reset
    /// before the first byte of the next answer.
    IdleClosed,
    /// No whole answer within the time-out.
    ResponseTimeout,
    /// Any status but 200.
    BadStatus(u16),
    /// Not HTTP.
    BadResponse(String),
    /// A 200 that does not hold a backend's name.
    BadBody(String),
    /// Another error of `read()` or `write()`.
    Io(String),
}

impl ErrorKind {
    /// `reused` tells whether the connection had served a request before, and no byte of this answer had come.
    pub fn from_read(error: ReadError, reused: bool) -> Self {
        match error {
            ReadError::Nothing if reused => Self::IdleClosed,
            ReadError::Nothing | ReadError::Cut => Self::EarlyEof,
            ReadError::Malformed(why) => Self::BadResponse(why),
            ReadError::Io(error) => Self::from_io(&error, reused),
        }
    }

    /// For an error of `read()` or `write()`; `reused` as above.
    pub fn from_io(error: &io::Error, reused: bool) -> Self {
        let reset = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe].contains(&error.kind());
        match (reset, reused) {
            (true, true) => Self::IdleClosed,
            (true, false) => Self::Reset,
            (false, _) => Self::Io(error.to_string()),
        }
    }
}

impl LoadReport {
    /// Successes per second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate to compare, not to account with")]
        let successes = self.successes as f64;
        successes / self.elapsed.as_secs_f64()
    }

    /// How many errors of each kind.
    pub fn errors_by_kind(&self) -> BTreeMap<ErrorKind, usize> {
        let mut counts = BTreeMap::new();
        for error in &self.errors {
            *counts.entry(error.kind.clone()).or_default() += 1;
        }
        counts
    }

    /// Fails the test unless every request succeeded, and some were made.
    #[track_caller]
    pub fn assert_no_errors(&self) {
        assert!(self.successes > 0, "the load made no request: {self}");
        assert!(self.errors.is_empty(), "{self}");
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} successes ({:.0}/s), longest gap {:?}, {} errors {:?}",
            self.successes,
            self.rate(),
            self.longest_gap,
            self.errors.len(),
            self.errors_by_kind()
        )?;
        for error in self.errors.iter().take(10) {
            write!(f, "\n  {:?} {:?} {:?}", error.at, error.client, error.kind)?;
        }
        Ok(())
    }
}

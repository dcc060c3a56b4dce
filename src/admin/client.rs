//! The other end of the control socket, for commands.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::protocol::{Command, Failure, FailureCode, Hello, Reply};

/// How long there may be no line; who waits is reminded more often.
const SILENCE: Duration = Duration::from_secs(60);
/// Longer than a silent client may stay.
const BUSY_LIMIT: Duration = Duration::from_secs(8);
/// The pause between two tries to connect.
const RETRY: Duration = Duration::from_millis(20);
/// More than any answer, in bytes.
const LONGEST_REPLY: u64 = 1 << 28;

/// A connection to the running `ProxyMgr`.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    hello: Hello,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no ProxyMgr listens on '{}'; start it, or name its file with -c FILE or its socket with --socket PATH",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// Others may not ask.
    #[error("'{}' is closed to this user; run this as the user of ProxyMgr, or as root", .0.display())]
    Permission(PathBuf),
    /// The socket can't be used.
    #[error("'{}' can't be used as ProxyMgr's control socket", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It says nothing.
    #[error("ProxyMgr has not answered for {SILENCE:?}; its log tells more")]
    Silent,
    /// The connection ended before the answer.
    #[error("ProxyMgr closed the connection without an answer; its log tells more")]
    Closed,
    /// Another program, or a much newer one.
    #[error("the answer can't be understood; use the proxymgr that runs here, or check --socket")]
    NotUnderstood(#[source] serde_json::Error),
    /// It was asked and did not do it.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl ClientError {
    /// For programs.
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Failed(failure) => failure.code,
            Self::NotRunning(_)
            | Self::Permission(_)
            | Self::Socket { .. }
            | Self::Silent
            | Self::Closed
            | Self::NotUnderstood(_) => FailureCode::NoAnswer,
        }
    }
}

impl Client {
    /// Connects to the socket at `path`. One where nobody listens, as while a program takes over, is tried again for as long
    /// as `patience`; one that is busy until its silent clients are given up.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, ClientError> {
        let began = Instant::now();
        loop {
            let error = match Self::try_connect(path) {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let patience = match &error {
                ClientError::NotRunning(_) | ClientError::Closed => patience,
                ClientError::Failed(failure) if failure.code == FailureCode::Busy => patience.max(BUSY_LIMIT),
                ClientError::Failed(_)
                | ClientError::Permission(_)
                | ClientError::Socket { .. }
                | ClientError::Silent
                | ClientError::NotUnderstood(_) => Duration::ZERO,
            };
            if began.elapsed() >= patience {
                return Err(error);
            }
            std::thread::sleep(RETRY);
        }
    }

    fn try_connect(path: &Path) -> Result<Self, ClientError> {
        let unusable = |error: io::Error| unusable(path, error);
        let stream = UnixStream::connect(path).map_err(unusable)?;
        stream.set_read_timeout(Some(SILENCE)).map_err(unusable)?;
        stream.set_write_timeout(Some(SILENCE)).map_err(unusable)?;
        let mut stream = BufReader::new(stream);
        match read(&mut stream)? {
            Reply::Hello(hello) => Ok(Self { stream, hello }),
            Reply::Error(failure) => Err(failure.into()),
            Reply::WaitingFor(_) | Reply::Result(_) | Reply::Event(_) => Err(ClientError::Closed),
        }
    }

    /// Who answers.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Asks, tells `waiting` what is waited for, and gives the result.
    ///
    /// # Errors
    /// Why there is none.
    pub fn ask(&mut self, command: &Command, waiting: &mut dyn FnMut(&str)) -> Result<Value, ClientError> {
        let line = command.to_line() + "\n";
        self.stream.get_mut().write_all(line.as_bytes()).map_err(|error| ended(&error))?;
        loop {
            match read(&mut self.stream)? {
                Reply::WaitingFor(what) => waiting(&what),
                Reply::Result(result) => return Ok(result),
                Reply::Error(failure) => return Err(failure.into()),
                Reply::Hello(_) | Reply::Event(_) => {}
            }
        }
    }

    /// Asks a command that goes on, and hands on what it tells until `each` has had enough.
    ///
    /// # Errors
    /// Why it does not go on.
    pub fn follow(
        &mut self,
        command: &Command,
        each: &mut dyn FnMut(Value) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let line = command.to_line() + "\n";
        self.stream.get_mut().write_all(line.as_bytes()).map_err(|error| ended(&error))?;
        loop {
            match read(&mut self.stream)? {
                Reply::Event(event) => {
                    if each(event).is_break() {
                        return Ok(());
                    }
                }
                Reply::Error(failure) => return Err(failure.into()),
                Reply::Result(_) => return Err(ClientError::Closed),
                Reply::Hello(_) | Reply::WaitingFor(_) => {}
            }
        }
    }
}

fn read(stream: &mut BufReader<UnixStream>) -> Result<Reply<Value>, ClientError> {
    let mut line = Vec::new();
    stream.take(LONGEST_REPLY).read_until(b'\n', &mut line).map_err(|error| ended(&error))?;
    if line.last() != Some(&b'\n') {
        return Err(ClientError::Closed);
    }
    serde_json::from_slice(&line).map_err(ClientError::NotUnderstood)
}

fn unusable(path: &Path, source: io::Error) -> ClientError {
    let kind = source.kind();
    if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&kind) {
        ClientError::NotRunning(path.to_owned())
    } else if kind == io::ErrorKind::PermissionDenied {
        ClientError::Permission(path.to_owned())
    } else {
        ClientError::Socket { path: path.to_owned(), source }
    }
}

fn ended(error: &io::Error) -> ClientError {
    let silent = [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind());
    if silent { ClientError::Silent } else { ClientError::Closed }
}

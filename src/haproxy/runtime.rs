//! One connection to `HAProxy`'s runtime socket (management guide, 9.3).
//!
//! It is interactive and stays open: that saves a connection per command, and a connection opened before the soft stop is the
//! only way to talk to a draining process. A reply ends with the prompt: `\n> `. A reply with a line of its own that begins with `> `
//! can't be told from two replies; no reply to a command of ours has such a line (names, addresses and numbers begin them), and should one
//! come, what is left over is noticed and the connection given up.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use nix::libc::MSG_PEEK;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::engine::line_limits::{MAX_COMMAND_BYTES, MAX_WORDS};

/// How long one reply may take.
pub const REPLY_LIMIT: Duration = Duration::from_secs(2);
const PROMPT: &[u8] = b"\n> ";
const READ_BYTES: usize = 64 * 1024;
const MAX_REPLY_BYTES: usize = 256 * 1024 * 1024;
/// The default is 10 s; the longest `HAProxy` takes is 24.8 days.
const IDLE_LIMIT: &str = "set timeout cli 24d";

/// Why a command has no reply. After any error but [`RuntimeError::Unsendable`] the connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The text isn't one command on one line.
    #[error(
        "not one command on one line of at most {MAX_COMMAND_BYTES} bytes and {MAX_WORDS} words, without ';', '<<' and line feeds: {0:?}"
    )]
    Unsendable(String),
    /// The socket can't be connected.
    #[error("HAProxy's runtime socket can't be reached; the process has ended or is in soft stop")]
    Connect(#[source] io::Error),
    /// The process ended, or closed the connection.
    #[error(
        "HAProxy closed its runtime connection; the process has ended or the connection was idle too long"
    )]
    Closed,
    /// Reading or writing failed.
    #[error("HAProxy's runtime connection broke")]
    Broken(#[source] io::Error),
    /// No reply in time.
    #[error("HAProxy gave no reply within {0:?}; the process is overloaded or stopped")]
    TimedOut(Duration),
    /// More came than a reply.
    #[error("HAProxy's reply doesn't end where it should")]
    OutOfStep,
    /// An earlier error left the connection in an unknown state.
    #[error("the runtime connection is of no more use after an earlier error; open another")]
    Poisoned,
}

/// Why not all commands of a batch have a reply.
#[derive(Debug, thiserror::Error)]
#[error("{} commands had a reply, then none came", replies.len())]
pub struct BatchError {
    /// The replies up to the error. Commands after them may have been carried out all the same.
    pub replies: Vec<String>,
    /// What happened.
    #[source]
    pub source: RuntimeError,
}

/// An interactive connection to the runtime socket of one process.
#[derive(Debug)]
pub struct RuntimeConnection {
    stream: UnixStream,
    received: Received,
    in_step: bool,
}

impl RuntimeConnection {
    /// A connection that a predecessor opened and left in good order.
    ///
    /// # Errors
    /// When `stream` is no unix socket.
    pub fn adopt(stream: OwnedFd) -> io::Result<Self> {
        let stream = std::os::unix::net::UnixStream::from(stream);
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)?, received: Received::default(), in_step: true })
    }

    /// Lets go of the connection for a successor; `None` when it isn't in good order.
    pub fn hand_over(self) -> Option<OwnedFd> {
        if !self.is_usable() {
            return None;
        }
        self.stream.into_std().ok().map(OwnedFd::from)
    }

    /// Connects to the socket at `path` and waits at most `limit` for the first reply.
    ///
    /// # Errors
    /// When nobody listens, or no reply comes in time.
    pub async fn connect(path: &Path, limit: Duration) -> Result<Self, RuntimeError> {
        let greet = async {
            let stream = UnixStream::connect(path).await.map_err(RuntimeError::Connect)?;
            let mut connection = Self { stream, received: Received::default(), in_step: true };
            connection.exchange("prompt", limit).await?;
            connection.exchange(IDLE_LIMIT, limit).await?;
            Ok(connection)
        };
        timeout(limit, greet).await.unwrap_or(Err(RuntimeError::TimedOut(limit)))
    }

    /// Whether the connection is still of use.
    pub fn is_usable(&self) -> bool {
        self.in_step && self.check_silence().is_ok()
    }

    /// Sends one command and gives its reply without the blank lines around it.
    ///
    /// Dropped before its end, it leaves the connection poisoned.
    ///
    /// # Errors
    /// See [`RuntimeError`]. Whether the command was carried out is then unknown.
    pub async fn execute(&mut self, command: &str) -> Result<String, RuntimeError> {
        check_sendable(command)?;
        self.exchange(command, REPLY_LIMIT).await
    }

    /// Sends all commands at once and gives their replies in order; an error reply doesn't stop the rest.
    ///
    /// # Errors
    /// Nothing is sent when one of them can't be. Each reply may take [`REPLY_LIMIT`].
    pub async fn execute_all(&mut self, commands: &[String]) -> Result<Vec<String>, BatchError> {
        let mut replies = Vec::with_capacity(commands.len());
        match self.exchange_all(commands, &mut replies).await {
            Ok(()) => Ok(replies),
            Err(source) => Err(BatchError { replies, source }),
        }
    }

    async fn exchange_all(
        &mut self,
        commands: &[String],
        replies: &mut Vec<String>,
    ) -> Result<(), RuntimeError> {
        commands.iter().try_for_each(|command| check_sendable(command))?;
        self.begin()?;
        let mut lines = commands.join("\n");
        lines.push('\n');
        let (mut reader, mut writer) = self.stream.split();
        let received = &mut self.received;
        let write = async {
            if commands.is_empty() {
                return Ok(());
            }
            writer.write_all(lines.as_bytes()).await.map_err(broken)
        };
        // Written and read at once: a process that can't write its replies takes no more commands.
        let read = async {
            for _ in commands {
                replies.push(within(REPLY_LIMIT, received.next_reply(&mut reader)).await?);
            }
            Ok(())
        };
        tokio::try_join!(write, read)?;
        self.finish()
    }

    async fn exchange(&mut self, command: &str, limit: Duration) -> Result<String, RuntimeError> {
        self.begin()?;
        let line = format!("{command}\n");
        let (mut reader, mut writer) = self.stream.split();
        let reply = within(limit, async {
            writer.write_all(line.as_bytes()).await.map_err(broken)?;
            self.received.next_reply(&mut reader).await
        })
        .await?;
        self.finish()?;
        Ok(reply)
    }

    /// Out of step until [`Self::finish`], so that an error or a dropped future leaves it so.
    fn begin(&mut self) -> Result<(), RuntimeError> {
        std::mem::take(&mut self.in_step).then_some(()).ok_or(RuntimeError::Poisoned)?;
        self.check_silence()
    }

    /// What came unasked would be taken for the reply to the next command.
    fn check_silence(&self) -> Result<(), RuntimeError> {
        match SockRef::from(&self.stream).recv_with_flags(&mut [MaybeUninit::uninit()], MSG_PEEK) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Ok(0) => Err(RuntimeError::Closed),
            Ok(_) => Err(RuntimeError::OutOfStep),
            Err(error) => Err(broken(error)),
        }
    }

    fn finish(&mut self) -> Result<(), RuntimeError> {
        if !self.received.is_empty() {
            return Err(RuntimeError::OutOfStep);
        }
        self.in_step = true;
        Ok(())
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    timeout(limit, work).await.unwrap_or(Err(RuntimeError::TimedOut(limit)))
}

fn broken(error: io::Error) -> RuntimeError {
    if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
        RuntimeError::Closed
    } else {
        RuntimeError::Broken(error)
    }
}

fn check_sendable(command: &str) -> Result<(), RuntimeError> {
    let sendable = !command.trim().is_empty()
        && command.len() <= MAX_COMMAND_BYTES
        // More end the process (2.6, 3.0).
        && command.split_ascii_whitespace().count() <= MAX_WORDS
        && !command.contains([';', '\n', '\r', '\0'])
        && !command.contains("<<");
    if sendable { Ok(()) } else { Err(RuntimeError::Unsendable(command.chars().take(200).collect())) }
}

/// What has come and isn't taken yet.
#[derive(Debug, Default)]
struct Received {
    bytes: Vec<u8>,
    /// Up to here the replies are taken.
    taken: usize,
    /// Up to here there is no further prompt.
    searched: usize,
}

impl Received {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    async fn next_reply(&mut self, reader: &mut (impl AsyncReadExt + Unpin)) -> Result<String, RuntimeError> {
        loop {
            if let Some(reply) = self.take_reply() {
                return Ok(reply);
            }
            if self.bytes.len() > MAX_REPLY_BYTES {
                return Err(RuntimeError::OutOfStep);
            }
            self.bytes.reserve(READ_BYTES);
            if reader.read_buf(&mut self.bytes).await.map_err(broken)? == 0 {
                return Err(RuntimeError::Closed);
            }
        }
    }

    fn take_reply(&mut self) -> Option<String> {
        let unsearched = self.bytes.get(self.searched..)?;
        let Some(found) = unsearched.windows(PROMPT.len()).position(|window| window == PROMPT) else {
            self.searched = self.bytes.len().saturating_sub(PROMPT.len() - 1).max(self.taken);
            return None;
        };
        let end = self.searched + found;
        let reply = self.bytes.get(self.taken..end)?;
        let text = String::from_utf8_lossy(reply).trim_matches('\n').to_owned();
        self.taken = end + PROMPT.len();
        self.searched = self.taken;
        if self.taken == self.bytes.len() {
            // Idle, it holds no memory.
            *self = Self::default();
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn replies(pieces: &[&[u8]]) -> Vec<String> {
        let mut reader = tokio_test_reader(pieces);
        let (mut received, mut replies) = (Received::default(), Vec::new());
        while let Ok(reply) = received.next_reply(&mut reader).await {
            replies.push(reply);
        }
        replies
    }

    fn tokio_test_reader(pieces: &[&[u8]]) -> UnixStream {
        use std::io::Write as _;
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        for piece in pieces {
            ours.write_all(piece).unwrap();
        }
        UnixStream::from_std(theirs).unwrap()
    }

    #[tokio::test]
    async fn replies_end_at_the_prompt_however_they_arrive() {
        let stream: &[&[u8]] = &[b"\n> 2.6.12\n\n", b"> \n> New server registered.\n\n> "];
        assert_eq!(replies(stream).await, ["", "2.6.12", "", "New server registered."]);
        assert_eq!(replies(&[b"a > b\n >\n\n> rest"]).await, ["a > b\n >"]);
    }

    /// A connection to something that answers the greeting, then each command with `reply`.
    async fn connected_to(reply: &'static str) -> (RuntimeConnection, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut chunk = [0; 1000];
            for answer in ["\n> ", "\n> ", reply] {
                assert_ne!(stream.read(&mut chunk).await.unwrap(), 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            // Until the other side has gone.
            assert_eq!(stream.read(&mut chunk).await.unwrap(), 0);
        });
        (RuntimeConnection::connect(&path, REPLY_LIMIT).await.unwrap(), dir)
    }

    #[tokio::test]
    async fn a_command_that_is_given_up_spoils_the_connection() {
        let (mut connection, _dir) = connected_to("").await;
        assert!(timeout(Duration::from_millis(10), connection.execute("show info")).await.is_err());
        assert!(!connection.is_usable());
        assert!(matches!(connection.execute("show info").await, Err(RuntimeError::Poisoned)));
    }

    #[tokio::test]
    async fn two_replies_to_one_command_spoil_the_connection() {
        let (mut connection, _dir) = connected_to("one\n\n> two\n\n> ").await;
        assert!(matches!(connection.execute("show info").await, Err(RuntimeError::OutOfStep)));
        assert!(matches!(connection.execute("show info").await, Err(RuntimeError::Poisoned)));
    }

    #[tokio::test]
    async fn replies_before_an_error_are_told() {
        let (mut connection, _dir) = connected_to("one\n\n> ").await;
        let error = timeout(REPLY_LIMIT * 2, connection.execute_all(&["a".into(), "b".into()]))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(error.replies, ["one"]);
        assert!(matches!(error.source, RuntimeError::TimedOut(_)), "{error:?}");
    }

    #[test]
    fn what_would_be_two_commands_or_none_is_not_sent() {
        for bad in
            ["", " ", "a;b", "a\nb", "add map x <<", &"x".repeat(MAX_COMMAND_BYTES + 1), &"x ".repeat(65)]
        {
            assert!(matches!(check_sendable(bad), Err(RuntimeError::Unsendable(_))), "{bad:?}");
        }
        assert!(check_sendable("set server be/s1 weight 5").is_ok());
    }
}

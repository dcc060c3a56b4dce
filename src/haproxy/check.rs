//! Asking the `HAProxy` binary: is this configuration good, and which version is it?

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::check_message::{CheckMessage, parse_check_output};
use super::listen_sockets::ListenSockets;
use crate::engine::haproxy_version::HaproxyVersion;
use crate::process::child_command::ChildCommand;
use crate::process::exit::Exit;
use crate::process::reaper::Reaper;
use crate::process::spawn::{Child, ChildSignal, SpawnError};

/// How long `haproxy -c` may take.
pub const CHECK_LIMIT: Duration = Duration::from_secs(30);

/// What is read of the output, in bytes: a warning for each of some thousand services.
const MOST_OUTPUT: usize = 2 * 1024 * 1024;

/// What `haproxy -c` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// Whether the configuration is good. Warnings don't make it bad.
    pub accepted: bool,
    /// Its messages, without those that every run prints.
    pub messages: Vec<CheckMessage>,
}

/// Why `HAProxy` could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It could not be started.
    #[error("HAProxy could not be asked")]
    Spawn(#[from] SpawnError),
    /// No memory, or no file, for the text that it is asked about.
    #[error("the configuration can't be handed to HAProxy")]
    Memory(#[source] io::Error),
    /// It didn't end in time and was killed.
    #[error(
        "'{program} {option}' didn't end within {limit:?}; is the machine overloaded, or a name in the configuration slow to resolve?"
    )]
    TimedOut {
        /// The binary.
        program: String,
        /// What it was asked.
        option: &'static str,
        /// The time it had.
        limit: Duration,
    },
    /// A signal ended it.
    #[error("'{program} {option}' {exit}; run it by hand to see why")]
    Died {
        /// The binary.
        program: String,
        /// What it was asked.
        option: &'static str,
        /// How it ended.
        exit: Exit,
    },
    /// It printed no version.
    #[error("'{program} -v' printed no version of HAProxy; is haproxy.path right? It printed: {printed}")]
    NoVersion {
        /// The binary.
        program: String,
        /// Its output.
        printed: String,
    },
}

/// Runs `haproxy -c -f CONFIG` with the sockets that the configuration names.
///
/// It doesn't see all that can go wrong at the start: too few files for the servers (each checked one reserves one) and occupied ports.
///
/// # Errors
/// When it gives no verdict.
pub async fn check_config(
    reaper: &Reaper,
    haproxy: &Path,
    config: &Path,
    sockets: &ListenSockets,
    limit: Duration,
) -> Result<CheckReport, CheckError> {
    let mut command = ChildCommand::new(haproxy);
    command.arg("-c").arg("-f").arg(config);
    sockets.hand_to(&mut command, |_| true);
    let (exit, lines) = run(reaper, command, "-c", limit).await?;
    match exit {
        Exit::Code(code) => Ok(CheckReport { accepted: code == 0, messages: parse_check_output(&lines) }),
        Exit::Signal(_) | Exit::Unknown => {
            Err(CheckError::Died { program: haproxy.display().to_string(), option: "-c", exit })
        }
    }
}

/// Runs `haproxy -v`.
///
/// # Errors
/// When there is no such program, or it isn't `HAProxy`.
pub async fn discover_version(
    reaper: &Reaper,
    haproxy: &Path,
    limit: Duration,
) -> Result<HaproxyVersion, CheckError> {
    let mut command = ChildCommand::new(haproxy);
    command.arg("-v");
    let (_, lines) = run(reaper, command, "-v", limit).await?;
    lines
        .iter()
        .find(|line| line.contains("roxy version "))
        .and_then(|line| HaproxyVersion::parse(line))
        .ok_or_else(|| CheckError::NoVersion {
            program: haproxy.display().to_string(),
            printed: lines.first().cloned().unwrap_or_default(),
        })
}

/// Runs `command` to its end; kills it after `limit`, and when dropped.
async fn run(
    reaper: &Reaper,
    command: ChildCommand<'_>,
    option: &'static str,
    limit: Duration,
) -> Result<(Exit, Vec<String>), CheckError> {
    let program = command.program().display().to_string();
    let mut running = KilledWhenDropped(reaper.spawn(command)?);
    let to_the_end = async {
        let mut lines = Vec::new();
        let (mut bytes, mut left_out) = (0_usize, 0_u64);
        while let Some(line) = running.0.output.next().await {
            left_out = left_out.saturating_add(line.dropped_before);
            bytes = bytes.saturating_add(line.text.len());
            if bytes > MOST_OUTPUT {
                left_out = left_out.saturating_add(1);
            } else {
                lines.push(line.text);
            }
        }
        if left_out > 0 {
            warn!(program, option, lines = left_out, "lines are left out: it prints too much");
        }
        (running.0.exit.wait().await, lines)
    };
    timeout(limit, to_the_end).await.map_err(|_elapsed| CheckError::TimedOut { program, option, limit })
}

struct KilledWhenDropped(Child);

impl Drop for KilledWhenDropped {
    fn drop(&mut self) {
        if self.0.exit.ended().is_none()
            && let Err(error) = self.0.signals.send(ChildSignal::Kill)
        {
            warn!(pid = self.0.pid, %error, "a process can't be killed");
        }
    }
}

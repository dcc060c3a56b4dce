//! Asking a program whether it could go on from here, before it is trusted with everything.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::exec::{HandoverError, memory_file, read};
use super::record::{Files, Record};
use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::haproxy::handover::try_operators_socket;
use crate::process::child_command::ChildCommand;
use crate::process::exit::Exit;
use crate::process::reaper::Reaper;
use crate::process::spawn::{ChildSignal, SpawnError};
use crate::supervisor::prepare::{StartError, find_haproxy, make_directories};
use crate::supervisor::settings::{haproxy_settings, http, reconciler_settings, sources};
use crate::supervisor::template::checked_template;
use crate::supervisor::values::checked_base;

/// The command that a program is asked by; it is no user's.
pub const COMMAND: &str = "accept-handover";
/// Names the open file that holds the record.
const VARIABLE: &str = "PROXYMGR_HANDOVER_RECORD";
/// How long it may take: `HAProxy` checks `global` and `defaults` meanwhile.
const LIMIT: Duration = Duration::from_secs(20);
/// Lines of its output that are told.
const MOST_LINES: usize = 20;

/// Why a program is not trusted.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum ProbeError {
    #[error(transparent)]
    Record(#[from] HandoverError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("it refuses ({exit}): {output}")]
    Refused { exit: Exit, output: String },
    #[error("it did not answer within {LIMIT:?}")]
    NoAnswer,
}

/// Asks `program` whether it understands proxymgr.yml at `config` and the `record`.
pub(in crate::supervisor) async fn probe(
    reaper: Reaper,
    program: PathBuf,
    config: PathBuf,
    record: Record,
) -> Result<(), ProbeError> {
    let record = memory_file(&record, &Files::new())?;
    let mut command = ChildCommand::new(program);
    command.arg(COMMAND).arg("-c").arg(config);
    let number = command.inherit(record.as_fd());
    command.env(VARIABLE, number.to_string());
    let mut child = reaper.spawn(command)?;
    let answer = async {
        let mut lines = Vec::new();
        while let Some(line) = child.output.next().await {
            if lines.len() < MOST_LINES {
                lines.push(line.text);
            }
        }
        (child.exit.wait().await, lines)
    };
    match tokio::time::timeout(LIMIT, answer).await {
        Ok((exit, _)) if exit.success() => Ok(()),
        Ok((exit, lines)) => Err(ProbeError::Refused { exit, output: lines.join(" | ") }),
        Err(_elapsed) => {
            if let Err(error) = child.signals.send(ChildSignal::Kill) {
                tracing::warn!(%error, "a program that was asked whether it could take over can't be ended");
            }
            Err(ProbeError::NoAnswer)
        }
    }
}

/// Why this program won't take over.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It isn't asked.
    #[error(
        "{COMMAND} is asked by ProxyMgr itself before an upgrade; to check a configuration use: proxymgr check"
    )]
    NotAsked,
    /// What runs can't be understood.
    #[error("what runs can't be taken over: {0}")]
    State(String),
    /// It could not start either.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// What [`probe`] asks.
#[derive(Debug)]
pub struct Question(Record);

impl Question {
    /// # Errors
    /// When nobody asks, or what runs can't be understood.
    pub fn read() -> Result<Self, AcceptError> {
        let number = std::env::var(VARIABLE).ok().and_then(|text| text.parse::<u32>().ok());
        let path = format!("/proc/self/fd/{}", number.ok_or(AcceptError::NotAsked)?);
        let record = understand(Path::new(&path)).map_err(|error| AcceptError::State(with_causes(&error)))?;
        Ok(Self(record))
    }

    /// proxymgr.yml as it was when this was asked.
    pub fn config(&self) -> Option<&str> {
        self.0.config()
    }
}

/// Answers the question of [`probe`].
///
/// # Errors
/// Why not.
pub async fn accept(config: &Config, question: &Question) -> Result<(), AcceptError> {
    let found = find_haproxy(config).await?;
    make_directories(config)?;
    let settings = reconciler_settings(config, found.version)?;
    let address = haproxy_settings(config)?.operators_address();
    if let Some(address) = address.filter(|address| question.0.lacks_operators_socket(address)) {
        try_operators_socket(&address).map_err(StartError::OperatorsSocket)?;
    }
    sources(config)?;
    http(config)?;
    let base = checked_base(config, settings.base, &found.reaper).await?;
    checked_template(config, &base, &found.reaper).await?;
    Ok(())
}

fn understand(path: &Path) -> Result<Record, HandoverError> {
    let (record, _names) = read(File::open(path).map_err(HandoverError::Files)?)?;
    record.applied()?;
    Ok(record)
}

//! All that is handed over, as a text and a list of open files that it names.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tracing::warn;

use super::applied_record::{AppliedRecord, UnknownValue, listen_address};
use crate::engine::listen_address::ListenAddress;
use crate::engine::render::Renderer;
use crate::engine::secret::Secret;
use crate::engine::state::AppliedState;
use crate::haproxy::generations::{Generation, Generations};
use crate::haproxy::handover::{HandedOver, HandedProcess};
use crate::process::adopt::Birth;
use crate::supervisor::replacement::Ours;
use crate::supervisor::sealed::{SealError, seal, seal_to, unseal};

/// Changes only when an older or newer version would misread the rest; fields come and go without it.
const FORMAT: u32 = 1;
/// The file of the socket of HTTP.
const HTTP: &str = "http";

/// Why a record can't be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::supervisor) enum RecordError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("it can't be understood")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Value(#[from] UnknownValue),
}

/// Open files by name.
pub(in crate::supervisor) type Files = BTreeMap<String, OwnedFd>;

/// What runs.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct Record {
    /// What is executed at the next upgrade.
    #[serde(default)]
    program: PathBuf,
    /// proxymgr.yml as it was when the successor was asked: it may be half written by the time that this one takes over.
    #[serde(default, serialize_with = "expose", deserialize_with = "hide")]
    config: Option<Secret>,
    generations: u64,
    #[serde(default)]
    listening: Vec<SocketRecord>,
    #[serde(default)]
    lent: Vec<SocketRecord>,
    #[serde(default)]
    operators: Vec<SocketRecord>,
    #[serde(default)]
    serving: Option<ProcessRecord>,
    #[serde(default)]
    draining: Vec<ProcessRecord>,
    #[serde(default)]
    strays: Vec<ProcessRecord>,
    #[serde(default)]
    applied: Option<AppliedRecord>,
    /// A change a line, as [`Reader::to_lines`](crate::admin::history::Reader::to_lines) gives it: one that can't be understood
    /// is no reason not to take over.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    history: String,
    /// The same for what is counted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    totals: String,
    /// Where HTTP is served.
    #[serde(default)]
    http: Option<HttpRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct HttpRecord {
    address: String,
    file: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct SocketRecord {
    address: String,
    file: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct ProcessRecord {
    generation: u64,
    pid: u32,
    /// [`Birth::started`]: whether it is still the same process.
    #[serde(default)]
    started: Option<u64>,
    #[serde(default)]
    control: Option<PathBuf>,
    #[serde(default)]
    connection: Option<String>,
    #[serde(default)]
    output: Option<String>,
    #[serde(default)]
    drained_ms: u64,
}

impl Record {
    /// Takes `handed` apart.
    pub(in crate::supervisor) fn of(
        program: &Path,
        handed: HandedOver,
        applied: Option<&AppliedState>,
    ) -> (Self, Files) {
        let mut files = Files::new();
        let processes = |processes: Vec<HandedProcess>, files: &mut Files| {
            processes.into_iter().map(|process| ProcessRecord::of(process, files)).collect()
        };
        let record = Self {
            program: program.to_owned(),
            config: None,
            generations: handed.generations,
            listening: sockets("listen", handed.listening, &mut files),
            lent: sockets("lent", handed.lent, &mut files),
            operators: sockets("operators", handed.operators, &mut files),
            serving: handed.serving.map(|process| ProcessRecord::of(process, &mut files)),
            draining: processes(handed.draining, &mut files),
            strays: processes(handed.strays, &mut files),
            applied: applied.map(AppliedRecord::of),
            history: String::new(),
            totals: String::new(),
            http: None,
        };
        (record, files)
    }

    /// What `generations` are, without their files.
    pub(in crate::supervisor) fn of_running(
        generations: &Generations,
        applied: Option<&AppliedState>,
    ) -> Self {
        let process = |one: &Generation, drained| HandedProcess {
            number: one.number,
            pid: one.pid,
            control: None,
            connection: None,
            output: None,
            drained,
        };
        let serving = generations.serving.as_ref().map(|serving| HandedProcess {
            control: generations.control.clone(),
            ..process(serving, Duration::ZERO)
        });
        let draining = generations.draining.iter().map(|one| process(one, one.since.elapsed())).collect();
        let handed =
            HandedOver { generations: generations.started, serving, draining, ..HandedOver::default() };
        Self::of(Path::new(""), handed, applied).0
    }

    /// Puts together what the record tells, `files` hold, and the serving process has `applied`. What has no file or can't be
    /// understood is left out, and so is a process that is gone or is another one by now.
    pub(in crate::supervisor) fn handed_over(
        &self,
        files: &mut Files,
        applied: Option<&AppliedState>,
    ) -> HandedOver {
        // The file on disk says what runs, so its text follows from it.
        let config = applied.and_then(|applied| Renderer::default().by_template(applied).ok());
        let config: Option<Arc<str>> = config.map(|config| config.text);
        let there = |processes: &[ProcessRecord], files: &mut Files| -> Vec<_> {
            let there = processes.iter().filter(|process| process.is_there());
            there.map(|process| process.handed(files)).collect()
        };
        HandedOver {
            generations: self.generations,
            listening: take_sockets(&self.listening, files),
            lent: take_sockets(&self.lent, files),
            operators: take_sockets(&self.operators, files),
            serving: there(self.serving.as_slice(), files).pop(),
            draining: there(&self.draining, files),
            strays: there(&self.strays, files),
            config,
        }
    }

    /// The same, with proxymgr.yml.
    pub(in crate::supervisor) fn with_config(self, config: Option<Secret>) -> Self {
        Self { config, ..self }
    }

    /// The same, with what is no part of `HAProxy`; the socket goes to `files`.
    pub(in crate::supervisor) fn with_ours(self, ours: Ours, files: &mut Files) -> Self {
        let Ours { history, totals, http } = ours;
        let http = http.map(|(address, socket)| {
            files.insert(HTTP.to_owned(), socket);
            HttpRecord { address: address.to_string(), file: HTTP.to_owned() }
        });
        Self { history, totals, http, ..self }
    }

    /// What was counted, as a text.
    pub(in crate::supervisor) fn totals(&self) -> &str {
        &self.totals
    }

    /// The socket of HTTP.
    pub(in crate::supervisor) fn http(&self, files: &mut Files) -> Option<(SocketAddr, OwnedFd)> {
        let record = self.http.as_ref()?;
        Some((record.address.parse().ok()?, files.remove(&record.file)?))
    }

    /// The history, as lines.
    pub(in crate::supervisor) fn history(&self) -> &str {
        &self.history
    }

    /// The same for one that is only asked: it is told which operators' socket is held, but doesn't get it.
    pub(in crate::supervisor) fn with_operators_socket(self, held: Option<&ListenAddress>) -> Self {
        let named =
            |address: &ListenAddress| SocketRecord { address: address.to_string(), file: String::new() };
        Self { operators: held.map(named).into_iter().collect(), ..self }
    }

    /// Whether the operators' socket at `address` is another than the one that is held. One that holds none, or doesn't tell,
    /// asks for nothing.
    pub(in crate::supervisor) fn lacks_operators_socket(&self, address: &ListenAddress) -> bool {
        !self.operators.is_empty() && self.operators.iter().all(|held| held.address != address.to_string())
    }

    /// proxymgr.yml, if it was handed over.
    pub(in crate::supervisor) fn config(&self) -> Option<&str> {
        self.config.as_ref().map(Secret::expose)
    }

    /// The program's path as it was started first.
    pub(in crate::supervisor) fn program(&self) -> &Path {
        &self.program
    }

    /// What the serving process holds.
    ///
    /// # Errors
    /// When a value can't be understood.
    pub(in crate::supervisor) fn applied(&self) -> Result<Option<AppliedState>, RecordError> {
        Ok(self.applied.as_ref().map(AppliedRecord::state).transpose()?)
    }

    /// The record as a text.
    ///
    /// # Errors
    /// When a path isn't UTF-8.
    pub(in crate::supervisor) fn to_text(&self) -> serde_json::Result<String> {
        seal(FORMAT, &serde_json::to_string(self)?)
    }

    /// Writes what [`Record::to_text`] gives, without holding it in memory.
    ///
    /// # Errors
    /// When a path isn't UTF-8, or writing fails.
    pub(in crate::supervisor) fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        seal_to(out, FORMAT, |out| serde_json::to_writer(out, self).map_err(io::Error::from))
    }

    /// Reads what [`Record::to_text`] wrote.
    ///
    /// # Errors
    /// When it is damaged or of a format that this version doesn't know.
    pub(in crate::supervisor) fn from_text(text: &str) -> Result<Self, RecordError> {
        Ok(serde_json::from_str(unseal(FORMAT, text)?)?)
    }
}

/// It may hold credentials.
#[expect(clippy::ref_option, reason = "serde asks for it so")]
fn expose<S: Serializer>(text: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_ref().map(Secret::expose).serialize(serializer)
}

fn hide<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

impl ProcessRecord {
    fn of(process: HandedProcess, files: &mut Files) -> Self {
        let HandedProcess { number, pid, control, connection, output, drained } = process;
        let mut file = |what: &str, file: Option<OwnedFd>| {
            let name = format!("{what}-{number}");
            file.map(|file| {
                files.insert(name.clone(), file);
                name
            })
        };
        Self {
            generation: number,
            pid,
            started: Birth::of(pid).map(|birth| birth.started),
            control,
            connection: file("connection", connection),
            output: file("output", output),
            drained_ms: u64::try_from(drained.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn is_there(&self) -> bool {
        self.started.is_some() && Birth::of(self.pid).map(|birth| birth.started) == self.started
    }

    fn handed(&self, files: &mut Files) -> HandedProcess {
        let mut take = |name: &Option<String>| name.as_ref().and_then(|name| files.remove(name));
        HandedProcess {
            number: self.generation,
            pid: self.pid,
            control: self.control.clone(),
            connection: take(&self.connection),
            output: take(&self.output),
            drained: Duration::from_millis(self.drained_ms),
        }
    }
}

fn sockets(what: &str, sockets: Vec<(ListenAddress, OwnedFd)>, files: &mut Files) -> Vec<SocketRecord> {
    let named = sockets.into_iter().enumerate().map(|(number, (address, socket))| {
        let file = format!("{what}-{number}");
        files.insert(file.clone(), socket);
        SocketRecord { address: address.to_string(), file }
    });
    named.collect()
}

fn take_sockets(records: &[SocketRecord], files: &mut Files) -> Vec<(ListenAddress, OwnedFd)> {
    let mut sockets = Vec::with_capacity(records.len());
    for record in records {
        match (listen_address(&record.address), files.remove(&record.file)) {
            (Ok(address), Some(file)) => sockets.push((address, file)),
            (Ok(_), None) => {}
            (Err(error), _) => warn!(%error, "a listen socket that was handed over is lost"),
        }
    }
    sockets
}

//! What the next start goes by when this program is killed: a record in `runtime_dir`, the listen sockets that systemd keeps,
//! and the processes of `HAProxy` that serve on alone.
//!
//! A record that is behind does no harm: whether its process serves is asked, and what it holds is compared.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::inherited::Inherited;
use super::record::{Files, Record, RecordError};
use crate::deadline::until;
use crate::engine::error_text::with_causes;
use crate::engine::listen_address::ListenAddress;
use crate::engine::state::AppliedState;
use crate::haproxy::generations::Generations;
use crate::haproxy::handover::{HandedOver, HandedProcess};
use crate::haproxy::left_alone::{self, NotServing, OUTPUT_OF, output_name};
use crate::haproxy::listen_sockets::{KeptFor, forget_kept, listens_at};
use crate::own_files;

const NAME: &str = "running.json";
/// It holds option lines, which others need not see.
const OWNER_ONLY: u32 = 0o600;
/// Changes within this time are written together, or within longer...
const SHORTEST: Duration = Duration::from_millis(20);
/// ...so that writing takes no more than one part in so many of the time. A thousand services of 10 servers take some 10 ms.
const SHARE: u32 = 20;
/// Another try after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Writes the record.
#[derive(Debug)]
pub(in crate::supervisor) struct CrashRecord {
    /// `None` where nothing would outlive this program.
    path: Option<PathBuf>,
    /// Those that were written last.
    pids: Vec<u32>,
    due: Option<Instant>,
    delay: Duration,
    failing: bool,
    writing: Option<JoinHandle<io::Result<Duration>>>,
}

impl CrashRecord {
    pub(in crate::supervisor) fn new(runtime_dir: &Path) -> Self {
        // The kernel ends all processes of a PID namespace with its first one (pid_namespaces(7)).
        let path = (std::process::id() != 1).then(|| runtime_dir.join(NAME));
        Self { path, pids: Vec::new(), due: None, delay: SHORTEST, failing: false, writing: None }
    }

    /// Whether there are other processes than those that were written.
    pub(in crate::supervisor) fn lacks(&self, generations: &Generations) -> bool {
        self.pids != generations.pids()
    }

    /// What the process holds has changed.
    pub(in crate::supervisor) fn changed(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + self.delay);
    }

    /// Waits until it is to be written. Cancel safe.
    pub(in crate::supervisor) async fn due(&mut self) {
        self.finish().await;
        until(self.due).await;
    }

    /// Begins to write what runs, beside what else is done: of thousands of routes that takes some milliseconds.
    pub(in crate::supervisor) fn begin(&mut self, generations: &Generations, applied: Option<&AppliedState>) {
        self.due = None;
        self.pids = generations.pids();
        let Some(path) = self.path.clone() else { return };
        let (generations, applied) = (generations.clone(), applied.cloned());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            write(&path, &Record::of_running(&generations, applied.as_ref()))?;
            Ok(began.elapsed())
        }));
    }

    /// Writes what runs.
    pub(in crate::supervisor) async fn write(
        &mut self,
        generations: &Generations,
        applied: Option<&AppliedState>,
    ) {
        self.finish().await;
        self.begin(generations, applied);
        self.finish().await;
    }

    /// Waits for what is being written. Cancel safe.
    pub(in crate::supervisor) async fn finish(&mut self) {
        let Some(writing) = &mut self.writing else { return };
        let written = writing.await;
        self.writing = None;
        match written {
            Ok(Ok(took)) => {
                self.failing = false;
                self.delay = (took * SHARE).max(SHORTEST);
            }
            Ok(Err(error)) => self.report(&error.to_string()),
            Err(panicked) => self.report(&panicked.to_string()),
        }
    }

    fn report(&mut self, error: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            warn!(error, "after a crash HAProxy could not be taken over; trying on");
        }
        self.due = Some(Instant::now() + RETRY);
    }

    /// Nothing is left running.
    pub(in crate::supervisor) fn remove(&self) {
        if let Some(path) = &self.path
            && let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(%error, "the record of what ran stays behind in runtime_dir");
        }
    }
}

/// In one step, but without waiting for the disk: after a crash of the machine nothing runs.
fn write(path: &Path, record: &Record) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let file = own_files::create(&unfinished, OWNER_ONLY)?;
    let mut out = BufWriter::new(file);
    record.write_to(&mut out)?;
    out.flush()?;
    fs::rename(&unfinished, path)
}

/// Why what runs is not taken over.
#[derive(Debug, thiserror::Error)]
enum Doubt {
    #[error("there is no record of it")]
    NoRecord,
    #[error("its record can't be read")]
    Unreadable(#[source] io::Error),
    #[error("its record can't be used")]
    Record(#[from] RecordError),
    #[error("the process that served has ended")]
    Ended,
    #[error("the process that served can't be trusted")]
    NotServing(#[from] NotServing),
    #[error("the listen socket of {0} was not kept")]
    NotKept(ListenAddress),
}

/// What an earlier `ProxyMgr` left, as systemd passed it and as /proc shows it.
#[derive(Debug, Default)]
struct Left {
    listening: Vec<(ListenAddress, OwnedFd)>,
    operators: Vec<(ListenAddress, OwnedFd)>,
    lent: Vec<(ListenAddress, OwnedFd)>,
    outputs: Files,
    processes: BTreeSet<u32>,
}

/// Takes over what a `ProxyMgr` left that was killed, if there was one, and what systemd passed. Nobody else must use
/// `runtime_dir`.
pub(in crate::supervisor) async fn recover(
    runtime_dir: &Path,
    operators_socket: &Path,
    received: Vec<(String, OwnedFd)>,
) -> Inherited {
    let mut left = Left::sort(received);
    left.processes = left_alone::processes(runtime_dir).unwrap_or_else(|error| {
        warn!(%error, "whether an HAProxy runs on alone can't be seen");
        BTreeSet::new()
    });
    if left.processes.is_empty() {
        return Inherited { haproxy: left.handed_over(), ..Inherited::default() };
    }
    match left.known(&runtime_dir.join(NAME)).await {
        Ok((record, applied)) => {
            info!("ProxyMgr ended without being asked to; the HAProxy that it left is taken over");
            let haproxy = left.completing(record);
            Inherited { applied: Some(applied), haproxy, ..Inherited::default() }
        }
        Err(doubt) => {
            warn!(
                reason = with_causes(&doubt),
                "the HAProxy that runs is not taken over; a new one replaces it"
            );
            if left.listening.is_empty() {
                left_alone::stop(left.processes.iter().copied(), operators_socket).await;
            }
            Inherited { haproxy: left.handed_over(), ..Inherited::default() }
        }
    }
}

impl Left {
    fn sort(received: Vec<(String, OwnedFd)>) -> Self {
        let mut left = Self::default();
        for (name, file) in received {
            match KeptFor::parse(&name) {
                Some((KeptFor::Services, address)) => left.listening.push((address, file)),
                Some((KeptFor::Operators, address)) => left.operators.push((address, file)),
                None if name.starts_with(OUTPUT_OF) => drop(left.outputs.insert(name, file)),
                None => left.lend(&name, file),
            }
        }
        left
    }

    fn lend(&mut self, name: &str, file: OwnedFd) {
        if let Some(address) = listens_at(&file) {
            info!(%address, "systemd listens there for ProxyMgr");
            self.lent.push((address, file));
        } else {
            warn!(
                name,
                "systemd passed a file that is no listening stream socket; see ListenStream= in systemd.socket(5)"
            );
        }
    }

    /// What is known of the processes, if it can be trusted.
    async fn known(&mut self, record: &Path) -> Result<(HandedOver, AppliedState), Doubt> {
        if !record.exists() {
            return Err(Doubt::NoRecord);
        }
        let record = Record::from_text(&own_files::read(record).map_err(Doubt::Unreadable)?)?;
        let applied = record.applied()?.ok_or(Doubt::NoRecord)?;
        for address in applied.listens() {
            if !self.listening.iter().chain(&self.lent).any(|(kept, _)| kept == address) {
                return Err(Doubt::NotKept(address.clone()));
            }
        }
        let handed = record.handed_over(&mut Files::new(), Some(&applied));
        let serving = handed.serving.as_ref().ok_or(Doubt::Ended)?;
        left_alone::ask(serving.control.as_deref().ok_or(Doubt::Ended)?, serving.pid).await?;
        self.close_unused(&applied);
        Ok((handed, applied))
    }

    /// Closes what the process that serves doesn't listen on: clients would wait there for nobody.
    fn close_unused(&mut self, applied: &AppliedState) {
        let used: BTreeSet<_> = applied.listens().collect();
        self.listening.retain(|(address, _)| {
            let is_used = used.contains(address);
            if !is_used {
                forget_kept(address);
            }
            is_used
        });
    }

    /// `known` with all that is left.
    fn completing(mut self, known: HandedOver) -> HandedOver {
        let (mut serving, mut draining) = (known.serving, known.draining);
        for process in serving.iter_mut().chain(&mut draining) {
            self.processes.remove(&process.pid);
            process.output = self.outputs.remove(&output_name(process.pid));
        }
        let (generations, config) = (known.generations, known.config);
        HandedOver { generations, serving, draining, config, ..self.handed_over() }
    }

    fn handed_over(mut self) -> HandedOver {
        let strays = self.processes.iter().map(|pid| HandedProcess {
            number: 0,
            pid: *pid,
            control: None,
            connection: None,
            output: self.outputs.remove(&output_name(*pid)),
            drained: Duration::ZERO,
        });
        HandedOver {
            strays: strays.collect(),
            listening: self.listening,
            operators: self.operators,
            lent: self.lent,
            ..HandedOver::default()
        }
    }
}

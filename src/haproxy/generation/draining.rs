//! A process that ends with its last connection, or when its time is up.

use std::io;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tracing::{debug, warn};

use super::process::Process;
use super::{ENDED_LIMIT, HEARS_LIMIT, TERM_LIMIT};
use crate::haproxy::generations::Generation;
use crate::haproxy::handover::HandedProcess;
use crate::haproxy::reply::parse_show_info;
use crate::haproxy::runtime::RuntimeConnection;
use crate::process::exit::Exit;
use crate::process::reaper::Reaper;
use crate::process::spawn::ChildSignal;

/// A process that ends with its last connection.
#[derive(Debug)]
pub(in crate::haproxy) struct Draining {
    process: Process,
    /// `None` once it has no clients: our connection would keep it alive.
    connection: Option<RuntimeConnection>,
    since: Instant,
    clients: Option<u64>,
    terminated: Option<Instant>,
}

impl Draining {
    pub(super) fn new(process: Process, connection: Option<RuntimeConnection>, since: Instant) -> Self {
        Self { process, connection, since, clients: None, terminated: None }
    }

    /// Goes on with a process that drains already.
    pub(in crate::haproxy) fn take_over(reaper: &Reaper, mut handed: HandedProcess) -> io::Result<Self> {
        let process = Process::take_over(reaper, &mut handed)?;
        let connection = handed.connection.take().map(RuntimeConnection::adopt).transpose()?;
        let now = Instant::now();
        Ok(Self::new(process, connection, now.checked_sub(handed.drained).unwrap_or(now)))
    }

    /// Leaves the process to a successor.
    pub(in crate::haproxy) fn hand_over(self) -> HandedProcess {
        let (drained, connection) = (self.age(), self.connection.and_then(RuntimeConnection::hand_over));
        HandedProcess { connection, drained, ..self.process.hand_over() }
    }

    pub(in crate::haproxy) fn pid(&self) -> u32 {
        self.process.pid
    }

    pub(in crate::haproxy) fn number(&self) -> u64 {
        self.process.number
    }

    /// How long it has been draining.
    pub(in crate::haproxy) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    pub(in crate::haproxy) fn exit(&self) -> Option<Exit> {
        self.process.exit.ended()
    }

    pub(in crate::haproxy) async fn ended(&mut self) -> Exit {
        self.process.exit.wait().await
    }

    pub(in crate::haproxy) fn view(&self) -> Generation {
        let (number, pid) = (self.number(), self.pid());
        Generation { number, pid, since: self.since, connections: self.clients }
    }

    /// Soft stop, for one that was not [`super::Serving`] here.
    pub(in crate::haproxy) fn ask_to_drain(&self) {
        self.process.send(ChildSignal::User1);
    }

    /// Lets go of a process without clients, so that it ends.
    pub(in crate::haproxy) async fn release_when_idle(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        self.clients = match connection.execute("show info").await {
            Ok(reply) => parse_show_info(&reply).ok().map(|info| info.current_connections),
            Err(error) => {
                debug!(pid = self.process.pid, %error, "a draining process doesn't tell its clients any more");
                None
            }
        };
        if self.clients.unwrap_or_default() == 0 {
            self.connection = None;
        }
    }

    /// Whether it was told to end with its last connections.
    pub(in crate::haproxy) fn is_terminated(&self) -> bool {
        self.terminated.is_some()
    }

    /// Ends it with SIGTERM, and with SIGKILL when that has not helped.
    pub(in crate::haproxy) fn terminate(&mut self) {
        match self.terminated {
            None => {
                self.terminated = Some(Instant::now());
                self.process.send(ChildSignal::Terminate);
            }
            Some(since) if since.elapsed() >= TERM_LIMIT => self.kill(),
            Some(_) => {}
        }
    }

    /// Ends it with SIGTERM, which it hears at once, or else with SIGKILL, and waits until it is gone.
    pub(in crate::haproxy) async fn end(&mut self) {
        self.terminate();
        if timeout(HEARS_LIMIT, self.ended()).await.is_ok() {
            return;
        }
        self.kill();
        if timeout(ENDED_LIMIT, self.ended()).await.is_err() {
            warn!(pid = self.process.pid, "HAProxy is still there after SIGKILL; does it wait for a disk?");
        }
    }

    /// Ends it at once.
    pub(in crate::haproxy) fn kill(&mut self) {
        self.process.send(ChildSignal::Kill);
    }
}

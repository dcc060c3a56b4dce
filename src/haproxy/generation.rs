//! One process of `HAProxy`.
//!
//! ```text
//!            first reply                 soft stop                  exit
//!  Starting ------------> Serving ------------------> Draining ------------> Gone
//!     |                      |                            |                    ^
//!     | exit, or no reply    | exit                       | drain_timeout, or  |
//!     | in time: killed      | (a crash)                  | too many drain:    |
//!     +----------------------+----------------------------+ terminated, killed-+
//! ```
//!
//! Each state is a type, so that no step can be taken from the wrong one: [`start`] gives a [`Serving`] or ends the process,
//! [`Serving::drain`] gives a [`Draining`]. `Gone` is the absence of both.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::control_socket::{ControlAddress, ControlSocket, ControlSocketError};
use super::handover::HandedProcess;
use super::listen_sockets::ListenSockets;
use super::output_log::log_output;
use super::reply::parse_show_info;
use super::running::output_name;
use super::runtime::{RuntimeConnection, RuntimeError};
use crate::engine::listen_address::ListenAddress;
use crate::engine::render::SERVER_STATE_VARIABLE;
use crate::process::adopt::adopt_output;
use crate::process::child_command::ChildCommand;
use crate::process::exit::{Exit, ExitWatch};
use crate::process::reaper::Reaper;
use crate::process::spawn::{ChildSignal, SignalSender, SpawnError};
use crate::systemd::files;

/// How long a new process may take to serve; 1000 services x 50 servers take 1.3 s.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a process may take to end after SIGTERM before it is killed.
const TERM_LIMIT: Duration = Duration::from_secs(3);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// What to start.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) reaper: &'a Reaper,
    pub(super) binary: &'a Path,
    pub(super) config: &'a Path,
    pub(super) server_state: &'a Path,
    pub(super) runtime_dir: &'a Path,
    pub(super) number: u64,
    pub(super) sockets: &'a ListenSockets,
    /// The addresses of `sockets` that the configuration names.
    pub(super) listen: &'a BTreeSet<&'a ListenAddress>,
    pub(super) operators: &'a ListenSockets,
    /// The control socket of the process whose own listeners are taken over.
    pub(super) listeners_of: Option<&'a Path>,
}

/// Why a process doesn't serve.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    ControlSocket(#[from] ControlSocketError),
    #[error("the listen sockets can't be handed over; raise the limit of open files (ulimit -n)")]
    Inherit(#[source] io::Error),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("the new process ended before it served ({exit}): {}", alerts.join(" | "))]
    Ended { exit: Exit, alerts: Vec<String> },
    #[error("the new process did not serve")]
    NoReply(#[source] RuntimeError),
}

/// A process; dropped, it is killed.
#[derive(Debug)]
struct Process {
    number: u64,
    pid: u32,
    exit: ExitWatch,
    signals: SignalSender,
    /// Where its output comes from, kept for a successor of this program.
    output: Option<OwnedFd>,
    handed_over: bool,
}

/// A process that accepts connections.
#[derive(Debug)]
pub(super) struct Serving {
    process: Process,
    control: ControlAddress,
    connection: Option<RuntimeConnection>,
}

/// A process that ends with its last connection.
#[derive(Debug)]
pub(super) struct Draining {
    process: Process,
    /// `None` once it has no clients: our connection would keep it alive.
    connection: Option<RuntimeConnection>,
    since: Instant,
    terminated: Option<Instant>,
}

/// Starts a process and waits until it serves.
pub(super) async fn start(launch: Launch<'_>) -> Result<Serving, StartError> {
    let control = ControlSocket::open(launch.runtime_dir, launch.number)?;
    let mut command = ChildCommand::new(launch.binary);
    command.arg("-db").arg("-f").arg(launch.config);
    if let Some(old) = launch.listeners_of {
        // Management guide, 3: without it the two processes would share new clients, and those in the old one's queue
        // would be lost.
        command.arg("-x").arg(old);
    }
    command.env(SERVER_STATE_VARIABLE, OsString::from(PathBuf::from(launch.server_state)));
    launch
        .sockets
        .hand_to(&mut command, |address| launch.listen.contains(address))
        .map_err(StartError::Inherit)?;
    launch.operators.hand_to(&mut command, |_| true).map_err(StartError::Inherit)?;
    control.hand_to(&mut command).map_err(StartError::Inherit)?;
    let child = launch.reaper.spawn(command)?;
    let control = control.started();
    let alerts = log_output(child.pid, child.output);
    files::keep(&output_name(child.pid), child.output_pipe.as_fd());
    let mut process = Process {
        number: launch.number,
        pid: child.pid,
        exit: child.exit,
        signals: child.signals,
        output: Some(child.output_pipe),
        handed_over: false,
    };
    match control.connect(START_LIMIT).await {
        Ok(connection) => Ok(Serving { process, control, connection: Some(connection) }),
        Err(error) => {
            process.send(ChildSignal::Terminate);
            let exit = tokio::time::timeout(TERM_LIMIT, process.exit.wait()).await;
            match exit {
                // It ended by itself, which broke the connection.
                Ok(exit @ Exit::Code(_)) => Err(StartError::Ended { exit, alerts: alerts.of_ended().await }),
                Ok(Exit::Signal(_) | Exit::Unknown) | Err(_) => Err(StartError::NoReply(error)),
            }
        }
    }
}

impl Process {
    fn take_over(reaper: &Reaper, handed: &mut HandedProcess) -> io::Result<Self> {
        let adopted = handed.adopt(reaper)?;
        if let Some(pipe) = &handed.output {
            log_output(handed.pid, adopt_output(pipe.try_clone()?)?);
        }
        Ok(Self {
            number: handed.number,
            pid: handed.pid,
            exit: adopted.exit,
            signals: adopted.signals,
            output: handed.output.take(),
            handed_over: false,
        })
    }

    fn hand_over(mut self) -> HandedProcess {
        self.handed_over = true;
        HandedProcess {
            number: self.number,
            pid: self.pid,
            control: None,
            connection: None,
            output: self.output.take(),
            drained: Duration::ZERO,
        }
    }

    fn send(&self, signal: ChildSignal) {
        if let Err(error) = self.signals.send(signal) {
            warn!(pid = self.pid, %error, "HAProxy can't be signalled");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.handed_over && self.exit.ended().is_none() {
            self.send(ChildSignal::Kill);
        }
    }
}

impl Serving {
    /// Goes on with a process that serves already.
    pub(super) fn take_over(reaper: &Reaper, mut handed: HandedProcess) -> io::Result<Self> {
        let control = handed.control.take().ok_or(io::ErrorKind::InvalidInput)?;
        let process = Process::take_over(reaper, &mut handed)?;
        Ok(Self { process, control: ControlAddress::adopt(&control), connection: None })
    }

    /// Leaves the process to a successor, which connects anew.
    pub(super) fn hand_over(self) -> HandedProcess {
        HandedProcess { control: Some(self.control.hand_over()), ..self.process.hand_over() }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid
    }

    pub(super) fn number(&self) -> u64 {
        self.process.number
    }

    /// Where it hands out the listeners that it opened itself.
    pub(super) fn control_path(&self) -> &Path {
        self.control.path()
    }

    /// Waits until the process ends. Cancel safe.
    pub(super) async fn ended(&mut self) -> Exit {
        self.process.exit.wait().await
    }

    /// Whether the process has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.process.exit.ended().is_some()
    }

    /// A connection in good order, another one if the last broke.
    pub(super) async fn connection(&mut self) -> Result<&mut RuntimeConnection, RuntimeError> {
        let connection = match self.connection.take() {
            Some(connection) if connection.is_usable() => connection,
            Some(_) | None => self.control.connect(CONNECT_LIMIT).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Soft stop (management guide, 4): it accepts no more and ends with its last connection.
    pub(super) fn drain(self) -> Draining {
        self.process.send(ChildSignal::User1);
        let connection = self.connection.filter(RuntimeConnection::is_usable);
        Draining { process: self.process, connection, since: Instant::now(), terminated: None }
    }
}

impl Draining {
    /// Goes on with a process that drains already.
    pub(super) fn take_over(reaper: &Reaper, mut handed: HandedProcess) -> io::Result<Self> {
        let process = Process::take_over(reaper, &mut handed)?;
        let connection = handed.connection.take().map(RuntimeConnection::adopt).transpose()?;
        let now = Instant::now();
        let since = now.checked_sub(handed.drained).unwrap_or(now);
        Ok(Self { process, connection, since, terminated: None })
    }

    /// Leaves the process to a successor.
    pub(super) fn hand_over(self) -> HandedProcess {
        let (drained, connection) = (self.age(), self.connection.and_then(RuntimeConnection::hand_over));
        HandedProcess { connection, drained, ..self.process.hand_over() }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid
    }

    pub(super) fn number(&self) -> u64 {
        self.process.number
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Soft stop, for one that was not [`Serving`] here.
    pub(super) fn ask_to_drain(&self) {
        self.process.send(ChildSignal::User1);
    }

    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        self.process.exit.ended()
    }

    pub(super) async fn ended(&mut self) -> Exit {
        self.process.exit.wait().await
    }

    /// Sends commands; what it says to them plays no part: it may not know the server.
    pub(super) async fn tell(&mut self, commands: &[String]) {
        if let Some(connection) = &mut self.connection
            && let Err(error) = connection.execute_all(commands).await
        {
            debug!(pid = self.process.pid, %error, "a draining process takes no more commands");
            self.connection = None;
        }
    }

    /// Lets go of a process without clients, so that it ends.
    pub(super) async fn release_when_idle(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let clients = match connection.execute("show info").await {
            Ok(reply) => parse_show_info(&reply).map(|info| info.current_connections).unwrap_or_default(),
            Err(_ended) => 0,
        };
        if clients == 0 {
            self.connection = None;
        }
    }

    /// Whether it was told to end with its last connections.
    pub(super) fn is_terminated(&self) -> bool {
        self.terminated.is_some()
    }

    /// Ends it with SIGTERM, and with SIGKILL when that has not helped.
    pub(super) fn terminate(&mut self) {
        match self.terminated {
            None => {
                self.terminated = Some(Instant::now());
                self.process.send(ChildSignal::Terminate);
            }
            Some(since) if since.elapsed() >= TERM_LIMIT => self.process.send(ChildSignal::Kill),
            Some(_) => {}
        }
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        self.process.send(ChildSignal::Kill);
    }
}

//! From a configuration to a process that serves.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use super::process::Process;
use super::serving::Serving;
use super::{ENDED_LIMIT, TERM_LIMIT};
use crate::engine::as_root::MAY_CHROOT_VARIABLE;
use crate::engine::listen_address::ListenAddress;
use crate::engine::render::SERVER_STATE_VARIABLE;
use crate::haproxy::control_socket::{ControlSocket, ControlSocketError};
use crate::haproxy::left_alone::{RUNTIME_DIR_VARIABLE, output_name};
use crate::haproxy::listen_sockets::ListenSockets;
use crate::haproxy::meanwhile::Alone;
use crate::haproxy::output_log::{Alerts, log_output};
use crate::haproxy::runtime::RuntimeError;
use crate::process::child_command::ChildCommand;
use crate::process::exit::Exit;
use crate::process::reaper::Reaper;
use crate::process::root::may_chroot;
use crate::process::spawn::{ChildSignal, SpawnError};
use crate::systemd::files;

/// What to start.
#[derive(Debug)]
pub(in crate::haproxy) struct Launch<'a> {
    pub(in crate::haproxy) reaper: &'a Reaper,
    pub(in crate::haproxy) binary: &'a Path,
    pub(in crate::haproxy) config: &'a Path,
    pub(in crate::haproxy) server_state: &'a Path,
    pub(in crate::haproxy) runtime_dir: &'a Path,
    pub(in crate::haproxy) number: u64,
    pub(in crate::haproxy) sockets: &'a ListenSockets,
    /// The addresses of `sockets` that the configuration names.
    pub(in crate::haproxy) listen: &'a BTreeSet<&'a ListenAddress>,
    pub(in crate::haproxy) operators: &'a ListenSockets,
    /// The control socket of the process whose own listeners are taken over.
    pub(in crate::haproxy) listeners_of: Option<&'a Path>,
    /// How many clients it may take at a time, in place of `maxconn`.
    pub(in crate::haproxy) maxconn: Option<u32>,
    /// How long it may take to serve.
    pub(in crate::haproxy) limit: Duration,
}

/// Why a process doesn't serve.
#[derive(Debug, thiserror::Error)]
pub(in crate::haproxy) enum StartError {
    #[error(transparent)]
    ControlSocket(#[from] ControlSocketError),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    #[error("the new process ended before it served ({exit}): {}", last_words(alerts))]
    Ended { exit: Exit, alerts: Vec<String> },
    #[error("the new process did not serve")]
    NoReply(#[source] RuntimeError),
    #[error(transparent)]
    Alone(#[from] Alone),
}

fn last_words(alerts: &[String]) -> String {
    if alerts.is_empty() { "it said nothing of it".to_owned() } else { alerts.join(" | ") }
}

/// Starts a process and waits until it serves; dropped before that, the process is killed.
pub(in crate::haproxy) async fn start(launch: Launch<'_>) -> Result<Serving, StartError> {
    let control = ControlSocket::open(launch.runtime_dir, launch.number)?;
    let mut command = ChildCommand::new(launch.binary);
    command.arg("-db").arg("-f").arg(launch.config);
    if let Some(clients) = launch.maxconn {
        // Management guide, 3: it beats the configuration.
        command.arg("-n").arg(clients.to_string());
    }
    if let Some(old) = launch.listeners_of {
        // Management guide, 3: without it the two processes would share new clients, and those in the old one's queue
        // would be lost.
        command.arg("-x").arg(old);
    }
    command.env(RUNTIME_DIR_VARIABLE, launch.runtime_dir);
    command.env(SERVER_STATE_VARIABLE, OsString::from(PathBuf::from(launch.server_state)));
    if may_chroot() {
        command.env(MAY_CHROOT_VARIABLE, "1");
    } else {
        command.env_remove(MAY_CHROOT_VARIABLE);
    }
    launch.sockets.hand_to(&mut command, |address| launch.listen.contains(address));
    launch.operators.hand_to(&mut command, |_| true);
    control.hand_to(&mut command);
    let child = launch.reaper.spawn(command)?;
    let control = control.started();
    let alerts = log_output(child.pid, child.output);
    files::keep(&output_name(child.pid), child.output_pipe.as_fd());
    let process = Process {
        number: launch.number,
        pid: child.pid,
        exit: child.exit,
        signals: child.signals,
        output: Some(child.output_pipe),
        handed_over: false,
    };
    match control.connect(launch.limit).await {
        Ok(connection) => Ok(Serving::new(process, control, connection)),
        Err(error) => Err(give_up(process, error, alerts).await),
    }
}

/// Ends a process that gave no reply, if it has not ended by itself.
async fn give_up(mut process: Process, error: RuntimeError, alerts: Alerts) -> StartError {
    let ended = match error {
        RuntimeError::TimedOut(_) => process.exit.ended(),
        // Its end broke the connection; how it ended is known a moment later.
        RuntimeError::Unsendable(_)
        | RuntimeError::Connect(_)
        | RuntimeError::Closed
        | RuntimeError::Broken(_)
        | RuntimeError::OutOfStep
        | RuntimeError::Poisoned => timeout(ENDED_LIMIT, process.exit.wait()).await.ok(),
    };
    if let Some(exit) = ended {
        return StartError::Ended { exit, alerts: alerts.of_ended().await };
    }
    process.send(ChildSignal::Terminate);
    if timeout(TERM_LIMIT, process.exit.wait()).await.is_err() {
        tracing::warn!(pid = process.pid, "the new process does not end when it is told to; it is killed");
    }
    StartError::NoReply(error)
}

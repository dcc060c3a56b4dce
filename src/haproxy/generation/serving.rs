//! The process that accepts connections.

use std::io;
use std::path::Path;
use std::time::Instant;

use super::process::Process;
use super::{CONNECT_LIMIT, Draining};
use crate::haproxy::control_socket::ControlAddress;
use crate::haproxy::generations::Generation;
use crate::haproxy::handover::HandedProcess;
use crate::haproxy::reply::parse_show_info;
use crate::haproxy::runtime::{RuntimeConnection, RuntimeError};
use crate::process::exit::Exit;
use crate::process::reaper::Reaper;
use crate::process::spawn::ChildSignal;

/// A process that accepts connections.
#[derive(Debug)]
pub(in crate::haproxy) struct Serving {
    process: Process,
    control: ControlAddress,
    connection: Option<RuntimeConnection>,
    since: Instant,
    clients: Option<u64>,
}

impl Serving {
    pub(super) fn new(process: Process, control: ControlAddress, connection: RuntimeConnection) -> Self {
        Self { process, control, connection: Some(connection), since: Instant::now(), clients: None }
    }

    /// Goes on with a process that serves already.
    pub(in crate::haproxy) fn take_over(reaper: &Reaper, mut handed: HandedProcess) -> io::Result<Self> {
        let control = handed.control.take().ok_or(io::ErrorKind::InvalidInput)?;
        let process = Process::take_over(reaper, &mut handed)?;
        let since = process.started();
        Ok(Self { process, control: ControlAddress::adopt(&control), connection: None, since, clients: None })
    }

    /// Leaves the process to a successor, which connects anew.
    pub(in crate::haproxy) fn hand_over(self) -> HandedProcess {
        HandedProcess { control: Some(self.control.hand_over()), ..self.process.hand_over() }
    }

    pub(in crate::haproxy) fn pid(&self) -> u32 {
        self.process.pid
    }

    pub(in crate::haproxy) fn number(&self) -> u64 {
        self.process.number
    }

    /// Where it hands out the listeners that it opened itself.
    pub(in crate::haproxy) fn control_path(&self) -> &Path {
        self.control.path()
    }

    /// Waits until the process ends. Cancel safe.
    pub(in crate::haproxy) async fn ended(&mut self) -> Exit {
        self.process.exit.wait().await
    }

    /// Whether the process has ended.
    pub(in crate::haproxy) fn has_ended(&self) -> bool {
        self.process.exit.ended().is_some()
    }

    /// A connection in good order, another one if the last broke.
    pub(in crate::haproxy) async fn connection(&mut self) -> Result<&mut RuntimeConnection, RuntimeError> {
        let connection = match self.connection.take() {
            Some(connection) if connection.is_usable() => connection,
            Some(_) | None => self.control.connect(CONNECT_LIMIT).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Lets go of the connection: what came over it made no sense.
    pub(in crate::haproxy) fn distrust_connection(&mut self) {
        self.connection = None;
    }

    /// Asks how many clients it has, and tells whether it is in soft stop, which somebody else asked for.
    pub(in crate::haproxy) async fn is_stopping(&mut self) -> bool {
        let reply = match self.connection().await {
            Ok(connection) => connection.execute("show info").await.ok(),
            Err(_no_answer) => None,
        };
        let info = reply.and_then(|reply| parse_show_info(&reply).ok());
        let stopping = info.as_ref().is_some_and(|info| info.stopping);
        self.clients = info.map(|info| info.current_connections);
        stopping
    }

    #[cfg(test)]
    pub(super) fn exit_watch(&self) -> crate::process::exit::ExitWatch {
        self.process.exit.clone()
    }

    pub(in crate::haproxy) fn view(&self) -> Generation {
        let (number, pid) = (self.number(), self.pid());
        Generation { number, pid, since: self.since, connections: self.clients }
    }

    /// Soft stop (management guide, 4): it accepts no more and ends with its last connection.
    pub(in crate::haproxy) fn drain(self) -> Draining {
        self.process.send(ChildSignal::User1);
        let connection = self.connection.filter(RuntimeConnection::is_usable);
        Draining::new(self.process, connection, Instant::now())
    }
}

//! What runs, handed from one `ProxyMgr` to the one that takes its place: an upgrade, or the next start after a crash.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};

use super::actor::{Actor, Event, Handle, Settings};
use super::generation::{Draining, Serving};
use super::listen_sockets::{ListenError, ListenSockets};
use crate::engine::error_text::with_causes;
use crate::engine::listen_address::ListenAddress;
use crate::process::adopt::{Adopted, Birth};
use crate::process::exit::Exit;
use crate::process::reaper::Reaper;

/// The sockets and processes of one `ProxyMgr`. Dropped, the sockets are closed here; the processes run on.
#[derive(Debug, Default)]
pub struct HandedOver {
    /// How many processes have been started.
    pub generations: u64,
    /// The listen sockets of services.
    pub listening: Vec<(ListenAddress, OwnedFd)>,
    /// Those that systemd opened ([`ListenSockets::lend`]).
    pub lent: Vec<(ListenAddress, OwnedFd)>,
    /// The stats socket for operators' tools.
    pub operators: Vec<(ListenAddress, OwnedFd)>,
    /// The process that accepts connections.
    pub serving: Option<HandedProcess>,
    /// Those that end with their last connection, oldest first.
    pub draining: Vec<HandedProcess>,
    /// Processes that nobody looked after, and that serve until one of ours does; at once to be drained when there is one.
    pub strays: Vec<HandedProcess>,
    /// The configuration that describes what the serving process holds.
    pub config: Option<Arc<str>>,
}

/// One process of `HAProxy`.
#[derive(Debug)]
pub struct HandedProcess {
    /// Its generation.
    pub number: u64,
    /// Its process id.
    pub pid: u32,
    /// Its runtime socket; `None` of one that drains: nobody can connect there any more.
    pub control: Option<PathBuf>,
    /// A connection to its runtime socket that was opened before it drained.
    pub connection: Option<OwnedFd>,
    /// The pipe that its output comes through.
    pub output: Option<OwnedFd>,
    /// How long it has been draining.
    pub drained: Duration,
}

impl HandedProcess {
    /// Takes charge of it, as its parent if it is.
    pub(super) fn adopt(&self, reaper: &Reaper) -> io::Result<Adopted> {
        let is_child = Birth::of(self.pid).is_some_and(|birth| birth.parent == std::process::id());
        if is_child { reaper.adopt_child(self.pid) } else { reaper.adopt_stranger(self.pid) }
    }
}

impl Actor {
    /// Lets go of all sockets and processes without ending any.
    pub(super) fn hand_over(mut self) -> HandedOver {
        HandedOver {
            generations: self.generations,
            listening: self.sockets.hand_over(),
            lent: self.sockets.hand_over_lent(),
            operators: self.operators.hand_over(),
            strays: self.strays,
            serving: self.serving.map(Serving::hand_over),
            draining: self.draining.hand_over(),
            config: self.last_good,
        }
    }

    /// Starts an actor, in a task of the current tokio runtime, for an `HAProxy` that doesn't run yet.
    ///
    /// # Errors
    /// When the operators' socket can't be had.
    pub fn start(settings: Settings, reaper: Reaper, mut handed: HandedOver) -> Result<Handle, ListenError> {
        let operators = operators_socket(&settings, std::mem::take(&mut handed.operators))?;
        Ok(Self::go_on(settings, reaper, operators, handed))
    }

    /// The same, but it goes on with what runs. To be called before anything is awaited since the reaper was started. What is not
    /// there any more is reported: a serving process as [`Event::Died`]. The error tells why there is no operators' socket: that is
    /// no reason not to go on.
    pub fn take_over(
        mut settings: Settings,
        reaper: Reaper,
        mut handed: HandedOver,
    ) -> (Handle, Option<ListenError>) {
        let operators = operators_socket(&settings, std::mem::take(&mut handed.operators));
        let (operators, error) = match operators {
            Ok(operators) => (operators, None),
            Err(error) => {
                settings.operators_socket = None;
                (ListenSockets::operators(), Some(error))
            }
        };
        (Self::go_on(settings, reaper, operators, handed), error)
    }

    fn go_on(settings: Settings, reaper: Reaper, operators: ListenSockets, handed: HandedOver) -> Handle {
        let mut actor = Self::new(settings, reaper, operators);
        for (address, socket) in handed.lent {
            actor.sockets.lend(address, socket);
        }
        for (address, socket) in handed.listening {
            if let Err(error) = actor.sockets.adopt(address, socket) {
                warn!("{error}");
            }
        }
        actor.generations = handed.generations;
        actor.last_good = handed.config;
        for process in handed.draining {
            let pid = process.pid;
            match Draining::take_over(&actor.reaper, process) {
                Ok(draining) => actor.draining.go_on_with(draining),
                Err(error) => info!(pid, %error, "an old HAProxy has ended meanwhile"),
            }
        }
        let pid = handed.serving.as_ref().map(|process| process.pid);
        actor.serving = handed.serving.and_then(|process| match Serving::take_over(&actor.reaper, process) {
            Ok(serving) => {
                info!(pid = serving.pid(), generation = serving.number(), "HAProxy serves on");
                Some(serving)
            }
            Err(error) => {
                warn!(pid, error = with_causes(&error), "HAProxy can't be taken over");
                None
            }
        });
        actor.strays = handed.strays;
        if actor.serving.is_some() {
            actor.drain_strays();
        }
        actor.launch()
    }

    /// Lets the processes drain that a predecessor left alone.
    pub(super) fn drain_strays(&mut self) {
        for process in std::mem::take(&mut self.strays) {
            let pid = process.pid;
            match Draining::take_over(&self.reaper, process) {
                Ok(stray) => self.draining.push_stray(stray),
                Err(error) => info!(pid, %error, "an HAProxy that was left alone has ended meanwhile"),
            }
        }
    }

    /// Reports a serving process that ended before it could be taken over.
    pub(super) async fn report_missing(&self, events: &mpsc::Sender<Event>) {
        if self.generations > 0
            && self.serving.is_none()
            && events.send(Event::Died(Exit::Unknown)).await.is_err()
        {
            info!("nobody hears that HAProxy has ended");
        }
    }
}

/// Whether the operators' socket could be had at `address`; it is not kept.
///
/// # Errors
/// When it could not.
pub fn try_operators_socket(address: &ListenAddress) -> Result<(), ListenError> {
    ListenSockets::operators().open(address)
}

/// The operators' socket that is asked for: the one handed over, or another. An `HAProxy` left alone with its path would take it
/// from whoever holds it, or not start.
fn operators_socket(
    settings: &Settings,
    handed: Vec<(ListenAddress, OwnedFd)>,
) -> Result<ListenSockets, ListenError> {
    let mut operators = ListenSockets::operators();
    let wanted = settings.operators_address();
    for (address, socket) in handed {
        match operators.adopt(address.clone(), socket) {
            Ok(()) if wanted.as_ref() != Some(&address) => {
                operators.close(&address);
            }
            Ok(()) => {}
            Err(error) => warn!("{error}"),
        }
    }
    if let Some(address) = &wanted {
        operators.open(address)?;
    }
    Ok(operators)
}

//! The one that acts on `HAProxy`: an order in, its outcome out, one at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::draining::{DrainingProcesses, LOOK_EVERY};
use super::generation::Serving;
use super::generations::Generations;
use super::handover::{HandedOver, HandedProcess};
use super::last_state::LastState;
use super::listen_sockets::ListenSockets;
use super::meanwhile::{death_of, publish};
use super::reload::Reloaded;
use super::route_files::RouteFiles;
use crate::engine::command::{RuntimeCommand, Verdict};
use crate::engine::error_text::with_causes;
use crate::engine::listen_address::ListenAddress;
use crate::engine::reconciler::{Order, Outcome, ReloadFailure};
use crate::engine::service::{ServiceName, UnixPath};
use crate::panics::{Panicked, caught, supervised};
use crate::process::exit::Exit;
use crate::process::reaper::Reaper;

/// How long a new process may take to serve; 1000 services x 50 servers take 1.3 s.
pub const START_LIMIT: Duration = Duration::from_secs(30);
/// How often the serving process is asked for its connections.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Where everything is, and the limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The `HAProxy` binary.
    pub binary: PathBuf,
    /// haproxy.cfg.
    pub config_path: PathBuf,
    /// The stats socket for operators' tools.
    pub operators_socket: Option<UnixPath>,
    /// For what must outlive us.
    pub state_dir: PathBuf,
    /// For sockets and what a start needs.
    pub runtime_dir: PathBuf,
    /// How long an old process may drain.
    pub drain_timeout: Duration,
    /// How many old processes may drain.
    pub max_draining: usize,
    /// How long a new process may take to serve: [`START_LIMIT`].
    pub start_limit: Duration,
}

impl Settings {
    /// Where the operators' socket is.
    pub fn operators_address(&self) -> Option<ListenAddress> {
        self.operators_socket.clone().map(ListenAddress::Unix)
    }
}

/// What the actor says.
#[derive(Debug)]
pub enum Event {
    /// An order's outcome.
    Done(Outcome),
    /// The serving process ended by itself.
    Died(Exit),
    /// Somebody else told the serving process to accept no more.
    Stopped,
    /// Commands of the order under way were sent, and this long after it the last reply came, or none any more.
    Commanded(Duration),
}

/// How the actor ends.
#[derive(Debug)]
pub enum Ending {
    /// With `HAProxy`: soft, and after this time hard.
    Drain(Duration),
    /// Without `HAProxy`: everything is handed over.
    HandOver(oneshot::Sender<HandedOver>),
}

/// The way to the actor. Dropping it ends `HAProxy` at once.
#[derive(Debug)]
pub struct Handle {
    /// Takes one order after the other's [`Event::Done`].
    pub orders: mpsc::Sender<Order>,
    /// What the actor says.
    pub events: mpsc::Receiver<Event>,
    /// Ends the actor.
    pub ending: oneshot::Sender<Ending>,
    /// The processes as they were seen last; what is new is seen before the event that tells of it.
    pub generations: watch::Receiver<Generations>,
    /// Ends with the actor, after the last process.
    pub task: tokio::task::JoinHandle<()>,
}

/// The actor.
#[derive(Debug)]
pub struct Actor {
    pub(super) settings: Settings,
    pub(super) reaper: Reaper,
    pub(super) sockets: ListenSockets,
    pub(super) operators: ListenSockets,
    pub(super) serving: Option<Serving>,
    pub(super) draining: DrainingProcesses,
    pub(super) generations: u64,
    /// The configuration that the serving process was started with, or that describes what it holds now.
    pub(super) last_good: Option<Arc<str>>,
    /// The last good configuration could not be kept in `state_dir`.
    pub(super) last_good_unwritten: bool,
    pub(super) last_state: Option<LastState>,
    pub(super) route_files: RouteFiles,
    /// How long the commands of the order under way took.
    pub(super) commanded: Option<Duration>,
    /// Processes of a predecessor that serve until the first one of ours does.
    pub(super) strays: Vec<HandedProcess>,
    pub(super) seen: watch::Sender<Generations>,
}

impl Actor {
    /// An actor that knows of no process yet.
    pub(super) fn new(settings: Settings, reaper: Reaper, operators: ListenSockets) -> Self {
        Self {
            draining: DrainingProcesses::new(settings.drain_timeout, settings.max_draining),
            sockets: ListenSockets::services(),
            operators,
            serving: None,
            generations: 0,
            last_good: None,
            last_good_unwritten: false,
            last_state: None,
            route_files: RouteFiles::default(),
            commanded: None,
            strays: Vec::new(),
            seen: watch::Sender::default(),
            settings,
            reaper,
        }
    }

    pub(super) fn launch(self) -> Handle {
        let (orders, order_queue) = mpsc::channel(1);
        let (event_queue, events) = mpsc::channel(16);
        let (ending, asked_to_end) = oneshot::channel();
        self.publish();
        let generations = self.seen.subscribe();
        let task = tokio::spawn(self.run(order_queue, event_queue, asked_to_end));
        Handle { orders, events, ending, generations, task }
    }

    async fn run(
        mut self,
        mut orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<Event>,
        mut asked_to_end: oneshot::Receiver<Ending>,
    ) {
        self.report_missing(&events).await;
        let ending = {
            let mut lasting = (&mut self, &mut orders, &events);
            let serving = supervised("HAProxy", &mut lasting, |(actor, orders, events)| {
                Box::pin(actor.serve(orders, events))
            });
            tokio::select! {
                ending = &mut asked_to_end => ending.ok(),
                () = serving => None,
            }
        };
        match ending.unwrap_or(Ending::Drain(Duration::ZERO)) {
            Ending::Drain(grace) => self.end(grace).await,
            Ending::HandOver(successor) => {
                if successor.send(self.hand_over()).is_err() {
                    warn!("nobody takes over what was handed over; HAProxy runs on alone");
                }
            }
        }
    }

    /// Carries out orders until nobody is left to give or hear them.
    async fn serve(&mut self, orders: &mut mpsc::Receiver<Order>, events: &mpsc::Sender<Event>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut count = tokio::time::interval(COUNT_EVERY);
        count.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => {
                        let if_it_panics = outcome_unknown(&order);
                        let outcome = caught("HAProxy order", self.carry_out(order, events)).await;
                        if let Some(took) = self.commanded.take()
                            && events.send(Event::Commanded(took)).await.is_err()
                        {
                            return;
                        }
                        Some(Event::Done(outcome.unwrap_or_else(if_it_panics)))
                    }
                    None => return,
                },
                exit = death_of(&mut self.serving) => {
                    self.serving = None;
                    Some(Event::Died(exit))
                }
                _ = look.tick(), if !self.draining.is_empty() => {
                    self.draining.look().await;
                    None
                }
                _ = count.tick() => {
                    let stopped = self.look_at_the_serving().await;
                    // One that hangs must leave time for orders.
                    count.reset();
                    stopped
                }
            };
            self.publish();
            if let Some(event) = event
                && events.send(event).await.is_err()
            {
                return;
            }
        }
    }

    /// Nothing but its runtime socket tells that somebody else asked the process for its soft stop: it lives on with our
    /// connection, and accepts no more.
    async fn look_at_the_serving(&mut self) -> Option<Event> {
        if !self.serving.as_mut()?.is_stopping().await {
            return None;
        }
        self.draining.push(self.serving.take()?);
        Some(Event::Stopped)
    }

    fn publish(&self) {
        publish(&self.seen, self.generations, self.serving.as_ref(), &self.draining);
    }

    async fn carry_out(&mut self, order: Order, events: &mpsc::Sender<Event>) -> Outcome {
        match order {
            Order::Reload { reasons: _, first, config, maxconn, before, after } => {
                match self.reload(&first, (&config, maxconn), before.as_deref(), &after, events).await {
                    Ok(Reloaded { took, config_error }) => Outcome::Reloaded {
                        took,
                        config_error: config_error.as_ref().map(|error| with_causes(error)),
                    },
                    Err(failure) => Outcome::ReloadFailed(failure),
                }
            }
            Order::Apply { config, commands, closes } => {
                let (text, routes) = config.map(|config| (config.text, config.routes)).unzip();
                let config_error = match text {
                    Some(text) => self.update_config(text).await.err(),
                    None => None,
                };
                let verdicts = self.execute(&commands).await;
                // After the commands: nobody but a process that starts reads them.
                let routes_error = match routes {
                    Some(routes) => self.route_files.write_aside(routes).await.err(),
                    None => None,
                };
                let config_error = config_error.or(routes_error);
                for address in closed(&closes, &commands, &verdicts) {
                    self.sockets.close(address);
                    info!(%address, "no longer listening");
                }
                Outcome::Applied { verdicts, config_error: config_error.map(|error| with_causes(&error)) }
            }
            Order::Compare { routes } => match self.observe(routes).await {
                Ok(observed) => Outcome::Compared(observed),
                Err(error) => Outcome::CompareFailed(with_causes(&error)),
            },
        }
    }

    /// Closes the listen sockets that aren't needed any more; processes that inherited them close theirs themselves.
    pub(super) fn close_sockets(&mut self, needed: impl Fn(&ListenAddress) -> bool) {
        let unneeded: Vec<_> = self.sockets.addresses().filter(|address| !needed(address)).cloned().collect();
        for address in unneeded {
            self.sockets.close(&address);
            info!(%address, "no longer listening");
        }
    }

    async fn end(mut self, grace: Duration) {
        if let Some(serving) = self.serving.take() {
            if !grace.is_zero() && !serving.has_ended() {
                self.sockets.turn_away(grace).await;
            }
            self.draining.push(serving);
        }
        self.drain_strays();
        self.sockets.leave();
        self.operators.leave();
        info!("no longer listening");
        let drain = async {
            while !self.draining.is_empty() {
                self.draining.look().await;
                tokio::select! {
                    () = self.draining.ended() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        };
        if tokio::time::timeout(grace, drain).await.is_err() {
            warn!(?grace, "connections remain after shutdown.grace; they are cut");
            self.draining.kill_all();
            self.draining.ended().await;
        }
    }
}

/// The addresses of the frontends that were certainly shut down: nobody accepts there any more.
fn closed<'a>(
    closes: &'a BTreeMap<ServiceName, Vec<ListenAddress>>,
    commands: &[RuntimeCommand],
    verdicts: &[Verdict],
) -> Vec<&'a ListenAddress> {
    let done = commands.iter().zip(verdicts).filter(|(_, verdict)| **verdict == Verdict::Done);
    let frontends = done.filter_map(|(command, _)| match command {
        RuntimeCommand::ShutdownFrontend(name) => closes.get(name),
        RuntimeCommand::AddServer(_)
        | RuntimeCommand::EnableCheck { .. }
        | RuntimeCommand::Server { .. }
        | RuntimeCommand::Backend { .. }
        | RuntimeCommand::Route { .. } => None,
    });
    frontends.flatten().collect()
}

/// What is told when an order panics half way: a failure, after which what runs is compared with what is wanted.
fn outcome_unknown(order: &Order) -> fn(Panicked) -> Outcome {
    match order {
        Order::Reload { .. } => {
            |panicked| Outcome::ReloadFailed(ReloadFailure::NotServing(panicked.to_string()))
        }
        Order::Apply { .. } => {
            |panicked| Outcome::Applied { verdicts: Vec::new(), config_error: Some(panicked.to_string()) }
        }
        Order::Compare { .. } => |panicked| Outcome::CompareFailed(panicked.to_string()),
    }
}

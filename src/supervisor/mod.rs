//! Joins the registries, the engine and `HAProxy`: the only loop that waits for all of them.

pub mod dry_run;
pub mod prepare;
mod remember;
pub mod settings;
mod signals;
mod snapshot;

use std::time::Instant;

use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use crate::config::Config;
use crate::engine::include::Includes;
use crate::engine::moment::Moment;
use crate::engine::reconciler::{Effect, Input, Notice, Reconciler};
use crate::haproxy::actor::{Actor, Event, Handle};
use crate::include_files::Follower;
use crate::service_manager::{self, RegistryEvent};

use prepare::{StartError, check_base, prepare};
use remember::{Recorder, recall};
use settings::{haproxy_settings, reconciler_settings, sources};
use signals::{Request, Signals};

/// Events of the registries that wait; a full queue only slows the registries down.
const REGISTRY_QUEUE: usize = 256;

/// Why the loop ended unasked.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Something that must be there at the start isn't.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The task that acts on `HAProxy` is gone.
    #[error("the HAProxy task ended; this is a defect of ProxyMgr, its log tells more")]
    HaproxyTask,
}

/// Runs until it is asked to end, then ends `HAProxy` and returns.
///
/// # Errors
/// When it can't start.
pub async fn run(config: Config) -> Result<(), RunError> {
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    let prepared = prepare(&config).await?;
    let sources = sources(&config)?;
    info!(version = env!("CARGO_PKG_VERSION"), haproxy = %prepared.version, "ProxyMgr starts");

    let settings = reconciler_settings(&config, prepared.version)?;
    check_base(&config, settings.base.clone(), &prepared.reaper).await?;

    let clock = Clock(Instant::now());
    let reconciler = Reconciler::new(settings, clock.now());
    let haproxy =
        Actor::start(haproxy_settings(&config)?, prepared.reaper).map_err(StartError::OperatorsSocket)?;
    let (registry_events, registry) = mpsc::channel(REGISTRY_QUEUE);
    let registries = {
        let memory = recall(&config.state_dir, config.safety.startup_timeout);
        tokio::spawn(service_manager::run(sources, memory, registry_events))
    };

    let recorder = Recorder::new(config.state_dir.clone());
    let (include_events, includes) = mpsc::channel(1);
    let mut supervisor = Supervisor { clock, reconciler, haproxy, registry, includes, recorder };
    let mut follower = Follower::new(config.haproxy.include.clone(), config.haproxy.config_path.clone());
    if let Some(includes) = follower.look() {
        supervisor.handle(Input::Includes(includes)).await?;
    }
    let follower = tokio::spawn(follower.follow(include_events));
    let ended = supervisor.serve(&mut signals).await;
    registries.abort();
    follower.abort();
    ended?;
    supervisor.end(&config, &mut signals).await;
    Ok(())
}

#[derive(Debug)]
struct Clock(Instant);

impl Clock {
    fn now(&self) -> Moment {
        Moment::after_start(self.0.elapsed())
    }
}

struct Supervisor {
    clock: Clock,
    reconciler: Reconciler,
    haproxy: Handle,
    registry: mpsc::Receiver<RegistryEvent>,
    includes: mpsc::Receiver<Includes>,
    recorder: Recorder,
}

impl Supervisor {
    /// The loop; ends when a signal asks for it.
    async fn serve(&mut self, signals: &mut Signals) -> Result<(), RunError> {
        loop {
            let deadline = self.reconciler.deadline();
            let input = tokio::select! {
                request = signals.next() => match request {
                    Request::End => return Ok(()),
                    Request::NotYet(what) => {
                        warn!("{what} is not supported yet by this version; restart ProxyMgr instead");
                        continue;
                    }
                },
                event = self.haproxy.events.recv() => match event {
                    Some(Event::Done(outcome)) => Input::Done(outcome),
                    Some(Event::Died(exit)) => Input::Died { how: exit.to_string() },
                    None => return Err(RunError::HaproxyTask),
                },
                Some(event) = self.registry.recv() => {
                    self.recorder.note(&event);
                    match registry_input(event) {
                        Some(input) => input,
                        None => continue,
                    }
                },
                Some(files) = self.includes.recv() => Input::Includes(files),
                () = self.recorder.due() => {
                    self.recorder.write(&self.reconciler).await;
                    continue;
                }
                () = self.clock.sleep_until(deadline) => Input::Tick,
            };
            self.handle(input).await?;
        }
    }

    async fn handle(&mut self, input: Input) -> Result<(), RunError> {
        for effect in self.reconciler.handle(input, self.clock.now()) {
            match effect {
                Effect::Order(order) => {
                    self.haproxy.orders.send(order).await.map_err(|_gone| RunError::HaproxyTask)?;
                }
                Effect::Notice(notice) => log(&notice),
                Effect::Ready => info!("ready"),
            }
        }
        Ok(())
    }

    /// Lets `HAProxy` drain; a second signal ends that.
    async fn end(mut self, config: &Config, signals: &mut Signals) {
        if self.recorder.is_behind() {
            self.recorder.write(&self.reconciler).await;
        }
        let grace = config.shutdown.grace;
        info!(?grace, "asked to end; HAProxy drains");
        let Handle { shutdown, mut task, orders: _orders, events: _events } = self.haproxy;
        if shutdown.send(grace).is_err() {
            debug!("the HAProxy task has ended already");
        }
        let second_signal = async { while signals.next().await != Request::End {} };
        tokio::select! {
            ended = &mut task => if let Err(error) = ended {
                error!(%error, "the HAProxy task failed while it ended");
            },
            () = second_signal => {
                warn!("asked to end again; connections are cut");
                // Dropped with its task, each process is killed.
                task.abort();
                if let Err(error) = task.await {
                    debug!(%error, "the HAProxy task is gone");
                }
            }
        }
        info!("ended");
    }
}

impl Clock {
    async fn sleep_until(&self, deadline: Option<Moment>) {
        match deadline {
            Some(deadline) => tokio::time::sleep(deadline - self.now()).await,
            None => std::future::pending().await,
        }
    }
}

/// What the reconciler is told of a registry's event. Refusals and skipped entries are logged where they are found.
fn registry_input(event: RegistryEvent) -> Option<Input> {
    match event {
        RegistryEvent::Listed => Some(Input::Listed),
        RegistryEvent::Defined { name, spec, definition: _ } => Some(Input::Defined(name, spec)),
        RegistryEvent::Remembered { name, servers } => Some(Input::Remembered(name, servers)),
        RegistryEvent::Refused { .. } => None,
        RegistryEvent::Removed { name } => Some(Input::Removed(name)),
        RegistryEvent::Servers { name, servers } => Some(Input::Servers(name, servers.servers().to_vec())),
    }
}

fn log(notice: &Notice) {
    if notice.is_trouble() {
        warn!("{notice}");
    } else {
        info!("{notice}");
    }
}

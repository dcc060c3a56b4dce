//! Joins the registries, the engine and `HAProxy`: the only loop that waits for all of them.

mod commands;
pub mod dry_run;
pub mod handover;
mod operator_drains;
pub mod prepare;
mod remember;
mod replacement;
mod sealed;
pub mod settings;
pub mod signals;
mod snapshot;
mod status;

use std::path::PathBuf;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

use crate::admin::request::Asked;
use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::engine::include::Includes;
use crate::engine::moment::Moment;
use crate::engine::reconciler::{Effect, Input, Notice, Reconciler};
use crate::engine::state::AppliedState;
use crate::haproxy::actor::{Actor, Ending, Event, Handle};
use crate::include_files::Follower;
use crate::service_manager::{self, RegistryEvent};
use crate::systemd::{self, State, Watchdog};

use handover::exec::receive;
use operator_drains::OperatorDrains;
use prepare::{StartError, check_base, prepare};
use remember::{Recorder, recall};
use replacement::{Inherited, Replacement, Why};
use settings::{haproxy_settings, host_names, reconciler_settings, sources};
use signals::{Request, Signals, let_through};
use status::StatusDesk;

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

/// Runs until it is asked to end, then ends `HAProxy` and returns. `config_file` is read again when a signal asks for it.
///
/// # Errors
/// When it can't start.
pub async fn run(config: Config, config_file: PathBuf) -> Result<(), RunError> {
    let inherited = receive();
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    let_through().map_err(StartError::Signals)?;
    let prepared = prepare(&config).await?;
    let sources = sources(&config)?;
    info!(version = env!("CARGO_PKG_VERSION"), haproxy = %prepared.version, "ProxyMgr starts");
    let settings = reconciler_settings(&config, prepared.version)?;
    let inherited = inherited.and_then(Inherited::take).unwrap_or_else(|error| {
        error!(error = with_causes(&error), "nothing can be taken over; HAProxy is started anew");
        Inherited::default()
    });
    let commands = commands::listen(&config.runtime_dir, inherited.program.is_some())?;
    if inherited.applied.is_none() {
        check_base(&config, settings.base.clone(), &prepared.reaper).await?;
    }

    let status_desk = StatusDesk::new(prepared.version, config.haproxy.socket_path.clone());
    let clock = Clock(Instant::now());
    let mut reconciler = match inherited.applied {
        Some(applied) => Reconciler::taking_over(settings, applied, clock.now()),
        None => Reconciler::new(settings, clock.now()),
    };
    let drains = OperatorDrains::new(config.state_dir.clone());
    drains.recall(&mut reconciler, clock.now());
    let haproxy_settings = haproxy_settings(&config)?;
    let haproxy = Actor::take_over(haproxy_settings.clone(), prepared.reaper.clone(), inherited.haproxy)
        .map_err(StartError::OperatorsSocket)?;
    let (registry_events, registry) = mpsc::channel(REGISTRY_QUEUE);
    let registries = {
        let memory = recall(&config.state_dir, config.safety.startup_timeout);
        tokio::spawn(service_manager::run(sources, host_names(&config), memory, registry_events))
    };

    let recorder = Recorder::new(config.state_dir.clone());
    let replacement = Replacement::new(inherited.program, config_file, haproxy_settings, prepared.reaper);
    let watchdog = Watchdog::from_environment();
    let (include_events, includes) = mpsc::channel(1);
    let mut supervisor = Supervisor {
        clock,
        reconciler,
        haproxy,
        registry,
        includes,
        commands,
        status_desk,
        drains,
        recorder,
        replacement,
        watchdog,
        status: String::new(),
    };
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
    commands: mpsc::Receiver<Asked>,
    status_desk: StatusDesk,
    drains: OperatorDrains,
    recorder: Recorder,
    replacement: Replacement,
    watchdog: Watchdog,
    /// What systemd was told last.
    status: String,
}

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    End,
}

impl Supervisor {
    /// The loop; ends when a signal asks for it.
    async fn serve(&mut self, signals: &mut Signals) -> Result<(), RunError> {
        loop {
            let deadline = self.reconciler.deadline();
            let input = tokio::select! {
                request = signals.next() => {
                    if self.take_request(request) == Flow::End {
                        return Ok(());
                    }
                    continue;
                }
                () = self.watchdog.tell() => None,
                () = self.replacement.answered() => None,
                event = self.haproxy.events.recv() => match event {
                    Some(Event::Done(outcome)) => Some(Input::Done(outcome)),
                    Some(Event::Died(exit)) => Some(Input::Died { how: exit.to_string() }),
                    None => return Err(RunError::HaproxyTask),
                },
                Some(event) = self.registry.recv() => {
                    self.recorder.note(&event);
                    self.status_desk.note_event(&event, self.clock.now());
                    registry_input(event)
                },
                Some(files) = self.includes.recv() => Some(Input::Includes(files)),
                Some(asked) = self.commands.recv() => self.carry_out(asked).await,
                () = self.recorder.due() => {
                    self.recorder.write(&self.reconciler).await;
                    None
                }
                () = self.clock.sleep_until(deadline) => Some(Input::Tick),
            };
            if let Some(input) = input {
                self.handle(input).await?;
            }
            if let Some(request) = self.replace_when_idle(signals).await?
                && self.take_request(request) == Flow::End
            {
                return Ok(());
            }
        }
    }

    fn take_request(&mut self, request: Request) -> Flow {
        let why = match request {
            Request::End => return Flow::End,
            Request::Reread => Why::Reread,
            Request::Upgrade => Why::Upgrade,
        };
        self.replacement.begin(why, None, self.reconciler.applied());
        Flow::GoOn
    }

    /// Becomes another program, if one is to take over and nothing is under way.
    async fn replace_when_idle(&mut self, signals: &mut Signals) -> Result<Option<Request>, RunError> {
        if !self.replacement.is_ready() || !self.reconciler.is_idle() {
            return Ok(None);
        }
        if self.recorder.is_behind() {
            self.recorder.write(&self.reconciler).await;
        }
        let request = signals.hold_back().await.map_err(StartError::Signals)?;
        if request.is_none() {
            self.replace().await?;
        }
        // Nobody took over.
        let_through().map_err(StartError::Signals)?;
        Ok(request)
    }

    async fn replace(&mut self) -> Result<(), RunError> {
        let (successor, handed) = oneshot::channel();
        let ending = std::mem::replace(&mut self.haproxy.ending, oneshot::channel().0);
        if ending.send(Ending::HandOver(successor)).is_err() {
            return Err(RunError::HaproxyTask);
        }
        let handed = handed.await.map_err(|_gone| RunError::HaproxyTask)?;
        self.haproxy = self.replacement.replace(handed, self.reconciler.applied())?;
        Ok(())
    }

    async fn handle(&mut self, input: Input) -> Result<(), RunError> {
        let is_outcome = matches!(input, Input::Done(_));
        if is_outcome {
            self.status_desk.note_outcome(self.clock.now());
        }
        for effect in self.reconciler.handle(input, self.clock.now()) {
            match effect {
                Effect::Order(order) => {
                    self.status_desk.note_order(&order, self.clock.now());
                    self.haproxy.orders.send(order).await.map_err(|_gone| RunError::HaproxyTask)?;
                }
                Effect::Notice(notice) => {
                    log(&notice);
                    self.status_desk.note_notice(&notice, self.clock.now());
                    if let Notice::Died { .. } = notice {
                        self.status = notice.to_string();
                        systemd::tell_status(&self.status);
                    }
                }
                Effect::Ready => {
                    info!("ready");
                    systemd::tell(State::Ready);
                }
            }
        }
        self.drains.tell(&self.reconciler);
        if is_outcome {
            self.tell_status();
        }
        Ok(())
    }

    /// Tells systemd what is served, once it is something else.
    fn tell_status(&mut self) {
        let serving = self.reconciler.applied().into_iter().flat_map(AppliedState::serving);
        let (mut services, mut servers) = (0_usize, 0_usize);
        for (_, service) in serving {
            services += 1;
            servers += service.servers.values().filter(|server| !server.standing.is_out()).count();
        }
        let status = format!("serving {services} services with {servers} servers");
        if status != self.status {
            systemd::tell_status(&status);
            self.status = status;
        }
    }

    /// Lets `HAProxy` drain; a second signal ends that.
    async fn end(mut self, config: &Config, signals: &mut Signals) {
        if self.recorder.is_behind() {
            self.recorder.write(&self.reconciler).await;
        }
        systemd::tell(State::Stopping);
        // Whoever asks something is told so.
        drop((self.commands, self.replacement, self.drains));
        let grace = config.shutdown.grace;
        info!(?grace, "asked to end; HAProxy drains");
        let Handle { ending, mut task, orders: _orders, events: _events } = self.haproxy;
        if ending.send(Ending::Drain(grace)).is_err() {
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
        RegistryEvent::Defined { name, spec, definition: _, unknown_keys: _ } => {
            Some(Input::Defined(name, spec))
        }
        RegistryEvent::Remembered { name, servers } => Some(Input::Remembered(name, servers)),
        RegistryEvent::Refused { .. } | RegistryEvent::Forgotten { .. } => None,
        RegistryEvent::Removed { name } => Some(Input::Removed(name)),
        RegistryEvent::Servers { name, servers } => Some(Input::Servers(name, servers.servers().to_vec())),
        RegistryEvent::FixedServers { name, servers } => {
            Some(Input::FixedServers(name, servers.servers().to_vec()))
        }
    }
}

fn log(notice: &Notice) {
    if notice.is_trouble() {
        warn!("{notice}");
    } else {
        info!("{notice}");
    }
}

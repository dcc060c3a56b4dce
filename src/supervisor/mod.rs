//! Joins the registries, the engine and `HAProxy`: the only loop that waits for all of them.

mod clock;
mod commands;
mod cookie_key;
pub mod dry_run;
mod end;
mod feeds;
pub mod handover;
mod history;
mod http_desk;
mod metrics;
mod operator_drains;
mod origins;
mod past;
pub mod prepare;
mod registry_name;
mod remember;
mod replacement;
mod replacing;
mod sealed;
pub mod settings;
pub mod signals;
mod snapshot;
mod start;
mod status;
mod telling;
mod template;
#[cfg(test)]
mod tests;
mod values;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, error, info, warn};

use crate::admin::history::CauseEvent;
use crate::admin::request::Asked;
use crate::config::Config;
use crate::engine::reconciler::{Effect, Input, Notice, Reconciler};
use crate::haproxy::actor::{Event, Handle};
use crate::haproxy::handover::HandedOver;
use crate::panics::{Restarts, caught};
use crate::service_config::SourceSettings;
use crate::systemd::{self, State, Watchdog};

use clock::Clock;
use end::end_haproxy;
use feeds::{Begun, Feeds, template_input};
use handover::after_crash::CrashRecord;
use handover::exec::Received;
use history::Historian;
use http_desk::HttpDesk;
use metrics::{MetricsDesk, Totals};
use operator_drains::OperatorDrains;
use past::PastKeeper;
use prepare::{Locked, StartError};
use remember::Recorder;
use replacement::Replacement;
use replacing::stop_holding_back;
use signals::Signals;
use start::{Started, start};
use status::StatusDesk;
use status::live::LiveDesk;
use template::TemplateKeeper;
use values::ValuesDesk;

/// Events of the registries that wait; a full queue only slows the registries down.
const REGISTRY_QUEUE: usize = 256;
const STOPPED: &str = "somebody else told it to stop (SIGUSR1)";
/// A disk that hangs must not keep `HAProxy` from draining.
const LAST_WRITE_LIMIT: Duration = Duration::from_secs(2);

/// Runs until it is asked to end, then ends `HAProxy` and returns. `config_file` is read again when a signal asks for it.
///
/// # Errors
/// When it can't start. Once `HAProxy` serves, nothing but a signal ends it.
pub async fn run(config: Config, config_file: PathBuf, received: Received) -> Result<(), StartError> {
    let mut signals = Signals::listen().map_err(StartError::Signals)?;
    let Some(started) = start(&config, received, &mut signals).await? else { return Ok(()) };
    let mut supervisor = Supervisor::new(config, config_file, started);
    supervisor.serve_until_asked_to_end(&mut signals).await;
    if caught("end", supervisor.end(&mut signals)).await.is_err() {
        error!("connections are cut");
    }
    Ok(())
}

struct Supervisor {
    config: Config,
    sources: Vec<SourceSettings>,
    clock: Clock,
    reconciler: Reconciler,
    haproxy: Handle,
    /// `haproxy` has an order whose outcome it hasn't told yet.
    ordered: bool,
    feeds: Feeds,
    commands: mpsc::Receiver<Asked>,
    status_desk: StatusDesk,
    historian: Historian,
    totals: Totals,
    metrics_desk: MetricsDesk,
    http: HttpDesk,
    past: PastKeeper,
    live: LiveDesk,
    drains: OperatorDrains,
    recorder: Recorder,
    crash_record: CrashRecord,
    replacement: Replacement,
    values: ValuesDesk,
    templates: TemplateKeeper,
    watchdog: Watchdog,
    /// What systemd was told last.
    status: String,
    _locked: Option<Locked>,
}

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    GoOn,
    /// Something that it can't do without is gone.
    BeginAnew,
    End,
}

impl Supervisor {
    fn new(config: Config, config_file: PathBuf, started: Started) -> Self {
        let Started {
            version,
            clock,
            mut reconciler,
            haproxy,
            haproxy_settings,
            reaper,
            sources,
            program,
            legacy,
            http,
            locked,
        } = started;
        let historian = Historian::new(legacy.history);
        // What is taken over serves already.
        let is_ready = reconciler.applied().is_some();
        let (live, keeper) = LiveDesk::new(config.haproxy.socket_path.clone());
        let http = HttpDesk::new(http, legacy.http, is_ready, historian.reader(), keeper);
        let drains = OperatorDrains::new(config.state_dir.clone());
        drains.recall(&mut reconciler, clock.now());
        Self {
            clock,
            reconciler,
            haproxy,
            ordered: false,
            feeds: Feeds::none(),
            sources,
            commands: commands::listen(&config.runtime_dir),
            status_desk: StatusDesk::new(version, config.haproxy.socket_path.clone(), historian.reader()),
            historian,
            totals: legacy.totals,
            past: PastKeeper::new(&config.state_dir),
            metrics_desk: MetricsDesk::new(
                config.haproxy.config_path.clone(),
                snapshot::path_in(&config.state_dir),
                config.haproxy.socket_path.clone(),
            ),
            http,
            live,
            drains,
            recorder: Recorder::new(config.state_dir.clone()),
            crash_record: CrashRecord::new(&config.runtime_dir),
            values: ValuesDesk::new(config.clone(), reaper.clone()),
            replacement: Replacement::new(program, config_file, haproxy_settings, reaper),
            templates: TemplateKeeper::default(),
            watchdog: Watchdog::from_environment(),
            status: String::new(),
            _locked: locked,
            config,
        }
    }

    /// The loop, begun anew after each panic, with back-off, until a signal asks for its end.
    async fn serve_until_asked_to_end(&mut self, signals: &mut Signals) {
        let mut restarts = Restarts::default();
        let mut wait = Duration::ZERO;
        while caught("supervisor", self.begin(wait, &mut restarts, signals)).await != Ok(Flow::End) {
            wait = restarts.next_wait();
            warn!(?wait, "what runs serves on; the registries are followed anew");
        }
    }

    /// After `wait`, goes on with what runs; what the registries said is forgotten.
    async fn begin(&mut self, wait: Duration, restarts: &mut Restarts, signals: &mut Signals) -> Flow {
        stop_holding_back();
        let end = Instant::now() + wait;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end.into()) => break,
                request = signals.next() => if self.take_request(request) == Flow::End {
                    return Flow::End;
                },
            }
        }
        restarts.started();
        if self.haproxy.task.is_finished() {
            // All is lost with it: sockets and processes.
            error!("HAProxy is started anew");
            self.haproxy = self.replacement.go_on(HandedOver { generations: 1, ..HandedOver::default() });
            self.ordered = false;
        }
        if self.commands.is_closed() {
            self.commands = commands::listen(&self.config.runtime_dir);
        }
        self.reconciler.begin_anew(self.ordered, self.clock.now());
        self.status_desk.begin_anew();
        self.historian.begin_anew();
        let Begun { feeds, includes, template, holders } = Feeds::start(&self.config, self.sources.clone());
        self.reconciler.remember_holders(holders);
        self.values.follow(feeds.registries.as_ref().and_then(|registries| registries.values.clone()));
        self.feeds = feeds;
        if let Some(includes) = includes {
            self.handle(Input::Includes(includes)).await;
        }
        self.handle(template).await;
        self.serve(signals).await
    }

    async fn serve(&mut self, signals: &mut Signals) -> Flow {
        loop {
            let deadline = self.reconciler.deadline();
            let wanted_base = Arc::clone(self.reconciler.wanted_base());
            let input = tokio::select! {
                request = signals.next() => match self.take_request(request) {
                    Flow::GoOn => continue,
                    end @ (Flow::BeginAnew | Flow::End) => return end,
                },
                () = self.watchdog.tell() => None,
                () = self.replacement.answered() => None,
                event = self.haproxy.events.recv() => match event {
                    Some(Event::Done(outcome)) => {
                        self.ordered = false;
                        Some(Input::Done(outcome))
                    }
                    Some(Event::Died(exit)) => Some(Input::Died { how: exit.to_string() }),
                    Some(Event::Stopped) => Some(Input::Died { how: STOPPED.to_owned() }),
                    Some(Event::Commanded(took)) => {
                        self.totals.note_commands(took);
                        None
                    }
                    None => return Flow::BeginAnew,
                },
                event = self.feeds.registry.recv() => match event {
                    Some(event) => self.take_in(event),
                    None => return Flow::BeginAnew,
                },
                lines = self.values.next(&wanted_base) => self.take_lines(lines),
                Some(files) = self.feeds.includes.recv() => {
                    self.historian.note_cause(None, CauseEvent::Includes, None, self.clock.now());
                    Some(Input::Includes(files))
                }
                Some(told) = self.feeds.template.recv() => {
                    self.historian.note_cause(None, CauseEvent::Template, None, self.clock.now());
                    Some(template_input(told))
                }
                asked = self.commands.recv() => match asked {
                    Some(asked) => self.carry_out(asked).await,
                    None => return Flow::BeginAnew,
                },
                asked = self.http.asked() => self.carry_out(asked).await,
                look = self.live.look() => {
                    let generations = self.haproxy.generations.borrow().clone();
                    self.status_desk.show(look, &self.reconciler, generations, self.clock.now());
                    continue;
                }
                () = self.recorder.due() => {
                    self.recorder.begin(&self.reconciler);
                    None
                }
                () = self.past.due() => {
                    self.past.write(self.historian.reader(), self.totals.to_text());
                    None
                }
                () = self.crash_record.due() => {
                    let generations = self.haproxy.generations.borrow().clone();
                    self.crash_record.begin(&generations, self.reconciler.applied());
                    None
                }
                () = self.clock.sleep_until(deadline) => Some(Input::Tick),
            };
            if let Some(input) = input {
                self.handle(input).await;
            }
            if self.values.listed_may_go() {
                self.handle(Input::Listed).await;
            }
            if self.crash_record.lacks(&self.haproxy.generations.borrow()) {
                self.record_what_runs().await;
            }
            if let Some(request) = self.replace_when_idle(signals).await
                && self.take_request(request) == Flow::End
            {
                return Flow::End;
            }
        }
    }

    async fn record_what_runs(&mut self) {
        let generations = self.haproxy.generations.borrow().clone();
        self.crash_record.write(&generations, self.reconciler.applied()).await;
    }

    async fn handle(&mut self, input: Input) {
        let now = self.clock.now();
        let mut is_outcome = false;
        if let Input::Done(outcome) = &input {
            is_outcome = true;
            self.status_desk.note_outcome(outcome, now);
            self.totals.note_outcome(outcome);
            if let Some(change) = self.historian.note_outcome(outcome, now) {
                self.status_desk.note_change(change.number, &change.services);
                self.totals.note_change(&change);
            }
        }
        for effect in self.reconciler.handle(input, self.clock.now()) {
            match effect {
                Effect::Order(order) => {
                    self.status_desk.note_order(&order, self.clock.now());
                    self.historian.note_order(&order, self.clock.now());
                    self.totals.note_order(&order);
                    match self.haproxy.orders.send(order).await {
                        Ok(()) => self.ordered = true,
                        Err(error) => debug!(%error, "the HAProxy task is gone"),
                    }
                }
                Effect::Notice(notice) => {
                    self.tell(&notice);
                    if let Notice::ReloadFailed { why, .. } = &notice {
                        self.values_may_be_to_blame(why);
                    }
                    if let Notice::Died { .. } = notice {
                        self.status = notice.to_string();
                        systemd::tell_status(&self.status);
                    }
                }
                Effect::Ready => {
                    info!("ready");
                    self.http.is_ready(true);
                    systemd::tell(State::Ready);
                }
            }
        }
        self.live.changed();
        if !self.reconciler.has_work() {
            self.historian.settled();
        }
        self.past.note(self.historian.reader().latest());
        self.drains.tell(&self.reconciler);
        if is_outcome {
            if let Some(applied) = self.reconciler.applied() {
                self.values.serves(&applied.base);
                self.templates.serves(applied.template.as_ref(), &self.config.state_dir);
            }
            self.crash_record.changed();
            self.tell_status();
        }
    }

    async fn end(mut self, signals: &mut Signals) {
        self.http.end();
        let kept = self.past.end(self.historian.reader(), self.totals.to_text());
        if timeout(LAST_WRITE_LIMIT, kept).await.is_err() {
            warn!("the disk takes too long: the history of changes is not up to date");
        }
        if self.recorder.is_behind() {
            let written = timeout(LAST_WRITE_LIMIT, self.recorder.write(&self.reconciler)).await;
            if written.is_err() {
                warn!("the disk takes too long: the snapshot of the topology is not up to date");
            }
        }
        // Whoever asks something is told so.
        drop((self.commands, self.replacement, self.drains));
        end_haproxy(self.haproxy, self.config.shutdown.grace, signals).await;
        // One that is being written would come after it.
        if timeout(LAST_WRITE_LIMIT, self.crash_record.finish()).await.is_err() {
            warn!("the disk takes too long: the record of what ran stays behind in runtime_dir");
        }
        self.crash_record.remove();
    }
}

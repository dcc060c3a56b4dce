//! Decides what `HAProxy` is told, and when: inputs and the time in, effects out.
//!
//! ```text
//!              first answers, or startup_timeout        Reloaded
//!  Collecting ------------------------------------> Starting ---> Running <--+
//!                                                      ^             |       | Reloaded
//!                                                      |   Died      v       |
//!                                                      +---------- Down -----+
//! ```
//!
//! Down, what ran before is started again, and what is wanted beyond that comes with a reload of its own, so that nothing new
//! stands in the way of a restart. Where that can't be started, what is wanted is tried in turn.
//!
//! One that takes over a process that serves begins as Running, and wants what runs until it has heard from the registries.
//!
//! One order is under way at a time; meanwhile only what is wanted moves. Each input is followed by a look at everything
//! that is due, so an order's end starts the next.

mod answers;
mod death;
mod decide;
mod frontends;
mod halving;
mod includes;
mod known;
mod needed;
mod notice;
mod operator;
mod order;
mod outcome;
mod refusal;
mod report;
mod room;
mod sweep;
mod template;
mod timing;
mod trials;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use known::{Held, Unconfirmed};
pub use notice::{IncludesMeanwhile, Notice};
pub use order::{Complaint, Effect, Input, Order, Outcome, ReloadFailure};
pub use template::TemplateMeanwhile;

use decide::Planned;
use frontends::LostFrontends;
use halving::Halving;
use includes::KnownIncludes;
use known::KnownServices;
use needed::Needed;
use template::KnownTemplate;
use timing::Timing;
use trials::Trials;

use super::capability::Capability;
use super::doubt::Doubts;
use super::limits::{Limits, Resources, Warning};
use super::moment::Moment;
use super::outage_rules::{OutageRules, Servers};
use super::policy::Obstacle;
use super::quarantine::Quarantine;
use super::render::{Owner, Renderer};
use super::section::Base;
use super::server::Server;
use super::service::{ServiceName, ServiceSpec};
use super::size::Size;
use super::state::{AppliedState, DesiredState};
use super::template::Shape;

/// What the user configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the sections share.
    pub base: Arc<Base>,
    /// What the installed `HAProxy` can do.
    pub capability: Capability,
    /// The shortest time from one reload to the next.
    pub min_interval: Duration,
    /// The longest wait for first answers.
    pub startup_timeout: Duration,
    /// What a registry's answer may do, where a service has no rules of its own.
    pub outage: OutageRules,
    /// What there is of files and memory.
    pub resources: Resources,
}

/// The decider.
#[derive(Debug)]
pub struct Reconciler {
    settings: Settings,
    phase: Phase,
    /// What runs was taken over, and the registries have not been heard yet.
    taken_over: bool,
    known: KnownServices,
    includes: KnownIncludes,
    frontends: LostFrontends,
    template: KnownTemplate,
    quarantine: Quarantine,
    obstacles: BTreeMap<ServiceName, Obstacle>,
    /// What the serving process holds; after its end, what the last one held.
    applied: Option<AppliedState>,
    /// Services to which the serving process refused to add a server.
    refuses_servers: BTreeSet<ServiceName>,
    /// What the serving process was told without a reply.
    doubts: Doubts,
    /// What runs out with what was ordered last.
    limits: Limits,
    /// How much that was.
    size: Size,
    /// How much the serving process was started with.
    loaded_size: Size,
    /// What its template wrote, if it has one.
    loaded_shape: Option<Arc<Shape>>,
    planned: Option<Planned>,
    under_way: Option<UnderWay>,
    /// Why the configuration on disk doesn't say what runs.
    config_unwritten: Option<String>,
    trials: Trials,
    /// `global` and `defaults` were given up; those that proved themselves stand in for them.
    base_refused: bool,
    halving: Halving,
    needed: Needed,
    /// Since when each stands in the way of every reload, though it runs as it is.
    blockers: BTreeMap<Owner, Moment>,
    /// The last new process was started and never served.
    did_not_serve: bool,
    /// What the next start takes, when nothing serves.
    next_start: Start,
    /// What the last reload took, or the one under way.
    last_start: Start,
    timing: Timing,
    renderer: Renderer,
}

/// Where the whole stands; see the module's drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Collecting,
    Starting,
    Running,
    Down,
}

/// What a new process is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// What the last one held; what is wanted, if there was none.
    AsBefore,
    AsWanted,
}

/// The order under way, with what its outcome is judged by.
#[derive(Clone, Debug)]
enum UnderWay {
    Reload {
        desired: DesiredState,
        config: super::render::Rendered,
        /// What the old process is told first.
        first: Vec<super::command::RuntimeCommand>,
    },
    Apply {
        commands: Vec<super::command::RuntimeCommand>,
        writes_config: bool,
    },
    Compare,
    /// Given before all began anew.
    Forgotten,
}

impl Reconciler {
    /// A reconciler that knows nothing yet; the wait for first answers begins `now`.
    pub fn new(settings: Settings, now: Moment) -> Self {
        Self {
            phase: Phase::Collecting,
            taken_over: false,
            known: KnownServices::default(),
            includes: KnownIncludes::default(),
            frontends: LostFrontends::default(),
            template: KnownTemplate::new(None),
            quarantine: Quarantine::default(),
            obstacles: BTreeMap::new(),
            applied: None,
            refuses_servers: BTreeSet::new(),
            doubts: Doubts::default(),
            limits: Limits::default(),
            size: Size::default(),
            loaded_size: Size::default(),
            loaded_shape: None,
            planned: None,
            under_way: None,
            config_unwritten: None,
            trials: Trials::default(),
            base_refused: false,
            halving: Halving::default(),
            needed: Needed::default(),
            blockers: BTreeMap::new(),
            did_not_serve: false,
            next_start: Start::AsWanted,
            last_start: Start::AsWanted,
            timing: Timing::new(&settings, now),
            renderer: Renderer::default(),
            settings,
        }
    }

    /// A reconciler for a process that serves `applied` already; the wait for first answers begins `now`.
    pub fn taking_over(settings: Settings, applied: AppliedState, now: Moment) -> Self {
        let mut taking_over = Self::new(settings, now);
        taking_over.phase = Phase::Running;
        taking_over.taken_over = true;
        taking_over.trials = Trials::trusting(&applied);
        taking_over.template = KnownTemplate::new(applied.template.clone());
        taking_over.applied = Some(applied);
        taking_over
    }

    /// How services were reached in an earlier run: where several want an address or a route, it stays with whom it was.
    pub fn remember_holders(&mut self, holders: BTreeMap<ServiceName, Held>) {
        self.known.holders = holders;
    }

    /// Begins anew after a panic: what the registries said is forgotten, to be told again; what runs stays until then, as in
    /// [`Self::taking_over`]. `ordered` tells whether an order was given whose outcome is still to come.
    pub fn begin_anew(&mut self, ordered: bool, now: Moment) {
        let mut anew = Self::new(self.settings.clone(), now);
        let under_way = self.under_way.take();
        anew.known.inherit_drains(&mut self.known);
        anew.template = self.template.anew(self.applied.as_ref());
        if let Some(applied) = self.applied.take() {
            anew.phase = self.phase;
            anew.loaded_shape = self.loaded_shape.take();
            anew.taken_over = true;
            anew.applied = Some(applied);
            anew.doubts = std::mem::take(&mut self.doubts);
            anew.limits = std::mem::take(&mut self.limits);
            (anew.size, anew.loaded_size) = (self.size, self.loaded_size);
            anew.under_way = under_way;
        }
        anew.under_way = ordered.then(|| anew.under_way.take().unwrap_or(UnderWay::Forgotten));
        *self = anew;
    }

    /// Whether no order is under way and every command had its reply, so that what runs is known.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.doubts.is_empty()
    }

    /// Whether something that happened may still lead to an order by itself.
    pub fn has_work(&self) -> bool {
        let timing = &self.timing;
        self.under_way.is_some()
            || self.taken_over
            || self.phase != Phase::Running
            || timing.reload_wanted
            || timing.changes.due().is_some()
    }

    /// Takes in what happened and tells what to do.
    pub fn handle(&mut self, input: Input, now: Moment) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Listed => self.known.listed = true,
            Input::Defined(service, spec) => {
                if self.known.define(&service, &spec, self.settings.base.bind_address) {
                    self.timing.topology_changed(now);
                }
                self.remember_what_runs(&service, &spec);
            }
            Input::Removed(service) => {
                if self.known.remove(&service) {
                    self.timing.topology_changed(now);
                }
            }
            Input::Remembered(service, servers) => self.known.remember(&service, servers),
            Input::Servers(service, servers) => self.take_servers(&service, servers, now, &mut effects),
            Input::Includes(files) => {
                if self.includes.want(files) {
                    self.timing.topology_changed(now);
                }
            }
            Input::Template(template) => self.take_template(template, now),
            Input::TemplateUnusable(reason) => self.take_unusable_template(reason, &mut effects),
            Input::Base(base) => {
                if self.settings.base != base {
                    self.settings.base = base;
                    self.base_refused = false;
                    self.timing.topology_changed(now);
                }
            }
            Input::FixedServers(service, servers) => {
                let change = self.known.take_fixed(&service, servers);
                self.note_change(change, now);
            }
            Input::Done(outcome) => {
                self.planned = None;
                self.take_outcome(outcome, now, &mut effects);
            }
            Input::Died { how } => {
                self.planned = None;
                self.take_death(how, now, &mut effects);
            }
            Input::Tick => {}
        }
        self.take_lasting_losses(now, &mut effects);
        self.decide(now, &mut effects);
        effects
    }

    /// When [`Input::Tick`] is due at the latest, unless something happens before.
    pub fn deadline(&self) -> Option<Moment> {
        if self.under_way.is_some() {
            return None;
        }
        match self.phase {
            Phase::Collecting => Some(self.timing.collect_until),
            Phase::Starting | Phase::Down => Some(self.timing.start_at),
            Phase::Running => self.running_deadline(),
        }
        .into_iter()
        .chain(self.known.next_lasting_loss())
        .chain(self.hears_until())
        .min()
    }

    /// What the sections share, as it is wanted.
    pub fn wanted_base(&self) -> &Arc<Base> {
        &self.settings.base
    }

    /// What the serving process holds.
    pub fn applied(&self) -> Option<&AppliedState> {
        self.applied.as_ref()
    }

    /// The services with the servers that are to be remembered: those that are believed, which is not always what the
    /// registries said last, and those of the definition that have host names.
    pub fn believed(&self) -> impl Iterator<Item = (&ServiceName, Arc<Servers>)> {
        self.known.believed()
    }

    /// What runs out, or is about to.
    pub fn limits(&self) -> &[Warning] {
        &self.limits.warnings
    }

    /// The definitions that do not go ahead.
    pub fn obstacles(&self) -> &BTreeMap<ServiceName, Obstacle> {
        &self.obstacles
    }

    /// Of a service that was taken over, its servers count until its watcher has an answer.
    fn remember_what_runs(&mut self, service: &ServiceName, spec: &ServiceSpec) {
        if !self.taken_over {
            return;
        }
        let runs = self.applied.as_ref().and_then(|applied| applied.services.get(service));
        let servers =
            runs.into_iter().flat_map(|runs| runs.as_desired().servers.values().cloned().collect::<Vec<_>>());
        let fixed = |server: &Server| spec.fixed_servers.iter().any(|fixed| fixed.name() == server.name());
        let mut servers: Vec<_> = servers.filter(|server| !fixed(server)).collect();
        for server in &mut servers {
            // It is an operator's, not the registry's.
            if self.known.is_drained(service, &server.name()) {
                server.weight = None;
            }
        }
        if !servers.is_empty() {
            self.known.remember(service, servers);
        }
    }
}

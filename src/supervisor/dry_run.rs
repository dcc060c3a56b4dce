//! What a start would do now, without doing any of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::feeds::registry_input;
use super::prepare::{Prepared, StartError, without_services};
use super::settings::{reconciler_settings, registries, sources};
use super::values::now::lines_now;
use super::{Clock, REGISTRY_QUEUE};
use crate::config::Config;
use crate::engine::listed_server::ListedServer;
use crate::engine::policy::Obstacle;
use crate::engine::printable::printable;
use crate::engine::reconciler::{
    Complaint, Effect, Input, Notice, Order, Outcome, Reconciler, ReloadFailure,
};
use crate::engine::render::Rendered;
use crate::engine::server::{Server, ServerName};
use crate::engine::service::{ServiceName, WatcherSpec};
use crate::include_files::Follower;
use crate::service_manager::{self, Memory, RegistryEvent};
use crate::template;
use crate::watcher::{ServerSet, SkippedEntry};

/// A wait that is shorter is not worth a word.
pub(super) const QUIET_FOR: Duration = Duration::from_millis(1500);
/// The most services that are named.
const MOST_NAMED: usize = 3;

/// What the registries said within `safety.startup_timeout`, and the haproxy.cfg that follows from it.
#[derive(Debug)]
pub struct DryRun {
    /// What would be written.
    pub config: Rendered,
    /// Whether every source of services answered.
    pub listed: bool,
    /// Services by name, as found; some may be no [`ServiceName`].
    pub services: BTreeMap<String, Found>,
    /// What of the included files can't be read, by file or directory.
    pub unreadable_includes: BTreeMap<String, String>,
    /// The included files that were read.
    pub includes: Vec<String>,
    /// Why not all values of a registry go ahead, each with its path.
    pub refused_values: BTreeSet<String>,
    /// Whether the registry of values answered, if any is named.
    pub values_answered: bool,
    /// Included files that do not go ahead, each with why.
    pub refused_includes: Vec<(String, String)>,
    clock: Clock,
    reconciler: Reconciler,
}

/// What became of one service.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Why its definition is refused.
    pub refusal: Option<String>,
    /// Its registry's answer; `None` when there was none in time, or nothing to ask.
    pub servers: Option<ServerSet>,
    /// The servers that its definition names itself.
    pub fixed: BTreeSet<ServerName>,
    /// Those whose host name leads nowhere.
    pub fixed_skipped: Vec<SkippedEntry>,
}

impl Found {
    /// What was left out of its registry's answer and of its definition.
    pub fn skipped(&self) -> impl Iterator<Item = &SkippedEntry> {
        self.servers.iter().flat_map(ServerSet::skipped).chain(&self.fixed_skipped)
    }

    /// How many servers it has.
    pub fn count(&self) -> usize {
        let found = self.servers.iter().flat_map(ServerSet::servers).map(Server::name);
        found.chain(self.fixed.iter().cloned()).collect::<BTreeSet<_>>().len()
    }
}

impl DryRun {
    /// Asks the registries and waits until all answered, or for `safety.startup_timeout`. When that takes long, `waiting` is
    /// told for what.
    ///
    /// # Errors
    /// When a value of proxymgr.yml can't be used.
    pub async fn collect(
        config: &Config,
        found: &Prepared,
        waiting: &mut dyn FnMut(&str),
    ) -> Result<Self, StartError> {
        let sources = sources(config)?;
        let registries = registries(config, &sources);
        let mut settings = reconciler_settings(config, found.version)?;
        let values =
            lines_now(config, registries.values.clone(), settings.base, &found.reaper, waiting).await;
        settings.base = values.base;
        let clock = Clock(Instant::now());
        let mut reconciler = Reconciler::new(settings, clock.now());
        let mut follower = Follower::new(config.haproxy.include.clone(), config.haproxy.config_path.clone());
        let mut includes = Vec::new();
        if let Some(files) = follower.look() {
            includes.extend(files.files().iter().map(|file| file.path().to_owned()));
            // Nothing follows from it before the registries answered.
            drop(reconciler.handle(Input::Includes(files), clock.now()));
        }
        if let Some(file) = &config.haproxy.template {
            let template = template::read(file).map_err(|error| StartError::Template(error.to_string()))?;
            without_services(reconciler.wanted_base().clone(), Some(template.clone()))?;
            drop(reconciler.handle(Input::Template(Some(template)), clock.now()));
        }
        let (events, mut registry) = mpsc::channel(REGISTRY_QUEUE);
        let registries = tokio::spawn(service_manager::run(
            sources,
            registries,
            config.safety.allow_options.clone(),
            Memory::default(),
            events,
        ));

        let mut collecting = Collecting { reconciler, listed: false, services: BTreeMap::new() };
        let mut is_told = false;
        let proposal = loop {
            let input = tokio::select! {
                () = sleep_until((clock.0 + QUIET_FOR).into()), if !is_told => {
                    is_told = true;
                    waiting(&collecting.awaited(config.safety.startup_timeout));
                    continue;
                }
                Some(event) = registry.recv() => {
                    collecting.note(&event);
                    match registry_input(event) {
                        Some(input) => input,
                        None => continue,
                    }
                }
                () = clock.sleep_until(collecting.reconciler.deadline()) => Input::Tick,
            };
            let proposal = proposal(collecting.reconciler.handle(input, clock.now()));
            if let Some(reason) = proposal.refused_template {
                return Err(StartError::Template(reason));
            }
            if let Some(config) = proposal.config {
                break (config, proposal.refused_includes);
            }
        };
        registries.abort();
        let Collecting { reconciler, listed, services } = collecting;
        let (config, refused_includes) = proposal;
        let unreadable_includes = follower.problems().clone();
        Ok(Self {
            config,
            listed,
            services,
            unreadable_includes,
            includes,
            refused_values: values.problems,
            values_answered: values.answered,
            refused_includes,
            clock,
            reconciler,
        })
    }

    /// Why services that were understood don't go ahead.
    pub fn obstacles(&self) -> &BTreeMap<ServiceName, Obstacle> {
        self.reconciler.obstacles()
    }

    /// What would run out, or nearly, and what to do.
    pub fn limits(&self) -> impl Iterator<Item = &str> {
        self.reconciler.limits().iter().map(|warning| warning.text.as_str())
    }

    /// Takes what `HAProxy` has against the configuration, and leaves the services out that are to blame. `false` when no
    /// service is: then there is nothing left to try.
    pub fn leave_out(&mut self, complaints: Vec<Complaint>) -> bool {
        let failure = Outcome::ReloadFailed(ReloadFailure::Refused(complaints));
        let next = proposal(self.reconciler.handle(Input::Done(failure), self.clock.now()));
        self.refused_includes.extend(next.refused_includes);
        let Some(config) = next.config.filter(|_| !next.given_up) else { return false };
        self.config = config;
        true
    }
}

struct Collecting {
    reconciler: Reconciler,
    listed: bool,
    services: BTreeMap<String, Found>,
}

impl Collecting {
    fn note(&mut self, event: &RegistryEvent) {
        match event {
            RegistryEvent::Listed => self.listed = true,
            RegistryEvent::Defined { name, spec, definition: _, unknown_keys: _ } => {
                let found = self.found(name.as_str());
                found.refusal = None;
                let has_address = |server: &&ListedServer| server.host_name().is_none();
                found.fixed = spec.fixed_servers.iter().filter(has_address).map(ListedServer::name).collect();
                found.fixed_skipped = Vec::new();
                if spec.watcher == WatcherSpec::Static {
                    found.servers = Some(ServerSet::default());
                }
            }
            RegistryEvent::Refused { name, reason } => self.found(name).refusal = Some(reason.clone()),
            RegistryEvent::Remembered { .. } => {}
            RegistryEvent::Removed { name } => {
                self.services.remove(name.as_str());
            }
            RegistryEvent::Forgotten { name } => {
                self.services.remove(name);
            }
            RegistryEvent::Servers { name, servers } => {
                self.found(name.as_str()).servers = Some(servers.clone());
            }
            RegistryEvent::FixedServers { name, servers } => {
                let found = self.found(name.as_str());
                found.fixed = servers.servers().iter().map(Server::name).collect();
                found.fixed_skipped = servers.skipped().to_vec();
            }
        }
    }

    /// What is waited for, in words.
    fn awaited(&self, longest: Duration) -> String {
        let longest = format!("{longest:?} from the start at the longest (safety.startup_timeout)");
        if !self.listed {
            return format!("the list of services, {longest}");
        }
        let is_silent = |found: &&Found| found.servers.is_none() && found.refusal.is_none();
        let mut silent =
            self.services.iter().filter(|(_, found)| is_silent(found)).map(|(name, _)| printable(name));
        let named: Vec<_> = silent.by_ref().take(MOST_NAMED).collect();
        let more = match silent.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("the registries of {}{more}, {longest}", named.join(", "))
    }

    fn found(&mut self, name: &str) -> &mut Found {
        self.services.entry(name.to_owned()).or_default()
    }
}

/// What the reconciler wants next.
#[derive(Default)]
struct Proposal {
    config: Option<Rendered>,
    refused_includes: Vec<(String, String)>,
    refused_template: Option<String>,
    /// It waits for something to change by itself.
    given_up: bool,
}

fn proposal(effects: Vec<Effect>) -> Proposal {
    let mut proposal = Proposal::default();
    for effect in effects {
        match effect {
            Effect::Order(Order::Reload { config, .. }) => proposal.config = Some(config),
            Effect::Notice(Notice::IncludesRefused { file, reason, meanwhile: _ }) => {
                proposal.refused_includes.push((file, reason));
            }
            Effect::Notice(Notice::TemplateRefused { reason, meanwhile: _ }) => {
                proposal.refused_template = Some(reason);
            }
            Effect::Notice(Notice::ReloadFailed { .. }) => proposal.given_up = true,
            Effect::Order(Order::Apply { .. } | Order::Compare { .. })
            | Effect::Notice(_)
            | Effect::Ready => {}
        }
    }
    proposal
}

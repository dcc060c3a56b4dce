//! What is known, wanted and done at one moment, for whoever asks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::moment::Moment;
use super::outage_rules::{HeldLoss, Servers};
use super::policy::Obstacle;
use super::route::FrontendName;
use super::section::{Base, Section};
use super::server::{Server, ServerName, Weight};
use super::service::ServiceName;
use super::side_by_side::{Held, side_by_side};
use super::state::{AppliedServer, AppliedService, OptionWeight};

/// Everything.
#[derive(Clone, Debug)]
pub struct Report {
    /// Where the whole stands.
    pub stage: Stage,
    /// Whether a reload is to come.
    pub reload: ReloadAhead,
    /// What the sections share.
    pub base: Arc<Base>,
    /// All services that are defined, or still run.
    pub services: BTreeMap<ServiceName, ServiceReport>,
    /// Frontends that can't listen where they are wanted to, each with the reason.
    pub frontends: BTreeMap<FrontendName, String>,
    /// Why included files do not go ahead.
    pub refused_includes: Vec<String>,
    /// Why the template does not go ahead.
    pub refused_template: Option<String>,
    /// What runs out, or is about to, and what to do.
    pub limits: Vec<String>,
}

/// Where the whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The registries' first answers are waited for.
    Collecting,
    /// The first process is started.
    Starting,
    /// A process serves.
    Serving,
    /// The process ended by itself, and another is started.
    Down,
}

/// Whether a reload is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadAhead {
    /// None is needed.
    None,
    /// One is ordered at that moment, unless something else comes between.
    Waits(Moment),
    /// A new process is being started.
    UnderWay,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceReport {
    /// What its definition and its registry say; `None` of one that is gone.
    pub wanted: Option<Wanted>,
    /// Why its definition does not go ahead.
    pub obstacle: Option<Obstacle>,
    /// What clients are served with.
    pub runs: Option<Arc<AppliedService>>,
}

/// What a service's definition and its registry say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The section of its definition.
    pub section: Arc<Section>,
    /// The servers that are believed, those of the definition included; `None` as long as there are none to go by.
    pub servers: Option<Arc<Servers>>,
    /// Those among them that its registry once named.
    pub registered: Option<Arc<Servers>>,
    /// A first answer is waited for.
    pub awaited: bool,
    /// What was heard of the registry last.
    pub heard: Heard,
    /// A loss that is not believed yet.
    pub held: Option<HeldLoss>,
    /// The servers that an operator drains; not all of them need be there.
    pub drained: Drained,
}

/// The servers of a service that an operator drains, each with the seconds from 1970 to when it began.
pub type Drained = Arc<BTreeMap<ServerName, u64>>;

/// What was heard of a registry last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing, or there is none.
    Nothing,
    /// Nothing, and what an earlier run knew stands in for it.
    Memory,
    /// Servers.
    Answer,
    /// That there is no server any more; the last ones stay.
    Emptiness,
}

/// What becomes of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// Clients are served as its definition says, or will be after the next reload.
    Serving,
    /// Its definition does not go ahead; the last good one serves, if there is one.
    Refused,
    /// It does not serve before its registry has answered.
    Waiting,
    /// It serves after the next reload.
    Starting,
    /// Its definition is gone, and it is about to go.
    Leaving,
}

/// One server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// Its name in `HAProxy`.
    pub name: ServerName,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it runs with, or will run with.
    pub weight: Weight,
    /// Used only while no other server is up.
    pub backup: bool,
    /// What becomes of it.
    pub place: Place,
    /// Its registry, or an operator, wants no new traffic for it.
    pub drains: bool,
    /// An operator does, since so many seconds after 1970.
    pub drained_since: Option<u64>,
    /// It is missing in its registry, and stays for now.
    pub missing: bool,
}

/// What becomes of a server as far as we steer it; its health and an operator's will are `HAProxy`'s to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It gets traffic.
    InRotation,
    /// It is to get some.
    Coming,
    /// It gets none any more.
    Leaving,
}

impl ServiceReport {
    /// What becomes of it.
    pub fn state(&self) -> ServiceState {
        match (&self.wanted, &self.obstacle, &self.runs) {
            (None, _, _) => ServiceState::Leaving,
            (Some(_), Some(_), _) => ServiceState::Refused,
            (Some(_), None, Some(_)) => ServiceState::Serving,
            (Some(wanted), None, None) if wanted.servers.is_none() => ServiceState::Waiting,
            (Some(_), None, None) => ServiceState::Starting,
        }
    }

    /// Whether it runs with another section than its definition wants.
    pub fn waits_for_reload(&self) -> bool {
        let wanted = self.wanted.as_ref().map(|wanted| &wanted.section);
        self.runs.as_ref().is_some_and(|runs| wanted.is_some_and(|wanted| runs.section != *wanted))
    }

    /// How many servers are missing in its registry and stay, and until when.
    pub fn held(&self) -> Option<(usize, Moment)> {
        let held = self.wanted.as_ref()?.held.as_ref()?;
        Some((held.missing, held.until))
    }

    /// Whether its registry lists no server any more, and the last ones stay.
    pub fn is_kept(&self) -> bool {
        self.wanted.as_ref().is_some_and(|wanted| wanted.heard == Heard::Emptiness)
    }

    /// Its servers, in the order of their names.
    pub fn servers(&self, base: &Base) -> Vec<ServerReport> {
        let (none_wanted, none_run) = (Servers::new(), BTreeMap::new());
        let known = self.wanted.as_ref().and_then(|wanted| wanted.servers.as_deref());
        // What runs stays until it is known what is wanted.
        let is_known = self.wanted.is_none() || known.is_some();
        let wanted = known.unwrap_or(&none_wanted);
        let runs = self.runs.as_ref().map_or(&none_run, |runs| &runs.servers);
        let weight = self.wanted.as_ref().map(|wanted| OptionWeight::of(base, &wanted.section));
        let report = |(name, held): (&ServerName, Held<&Server, &AppliedServer>)| {
            let missing = self.is_missing(name);
            let drained_since = self.drained_since(name);
            match held {
                Held::Left(server) => ServerReport {
                    name: name.clone(),
                    address: server.address(),
                    weight: weight.map_or(Weight::DEFAULT, |weight| weight.of_server(server)),
                    backup: server.backup,
                    place: Place::Coming,
                    drains: server.drain,
                    drained_since,
                    missing,
                },
                Held::Right(server) if is_known || server.standing.is_out() => {
                    running(name, server, Place::Leaving)
                }
                Held::Right(server) => running(name, server, Place::InRotation),
                Held::Both(wanted, server) => {
                    let place = if server.standing.is_out() { Place::Coming } else { Place::InRotation };
                    ServerReport {
                        drains: wanted.drain,
                        drained_since,
                        missing,
                        ..running(name, server, place)
                    }
                }
            }
        };
        side_by_side(wanted, runs).map(report).collect()
    }

    /// The servers that an operator drains and that are not there now.
    pub fn drained_elsewhere(&self) -> impl Iterator<Item = (&ServerName, u64)> {
        let wanted = self.wanted.iter();
        wanted.flat_map(|wanted| {
            let absent = |name: &&ServerName| {
                wanted.servers.as_ref().is_none_or(|servers| !servers.contains_key(*name))
            };
            wanted.drained.iter().map(|(name, since)| (name, *since)).filter(move |(name, _)| absent(name))
        })
    }

    fn drained_since(&self, server: &ServerName) -> Option<u64> {
        self.wanted.as_ref()?.drained.get(server).copied()
    }

    fn is_missing(&self, server: &ServerName) -> bool {
        let Some(wanted) = &self.wanted else { return false };
        let registered = wanted.registered.as_ref().is_some_and(|servers| servers.contains_key(server));
        registered && wanted.lacks(server)
    }
}

impl Wanted {
    /// That of a service that runs, as long as its definition has not been heard of.
    pub(super) fn of_unheard(runs: &AppliedService) -> Self {
        Self {
            section: runs.section.clone(),
            servers: None,
            registered: None,
            awaited: true,
            heard: Heard::Nothing,
            held: None,
            drained: Drained::default(),
        }
    }

    fn lacks(&self, server: &ServerName) -> bool {
        self.heard == Heard::Emptiness || self.held.as_ref().is_some_and(|held| held.lacks(server))
    }
}

fn running(name: &ServerName, server: &AppliedServer, place: Place) -> ServerReport {
    ServerReport {
        name: name.clone(),
        address: server.address,
        weight: server.weight,
        backup: server.backup,
        place,
        drains: false,
        drained_since: None,
        missing: false,
    }
}

impl ServiceState {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Serving, Self::Refused, Self::Waiting, Self::Starting, Self::Leaving];

    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Refused => "refused",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Leaving => "leaving",
        }
    }
}

impl Stage {
    /// One word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Collecting => "collecting",
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Down => "down",
        }
    }
}

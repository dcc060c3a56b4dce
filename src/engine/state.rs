//! What is wanted and what runs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::http_frontend::HttpFrontend;
use super::include::Includes;
use super::listen_address::ListenAddress;
use super::option_line::OptionLine;
use super::route::{FrontendName, RouteId};
use super::section::{Base, Section, SectionKind};
use super::server::{Server, ServerName, Weight};
use super::server_id::{ServerId, take_id};
use super::server_options::ServerOptions;
use super::service::ServiceName;
use super::template::Template;

/// All services with their servers, as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredState {
    /// What the sections share.
    pub base: Arc<Base>,
    /// The services by name.
    pub services: BTreeMap<ServiceName, Arc<DesiredService>>,
    /// Hand-written sections.
    pub includes: Arc<Includes>,
    /// How haproxy.cfg is laid out; `None` for the built-in layout.
    pub template: Option<Template>,
}

/// One service as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredService {
    /// Its section.
    pub section: Arc<Section>,
    /// Its servers, by name.
    pub servers: Arc<BTreeMap<ServerName, Server>>,
}

impl DesiredService {
    /// A service of `section` with `servers`; of several with one address the last stays.
    pub fn new(section: Arc<Section>, servers: impl IntoIterator<Item = Server>) -> Self {
        let servers = servers.into_iter().map(|server| (server.name(), server)).collect();
        Self { section, servers: Arc::new(servers) }
    }
}

impl DesiredState {
    /// Who is to get what no route is found for, by frontend.
    pub fn fallbacks(&self) -> BTreeMap<FrontendName, ServiceName> {
        self.base.fallbacks(|service| self.services.contains_key(service))
    }
}

/// What the serving `HAProxy` process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedState {
    /// What the sections share.
    pub base: Arc<Base>,
    /// The services by name, those shut down included.
    pub services: BTreeMap<ServiceName, Arc<AppliedService>>,
    /// Hand-written sections.
    pub includes: Arc<Includes>,
    /// How haproxy.cfg is laid out; `None` for the built-in layout.
    pub template: Option<Template>,
    /// Who gets what no route is found for, by frontend.
    pub fallbacks: BTreeMap<FrontendName, ServiceName>,
    /// Routes that are there and lead elsewhere than they should.
    pub strays: BTreeSet<RouteId>,
}

/// One service as it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedService {
    /// Its section.
    pub section: Arc<Section>,
    /// Whether it takes connections.
    pub frontend: Frontend,
    /// Its servers, those on their way out included.
    pub servers: BTreeMap<ServerName, AppliedServer>,
}

/// Whether a service takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frontend {
    /// It listens.
    Serving,
    /// It was told to shut down, and whether it did is unknown: it is told again, or a reload brings it back.
    InDoubt,
    /// Shut down through the runtime socket; only a reload brings it back. Of a backend: not published.
    ShutDown,
}

/// One server as it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedServer {
    /// Its id in `HAProxy`, which consistent hashing goes by.
    pub id: ServerId,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its weight now; 0 while it drains.
    pub weight: Weight,
    /// Its weight when it was loaded or added; static algorithms go back to this one only.
    pub loaded_weight: Weight,
    /// Used only while no other server is up.
    pub backup: bool,
    /// Words of its own, after the service's server options.
    pub options: Option<ServerOptions>,
    /// Whether its checks run as its options ask.
    pub checks: Checks,
    /// Whether it gets traffic.
    pub standing: Standing,
}

/// Whether a server's checks are on; a server added at run time starts without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checks {
    /// As its options ask.
    AsConfigured,
    /// Still to be switched on.
    ToEnable,
}

/// Whether a server gets traffic as far as we steer it (its health and an operator's will are `HAProxy`'s matter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In rotation.
    InRotation,
    /// In maintenance by us: gone from its registry, or not yet enabled. Deleted once its connections end.
    Maintenance,
    /// In maintenance, and `HAProxy` refuses to delete it while its configuration refers to it; leaves with a reload.
    Pinned,
}

impl Standing {
    /// Whether it gets no traffic.
    pub fn is_out(self) -> bool {
        match self {
            Self::InRotation => false,
            Self::Maintenance | Self::Pinned => true,
        }
    }
}

impl AppliedState {
    /// What a fresh process loaded with `desired` holds. Servers known before keep their ids.
    pub fn loaded(desired: &DesiredState, before: Option<&Self>) -> Self {
        let services = desired.services.iter().map(|(name, service)| {
            let known = before.and_then(|before| before.services.get(name));
            // Most are as they were, and there may be thousands.
            let as_it_was = known.filter(|known| known.is_loaded_with(&desired.base, service)).cloned();
            let loaded = || Arc::new(AppliedService::loaded(&desired.base, service, known.map(Arc::as_ref)));
            (name.clone(), as_it_was.unwrap_or_else(loaded))
        });
        Self {
            base: desired.base.clone(),
            services: services.collect(),
            includes: desired.includes.clone(),
            template: desired.template.clone(),
            fallbacks: desired.fallbacks(),
            strays: BTreeSet::new(),
        }
    }

    /// Holds the same sections as `desired` where they are equal: what is the same needs no comparison the next time.
    pub(super) fn share_sections(&mut self, desired: &DesiredState) {
        for (name, service) in &mut self.services {
            let Some(DesiredService { section, .. }) = desired.services.get(name).map(Arc::as_ref) else {
                continue;
            };
            if !Arc::ptr_eq(&service.section, section) && service.section == *section {
                Arc::make_mut(service).section = section.clone();
            }
        }
    }

    /// Whether a frontend that is shut down may keep its listen socket open, for a process that asks for it with `-x`
    /// (management guide, 3; measured: from 3.0 on).
    pub fn exposes_listeners(&self) -> bool {
        let exposes =
            |line: &OptionLine| line.as_str().split_ascii_whitespace().any(|word| word == "expose-fd");
        self.has_own_listeners() || self.base.global.iter().any(exposes)
    }

    /// Whether sections that are no service's may listen: `HAProxy` opens their addresses itself.
    pub fn has_own_listeners(&self) -> bool {
        !self.includes.is_empty() || self.template.as_ref().is_some_and(Template::has_listeners)
    }

    /// The services that take connections, or may do so.
    pub fn serving(&self) -> impl Iterator<Item = (&ServiceName, &Arc<AppliedService>)> {
        self.services.iter().filter(|(_, service)| service.takes_connections())
    }

    /// All that is listened on.
    pub fn listens(&self) -> impl Iterator<Item = &ListenAddress> {
        let frontends = self.base.frontends.values().flat_map(HttpFrontend::binds);
        frontends.chain(self.serving().flat_map(|(_, service)| &service.section.listen))
    }

    /// Whether clients see exactly what `desired` says: every field, nothing missing, nothing more.
    pub fn serves(&self, desired: &DesiredState) -> bool {
        self.base == desired.base
            && self.includes == desired.includes
            && self.template == desired.template
            && self.fallbacks == desired.fallbacks()
            && self.strays.is_empty()
            && self.serving().count() == desired.services.len()
            && desired.services.iter().all(|(name, wanted)| {
                self.services.get(name).is_some_and(|service| {
                    service.frontend == Frontend::Serving && service.serves(&self.base, wanted)
                })
            })
    }

    /// What would have to be wanted for this to be left as it is.
    pub fn as_desired(&self) -> DesiredState {
        let services = self.serving().map(|(name, service)| (name.clone(), Arc::new(service.as_desired())));
        DesiredState {
            base: self.base.clone(),
            services: services.collect(),
            includes: self.includes.clone(),
            template: self.template.clone(),
        }
    }

    /// The servers that are on their way out; those of a frontend that is shut down leave with its process.
    pub fn leaving(&self) -> impl Iterator<Item = (&ServiceName, &ServerName)> {
        let is_kept = |service: &AppliedService| {
            service.frontend != Frontend::ShutDown || service.section.kind == SectionKind::Backend
        };
        let kept = self.services.iter().filter(move |(_, service)| is_kept(service));
        kept.flat_map(|(name, service)| {
            let out = service.servers.iter().filter(|(_, server)| server.standing == Standing::Maintenance);
            out.map(move |(server, _)| (name, server))
        })
    }
}

impl AppliedState {
    /// The backends that no route leads to, and that have no servers any more.
    pub fn deserted(&self) -> impl Iterator<Item = &ServiceName> {
        let is_deserted = |service: &AppliedService| {
            service.section.kind == SectionKind::Backend
                && service.servers.is_empty()
                && !service.takes_connections()
        };
        self.services.iter().filter(move |(_, service)| is_deserted(service)).map(|(name, _)| name)
    }
}

impl AppliedService {
    /// Whether it takes connections, or may do so. A `backend` does by its routes, and may be reached again later.
    pub fn takes_connections(&self) -> bool {
        self.frontend != Frontend::ShutDown
            && match self.section.kind {
                SectionKind::Listen => true,
                SectionKind::Backend => !self.section.routes.is_empty(),
            }
    }

    /// A backend that was just added: without servers, and unknown to clients.
    pub(super) fn unpublished(section: &Section) -> Self {
        let section = Section { routes: Arc::default(), ..section.clone() };
        Self { section: Arc::new(section), frontend: Frontend::ShutDown, servers: BTreeMap::new() }
    }

    fn loaded(base: &Base, service: &DesiredService, before: Option<&Self>) -> Self {
        let option_weight = OptionWeight::of(base, &service.section);
        let mut known: BTreeMap<_, _> = before.into_iter().flat_map(|before| &before.servers).collect();
        known.retain(|name, _| service.servers.contains_key(*name));
        let mut taken: HashSet<ServerId> = known.values().map(|server| server.id).collect();
        let servers = service.servers.iter().map(|(name, server)| {
            let weight = option_weight.of_server(server);
            let loaded = AppliedServer {
                id: known.get(name).map_or_else(|| take_id(&mut taken, name), |known| known.id),
                address: server.address(),
                weight,
                loaded_weight: weight,
                backup: server.backup,
                options: server.options.clone(),
                checks: Checks::AsConfigured,
                standing: Standing::InRotation,
            };
            (name.clone(), loaded)
        });
        let servers = servers.collect();
        Self { section: service.section.clone(), frontend: Frontend::Serving, servers }
    }

    /// Whether a process that is loaded with `wanted` holds just this.
    fn is_loaded_with(&self, base: &Base, wanted: &DesiredService) -> bool {
        let as_loaded = |server: &AppliedServer| {
            server.standing == Standing::InRotation && server.loaded_weight == server.weight
        };
        self.frontend == Frontend::Serving
            && self.servers.len() == wanted.servers.len()
            && self.servers.values().all(as_loaded)
            && self.serves(base, wanted)
    }

    pub(super) fn as_desired(&self) -> DesiredService {
        let in_rotation = self.servers.iter().filter(|(_, server)| !server.standing.is_out());
        let servers = in_rotation.filter_map(|(name, applied)| {
            let mut server = Server::of_name(name, applied.address)?;
            server.weight = Some(applied.weight);
            server.backup = applied.backup;
            server.options.clone_from(&applied.options);
            Some(server)
        });
        DesiredService::new(self.section.clone(), servers)
    }

    fn serves(&self, base: &Base, wanted: &DesiredService) -> bool {
        let option_weight = OptionWeight::of(base, &wanted.section);
        let in_rotation = self.servers.values().filter(|server| !server.standing.is_out()).count();
        self.section == wanted.section
            && in_rotation == wanted.servers.len()
            && wanted.servers.iter().all(|(name, server)| {
                self.servers.get(name).is_some_and(|applied| {
                    !applied.standing.is_out()
                        && applied.checks == Checks::AsConfigured
                        && applied.address == server.address()
                        && applied.backup == server.backup
                        && applied.options == server.options
                        && applied.weight == option_weight.of_server(server)
                })
            })
    }
}

/// The weight that a service's options give a server that names none.
#[derive(Clone, Copy, Debug)]
pub struct OptionWeight(Weight);

impl OptionWeight {
    /// Reads the `weight` words of the server options and of `default-server` lines; the last one counts.
    pub fn of(base: &Base, section: &Section) -> Self {
        let words: Vec<_> = super::capability::server_words(base, section).collect();
        let mut named = words.windows(2).filter_map(|pair| match pair {
            ["weight", number] => number.parse().ok().and_then(Weight::new),
            _ => None,
        });
        Self(named.next_back().unwrap_or(Weight::DEFAULT))
    }

    /// The weight `server` runs with.
    pub fn of_server(self, server: &Server) -> Weight {
        if server.drain { Weight::ZERO } else { server.weight.unwrap_or(self.0) }
    }
}

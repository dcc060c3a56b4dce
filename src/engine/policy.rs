//! Which services go ahead: conflicts over addresses, and what is in quarantine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::http_frontend::HttpFrontend;
use super::include::Includes;
use super::listen_address::ListenAddress;
use super::quarantine::Quarantine;
use super::route::{FrontendName, RouteId};
use super::route_holders::RouteHolders;
use super::section::{Base, Section};
use super::server::{Server, ServerName};
use super::service::ServiceName;
use super::state::{AppliedState, DesiredService, DesiredState};

/// A service as the registries want it, with its first answer.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a ServiceName,
    /// The section that its definition makes.
    pub section: &'a Arc<Section>,
    /// Its servers.
    pub servers: Arc<BTreeMap<ServerName, Server>>,
    /// Its rank by age: who asked for an address first keeps it.
    pub since: u64,
}

/// Why a service's definition does not go ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Another service holds its address.
    AddressTaken {
        /// The address.
        address: ListenAddress,
        /// Who holds it.
        by: ServiceName,
    },
    /// A frontend of proxymgr.yml has its address.
    FrontendHas {
        /// The address.
        address: ListenAddress,
        /// The frontend.
        frontend: FrontendName,
    },
    /// Another service holds its route.
    RouteTaken {
        /// The route.
        route: RouteId,
        /// Who holds it.
        by: ServiceName,
    },
    /// Its route names a frontend that is not there.
    NoFrontend {
        /// The name.
        frontend: FrontendName,
    },
    /// A section of an included file that runs, or a frontend of proxymgr.yml, has its name.
    NameTaken {
        /// The file.
        file: String,
    },
    /// Its definition is in quarantine.
    Quarantined(String),
    /// It has none any more, and others can't do without it.
    StillNeeded {
        /// Who refers to it.
        by: String,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressTaken { address, by } => {
                write!(f, "{address} belongs to the service {by}; choose another port or address")
            }
            Self::FrontendHas { address, frontend } => {
                write!(
                    f,
                    "{address} belongs to the frontend {frontend} of proxymgr.yml; choose another port or address"
                )
            }
            Self::RouteTaken { route, by } => {
                write!(f, "the route {route} belongs to the service {by}; choose another host or path")
            }
            Self::NoFrontend { frontend } => {
                write!(f, "its route names the frontend {frontend}, which is not in proxymgr.yml (frontends)")
            }
            Self::NameTaken { file } => {
                write!(f, "a section of {file} has this name; rename the service or the section")
            }
            Self::Quarantined(reason) => f.write_str(reason),
            Self::StillNeeded { by } => {
                write!(f, "is gone, but {by} refers to it: it stays without its addresses until that changes")
            }
        }
    }
}

/// What a service goes on with when its definition does not go ahead.
#[derive(Clone, Copy, Debug)]
pub struct LastGood<'a> {
    /// What runs, or ran last.
    pub running: Option<&'a AppliedState>,
    /// What proved itself before that.
    pub proved: Option<&'a BTreeMap<ServiceName, Arc<Section>>>,
}

impl<'a> LastGood<'a> {
    /// The section of `service` that is not refused.
    pub fn section(&self, service: &ServiceName, quarantine: &Quarantine) -> Option<&'a Arc<Section>> {
        let running = self.running.and_then(|running| running.services.get(service));
        let running = running.filter(|service| service.takes_connections());
        let proved = self.proved.and_then(|proved| proved.get(service));
        let mut sections = running.map(|service| &service.section).into_iter().chain(proved);
        sections.find(|section| quarantine.reason(service, section).is_none())
    }
}

/// The services that go ahead, and the obstacles of those whose definition does not.
///
/// The included files are chosen elsewhere; those that run keep the names of their sections.
/// A service with an obstacle keeps its last good section, with its current servers; one that has none stays out.
pub fn admit<'a>(
    base: &'a Arc<Base>,
    candidates: &[Candidate<'a>],
    quarantine: &Quarantine,
    last_good: LastGood<'a>,
) -> (DesiredState, BTreeMap<ServiceName, Obstacle>) {
    let is_frontend =
        |name: &ServiceName| base.frontends.keys().any(|frontend| frontend.as_service() == name);
    let included_namesake =
        |name: &ServiceName| Some(last_good.running?.includes.with_section(name.as_str())?.path().to_owned());
    let mut queue: Vec<_> = candidates
        .iter()
        .map(|candidate| (last_good.section(candidate.name, quarantine), candidate))
        .collect();
    queue.sort_by_key(|(last_good, candidate)| {
        let rank = match last_good {
            Some(section) if section.is_reached_as(candidate.section) => Rank::KeepsItsPlace,
            Some(_) => Rank::Moves,
            None => Rank::New,
        };
        (rank, candidate.since, candidate.name)
    });
    let mut admission = Admission::beside(&base.frontends, last_good.running);
    let mut obstacles = BTreeMap::new();
    for (last_good, candidate) in queue {
        if is_frontend(candidate.name) {
            let file = "proxymgr.yml".to_owned();
            obstacles.insert(candidate.name.clone(), Obstacle::NameTaken { file });
            continue;
        }
        let refused = quarantine.reason(candidate.name, candidate.section);
        let file = last_good.is_none().then(|| included_namesake(candidate.name)).flatten();
        let verdict = match (refused, file) {
            (Some(reason), _) => Err(Obstacle::Quarantined(reason.to_owned())),
            (None, Some(file)) => Err(Obstacle::NameTaken { file }),
            (None, None) => admission.admit(candidate, candidate.section),
        };
        if let Err(obstacle) = verdict {
            obstacles.insert(candidate.name.clone(), obstacle);
            if let Some(section) = last_good {
                let _left_out_when_taken = admission.admit(candidate, section);
            }
        }
    }
    let desired = DesiredState {
        base: base.clone(),
        services: admission.services,
        includes: Arc::new(Includes::default()),
        template: None,
    };
    (desired, obstacles)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    KeepsItsPlace,
    Moves,
    New,
}

struct Admission<'a> {
    frontends: &'a BTreeMap<FrontendName, HttpFrontend>,
    routes: RouteHolders<'a>,
    services: BTreeMap<ServiceName, Arc<DesiredService>>,
    holders: BTreeMap<Claim, BTreeSet<(&'a ListenAddress, &'a ServiceName)>>,
}

/// What two addresses must share to be in each other's way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Port(u16),
    Path(ListenAddress),
}

impl Claim {
    fn of(address: &ListenAddress) -> Self {
        match address {
            ListenAddress::Tcp(tcp) => Self::Port(tcp.port()),
            ListenAddress::Unix(_) => Self::Path(address.clone()),
        }
    }
}

/// Whether both would take the same connections. `[::]` takes those of IPv4 too (ipv6(7), `IPV6_V6ONLY`).
pub(super) fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            let covers = |all: &SocketAddr, part: &SocketAddr| {
                all.ip().is_unspecified() && (all.is_ipv6() || part.is_ipv4())
            };
            one.port() == other.port() && (one == other || covers(one, other) || covers(other, one))
        }
        (one, other) => one == other,
    }
}

impl<'a> Admission<'a> {
    fn beside(
        frontends: &'a BTreeMap<FrontendName, HttpFrontend>,
        running: Option<&'a AppliedState>,
    ) -> Self {
        Self {
            frontends,
            routes: RouteHolders::beside(running),
            services: BTreeMap::new(),
            holders: BTreeMap::new(),
        }
    }

    fn admit(&mut self, candidate: &Candidate<'a>, section: &'a Arc<Section>) -> Result<(), Obstacle> {
        self.check_addresses(section)?;
        self.routes.take(candidate.name, section, self.frontends)?;
        for address in &section.listen {
            self.holders.entry(Claim::of(address)).or_default().insert((address, candidate.name));
        }
        let servers = section.with_room(&candidate.servers);
        let service = DesiredService { section: section.clone(), servers };
        self.services.insert(candidate.name.clone(), Arc::new(service));
        Ok(())
    }

    fn check_addresses(&self, section: &Section) -> Result<(), Obstacle> {
        for address in &section.listen {
            let has = |frontend: &HttpFrontend| frontend.listen.iter().any(|held| overlap(address, held));
            if let Some((frontend, _)) = self.frontends.iter().find(|(_, frontend)| has(frontend)) {
                let (address, frontend) = (address.clone(), frontend.clone());
                return Err(Obstacle::FrontendHas { address, frontend });
            }
            let holders = self.holders.get(&Claim::of(address)).into_iter().flatten();
            for (held, by) in holders {
                if overlap(address, held) {
                    return Err(Obstacle::AddressTaken { address: address.clone(), by: (*by).clone() });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{base, name, spec};

    type Services = [(&'static str, u16, u64)];

    fn admitted(
        services: &Services,
        quarantine: &Quarantine,
        running: Option<&AppliedState>,
    ) -> (DesiredState, Vec<String>) {
        let base = base();
        let servers = Arc::new(BTreeMap::new());
        let made: Vec<_> = services
            .iter()
            .map(|(service, port, since)| {
                (name(service), Arc::new(Section::of(&spec(*port), base.bind_address)), *since)
            })
            .collect();
        let candidates: Vec<_> = made
            .iter()
            .map(|(name, section, since)| Candidate {
                name,
                section,
                servers: servers.clone(),
                since: *since,
            })
            .collect();
        let last_good = LastGood { running, proved: None };
        let (desired, obstacles) = admit(&base, &candidates, quarantine, last_good);
        (desired, obstacles.iter().map(|(name, obstacle)| format!("{name}: {obstacle}")).collect())
    }

    fn ports(desired: &DesiredState) -> Vec<String> {
        desired
            .services
            .iter()
            .map(|(name, service)| format!("{name} {}", service.section.listen[0]))
            .collect()
    }

    #[test]
    fn the_first_to_hold_a_port_keeps_it() {
        let (desired, obstacles) = admitted(&[("a", 80, 2), ("b", 80, 1)], &Quarantine::default(), None);
        assert_eq!(ports(&desired), ["b 0.0.0.0:80"]);
        assert_eq!(obstacles, ["a: 0.0.0.0:80 belongs to the service b; choose another port or address"]);
    }

    #[test]
    fn two_addresses_are_in_each_others_way_when_both_would_take_the_same_connections() {
        let address = |text| ListenAddress::parse(text).unwrap();
        for (one, other, overlaps) in [
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("[::]:80", "0.0.0.0:81", false),
            ("unix@/a", "unix@/a", true),
            ("unix@/a", "0.0.0.0:80", false),
        ] {
            let (one, other) = (address(one), address(other));
            assert_eq!(overlap(&one, &other), overlaps, "{one} {other}");
            assert_eq!(overlap(&other, &one), overlaps, "{other} {one}");
        }
    }

    #[test]
    fn a_service_that_moves_onto_anothers_port_stays_where_it_was() {
        let none = Quarantine::default();
        let running = AppliedState::loaded(&admitted(&[("a", 80, 1), ("b", 90, 2)], &none, None).0, None);
        let (desired, obstacles) =
            admitted(&[("a", 90, 1), ("b", 90, 2), ("c", 80, 0)], &none, Some(&running));
        assert_eq!(ports(&desired), ["a 0.0.0.0:80", "b 0.0.0.0:90"]);
        assert_eq!(obstacles.len(), 2);
    }

    #[test]
    fn two_services_may_swap_their_ports() {
        let none = Quarantine::default();
        let running = AppliedState::loaded(&admitted(&[("a", 80, 1), ("b", 90, 2)], &none, None).0, None);
        let (desired, obstacles) = admitted(&[("a", 90, 3), ("b", 80, 4)], &none, Some(&running));
        assert_eq!(ports(&desired), ["a 0.0.0.0:90", "b 0.0.0.0:80"]);
        assert!(obstacles.is_empty());
    }
}

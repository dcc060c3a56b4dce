//! What the running process was seen to hold, and how the applied state learns from it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::http_frontend::MapFile;
use super::server::{ServerName, Weight};
use super::server_id::ServerId;
use super::service::ServiceName;
use super::state::{AppliedServer, AppliedService, AppliedState, Checks, Frontend, Standing};

/// What the running process told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The servers of each backend.
    pub servers: BTreeMap<String, BTreeMap<ServerName, ObservedServer>>,
    /// The routes of each frontend.
    pub routes: ObservedRoutes,
}

/// The entries of each file of routes that was asked for: each key with what it leads to. A key may stand there twice.
pub type ObservedRoutes = BTreeMap<MapFile, BTreeMap<String, Vec<String>>>;

/// One server as `show servers state` reports it (management guide, 9.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedServer {
    /// Its id.
    pub id: ServerId,
    /// Its address and port, when it has them.
    pub address: Option<SocketAddr>,
    /// Its weight now.
    pub weight: Weight,
    /// Whether it was put into maintenance (`srv_admin_state` bit 0).
    pub in_maintenance: bool,
    /// Whether a check that it has is off.
    pub checks: Checks,
}

impl AppliedState {
    /// Takes over what was observed and tells what differed. Health, an operator's maintenance and an operator's weights
    /// are not ours to judge.
    pub fn learn(&mut self, observed: &Observed) -> Vec<String> {
        let mut differences = Vec::new();
        let none = BTreeMap::new();
        for (name, service) in &mut self.services {
            let seen = observed.servers.get(name.as_str()).unwrap_or(&none);
            let mut learned = AppliedService::clone(service);
            let before = differences.len();
            learned.learn(name, seen, &mut differences);
            if differences.len() > before {
                *service = Arc::new(learned);
            }
        }
        differences.extend(self.learn_routes(&observed.routes, |_| true));
        differences
    }
}

impl AppliedService {
    fn learn(
        &mut self,
        name: &ServiceName,
        seen: &BTreeMap<ServerName, ObservedServer>,
        differences: &mut Vec<String>,
    ) {
        self.servers.retain(|server, _| {
            let kept = seen.contains_key(server);
            if !kept {
                differences.push(format!("{name}/{server} is missing"));
            }
            kept
        });
        for (server, seen) in seen {
            if let Some(known) = self.servers.get_mut(server) {
                known.learn(&format!("{name}/{server}"), seen, differences);
            } else if let Some(stray) = self.stray(server, seen) {
                differences.push(format!("{name}/{server} was not expected"));
                self.servers.insert(server.clone(), stray);
            }
        }
    }

    /// A server that we didn't add, but whose name says that it is one of ours to look after.
    fn stray(&self, server: &ServerName, seen: &ObservedServer) -> Option<AppliedServer> {
        let address = seen.address.filter(|address| server.suits(*address))?;
        if self.frontend == Frontend::ShutDown
            || self.section.hand_written_servers().any(|name| name == server.as_str())
        {
            return None;
        }
        Some(AppliedServer {
            id: seen.id,
            address,
            weight: seen.weight,
            loaded_weight: seen.weight,
            backup: false,
            options: None,
            checks: seen.checks,
            standing: if seen.in_maintenance { Standing::Maintenance } else { Standing::InRotation },
        })
    }
}

impl AppliedServer {
    fn learn(&mut self, name: &str, seen: &ObservedServer, differences: &mut Vec<String>) {
        if let Some(address) = seen.address.filter(|address| *address != self.address) {
            differences.push(format!("{name} has the address {address}"));
            self.address = address;
        }
        if self.standing.is_out() && !seen.in_maintenance {
            differences.push(format!("{name} is in rotation"));
            self.standing = Standing::InRotation;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{desired, name};

    fn seen(address: &str, in_maintenance: bool) -> (ServerName, ObservedServer) {
        let address: SocketAddr = address.parse().unwrap();
        let id = ServerId::reported(7);
        (
            ServerName::of(address),
            ObservedServer {
                id,
                address: Some(address),
                weight: Weight::DEFAULT,
                in_maintenance,
                checks: Checks::AsConfigured,
            },
        )
    }

    fn of(servers: BTreeMap<String, BTreeMap<ServerName, ObservedServer>>) -> Observed {
        Observed { servers, ..Observed::default() }
    }

    fn learn(servers: &[&str], observed: &[(&str, bool)]) -> (AppliedState, Vec<String>) {
        let mut applied = AppliedState::loaded(&desired(&[("web", 80, "check", servers)]), None);
        let servers = observed.iter().map(|(address, maintenance)| seen(address, *maintenance)).collect();
        let differences = applied.learn(&of([("web".to_owned(), servers)].into()));
        (applied, differences)
    }

    #[test]
    fn a_lost_server_is_forgotten_and_a_stray_one_is_taken_over() {
        let (applied, differences) = learn(&["1.1.1.1:1"], &[("2.2.2.2:2", false)]);
        assert_eq!(differences, ["web/1.1.1.1:1 is missing", "web/2.2.2.2:2 was not expected"]);
        let servers: Vec<_> =
            applied.services[&name("web")].servers.keys().map(ToString::to_string).collect();
        assert_eq!(servers, ["2.2.2.2:2"]);
    }

    #[test]
    fn an_operators_maintenance_is_respected() {
        let (applied, differences) = learn(&["1.1.1.1:1"], &[("1.1.1.1:1", true)]);
        assert!(differences.is_empty());
        assert!(applied.leaving().next().is_none());
    }

    #[test]
    fn other_backends_and_hand_written_servers_are_left_alone() {
        let mut wanted = desired(&[("web", 80, "check", &[])]);
        let mut service = (*wanted.services[&name("web")]).clone();
        let mut section = (*service.section).clone();
        section.listen_options.push(crate::engine::fixtures::line("server 3.3.3.3:3 3.3.3.3:3"));
        service.section = Arc::new(section);
        wanted.services.insert(name("web"), Arc::new(service));
        let mut applied = AppliedState::loaded(&wanted, None);
        let observed = of([
            ("web".to_owned(), BTreeMap::from([seen("3.3.3.3:3", false)])),
            ("other".to_owned(), BTreeMap::from([seen("4.4.4.4:4", false)])),
        ]
        .into());
        assert!(applied.learn(&observed).is_empty());
    }
}

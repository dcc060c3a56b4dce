//! Which servers left, for who asks why one gets no traffic. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::notes::At;
use crate::engine::command::{RuntimeCommand, ServerAction};
use crate::engine::reconciler::Order;
use crate::engine::reload_reason::ReloadReason;
use crate::engine::server::ServerName;
use crate::engine::service::ServiceName;

/// The most that are kept of one service: the latest.
const MOST_GONE: usize = 20;

/// The servers of one service that left, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Departures(Vec<(ServerName, At)>);

impl Departures {
    /// These left.
    pub(super) fn note(&mut self, servers: BTreeSet<ServerName>, at: At) {
        self.0.retain(|(name, _)| !servers.contains(name));
        self.0.extend(servers.into_iter().map(|name| (name, at)));
        let surplus = self.0.len().saturating_sub(MOST_GONE);
        self.0.drain(..surplus);
    }

    /// The latest first.
    pub(super) fn latest(&self) -> impl Iterator<Item = &(ServerName, At)> {
        self.0.iter().rev()
    }
}

/// The servers that an order takes out, by service.
pub(super) fn leaving_with(order: &Order) -> BTreeMap<ServiceName, BTreeSet<ServerName>> {
    let mut leaving: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut take_out = |service: &ServiceName, server: &ServerName| {
        leaving.entry(service.clone()).or_default().insert(server.clone());
    };
    match order {
        Order::Apply { commands, .. } => {
            for command in commands {
                if let RuntimeCommand::Server { service, server, action: ServerAction::Maintenance } = command
                {
                    take_out(service, server);
                }
            }
        }
        Order::Reload { reasons, before: Some(before), after, .. } => {
            for service in reasons.iter().filter_map(with_other_servers) {
                let (Some(before), Some(after)) = (before.services.get(service), after.services.get(service))
                else {
                    continue;
                };
                let gone = before
                    .servers
                    .iter()
                    .filter(|(name, server)| !server.standing.is_out() && !after.servers.contains_key(*name));
                gone.for_each(|(name, _)| take_out(service, name));
            }
        }
        Order::Reload { before: None, .. } | Order::Compare { .. } => {}
    }
    leaving
}

fn with_other_servers(reason: &ReloadReason) -> Option<&ServiceName> {
    match reason {
        ReloadReason::ServiceChanged(service) | ReloadReason::Servers(service, _) => Some(service),
        ReloadReason::Start
        | ReloadReason::Crash(_)
        | ReloadReason::Base
        | ReloadReason::Frontend(_)
        | ReloadReason::Program
        | ReloadReason::Includes
        | ReloadReason::Template
        | ReloadReason::TemplateOutput
        | ReloadReason::NewService(_)
        | ReloadReason::ServiceGone(_)
        | ReloadReason::NeededServiceGone(_)
        | ReloadReason::HeldServiceGone(_)
        | ReloadReason::Checks(_)
        | ReloadReason::Repair(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::moment::Moment;

    #[test]
    fn the_latest_are_kept_each_once() {
        let mut departures = Departures::default();
        let leave = |departures: &mut Departures, name: &str| {
            let names = BTreeSet::from([ServerName::reported(name)]);
            departures.note(names, At::now(Moment::START));
        };
        for number in 0..MOST_GONE + 5 {
            leave(&mut departures, &format!("1.1.1.1:{number}"));
        }
        leave(&mut departures, "1.1.1.1:7");
        let names: Vec<_> = departures.latest().map(|(name, _)| name.to_string()).collect();
        assert_eq!((names.len(), names[0].as_str(), names[1].as_str()), (20, "1.1.1.1:7", "1.1.1.1:24"));
        assert_eq!(names.iter().filter(|name| *name == "1.1.1.1:7").count(), 1);
    }
}

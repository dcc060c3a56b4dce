//! Which address each host name stands for. Pure: answers in, server sets out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::listed_set::ListedSet;
use super::server_set::{ServerSet, SkippedEntry};
use crate::engine::host_name::HostName;
use crate::engine::server::Server;

/// The address that each host name led to.
pub type LastAddresses = BTreeMap<HostName, IpAddr>;

/// The last addresses of `servers` that are known by a host name.
pub fn last_addresses<'a>(servers: impl IntoIterator<Item = &'a Server>) -> LastAddresses {
    let named = |server: &Server| Some((server.host()?.clone(), server.address().ip()));
    servers.into_iter().filter_map(named).collect()
}

/// The names in use, each with the address that its servers have.
///
/// A name that has several addresses stands for one of them: the one it has already, for as long as it is among the answers,
/// else the first one, IPv4 before IPv6 and then by number, so that all who look it up for the first time agree. A name that
/// had an address and gets an answer without any keeps it: whether that server is up is for `HAProxy`'s checks to tell.
#[derive(Debug, Default)]
pub(super) struct HostAddresses {
    hosts: BTreeMap<HostName, Known>,
    /// For names that come into use.
    last: LastAddresses,
}

#[derive(Debug)]
struct Known {
    address: Option<IpAddr>,
    answer: Answer,
}

/// What was answered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It was not asked for yet, or the reply is still to come.
    Awaited,
    /// Nothing: no name server could be asked.
    Failed,
    /// Addresses.
    Found,
    /// That there are none.
    Empty,
}

/// What an answer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing but, perhaps, that it came.
    Unchanged,
    /// The first address.
    Found,
    /// Another address.
    Moved { from: IpAddr, to: IpAddr },
    /// The name has no address any more; this one stays.
    Kept(IpAddr),
}

impl HostAddresses {
    /// No name yet; those in `last` begin with their address, to be used if no answer comes.
    pub(super) fn new(last: LastAddresses) -> Self {
        Self { hosts: BTreeMap::new(), last }
    }

    /// Forgets all names but these, and tells which of them are new.
    pub(super) fn use_only(&mut self, names: &BTreeSet<HostName>) -> Vec<HostName> {
        self.hosts.retain(|name, _| names.contains(name));
        let new: Vec<_> = names.iter().filter(|name| !self.hosts.contains_key(*name)).cloned().collect();
        for name in &new {
            let known = Known { address: self.last.remove(name), answer: Answer::Awaited };
            self.hosts.insert(name.clone(), known);
        }
        new
    }

    /// No name server has answered for a name yet: nobody need wait for it any more.
    pub(super) fn take_failure(&mut self, name: &HostName) {
        if let Some(known) = self.hosts.get_mut(name).filter(|known| known.answer == Answer::Awaited) {
            known.answer = Answer::Failed;
        }
    }

    /// Takes the addresses of a name.
    pub(super) fn take_answer(&mut self, name: &HostName, addresses: &BTreeSet<IpAddr>) -> Finding {
        let Some(known) = self.hosts.get_mut(name) else { return Finding::Unchanged };
        let usable = || addresses.iter().map(IpAddr::to_canonical).filter(can_be_a_server);
        let Some(first) = usable().min() else {
            let before = std::mem::replace(&mut known.answer, Answer::Empty);
            return match known.address {
                Some(kept) if before != Answer::Empty => Finding::Kept(kept),
                Some(_) | None => Finding::Unchanged,
            };
        };
        known.answer = Answer::Found;
        match known.address {
            None => {
                known.address = Some(first);
                Finding::Found
            }
            Some(present) if usable().any(|address| address == present) => Finding::Unchanged,
            Some(from) => {
                known.address = Some(first);
                Finding::Moved { from, to: first }
            }
        }
    }

    /// Whether it may help to wait.
    pub(super) fn awaits_answers(&self) -> bool {
        self.hosts.values().any(|known| known.answer == Answer::Awaited)
    }

    /// The servers of `listed` with their addresses; those whose name has none are skipped, with the reason.
    pub(super) fn locate(&self, listed: &ListedSet) -> ServerSet {
        let mut skipped = listed.skipped().to_vec();
        let mut servers = Vec::with_capacity(listed.servers().len());
        for server in listed.servers() {
            match server.located(|name| self.hosts.get(name)?.address) {
                Some(located) => servers.push(located),
                None => skipped
                    .push(SkippedEntry::new(server.name().as_str(), self.why_nowhere(server.host_name()))),
            }
        }
        ServerSet::new(servers, skipped)
    }

    fn why_nowhere(&self, name: Option<&HostName>) -> &'static str {
        match name.and_then(|name| self.hosts.get(name)).map(|known| known.answer) {
            Some(Answer::Empty | Answer::Found) => {
                "the host name has no address; the server is taken as soon as it has one"
            }
            Some(Answer::Awaited | Answer::Failed) | None => {
                "no name server has answered for the host name yet; the server is taken as soon as one does"
            }
        }
    }
}

/// Whether it may be a server's address: no placeholder, and not of many.
fn can_be_a_server(address: &IpAddr) -> bool {
    let broadcast = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(_) => false,
    };
    !(address.is_unspecified() || address.is_multicast() || broadcast)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::listed_server::{Host, ListedServer};

    fn name(text: &str) -> HostName {
        HostName::parse(text).unwrap()
    }

    fn ips(texts: &[&str]) -> BTreeSet<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn listed(hosts: &[&str]) -> ListedSet {
        let server = |host: &&str| {
            let address = host.parse().ok().and_then(Host::at);
            ListedServer::new(address.unwrap_or_else(|| Host::Name(name(host))), NonZeroU16::new(80).unwrap())
        };
        ListedSet::new(hosts.iter().map(server).collect(), vec![])
    }

    fn using(names: &[&str]) -> HostAddresses {
        let mut hosts = HostAddresses::default();
        hosts.use_only(&names.iter().map(|text| name(text)).collect());
        hosts
    }

    /// `NAME=ADDRESS` of each server, and the names of those skipped.
    fn located(hosts: &HostAddresses, set: &ListedSet) -> (Vec<String>, Vec<String>) {
        let set = hosts.locate(set);
        let servers = set.servers().iter().map(|server| format!("{}={}", server.name(), server.address()));
        (servers.collect(), set.skipped().iter().map(|skipped| skipped.entry.clone()).collect())
    }

    #[test]
    fn the_present_address_stays_while_it_is_among_the_answers_else_the_first_is_taken() {
        let mut hosts = using(&["web"]);
        let web = name("web");
        assert_eq!(hosts.take_answer(&web, &ips(&["::1", "10.0.0.9", "10.0.0.10"])), Finding::Found);
        let at = |hosts: &HostAddresses| located(hosts, &listed(&["web"])).0;
        assert_eq!(at(&hosts), ["web:80=10.0.0.9:80"], "IPv4 before IPv6, by number");
        assert_eq!(hosts.take_answer(&web, &ips(&["10.0.0.1", "10.0.0.9"])), Finding::Unchanged);
        assert_eq!(at(&hosts), ["web:80=10.0.0.9:80"]);
        let [from, to] = ["10.0.0.9", "10.0.0.1"].map(|text| text.parse().unwrap());
        assert_eq!(hosts.take_answer(&web, &ips(&["10.0.0.1", "10.0.0.8"])), Finding::Moved { from, to });
        assert_eq!(at(&hosts), ["web:80=10.0.0.1:80"]);
    }

    #[test]
    fn a_name_that_loses_its_addresses_keeps_the_last_one() {
        let mut hosts = using(&["web"]);
        let web = name("web");
        hosts.take_answer(&web, &ips(&["10.0.0.1"]));
        assert_eq!(hosts.take_answer(&web, &ips(&[])), Finding::Kept("10.0.0.1".parse().unwrap()));
        assert_eq!(hosts.take_answer(&web, &ips(&["0.0.0.0", "::"])), Finding::Unchanged, "told once");
        assert_eq!(located(&hosts, &listed(&["web"])), (vec!["web:80=10.0.0.1:80".to_owned()], vec![]));
        assert_eq!(hosts.take_answer(&web, &ips(&["10.0.0.1"])), Finding::Unchanged);
        assert_eq!(
            hosts.take_answer(&web, &ips(&[])),
            Finding::Kept("10.0.0.1".parse().unwrap()),
            "told anew"
        );
    }

    #[test]
    fn addresses_that_can_be_no_server_are_passed_over() {
        let mut hosts = using(&["web"]);
        hosts.take_answer(
            &name("web"),
            &ips(&["0.0.0.0", "224.0.0.1", "255.255.255.255", "ff02::1", "10.0.0.7"]),
        );
        assert_eq!(located(&hosts, &listed(&["web"])).0, ["web:80=10.0.0.7:80"]);
    }

    #[test]
    fn servers_whose_name_leads_nowhere_are_skipped_and_the_others_go_ahead() {
        let mut hosts = using(&["silent", "empty", "good"]);
        hosts.take_answer(&name("empty"), &ips(&[]));
        hosts.take_answer(&name("good"), &ips(&["10.0.0.1"]));
        assert!(hosts.awaits_answers());
        let set = hosts.locate(&listed(&["silent", "empty", "good", "10.0.0.1"]));
        let names: Vec<_> = set.servers().iter().map(|server| server.name().to_string()).collect();
        assert_eq!(names, ["10.0.0.1:80", "good:80"], "one address, two servers");
        let reasons: Vec<_> =
            set.skipped().iter().map(|skipped| (skipped.entry.as_str(), &skipped.reason[..24])).collect();
        assert_eq!(
            reasons,
            [("empty:80", "the host name has no add"), ("silent:80", "no name server has answe")]
        );
        hosts.take_failure(&name("silent"));
        hosts.take_failure(&name("good"));
        assert!(!hosts.awaits_answers());
        assert_eq!(
            hosts.locate(&listed(&["silent", "good"])).servers().len(),
            1,
            "a failure takes nothing away"
        );
    }

    #[test]
    fn what_a_name_led_to_before_the_start_counts_until_it_is_answered() {
        let last = LastAddresses::from([(name("web"), "10.0.0.7".parse().unwrap())]);
        let mut hosts = HostAddresses::new(last);
        assert_eq!(hosts.use_only(&[name("web")].into()), [name("web")]);
        assert!(hosts.awaits_answers());
        assert_eq!(located(&hosts, &listed(&["web"])).0, ["web:80=10.0.0.7:80"]);
        assert_eq!(hosts.take_answer(&name("web"), &ips(&["10.0.0.1", "10.0.0.7"])), Finding::Unchanged);
        assert_eq!(located(&hosts, &listed(&["web"])).0, ["web:80=10.0.0.7:80"]);
    }

    #[test]
    fn names_go_with_the_sets_that_hold_them() {
        let mut hosts = using(&["a", "b"]);
        hosts.take_answer(&name("a"), &ips(&["10.0.0.1"]));
        assert_eq!(hosts.use_only(&[name("a"), name("c")].into()), [name("c")]);
        assert_eq!(hosts.take_answer(&name("b"), &ips(&["10.0.0.2"])), Finding::Unchanged);
        assert_eq!(
            located(&hosts, &listed(&["a", "b", "c"])),
            (vec!["a:80=10.0.0.1:80".to_owned()], vec!["b:80".to_owned(), "c:80".to_owned()])
        );
    }

    proptest! {
        /// Whatever is answered in whatever order: every listed server is located or skipped, never both, and a name that once had
        /// an address has one of those it was ever given.
        #[test]
        fn a_located_server_never_gets_lost(answers in proptest::collection::vec((0..3_usize, proptest::collection::vec(0..5_u8, 0..4)), 0..20)) {
            let names = ["a", "b", "c"];
            let set = listed(&["a", "b", "c", "10.9.9.9"]);
            let mut hosts = using(&names);
            let mut given = [const { BTreeSet::<IpAddr>::new() }; 3];
            for (which, bytes) in answers {
                let addresses: BTreeSet<_> = bytes.into_iter().map(|byte| IpAddr::from([10, 0, 0, byte])).collect();
                hosts.take_answer(&name(names[which]), &addresses);
                let located = hosts.locate(&set);
                if !addresses.is_empty() {
                    let server = located.servers().iter().find(|server| server.host() == Some(&name(names[which])));
                    prop_assert!(addresses.contains(&server.unwrap().address().ip()));
                }
                given[which].extend(addresses);
                prop_assert_eq!(located.servers().len() + located.skipped().len(), 4);
                for (text, given) in names.iter().zip(&given) {
                    let server = located.servers().iter().find(|server| server.host() == Some(&name(text)));
                    prop_assert_eq!(server.is_some(), !given.is_empty());
                    prop_assert!(server.is_none_or(|server| given.contains(&server.address().ip())));
                }
            }
        }
    }
}

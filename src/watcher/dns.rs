//! Servers stand behind names in the DNS.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::task::Poll;

use super::dns_servers::{Found, servers_of_name, servers_of_services};
use super::listed_set::ListedSet;
use super::server_set::SkippedEntry;
use super::updates::Updates;
use super::{WatchError, Watcher};
use crate::dns::{Followed, Names, Nameservers, Progress, RefreshRules, SrvRecord};
use crate::engine::dns_spec::{DnsBackend, DnsSpec};
use crate::engine::host_name::HostName;
use crate::engine::listed_server::ListedServer;

/// Follows the names of one service.
#[derive(Debug)]
pub struct DnsWatcher {
    names: Names,
    spec: DnsSpec,
}

/// What is followed now.
struct Following {
    names: Names,
    nameservers: Nameservers,
    rules: RefreshRules,
    services: BTreeMap<HostName, Followed<BTreeSet<SrvRecord>>>,
    addresses: BTreeMap<HostName, Followed<BTreeSet<IpAddr>>>,
}

impl DnsWatcher {
    /// Follows what `spec` names.
    pub fn new(names: Names, spec: DnsSpec) -> Self {
        Self { names, spec }
    }
}

impl Watcher for DnsWatcher {
    /// Publishes once each name has been answered or has failed, if any has been answered. A name that fails later keeps its
    /// last answer; one that never had one is told as a skipped entry.
    async fn watch(&mut self, out: &Updates) -> Result<Infallible, WatchError> {
        let mut following = Following::new(self.names.clone(), &self.spec);
        loop {
            if let Some(set) = following.servers(&self.spec.backends) {
                out.publish(set);
            }
            following.changed().await;
        }
    }
}

impl Following {
    fn new(names: Names, spec: &DnsSpec) -> Self {
        let nameservers = match spec.nameservers.as_slice() {
            [] => Nameservers::System,
            these => Nameservers::These(these.into()),
        };
        let rules = RefreshRules { min_ttl: spec.min_ttl, max_ttl: spec.max_ttl };
        Self { names, nameservers, rules, services: BTreeMap::new(), addresses: BTreeMap::new() }
    }

    /// All servers; `None` while a first answer is still to come, or when no name was ever answered.
    fn servers(&mut self, backends: &[DnsBackend]) -> Option<ListedSet> {
        let records: Vec<_> = backends
            .iter()
            .filter_map(|backend| match backend {
                DnsBackend::Addresses { .. } => None,
                DnsBackend::Services { name } => Some((name, self.records_of(name))),
            })
            .collect();
        let targets = records.iter().flat_map(|(_, progress)| match progress {
            Progress::Known(records) => records.iter().map(|record| record.target.clone()).collect(),
            Progress::Asking | Progress::Failed(_) => Vec::new(),
        });
        let named = backends.iter().filter_map(|backend| match backend {
            DnsBackend::Addresses { name, .. } => Some(name.clone()),
            DnsBackend::Services { .. } => None,
        });
        self.follow_addresses(&named.chain(targets).collect());

        let mut all = Collected::default();
        for backend in backends {
            match backend {
                DnsBackend::Addresses { name, port } => {
                    let addresses = all.take(name, self.addresses_of(name));
                    all.servers.extend(servers_of_name(*port, &addresses));
                }
                DnsBackend::Services { name } => {
                    let progress = records.iter().find(|(known, _)| *known == name);
                    let records =
                        all.take(name, progress.map_or(Progress::Asking, |(_, progress)| progress.clone()));
                    let found: Vec<_> = records
                        .into_iter()
                        .map(|record| Found {
                            addresses: all.take(&record.target, self.addresses_of(&record.target)),
                            record,
                        })
                        .collect();
                    all.servers.extend(servers_of_services(&found));
                }
            }
        }
        all.set()
    }

    fn records_of(&mut self, name: &HostName) -> Progress<BTreeSet<SrvRecord>> {
        let followed = self
            .services
            .entry(name.clone())
            .or_insert_with(|| self.names.services(&self.nameservers, name, self.rules));
        followed.progress()
    }

    fn addresses_of(&self, name: &HostName) -> Progress<BTreeSet<IpAddr>> {
        self.addresses.get(name).map_or(Progress::Asking, Followed::progress)
    }

    /// Follows these names and no others. A name that comes back later is asked anew.
    fn follow_addresses(&mut self, wanted: &BTreeSet<HostName>) {
        self.addresses.retain(|name, _| wanted.contains(name));
        for name in wanted {
            if !self.addresses.contains_key(name) {
                let followed = self.names.addresses(&self.nameservers, name, self.rules);
                self.addresses.insert(name.clone(), followed);
            }
        }
    }

    /// Waits until any name has news. Cancel safe.
    async fn changed(&mut self) {
        let services = self.services.values_mut().map(|followed| boxed(followed.changed()));
        let addresses = self.addresses.values_mut().map(|followed| boxed(followed.changed()));
        let mut each: Vec<_> = services.chain(addresses).collect();
        poll_fn(|context| {
            let any = each.iter_mut().any(|one| one.as_mut().poll(context).is_ready());
            if any { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

type News<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

fn boxed<'a>(news: impl Future<Output = ()> + Send + 'a) -> News<'a> {
    Box::pin(news)
}

/// What the names told so far.
#[derive(Default)]
struct Collected {
    servers: Vec<ListedServer>,
    skipped: Vec<SkippedEntry>,
    known: bool,
    asking: bool,
}

impl Collected {
    fn take<T: Default>(&mut self, name: &HostName, progress: Progress<T>) -> T {
        match progress {
            Progress::Asking => self.asking = true,
            Progress::Failed(error) => {
                self.skipped.push(SkippedEntry::new(name.as_str(), &format!("no answer yet: {error}")));
            }
            Progress::Known(known) => {
                self.known = true;
                return known;
            }
        }
        T::default()
    }

    fn set(self) -> Option<ListedSet> {
        (self.known && !self.asking).then(|| ListedSet::new(self.servers, self.skipped))
    }
}

//! One question, one answer.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::DnsError as Reply;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::sync::Semaphore;

use super::error::DnsError;
use super::system::{ResolvConf, addresses_in_hosts};
use crate::engine::host_name::HostName;

/// What an answer without records holds for, when its zone doesn't say (RFC 2308, 5: it isn't to be cached).
const EMPTY_TTL: Duration = Duration::from_secs(5);
/// For name servers of the user's own: how long one question may take, and how often it is repeated.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);
const REPETITIONS: usize = 1;
/// Questions under way at a time. More of them, each with a socket, would only make each other late.
const AT_ONCE: usize = 128;

/// Who is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Nameservers {
    /// `/etc/hosts`, then those of `/etc/resolv.conf` with its search list.
    #[default]
    System,
    /// These, by UDP, and by TCP when an answer is too long.
    These(Arc<[SocketAddr]>),
}

/// One `SRV` record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SrvRecord {
    /// The lowest is used first.
    pub priority: u16,
    /// The share among those of one priority.
    pub weight: u16,
    /// Where the service listens.
    pub port: u16,
    /// The host.
    pub target: HostName,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Ipv4,
    Ipv6,
    Srv,
}

/// Records of one kind, sorted, each once; and for how long they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) records: Records,
    pub(super) ttl: Duration,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) addresses: BTreeSet<IpAddr>,
    pub(super) services: BTreeSet<SrvRecord>,
}

/// Asks one set of name servers.
#[derive(Debug)]
pub(super) struct Asker {
    nameservers: Nameservers,
    resolv_conf: ResolvConf,
    turns: Semaphore,
}

impl Asker {
    pub(super) fn new(nameservers: Nameservers) -> Self {
        Self { nameservers, resolv_conf: ResolvConf::default(), turns: Semaphore::new(AT_ONCE) }
    }

    pub(super) async fn ask(&self, name: &HostName, kind: Kind) -> Result<Answer, DnsError> {
        let absolute = absolute(name)?;
        // Waiting for a turn is no part of the time that a reply may take.
        let _turn = self.turns.acquire().await;
        let (config, mut options) = match &self.nameservers {
            Nameservers::System => {
                if kind != Kind::Srv
                    && let Some(addresses) = addresses_in_hosts(&absolute)
                {
                    return Ok(from_hosts(addresses, kind));
                }
                self.resolv_conf.read()?
            }
            Nameservers::These(addresses) => own_servers(addresses),
        };
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        let candidates = candidates(&absolute, &config, options.ndots);
        // Names are absolute here: the search list is walked below, so that a failure in it is not taken for an answer.
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder.build().map_err(|error| DnsError::Unusable(error.to_string()))?;
        let mut outcome = Err(DnsError::Unusable("there is nothing to ask for".to_owned()));
        for candidate in candidates {
            match (ask_one(&resolver, candidate, kind).await, &outcome) {
                (Ok(answer), _) if !answer.records.is_empty() => return Ok(answer),
                // The first failure counts more than any empty answer: the name may be there.
                (Err(error), _) => return Err(error),
                (Ok(empty), Err(_)) => outcome = Ok(empty),
                (Ok(_), Ok(_)) => {}
            }
        }
        outcome
    }
}

impl Records {
    fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.services.is_empty()
    }

    fn add(&mut self, record: &Record, kind: Kind) {
        match (&record.data, kind) {
            (RData::A(address), Kind::Ipv4) => {
                self.addresses.insert(address.0.into());
            }
            (RData::AAAA(address), Kind::Ipv6) => {
                self.addresses.insert(address.0.into());
            }
            (RData::SRV(srv), Kind::Srv) => {
                // RFC 2782: the target "." says that the service is decidedly not there.
                let Ok(target) = HostName::parse(&srv.target.to_ascii()) else { return };
                let (priority, weight, port) = (srv.priority, srv.weight, srv.port);
                self.services.insert(SrvRecord { priority, weight, port, target });
            }
            (_other, _) => {}
        }
    }
}

async fn ask_one(resolver: &TokioResolver, name: Name, kind: Kind) -> Result<Answer, DnsError> {
    let record_type = match kind {
        Kind::Ipv4 => RecordType::A,
        Kind::Ipv6 => RecordType::AAAA,
        Kind::Srv => RecordType::SRV,
    };
    let text = name.to_ascii();
    match resolver.lookup(name, record_type).await {
        Ok(lookup) => {
            let mut records = Records::default();
            lookup.answers().iter().for_each(|record| records.add(record, kind));
            let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
            Ok(Answer { records, ttl })
        }
        Err(NetError::Dns(Reply::NoRecordsFound(empty))) => {
            let ttl = empty.negative_ttl.map_or(EMPTY_TTL, |seconds| Duration::from_secs(seconds.into()));
            Ok(Answer { records: Records::default(), ttl })
        }
        Err(NetError::Dns(Reply::ResponseCode(code))) => {
            Err(DnsError::Refused(code.to_string(), format!("{record_type} {text}")))
        }
        Err(error @ (NetError::Timeout | NetError::NoConnections | NetError::Io(_) | NetError::Busy)) => {
            Err(DnsError::Unreachable(error.to_string()))
        }
        Err(error) => Err(DnsError::Unusable(error.to_string())),
    }
}

fn absolute(name: &HostName) -> Result<Name, DnsError> {
    let mut absolute =
        Name::from_ascii(name.as_str()).map_err(|error| DnsError::Unusable(error.to_string()))?;
    absolute.set_fqdn(true);
    Ok(absolute)
}

fn from_hosts(addresses: Vec<IpAddr>, kind: Kind) -> Answer {
    let addresses = addresses.into_iter().filter(|address| match kind {
        Kind::Ipv4 => address.is_ipv4(),
        Kind::Ipv6 => address.is_ipv6(),
        Kind::Srv => false,
    });
    let records = Records { addresses: addresses.collect(), ..Records::default() };
    // The file is read again as soon as the rules allow.
    Answer { records, ttl: EMPTY_TTL }
}

fn own_servers(addresses: &[SocketAddr]) -> (ResolverConfig, ResolverOpts) {
    let servers = addresses.iter().map(|address| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = address.port();
            connection
        });
        NameServerConfig::new(address.ip(), true, connections.into())
    });
    let mut options = ResolverOpts::default();
    options.timeout = QUESTION_LIMIT;
    options.attempts = REPETITIONS;
    (ResolverConfig::from_name_servers(servers.collect()), options)
}

/// The names to ask for, in order (resolv.conf(5), `search` and `ndots`).
fn candidates(name: &Name, config: &ResolverConfig, ndots: usize) -> Vec<Name> {
    let searched = config.search().iter().chain(config.domain());
    let mut relative = name.clone();
    relative.set_fqdn(false);
    let mut candidates: Vec<Name> = Vec::new();
    for suffix in searched {
        let Ok(mut candidate) = relative.clone().append_domain(suffix) else { continue };
        candidate.set_fqdn(true);
        if candidate != *name && !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    let dots = usize::from(name.num_labels()).saturating_sub(1);
    let first = if dots >= ndots { 0 } else { candidates.len() };
    candidates.insert(first, name.clone());
    candidates
}

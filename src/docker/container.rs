//! A container, as far as it matters here: read from what the daemon says of it, with limits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use bollard::models::{
    ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum, EndpointSettings,
    HealthStatusEnum, PortMap,
};

use super::offers::offers;
use super::signal::Signal;
use crate::engine::docker_spec::ContainerAddress;
use crate::engine::printable::printable;

/// More labels of a container are not looked at, nor more variables.
const MAX_LABELS: usize = 256;
/// Longer keys and values are not looked at, in bytes.
const MAX_TEXT: usize = 4096;
/// Nor what goes beyond this together, in bytes.
const MAX_WORDS: usize = 64 * 1024;
/// Of a container's environment nothing else is kept: passwords stand there.
const VARIABLES: [&str; 4] = ["CONFIG_MODE", "PREDICATE", "COOKIE", "PORT"];
/// And these.
const SERVICE_VARIABLES: &str = "SERVICE_";

/// The id of a container: 12 to 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Box<str>);

/// One that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name, printable.
    pub name: String,
    /// When it was made, for comparing.
    pub created: String,
    /// What its health check says.
    pub health: Health,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Those variables of its environment that say something to `ProxyMgr`.
    pub variables: BTreeMap<String, String>,
    /// Its address in each network.
    pub addresses: BTreeMap<String, IpAddr>,
    /// Whether it has the network of its host.
    pub on_host: bool,
    /// Its TCP ports.
    pub exposed: BTreeSet<NonZeroU16>,
    /// Where they are published.
    pub published: BTreeSet<Published>,
    /// The services that it may be a server of, so that those of others needn't be looked for.
    pub(super) services: BTreeSet<String>,
    pub(super) started: String,
    pub(super) stop_signal: Option<Signal>,
}

/// What a listing says of one that runs: enough to tell whether it has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    name: String,
    health: Health,
    addresses: BTreeMap<String, IpAddr>,
}

/// What a container's own health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is well, or has no check.
    Good,
    /// No answer yet.
    Starting,
    /// It is not well.
    Bad,
}

/// A port of the host that leads to one of the container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// The container's.
    pub port: NonZeroU16,
    /// The host's address, v4 before v6.
    pub ip: IpAddr,
    /// The host's port.
    pub host_port: NonZeroU16,
}

impl ContainerId {
    /// Checks `text`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fits = (12..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Self(text.into()))
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// As short as `docker ps` shows it.
impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..12).unwrap_or(&self.0))
    }
}

impl Container {
    /// The container of `inspected`; `None` when it doesn't run, or doesn't serve because it is paused.
    pub(super) fn read(inspected: ContainerInspectResponse) -> Option<Self> {
        let state = inspected.state?;
        let is = |flag: Option<bool>| flag.unwrap_or(false);
        if !is(state.running) || is(state.paused) || is(state.restarting) {
            return None;
        }
        let health = match state.health.and_then(|health| health.status) {
            None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE | HealthStatusEnum::HEALTHY) => {
                Health::Good
            }
            Some(HealthStatusEnum::STARTING) => Health::Starting,
            Some(HealthStatusEnum::UNHEALTHY) => Health::Bad,
        };
        let config = inspected.config.unwrap_or_default();
        let network = inspected.network_settings.unwrap_or_default();
        let mode = inspected.host_config.and_then(|host| host.network_mode);
        let published = published(&network.ports.unwrap_or_default());
        let exposed = config.exposed_ports.unwrap_or_default();
        let exposed = exposed.iter().filter_map(|port| tcp_port(port));
        let mut container = Self {
            name: printable(inspected.name.unwrap_or_default().trim_start_matches('/')),
            created: inspected.created.unwrap_or_default(),
            health,
            labels: labels(config.labels.unwrap_or_default()),
            variables: variables(&config.env.unwrap_or_default()),
            addresses: addresses(&network.networks.unwrap_or_default()),
            on_host: mode.as_deref() == Some("host"),
            exposed: exposed.chain(published.iter().map(|published| published.port)).collect(),
            published,
            started: state.started_at.unwrap_or_default(),
            services: BTreeSet::new(),
            stop_signal: config.stop_signal.as_deref().and_then(Signal::parse),
        };
        let addresses = [ContainerAddress::Published, ContainerAddress::Network(None)];
        let offers = addresses.iter().flat_map(|address| offers(&container, address));
        container.services = offers.map(|offer| offer.service).collect();
        Some(container)
    }

    /// Whether it can be a server of `service` at all.
    pub fn may_serve(&self, service: &str) -> bool {
        self.services.contains(service)
    }
}

impl Seen {
    /// `None` for one that doesn't run, or not now.
    pub(super) fn read(summary: ContainerSummary) -> Option<(ContainerId, Self)> {
        let id = ContainerId::parse(summary.id.as_deref()?)?;
        if summary.state? != ContainerSummaryStateEnum::RUNNING {
            return None;
        }
        // `Up 3 minutes (healthy)`; without a health check nothing stands in brackets.
        let status = summary.status.unwrap_or_default();
        let health = match status.split_once('(').map(|(_time, health)| health.trim_end_matches(')')) {
            Some("unhealthy") => Health::Bad,
            Some("health: starting") => Health::Starting,
            Some(_) | None => Health::Good,
        };
        // Links give it further names, `/other/alias`.
        let names = summary.names.unwrap_or_default();
        let own = names.iter().filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/'));
        let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        Some((id, Self { name: printable(own.unwrap_or_default()), health, addresses: addresses(&networks) }))
    }

    /// Whether `container` is still as it was seen.
    pub(super) fn is_of(&self, container: &Container) -> bool {
        (&self.name, self.health, &self.addresses)
            == (&container.name, container.health, &container.addresses)
    }
}

fn fits(text: &str) -> bool {
    text.len() <= MAX_TEXT
}

fn labels(labels: HashMap<String, String>) -> BTreeMap<String, String> {
    // Sorted, so that it is always the same ones that are left out.
    let sorted: BTreeMap<_, _> = labels.into_iter().filter(|(key, value)| fits(key) && fits(value)).collect();
    bounded(sorted.into_iter())
}

fn bounded(words: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let mut left = MAX_WORDS;
    let fits = |(key, value): &(String, String)| {
        let after = left.checked_sub(key.len() + value.len());
        left = after.unwrap_or(left);
        after.is_some()
    };
    words.filter(fits).take(MAX_LABELS).collect()
}

/// Of a variable that is there twice the last counts, as for a program.
fn variables(environment: &[String]) -> BTreeMap<String, String> {
    let pairs = environment.iter().filter_map(|line| line.split_once('='));
    let ours = |name: &str| VARIABLES.contains(&name) || name.starts_with(SERVICE_VARIABLES);
    let kept = pairs.filter(|(name, value)| ours(name) && fits(name) && fits(value));
    bounded(kept.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

fn addresses(networks: &HashMap<String, EndpointSettings>) -> BTreeMap<String, IpAddr> {
    let address = |text: &Option<String>| text.as_ref()?.parse::<IpAddr>().ok();
    let found = networks.iter().filter_map(|(name, end)| {
        let ip = address(&end.ip_address).or_else(|| address(&end.global_ipv6_address))?;
        Some((name.clone(), ip)).filter(|(name, _)| fits(name))
    });
    found.collect()
}

fn published(ports: &PortMap) -> BTreeSet<Published> {
    let bound = ports.iter().filter_map(|(port, bindings)| Some((tcp_port(port)?, bindings.as_ref()?)));
    let each = bound.flat_map(|(port, bindings)| bindings.iter().map(move |binding| (port, binding)));
    let read = each.filter_map(|(port, binding)| {
        let ip = match binding.host_ip.as_deref() {
            None | Some("") => IpAddr::from([0, 0, 0, 0]),
            Some(text) => text.parse().ok()?,
        };
        Some(Published { port, ip, host_port: binding.host_port.as_ref()?.parse().ok()? })
    });
    read.collect()
}

/// `80/tcp`; `None` for other protocols.
fn tcp_port(text: &str) -> Option<NonZeroU16> {
    text.strip_suffix("/tcp").unwrap_or(text).parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A container that says `words` (labels if there is a dot in them, else variables) and exposes `ports`.
    pub(crate) fn container(words: &[(&str, &str)], ports: &[u16]) -> Container {
        let (labels, variables): (Vec<_>, Vec<_>) = words.iter().partition(|(key, _)| key.contains('.'));
        let variables: Vec<_> = variables.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let labels: HashMap<_, _> = labels.into_iter().collect();
        let ports: HashMap<_, _> = ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
        let config = json!({"Labels": labels, "Env": variables, "ExposedPorts": ports});
        read(json!({"Name": "/web", "State": {"Running": true, "StartedAt": "a"}, "Config": config})).unwrap()
    }

    impl Container {
        pub(crate) fn publish(&mut self, port: u16, at: &str) {
            let at: std::net::SocketAddr = at.parse().unwrap();
            let [port, host_port] = [port, at.port()].map(|port| NonZeroU16::new(port).unwrap());
            self.published.insert(Published { port, ip: at.ip(), host_port });
        }
    }

    fn read(inspected: Value) -> Option<Container> {
        Container::read(serde_json::from_value(inspected).unwrap())
    }

    fn inspected(state: &Value) -> Value {
        json!({
            "Name": "/web-1", "Created": "2026-01-01T00:00:00.5Z", "State": state,
            "HostConfig": {"NetworkMode": "front"},
            "Config": {
                "Labels": {"proxymgr.service": "web", "a": "b"}, "StopSignal": "SIGQUIT",
                "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "x/tcp": {}},
                "Env": ["SERVICE_TAGS=a,b", "PASSWORD=hunter2", "PORT=80", "PORT=81", "odd"],
            },
            "NetworkSettings": {
                "Networks": {
                    "front": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": "fd00::2"},
                    "six": {"IPAddress": "", "GlobalIPv6Address": "fd00::3"},
                    "none": {"IPAddress": ""},
                },
                "Ports": {
                    "8443/tcp": [{"HostIp": "::", "HostPort": "443"}, {"HostIp": "0.0.0.0", "HostPort": "443"}],
                    "80/tcp": null, "1/tcp": [{"HostIp": "x", "HostPort": "1"}, {"HostIp": "", "HostPort": "0"}],
                },
            },
        })
    }

    #[test]
    fn what_matters_of_a_container_is_read_and_nothing_else() {
        let container = read(inspected(&json!({"Running": true}))).unwrap();
        assert_eq!((container.name.as_str(), container.health), ("web-1", Health::Good));
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(container.labels, map(&[("proxymgr.service", "web"), ("a", "b")]));
        assert_eq!(container.variables, map(&[("SERVICE_TAGS", "a,b"), ("PORT", "81")]));
        let addresses: Vec<_> = container.addresses.values().map(ToString::to_string).collect();
        assert_eq!(addresses, ["172.18.0.2", "fd00::3"]);
        assert_eq!(container.exposed.iter().map(|port| port.get()).collect::<Vec<_>>(), [80, 8443]);
        let published: Vec<_> =
            container.published.iter().map(|at| format!("{} {} {}", at.port, at.ip, at.host_port)).collect();
        assert_eq!(published, ["8443 0.0.0.0 443", "8443 :: 443"]);
        assert_eq!(container.stop_signal, Signal::parse("3"));
        assert!(!container.on_host);
    }

    #[test]
    fn only_one_that_runs_counts_and_its_health_is_told() {
        for state in [
            json!({}),
            json!({"Running": false}),
            json!({"Running": true, "Paused": true}),
            json!({"Running": true, "Restarting": true}),
        ] {
            assert_eq!(read(inspected(&state)), None);
        }
        assert_eq!(read(json!({})), None);
        for (status, health) in [
            ("none", Health::Good),
            ("healthy", Health::Good),
            ("starting", Health::Starting),
            ("unhealthy", Health::Bad),
        ] {
            let state = json!({"Running": true, "Health": {"Status": status}});
            assert_eq!(read(inspected(&state)).unwrap().health, health);
        }
    }

    #[test]
    fn a_container_that_says_too_much_is_not_listened_to_for_long() {
        let labels: serde_json::Map<_, _> = (0..1000).map(|n| (format!("k{n:04}"), json!("v"))).collect();
        let container = read(json!({"State": {"Running": true}, "Config": {"Labels": labels}})).unwrap();
        assert_eq!(container.labels.len(), MAX_LABELS);
        let long = "x".repeat(MAX_TEXT + 1);
        let config = json!({"Labels": {"a": long, "b": "c"}, "Env": [format!("SERVICE_NAME={long}")]});
        let container = read(json!({"State": {"Running": true}, "Config": config})).unwrap();
        assert_eq!((container.labels.len(), container.variables.len()), (1, 0));
        let labels: serde_json::Map<_, _> =
            (0..100).map(|n| (format!("k{n}"), json!("x".repeat(4000)))).collect();
        let container = read(json!({"State": {"Running": true}, "Config": {"Labels": labels}})).unwrap();
        assert_eq!(container.labels.len(), MAX_WORDS / 4000);
    }

    #[test]
    fn ids_can_stand_in_a_url() {
        let whole = "0123456789abcdef".repeat(4);
        assert_eq!(ContainerId::parse(&whole).unwrap().to_string(), "0123456789ab");
        for bad in ["", "0123456789a", "../../../../", "0123456789ab?x=1", &whole.repeat(2)] {
            assert_eq!(ContainerId::parse(bad), None, "{bad}");
        }
    }
}

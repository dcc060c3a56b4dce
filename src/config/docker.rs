//! A source of type docker.

use super::model::SourceConfig;
use super::reader::{Reader, Section, Value};
use super::service_config::read_tls;
use super::value;
use crate::engine::docker_spec::{ContainerAddress, DockerHost, DockerHosts, NetworkName};
use crate::engine::service::ServiceName;

pub(super) fn read(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<SourceConfig> {
    let [hosts, tls, network, published, frontend] =
        ["docker_host", "tls", "network", "published", "frontend"].map(|key| section.get(key));
    let both = network.is_some() && published.is_some();
    if let Some(value) = published.as_ref().filter(|_| both) {
        reader.refuse(value, "plays no part beside network; remove one of them".to_owned());
    }
    let written = hosts.clone();
    let hosts = match hosts {
        Some(value) => read_hosts(reader, &value)?,
        None => DockerHosts::default(),
    };
    let is_far = hosts.iter().any(|host| matches!(host, DockerHost::Tcp { .. }));
    match &tls {
        None if is_far => reader.missing(
            section,
            "tls",
            "write tls: {ca: FILE, cert: FILE, key: FILE}; without it everyone on the way has the whole machine",
        ),
        Some(value) if !is_far => {
            reader.refuse(value, "plays no part with a unix socket; remove it".to_owned());
        }
        Some(_) | None => {}
    }
    let tls = tls.and_then(|value| read_tls(reader, value));
    let network = network.and_then(|value| reader.read(Some(value), NetworkName::parse));
    let published = published.and_then(|value| reader.read(Some(value), value::boolean));
    let address = if published == Some(true) {
        ContainerAddress::Published
    } else {
        ContainerAddress::Network(network)
    };
    if let (Some(value), Err(wrong)) = (written, hosts.check(&address)) {
        reader.refuse(&value, wrong);
    }
    let frontend = frontend.and_then(|value| reader.read(Some(value), frontend_name));
    Some(SourceConfig::Docker { hosts, tls, address, frontend })
}

/// One daemon, or a list of them.
fn read_hosts(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<DockerHosts> {
    let hosts = match value.items() {
        None => vec![reader.read(Some(value.clone()), docker_host)?],
        Some(items) => {
            let mistakes = reader.errors.len();
            let hosts = items.into_iter().filter_map(|item| reader.read(Some(item), docker_host)).collect();
            // Those that were read would be another set of containers than the one that is meant.
            if reader.errors.len() > mistakes {
                return None;
            }
            hosts
        }
    };
    let hosts = DockerHosts::new(hosts);
    if hosts.is_none() {
        reader.refuse(value, "is empty; name a daemon, or leave it out");
    }
    hosts
}

fn docker_host(text: &str) -> Result<DockerHost, String> {
    DockerHost::parse(text)
        .map_err(|_| "is no Docker daemon; write unix:///var/run/docker.sock or tcp://HOST:2376".to_owned())
}

fn frontend_name(text: &str) -> Result<String, String> {
    let refused = "is no name of a frontend; letters, digits, '-', '_', '.' and ':' are taken";
    ServiceName::parse(text).map(|name| name.to_string()).map_err(|_| refused.to_owned())
}

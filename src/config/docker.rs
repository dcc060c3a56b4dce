//! A source of type docker.

use super::model::SourceConfig;
use super::reader::{Reader, Section};
use super::service_config::read_tls;
use super::value;
use crate::engine::docker_spec::{ContainerAddress, DockerHost, NetworkName};
use crate::engine::service::ServiceName;

pub(super) fn read(reader: &mut Reader<'_>, section: &mut Section<'_>) -> Option<SourceConfig> {
    let [host, tls, network, published, frontend] =
        ["docker_host", "tls", "network", "published", "frontend"].map(|key| section.get(key));
    let both = network.is_some() && published.is_some();
    if let Some(value) = published.as_ref().filter(|_| both) {
        reader.refuse(value, "plays no part beside network; remove one of them".to_owned());
    }
    let host = match host {
        Some(value) => reader.read(Some(value), docker_host)?,
        None => DockerHost::default(),
    };
    match (&host, &tls) {
        (DockerHost::Tcp { .. }, None) => reader.missing(
            section,
            "tls",
            "write tls: {ca: FILE, cert: FILE, key: FILE}; without it everyone on the way has the whole machine",
        ),
        (DockerHost::Unix(_), Some(value)) => {
            reader.refuse(value, "plays no part with a unix socket; remove it".to_owned());
        }
        (DockerHost::Tcp { .. }, Some(_)) | (DockerHost::Unix(_), None) => {}
    }
    let tls = tls.and_then(|value| read_tls(reader, value));
    let network = network.and_then(|value| reader.read(Some(value), NetworkName::parse));
    let published = published.and_then(|value| reader.read(Some(value), value::boolean));
    let address = if published == Some(true) {
        ContainerAddress::Published
    } else {
        ContainerAddress::Network(network)
    };
    let frontend = frontend.and_then(|value| reader.read(Some(value), frontend_name));
    Some(SourceConfig::Docker { host, tls, address, frontend })
}

fn docker_host(text: &str) -> Result<DockerHost, String> {
    DockerHost::parse(text)
        .map_err(|_| "is no Docker daemon; write unix:///var/run/docker.sock or tcp://HOST:2376".to_owned())
}

fn frontend_name(text: &str) -> Result<String, String> {
    let refused = "is no name of a frontend; letters, digits, '-', '_', '.' and ':' are taken";
    ServiceName::parse(text).map(|name| name.to_string()).map_err(|_| refused.to_owned())
}

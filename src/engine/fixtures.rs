//! Values for the engine's own tests.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::node_rules::NodeRules;
use super::option_line::{LineEnd, OptionLine};
use super::outage_rules::OwnOutageRules;
use super::section::{Base, Section};
use super::server::Server;
use super::service::{Entrance, ServiceName, ServiceSpec, WatcherSpec};
use super::state::{DesiredService, DesiredState};

pub(super) fn line(text: &str) -> OptionLine {
    OptionLine::parse(text).unwrap()
}

pub(super) fn name(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

pub(super) fn server(address: &str) -> Server {
    Server::at(address.parse().unwrap()).unwrap()
}

pub(super) fn spec(port: u16) -> ServiceSpec {
    ServiceSpec {
        entrance: Entrance::Port(NonZeroU16::new(port).unwrap()),
        cookie: None,
        bind: Vec::new(),
        bind_options: None,
        own_binds: Vec::new(),
        listen_options: Vec::new(),
        server_options: Vec::new(),
        watcher: WatcherSpec::File { file: "/servers".into(), rules: NodeRules::default() },
        fixed_servers: Vec::new(),
        outage: OwnOutageRules::default(),
    }
}

pub(super) fn base() -> Arc<Base> {
    Arc::new(Base {
        global: vec![line("maxconn 4096")],
        defaults: vec![line("mode http")],
        bind_address: IpAddr::from([0, 0, 0, 0]),
        operators_socket: None,
        program: None,
        frontends: [].into(),
        cookie_key: None,
    })
}

/// A desired state of services, each with its port, server options and servers' addresses.
pub(super) fn desired(services: &[(&str, u16, &str, &[&str])]) -> DesiredState {
    let base = base();
    let services = services
        .iter()
        .map(|(service, port, options, servers)| {
            let mut spec = spec(*port);
            spec.server_options = LineEnd::parse(options).into_iter().collect();
            let section = Arc::new(Section::of(&spec, base.bind_address));
            let servers = servers.iter().map(|address| server(address));
            (name(service), Arc::new(DesiredService::new(section, servers)))
        })
        .collect();
    DesiredState { base, services, includes: Arc::default(), template: None }
}

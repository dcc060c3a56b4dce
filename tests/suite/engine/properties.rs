//! `replay(plan(applied, desired), applied)` serves `desired`, in every field.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use proptest::prelude::*;
use proxymgr::engine::capability::Capability;
use proxymgr::engine::haproxy_version::HaproxyVersion;
use proxymgr::engine::host_name::HostName;
use proxymgr::engine::option_line::{LineEnd, OptionLine};
use proxymgr::engine::plan::{Plan, plan, replay};
use proxymgr::engine::render::Renderer;
use proxymgr::engine::route::Strip;
use proxymgr::engine::section::{Base, Section, SectionKind};
use proxymgr::engine::server::{Server, Weight};
use proxymgr::engine::server_options::NodeWords;
use proxymgr::engine::service::{BindAddress, ServiceName};
use proxymgr::engine::state::{
    AppliedService, AppliedState, DesiredService, DesiredState, Frontend, Standing,
};

use super::model::Model;
use super::world::{frontends, name, route, spec};

fn lines(choices: &'static [&'static str]) -> impl Strategy<Value = Vec<OptionLine>> {
    proptest::sample::subsequence(choices, 0..=choices.len())
        .prop_map(|lines| lines.into_iter().map(|line| OptionLine::parse(line).unwrap()).collect())
}

fn any_server() -> impl Strategy<Value = Server> {
    let address = prop_oneof![
        (0u8..6, 1u16..3).prop_map(|(host, port)| SocketAddr::from(([10, 0, 0, host], port))),
        (0u16..3, 1u16..3).prop_map(|(host, port)| SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, host], port))),
    ];
    let options = proptest::sample::select(vec!["", "maxconn 5", "no-check", "check inter 3s", "cookie s1"]);
    (address, proptest::option::of(0u16..=256), any::<bool>(), any::<bool>(), options).prop_map(
        |(address, weight, backup, drain, options)| {
            let mut server = named_or_not(address);
            server.weight = weight.and_then(Weight::new);
            server.backup = backup;
            server.drain = drain;
            server.options = NodeWords::parse(options).unwrap().options;
            server
        },
    )
}

/// One of three servers is known by a host name, so that it may move.
fn named_or_not(address: SocketAddr) -> Server {
    match address.ip() {
        IpAddr::V4(ip) if ip.octets()[3] < 4 => {
            let host = HostName::parse(if ip.octets()[3] < 2 { "web.example" } else { "db" }).unwrap();
            Server::named(host, address.port().try_into().unwrap(), address.ip())
        }
        IpAddr::V4(_) | IpAddr::V6(_) => Server::at(address).unwrap(),
    }
}

fn any_service() -> impl Strategy<Value = Arc<DesiredService>> {
    let listen =
        lines(&["mode http", "balance static-rr", "balance leastconn", "default-server check weight 3"]);
    let server = lines(&["check inter 2s", "weight 9", "cookie x"]);
    let bind = proptest::sample::subsequence(vec!["*", "[::1]", "unix@/run/a.sock"], 0..=3);
    (1u16..4, listen, server, bind, proptest::collection::vec(any_server(), 0..8)).prop_map(
        |(port, listen_options, server_options, bind, servers)| {
            let mut spec = spec(port, &[]);
            spec.listen_options = listen_options;
            spec.server_options =
                server_options.iter().map(|line| LineEnd::parse(line.as_str()).unwrap()).collect();
            spec.bind = bind.iter().map(|text| BindAddress::parse(text).unwrap()).collect();
            Arc::new(DesiredService::new(Arc::new(Section::of(&spec, [0, 0, 0, 0].into())), servers))
        },
    )
}

const KEYS: [&str; 5] = ["/", "/a/", "/a/b/", "x.example/", "*.example/a/"];

/// Who gets a route has no address of its own any more; of each route there is one at most.
fn add_routes(services: &mut BTreeMap<String, Arc<DesiredService>>, routes: &[(usize, u8)]) {
    for (key, (service, strip)) in KEYS.into_iter().zip(routes) {
        if let Some(service) = services.values_mut().nth(*service) {
            let service = Arc::make_mut(service);
            let section = Arc::make_mut(&mut service.section);
            section.kind = SectionKind::Backend;
            (section.listen, section.own_bind_options) = (Vec::new(), BTreeMap::new());
            Arc::make_mut(&mut section.routes).insert(route(key), Strip::new(*strip).unwrap());
        }
    }
}

fn any_desired() -> impl Strategy<Value = DesiredState> {
    let services = proptest::collection::btree_map("[a-d]", any_service(), 0..5);
    let routes = proptest::collection::vec((0usize..6, 0u8..3), KEYS.len());
    let fallback = proptest::option::of(proptest::sample::select(vec!["a", "b"]));
    (services, lines(&["mode http", "balance source", "hash-type consistent"]), routes, fallback).prop_map(
        |(mut services, defaults, routes, fallback)| {
            add_routes(&mut services, &routes);
            let base = Base {
                global: Vec::new(),
                defaults,
                bind_address: [0, 0, 0, 0].into(),
                operators_socket: None,
                program: None,
                frontends: frontends(fallback),
                cookie_key: None,
            };
            let services = services.into_iter().map(|(service, desired)| (name(&service), desired)).collect();
            DesiredState { base: Arc::new(base), services, includes: Arc::default(), template: None }
        },
    )
}

/// A state on the way: some servers leave or wait for their checks, some frontends are shut down.
pub fn any_applied() -> impl Strategy<Value = AppliedState> {
    (any_desired(), proptest::collection::vec(0u8..12, 64)).prop_map(|(desired, dice)| {
        let mut dice = dice.into_iter().cycle();
        let mut applied = AppliedState::loaded(&desired, None);
        for service in applied.services.values_mut() {
            let service = Arc::make_mut(service);
            if dice.next() == Some(0) && service.section.kind == SectionKind::Listen {
                service.frontend = Frontend::ShutDown;
            }
            for server in service.servers.values_mut() {
                server.standing = match dice.next() {
                    Some(0) => Standing::Maintenance,
                    Some(1) => Standing::Pinned,
                    _ => Standing::InRotation,
                };
                if dice.next() == Some(2) {
                    server.loaded_weight = Weight::ZERO;
                }
            }
        }
        // Some routes are lost, some lead astray.
        for key in KEYS {
            let of_service = |service: &Arc<AppliedService>| service.section.routes.contains_key(&route(key));
            match (dice.next(), applied.services.values_mut().find(|service| of_service(service))) {
                (Some(0), None) => drop(applied.strays.insert(route(key))),
                (Some(0 | 1), Some(service)) => {
                    let section = Arc::make_mut(&mut Arc::make_mut(service).section);
                    Arc::make_mut(&mut section.routes).remove(&route(key));
                }
                _ => {}
            }
        }
        applied
    })
}

fn any_capability() -> impl Strategy<Value = Capability> {
    (prop_oneof![Just((2, 4)), Just((2, 6)), Just((3, 4))], any::<bool>()).prop_map(
        |((major, minor), runtime_updates)| Capability {
            version: HaproxyVersion::new(major, minor, 0),
            runtime_updates,
        },
    )
}

fn no_service() -> BTreeSet<ServiceName> {
    BTreeSet::new()
}

proptest! {
    #[test]
    fn a_plan_leads_to_what_is_wanted(applied in any_applied(), desired in any_desired(), can in any_capability()) {
        let plan = plan(&applied, &desired, can, &no_service());
        prop_assert!(replay(&plan, &applied, &desired).serves(&desired), "{plan:?}");
    }

    #[test]
    fn a_plan_from_what_is_wanted_is_empty(desired in any_desired(), can in any_capability()) {
        let applied = AppliedState::loaded(&desired, None);
        prop_assert_eq!(plan(&applied, &desired, can, &no_service()), Plan::Unchanged);
    }

    /// What stays as it was is taken over as a whole, which must make no difference.
    #[test]
    fn what_is_loaded_holds_nothing_of_before_but_the_ids_of_servers(
        before in any_applied(), mut desired in any_desired(), same in proptest::sample::subsequence(vec!["a", "b", "c", "d"], 0..=4),
    ) {
        let as_before = before.as_desired().services;
        desired.services.extend(as_before.into_iter().filter(|(name, _)| same.contains(&name.as_str())));
        let loaded = AppliedState::loaded(&desired, Some(&before));
        prop_assert!(loaded.serves(&desired));
        let anew = AppliedState::loaded(&desired, None);
        prop_assert_eq!(loaded.services.len(), anew.services.len());
        for (name, service) in &loaded.services {
            let (mut service, anew) = (AppliedService::clone(service), &anew.services[name]);
            for (server, known) in &mut service.servers {
                let last = before.services.get(name).and_then(|before| before.servers.get(server));
                prop_assert!(last.is_none_or(|last| last.id == known.id), "{server}");
                known.id = anew.servers[server].id;
            }
            prop_assert_eq!(&service, &**anew, "{}", name);
        }
    }

    #[test]
    fn nothing_is_sent_when_updates_are_off(applied in any_applied(), desired in any_desired()) {
        let can = Capability { version: HaproxyVersion::new(3, 4, 0), runtime_updates: false };
        match plan(&applied, &desired, can, &no_service()) {
            Plan::Unchanged => {}
            Plan::Runtime(commands) => prop_assert!(false, "{commands:?}"),
            Plan::Reload { meanwhile, .. } => prop_assert!(meanwhile.is_empty()),
        }
    }

    #[test]
    fn each_text_of_a_command_does_what_replay_says(applied in any_applied(), desired in any_desired()) {
        let can = Capability { version: HaproxyVersion::new(3, 4, 0), runtime_updates: true };
        if let Plan::Runtime(commands) = plan(&applied, &desired, can, &no_service()) {
            let rendered = Renderer::default().render(&everything(&applied));
            let mut model = Model::load_all(&rendered.text, &rendered.routes);
            model.maps.values_mut().for_each(|map| map.retain(|key, _| !key.starts_with(KEPT)));
            for id in &applied.strays {
                model.execute(&format!("add map /run/routes-in.map {} astray/0", id.key.as_str()), false);
            }
            for (service, server) in applied.services.iter().flat_map(|(name, service)| {
                service.servers.iter().filter(|(_, server)| server.standing.is_out()).map(move |(server, _)| (name, server))
            }) {
                model.execute(&format!("set server {service}/{server} state maint"), false);
            }
            for (name, service) in &applied.services {
                model.backends.get_mut(name.as_str()).unwrap().open = service.frontend == Frontend::Serving;
            }
            for command in &commands {
                model.execute(&command.to_string(), false);
            }
            let wanted = AppliedState::loaded(&desired, Some(&replay(&Plan::Runtime(commands), &applied, &desired)));
            let wanted = Renderer::default().render(&wanted);
            let wanted = Model::load_all(&wanted.text, &wanted.routes);
            prop_assert_eq!(&model.maps, &wanted.maps);
            let wanted = wanted.served();
            let unchecked = |served: BTreeMap<String, BTreeMap<String, super::model::Server>>| -> Vec<_> {
                served.into_iter().flat_map(|(service, servers)| servers.into_iter().map(move |(name, server)| {
                    (service.clone(), name, server.id, server.address, server.weight, server.backup, server.maxconn, server.has_check)
                })).collect()
            };
            prop_assert_eq!(unchecked(model.served()), unchecked(wanted));
        }
    }
}

/// Begins routes that keep services in the file which no route leads to.
const KEPT: &str = "/kept/";

/// `applied` with every frontend open and every server in rotation, so that the rendered file holds them all.
fn everything(applied: &AppliedState) -> AppliedState {
    let mut all = applied.clone();
    for (name, service) in &mut all.services {
        let service = Arc::make_mut(service);
        service.frontend = Frontend::Serving;
        if service.section.kind == SectionKind::Backend {
            let section = Arc::make_mut(&mut service.section);
            Arc::make_mut(&mut section.routes).insert(route(&format!("{KEPT}{name}/")), Strip::NOTHING);
        }
        for server in service.servers.values_mut() {
            server.standing = Standing::InRotation;
        }
    }
    all
}

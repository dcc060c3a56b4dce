//! Servers that a definition names itself, by host names that are looked up.

use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use proxymgr::engine::host_name::HostName;
use proxymgr::engine::listed_server::{Host, ListedServer};
use proxymgr::engine::reconciler::Input;
use proxymgr::engine::server::Server;
use proxymgr::engine::service::WatcherSpec;

use super::world::{World, name, settings, spec};

const MOMENT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn port() -> NonZeroU16 {
    NonZeroU16::new(80).unwrap()
}

/// Defines `web`, whose definition names these servers.
fn define(world: &mut World, registry: bool, hosts: &[&str]) {
    let listed = |text: &&str| {
        let address = text.parse::<IpAddr>().ok().and_then(Host::at);
        ListedServer::new(address.unwrap_or_else(|| Host::Name(host(text))), port())
    };
    let mut spec = spec(8080, &[]);
    spec.fixed_servers = hosts.iter().map(listed).collect();
    if !registry {
        spec.watcher = WatcherSpec::Static;
    }
    world.tell(Input::Defined(name("web"), Arc::new(spec)));
}

/// Where the names of the definition lead to.
fn lead(world: &mut World, servers: &[(&str, &str)]) {
    let server = |(name, ip): &(&str, &str)| Server::named(host(name), port(), ip.parse().unwrap());
    world.tell(Input::FixedServers(name("web"), servers.iter().map(server).collect()));
}

fn served(world: &World) -> Vec<String> {
    world.running.as_ref().unwrap().served()["web"].keys().cloned().collect()
}

#[test]
fn a_start_waits_for_the_names_of_a_definition() {
    for registry in [false, true] {
        let mut world = World::new(settings(true));
        define(&mut world, registry, &["a"]);
        if registry {
            world.servers("web", &["1.1.1.1:1"]);
        }
        world.tell(Input::Listed);
        assert!(world.order.is_none(), "nothing starts before the name is looked up");
        lead(&mut world, &[("a", "10.0.0.1")]);
        world.settle(MOMENT);
        let expected: &[&str] = if registry { &["1.1.1.1:1", "a:80"] } else { &["a:80"] };
        assert_eq!(
            (served(&world).as_slice(), world.reloads),
            (&*expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>(), 1)
        );
    }
}

#[test]
fn a_name_of_a_definition_that_moves_costs_no_reload() {
    let mut world = World::new(settings(true));
    define(&mut world, false, &["a"]);
    lead(&mut world, &[("a", "10.0.0.1")]);
    world.tell(Input::Listed);
    world.settle(LONG);
    let before = (world.reloads, world.commands.len());
    lead(&mut world, &[("a", "10.0.0.2")]);
    world.settle(MOMENT);
    assert_eq!(world.commands[before.1..], ["set server web/a:80 addr 10.0.0.2 port 80"]);
    assert_eq!(world.reloads, before.0);
}

#[test]
fn what_was_before_stays_until_the_names_are_looked_up() {
    let mut world = World::running(settings(true), &[("web", 8080, &["1.1.1.1:1"])]);
    define(&mut world, false, &["a", "2.2.2.2"]);
    world.settle(LONG);
    assert_eq!(served(&world), ["1.1.1.1:1"], "no registry, and no name yet");
    world.tell(Input::FixedServers(
        name("web"),
        vec![
            Server::named(host("a"), port(), [10, 0, 0, 1].into()),
            Server::at(([2, 2, 2, 2], 80).into()).unwrap(),
        ],
    ));
    world.settle(MOMENT);
    assert_eq!(served(&world), ["2.2.2.2:80", "a:80"]);
    define(&mut world, true, &["a", "2.2.2.2"]);
    world.servers("web", &["3.3.3.3:3"]);
    world.settle(MOMENT);
    define(&mut world, false, &["a", "2.2.2.2"]);
    world.settle(MOMENT);
    assert_eq!(served(&world), ["2.2.2.2:80", "a:80"], "the names are known already");
    define(&mut world, false, &["2.2.2.2"]);
    world.settle(MOMENT);
    assert_eq!(served(&world), ["2.2.2.2:80"]);
    assert_eq!(world.reloads, 0);
}

#[test]
fn names_that_lead_nowhere_take_no_server_away() {
    let mut world = World::running(settings(true), &[("web", 8080, &["1.1.1.1:1"])]);
    define(&mut world, false, &["a"]);
    lead(&mut world, &[]);
    world.settle(LONG);
    assert_eq!(served(&world), ["1.1.1.1:1"], "those of the registry");
    lead(&mut world, &[("a", "10.0.0.1")]);
    world.settle(MOMENT);
    assert_eq!(served(&world), ["a:80"]);
    define(&mut world, false, &["b"]);
    lead(&mut world, &[]);
    world.settle(LONG);
    assert_eq!(served(&world), ["a:80"], "those of the definition before");

    let mut fresh = World::new(settings(true));
    define(&mut fresh, false, &["a"]);
    fresh.tell(Input::Listed);
    lead(&mut fresh, &[]);
    fresh.settle(MOMENT);
    assert_eq!((served(&fresh).len(), fresh.reloads), (0, 1), "a start does not wait for them");
}

#[test]
fn the_addresses_of_a_definitions_names_are_remembered() {
    let mut world = World::new(settings(true));
    define(&mut world, true, &["a"]);
    world.servers("web", &["1.1.1.1:1"]);
    lead(&mut world, &[("a", "10.0.0.1")]);
    let remembered: Vec<_> = world
        .reconciler
        .believed()
        .flat_map(|(_, servers)| {
            servers.values().map(|server| server.address().to_string()).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(remembered, ["1.1.1.1:1", "10.0.0.1:80"]);
}

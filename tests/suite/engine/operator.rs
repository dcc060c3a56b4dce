//! What an operator wants, beside what the registries say.

use std::time::Duration;

use proxymgr::engine::reconciler::{Input, Unconfirmed};
use proxymgr::engine::server::ServerName;

use super::world::{World, name, server, settings};

const LONG: Duration = Duration::from_secs(5);
const FIVE: [&str; 5] = ["1.1.1.1:1", "2.2.2.2:2", "3.3.3.3:3", "4.4.4.4:4", "5.5.5.5:5"];

fn at(address: &str) -> ServerName {
    server(address).name()
}

fn running(servers: &[&str]) -> World {
    let mut world = World::running(settings(true), &[("web", 80, servers)]);
    world.settle(Duration::from_secs(60));
    world.commands.clear();
    world
}

fn served(world: &World) -> usize {
    world.running.as_ref().unwrap().served()["web"].len()
}

/// The weight of a server in what runs, and in haproxy.cfg.
fn weights(world: &World, server: &str) -> (u16, bool) {
    let applied = &world.reconciler.applied().unwrap().services[&name("web")].servers[&at(server)];
    let line =
        world.config.lines().find(|line| line.trim().starts_with(&format!("server {server}"))).unwrap();
    (applied.weight.get(), line.contains("weight 0"))
}

#[test]
fn a_loss_that_is_held_goes_when_it_is_confirmed() {
    let mut world = running(&FIVE);
    world.servers("web", &FIVE[..1]);
    world.settle(LONG);
    assert_eq!(served(&world), 5);
    assert_eq!(world.reconciler.confirm(&name("web"), world.now), Ok(4));
    world.tell(Input::Tick);
    world.settle(LONG);
    assert_eq!((served(&world), world.reloads), (1, 0));
    assert_eq!(world.reconciler.confirm(&name("web"), world.now), Err(Unconfirmed::NothingHeld));
    assert_eq!(world.reconciler.confirm(&name("other"), world.now), Err(Unconfirmed::NoSuchService));
}

#[test]
fn an_empty_answer_is_believed_when_it_is_confirmed_and_what_follows_is_judged_by_it() {
    let mut world = running(&FIVE);
    world.servers("web", &[]);
    world.settle(LONG);
    assert_eq!(served(&world), 5);
    assert_eq!(world.reconciler.confirm(&name("web"), world.now), Ok(5));
    world.servers("web", &FIVE[..1]);
    world.settle(LONG);
    assert_eq!(served(&world), 1);
    world.servers("web", &[]);
    world.settle(LONG);
    assert_eq!(served(&world), 1, "the next empty answer is doubted again");
}

#[test]
fn a_drained_server_has_no_weight_in_what_runs_and_in_the_config_until_it_is_undrained() {
    let mut world = running(&FIVE);
    world.reconciler.drain(&name("web"), &at(FIVE[1]), 7, world.now);
    assert!(!world.reconciler.has_wanted_weight(&name("web"), &at(FIVE[1])));
    world.tell(Input::Tick);
    world.settle(LONG);
    assert!(world.reconciler.has_wanted_weight(&name("web"), &at(FIVE[1])));
    assert_eq!(
        (weights(&world, FIVE[1]), weights(&world, FIVE[0]), world.reloads),
        ((0, true), (1, false), 0)
    );
    let report = world.reconciler.report();
    let web = &report.services[&name("web")];
    let drained: Vec<_> = web.servers(&report.base).iter().map(|server| server.drained_since).collect();
    assert_eq!(drained, [None, Some(7), None, None, None]);

    // Its registry knows nothing of it: gone, and back.
    world.servers("web", &FIVE[2..]);
    world.settle(LONG);
    assert_eq!(world.reconciler.report().services[&name("web")].drained_elsewhere().count(), 1);
    world.servers("web", &FIVE);
    world.settle(LONG);
    assert_eq!(weights(&world, FIVE[1]), (0, true));

    world.reconciler.undrain(&name("web"), &at(FIVE[1]), world.now);
    world.tell(Input::Tick);
    world.settle(LONG);
    assert_eq!((weights(&world, FIVE[1]), world.reloads), ((1, false), 0));
    assert!(world.reconciler.drained().is_empty());
}

#[test]
fn a_drain_goes_on_with_another_program_and_ends_there() {
    let mut world = running(&FIVE);
    world.reconciler.drain(&name("web"), &at(FIVE[0]), 7, world.now);
    world.tell(Input::Tick);
    world.settle(LONG);
    let mut world = world.taken_over(settings(true));
    world.reconciler.drain(&name("web"), &at(FIVE[0]), 7, world.now);
    assert!(
        !world.reconciler.has_wanted_weight(&name("web"), &at(FIVE[0])),
        "not before the registries are heard"
    );
    world.define("web", 80, &[]);
    world.tell(Input::Listed);
    world.settle(Duration::from_secs(20));
    assert_eq!((weights(&world, FIVE[0]), world.reloads), ((0, true), 0), "no answer has come yet");
    world.servers("web", &FIVE);
    world.settle(LONG);
    assert_eq!((weights(&world, FIVE[0]), world.reloads), ((0, true), 0));
    world.reconciler.undrain(&name("web"), &at(FIVE[0]), world.now);
    world.tell(Input::Tick);
    world.settle(LONG);
    assert_eq!(weights(&world, FIVE[0]), (1, false));
}

#[test]
fn only_servers_that_are_known_can_be_named() {
    let mut world = running(&FIVE[..1]);
    assert!(world.reconciler.knows_server(&name("web"), &at(FIVE[0])));
    assert!(!world.reconciler.knows_server(&name("web"), &at(FIVE[1])));
    assert!(!world.reconciler.knows_server(&name("other"), &at(FIVE[0])));
    world.reconciler.drain(&name("web"), &at(FIVE[1]), 7, world.now);
    assert!(world.reconciler.knows_server(&name("web"), &at(FIVE[1])), "so that it can be undrained");
}

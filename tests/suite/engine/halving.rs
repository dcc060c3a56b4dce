//! `HAProxy` refuses a configuration and names nobody: the guilty are found, the others go ahead.

use std::time::Duration;

use proxymgr::engine::reconciler::Input;

use super::world::{World, name, settings};

const LONG: Duration = Duration::from_secs(30);

fn web() -> World {
    World::running(settings(true), &[("web", 80, &["1.1.1.1:1"])])
}

fn define(world: &mut World, services: usize, guilty: &[usize]) {
    for number in 0..services {
        let service = format!("s{number:03}");
        let port = 1000 + u16::try_from(number).unwrap();
        let lines: &[&str] = if guilty.contains(&number) { &["silent option"] } else { &[] };
        world.define(&service, port, lines);
        world.servers(&service, &["1.1.1.1:1"]);
    }
}

fn refused(world: &World) -> Vec<String> {
    world.reconciler.obstacles().keys().map(ToString::to_string).collect()
}

#[test]
fn one_guilty_among_many_is_found_with_few_checks_and_the_others_serve() {
    let mut world = web();
    let before = world.checks;
    define(&mut world, 64, &[37]);
    world.settle(Duration::from_secs(5));
    assert_eq!(refused(&world), ["s037"]);
    assert_eq!(world.running.as_ref().unwrap().served().len(), 64);
    let checks = world.checks - before;
    assert!((7..=12).contains(&checks), "{checks} checks");
    // Mended, it goes ahead by itself.
    world.define("s037", 1037, &[]);
    world.settle(LONG);
    assert!(refused(&world).is_empty() && !world.config.contains("silent"));
}

#[test]
fn several_guilty_are_found_and_a_service_that_runs_keeps_its_last_good_definition() {
    let mut world = web();
    world.define("web", 80, &["silent option"]);
    define(&mut world, 20, &[0, 7, 19]);
    world.settle(Duration::from_secs(5));
    assert_eq!(refused(&world), ["s000", "s007", "s019", "web"]);
    let served = world.running.as_ref().unwrap().served();
    assert_eq!(served.len(), 18);
    assert!(served.contains_key("web"));
    // What is tried again later costs the others nothing.
    world.settle(Duration::from_secs(600));
    assert_eq!(world.running.as_ref().unwrap().served().len(), 18);
    assert_eq!(refused(&world).len(), 4);
}

#[test]
fn what_changes_or_goes_while_it_waits_for_its_turn_needs_none() {
    let mut world = web();
    define(&mut world, 8, &[2]);
    world.settle(Duration::from_millis(300));
    world.define("s005", 2005, &[]);
    world.tell(Input::Removed(name("s006")));
    world.settle(Duration::from_secs(5));
    assert_eq!(refused(&world), ["s002"]);
    let served = world.running.as_ref().unwrap().served();
    assert!(!served.contains_key("s006") && served.len() == 7, "{served:?}");
    assert!(world.reconciler.obstacles().contains_key(&name("s002")));
}

#[test]
fn a_start_with_a_guilty_definition_serves_the_others() {
    let mut world = World::new(settings(true));
    define(&mut world, 9, &[4]);
    world.tell(Input::Listed);
    world.settle(Duration::from_secs(5));
    assert_eq!(refused(&world), ["s004"]);
    assert_eq!(world.running.as_ref().unwrap().served().len(), 8);
}

#[test]
fn what_is_no_definitions_fault_is_blamed_on_none() {
    let mut world = web();
    // Another program than HAProxy, which refuses everything.
    world.silent_line = "listen web";
    define(&mut world, 6, &[]);
    world.settle(Duration::from_secs(30));
    assert!(refused(&world).is_empty());
    assert_eq!(world.running.as_ref().unwrap().served().len(), 1);
    assert!(world.checks < 30, "{} checks", world.checks);
    world.silent_line = "silent option";
    world.settle(Duration::from_secs(120));
    assert_eq!(world.running.as_ref().unwrap().served().len(), 7);
}

#[test]
fn the_guilty_are_found_who_keep_each_other_out_of_a_port() {
    let mut world = web();
    let before = world.checks;
    for (service, port, lines) in [
        ("a", 1000, &["silent option"][..]),
        ("b", 1000, &["silent option"]),
        ("c", 1001, &[]),
        ("d", 1000, &[]),
    ] {
        world.define(service, port, lines);
        world.servers(service, &["1.1.1.1:1"]);
    }
    world.settle(Duration::from_secs(20));
    let checks = world.checks - before;
    assert!(checks < 40, "{checks} checks");
    let served: Vec<_> = world.running.as_ref().unwrap().served().into_keys().collect();
    assert_eq!(served, ["c", "d", "web"]);
    assert_eq!(refused(&world), ["a", "b"]);
}

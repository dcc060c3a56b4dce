//! What is told of each service and server while things happen.

use std::time::Duration;

use proxymgr::engine::reconciler::Input;
use proxymgr::engine::report::{Report, ServerReport, ServiceState, Stage};

use super::world::{World, name, server, settings, spec};

const LONG: Duration = Duration::from_secs(120);

fn state(report: &Report, service: &str) -> ServiceState {
    report.services[&name(service)].state()
}

fn servers(report: &Report, service: &str) -> Vec<ServerReport> {
    report.services[&name(service)].servers(&report.base)
}

/// Each server with where it is; a star marks those that are missing in the registry.
fn places(report: &Report, service: &str) -> Vec<String> {
    let place = |server: ServerReport| {
        let star = if server.missing { "*" } else { "" };
        format!("{} {:?}{star}", server.name, server.place)
    };
    servers(report, service).into_iter().map(place).collect()
}

fn running(servers: &[&str]) -> World {
    World::running(settings(true), &[("web", 80, servers)])
}

#[test]
fn a_service_waits_for_its_registry_and_starts_with_the_next_reload() {
    let mut world = World::new(settings(true));
    world.define("web", 80, &[]);
    let report = world.reconciler.report();
    assert_eq!((report.stage, state(&report, "web")), (Stage::Collecting, ServiceState::Waiting));
    world.servers("web", &["1.1.1.1:1"]);
    let report = world.reconciler.report();
    assert_eq!(state(&report, "web"), ServiceState::Starting);
    assert_eq!(places(&report, "web"), ["1.1.1.1:1 Coming"]);
    world.tell(Input::Listed);
    world.settle(LONG);
    let report = world.reconciler.report();
    assert_eq!((report.stage, state(&report, "web")), (Stage::Serving, ServiceState::Serving));
    assert_eq!(places(&report, "web"), ["1.1.1.1:1 InRotation"]);
}

#[test]
fn a_loss_that_is_held_names_those_that_stay_and_until_when() {
    let mut world = running(&["1.1.1.1:1", "2.2.2.2:2", "3.3.3.3:3", "4.4.4.4:4", "5.5.5.5:5"]);
    world.settle(LONG);
    world.servers("web", &["1.1.1.1:1"]);
    let report = world.reconciler.report();
    let (missing, until) = report.services[&name("web")].held().unwrap();
    assert_eq!((missing, until - world.now), (4, Duration::from_secs(30)));
    assert_eq!(places(&report, "web")[..2], ["1.1.1.1:1 InRotation", "2.2.2.2:2 InRotation*"]);
}

#[test]
fn an_empty_answer_leaves_all_in_rotation_and_says_that_they_are_missing() {
    let mut world = running(&["1.1.1.1:1"]);
    world.servers("web", &[]);
    assert_eq!(places(&world.reconciler.report(), "web"), ["1.1.1.1:1 InRotation*"]);
}

#[test]
fn a_server_that_is_gone_leaves_and_one_that_drains_says_so() {
    let mut world = running(&["1.1.1.1:1", "2.2.2.2:2"]);
    let mut drained = server("1.1.1.1:1");
    drained.drain = true;
    world.tell(Input::Servers(name("web"), vec![drained]));
    let report = world.reconciler.report();
    assert_eq!(places(&report, "web"), ["1.1.1.1:1 InRotation", "2.2.2.2:2 Leaving"]);
    assert!(servers(&report, "web")[0].drains);
}

#[test]
fn a_service_that_is_refused_says_why_and_one_that_is_gone_leaves() {
    let mut world = running(&["1.1.1.1:1"]);
    world.define("other", 80, &[]);
    world.servers("other", &["2.2.2.2:2"]);
    world.settle(LONG);
    let report = world.reconciler.report();
    assert_eq!(
        (state(&report, "web"), state(&report, "other")),
        (ServiceState::Serving, ServiceState::Refused)
    );
    let obstacle = report.services[&name("other")].obstacle.clone().unwrap();
    assert!(obstacle.to_string().contains("belongs to the service web"), "{obstacle}");
    world.tell(Input::Removed(name("web")));
    assert_eq!(state(&world.reconciler.report(), "web"), ServiceState::Leaving);
}

#[test]
fn a_definition_that_waits_for_a_reload_is_told() {
    let mut world = running(&["1.1.1.1:1"]);
    assert!(!world.reconciler.report().services[&name("web")].waits_for_reload());
    world.tell(Input::Defined(name("web"), spec(80, &["timeout queue 9s"]).into()));
    assert!(world.reconciler.report().services[&name("web")].waits_for_reload());
    world.settle(LONG);
    assert!(!world.reconciler.report().services[&name("web")].waits_for_reload());
}

#[test]
fn without_a_process_nothing_serves() {
    let mut world = running(&["1.1.1.1:1"]);
    world.tell(Input::Died { how: "killed".to_owned() });
    let report = world.reconciler.report();
    assert_eq!((report.stage, state(&report, "web")), (Stage::Down, ServiceState::Starting));
}

#[test]
fn what_was_taken_over_serves_on_before_the_registries_are_heard() {
    let world = running(&["1.1.1.1:1"]).taken_over(settings(true));
    let report = world.reconciler.report();
    assert_eq!((report.stage, state(&report, "web")), (Stage::Serving, ServiceState::Serving));
    assert_eq!(places(&report, "web"), ["1.1.1.1:1 InRotation"]);
    assert!(report.services[&name("web")].wanted.as_ref().unwrap().awaited);
}

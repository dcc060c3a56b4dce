//! A `HAProxy` that serves already is taken over: an upgrade, or a start after a crash of `ProxyMgr` alone.

use std::sync::Arc;
use std::time::Duration;

use proxymgr::engine::option_line::OptionLine;
use proxymgr::engine::reconciler::{Input, Settings};
use proxymgr::engine::section::Base;

use super::world::{World, name, settings};

const MOMENT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);

fn taken_over() -> World {
    taken_over_with(settings(true))
}

fn taken_over_with(settings: Settings) -> World {
    let mut world = World::running(
        super::world::settings(true),
        &[("api", 81, &["3.3.3.3:3"]), ("web", 80, &["1.1.1.1:1", "2.2.2.2:2"])],
    );
    // A server on its way out and one that was added at run time are taken over as they are.
    world.servers("web", &["2.2.2.2:2", "4.4.4.4:4"]);
    world.settle(MOMENT);
    world.taken_over(settings)
}

fn listed(world: &mut World, web: &[&str]) {
    for (service, port, servers) in [("api", 81, &["3.3.3.3:3"][..]), ("web", 80, web)] {
        world.define(service, port, &[]);
        world.servers(service, servers);
    }
    world.tell(Input::Listed);
}

#[test]
fn what_runs_stays_until_the_registries_are_heard() {
    let mut world = taken_over();
    world.settle(LONG);
    world.define("web", 80, &[]);
    world.servers("web", &["2.2.2.2:2", "5.5.5.5:5"]);
    world.settle(LONG);
    assert_eq!((world.reloads, world.ready), (0, 0));
    assert!(
        world.commands.iter().all(|command| command == "del server web/1.1.1.1:1"),
        "{:?}",
        world.commands
    );
    assert_eq!(world.running.as_ref().unwrap().served().len(), 2);
    listed(&mut world, &["2.2.2.2:2", "5.5.5.5:5"]);
    world.settle(LONG);
    assert_eq!((world.reloads, world.ready), (0, 1));
    let served: Vec<_> = world.running.as_ref().unwrap().served()["web"].keys().cloned().collect();
    assert_eq!(served, ["2.2.2.2:2", "5.5.5.5:5"]);
}

#[test]
fn nothing_changes_when_nothing_changed() {
    let mut world = taken_over();
    let config = world.config.clone();
    listed(&mut world, &["2.2.2.2:2", "4.4.4.4:4"]);
    world.settle(LONG);
    assert_eq!((world.reloads, world.ready, &world.config), (0, 1, &config));
}

#[test]
fn a_service_whose_watcher_is_silent_keeps_the_servers_that_run() {
    let mut world = taken_over();
    world.define("api", 81, &[]);
    world.define("web", 80, &[]);
    world.tell(Input::Listed);
    world.settle(LONG);
    assert_eq!((world.reloads, world.ready), (0, 1));
    assert_eq!(world.running.as_ref().unwrap().served()["web"].len(), 2);
}

#[test]
fn an_empty_answer_is_judged_by_what_runs() {
    let mut world = taken_over();
    listed(&mut world, &[]);
    world.settle(LONG);
    assert_eq!(world.running.as_ref().unwrap().served()["web"].len(), 2);
}

#[test]
fn a_process_that_dies_before_the_registries_are_heard_is_started_again_as_it_was() {
    let mut world = taken_over();
    world.die();
    world.settle(LONG);
    assert_eq!((world.reloads, world.ready), (1, 0));
    let served = world.running.as_ref().unwrap().served();
    assert_eq!((served["web"].len(), served["api"].len()), (2, 1));
    listed(&mut world, &["2.2.2.2:2", "4.4.4.4:4"]);
    world.settle(LONG);
    assert_eq!((world.reloads, world.ready), (1, 1));
}

#[test]
fn a_base_that_changed_is_one_reload_once_the_registries_are_heard() {
    let mut settings = settings(true);
    let global = vec![OptionLine::parse("maxconn 77").unwrap()];
    settings.base = Arc::new(Base { global, ..Base::clone(&settings.base) });
    let mut world = taken_over_with(settings);
    world.settle(LONG);
    assert_eq!(world.reloads, 0);
    listed(&mut world, &["2.2.2.2:2", "4.4.4.4:4"]);
    world.settle(LONG);
    assert_eq!(world.reloads, 1);
    assert!(world.config.contains("maxconn 77"));
}

#[test]
fn one_that_begins_anew_keeps_what_runs_and_knows_the_outcome_of_the_order_under_way() {
    let mut world = taken_over();
    listed(&mut world, &["2.2.2.2:2", "4.4.4.4:4"]);
    world.settle(LONG);
    // A reload is under way, and what it was for is forgotten.
    world.define("web", 80, &["timeout queue 9s"]);
    world.settle_until_ordered();
    world.reconciler.begin_anew(true, world.now);
    world.settle(LONG);
    assert_eq!((world.reloads, world.running.as_ref().unwrap().served().len()), (1, 2));
    world.define("api", 81, &[]);
    world.define("web", 80, &["timeout queue 9s"]);
    world.servers("api", &["3.3.3.3:3"]);
    world.servers("web", &["4.4.4.4:4", "5.5.5.5:5"]);
    world.tell(Input::Listed);
    world.settle(LONG);
    assert_eq!(world.reloads, 1, "{:?}", world.notices);
    let served: Vec<_> = world.running.as_ref().unwrap().served()["web"].keys().cloned().collect();
    assert_eq!(served, ["4.4.4.4:4", "5.5.5.5:5"]);
}

#[test]
fn one_that_begins_anew_during_the_first_start_waits_for_the_registries_again() {
    let mut world = World::new(settings(true));
    world.define("web", 80, &[]);
    world.servers("web", &["1.1.1.1:1"]);
    world.tell(Input::Listed);
    world.settle_until_ordered();
    world.reconciler.begin_anew(true, world.now);
    world.settle(MOMENT);
    assert_eq!(world.commands, Vec::<String>::new());
    world.define("web", 80, &[]);
    world.servers("web", &["1.1.1.1:1"]);
    world.tell(Input::Listed);
    world.settle(LONG);
    assert_eq!(world.running.as_ref().unwrap().served()["web"].len(), 1);
    assert_eq!(world.commands, Vec::<String>::new());
}

#[test]
fn a_process_that_never_served_is_not_started_before_the_registries_are_heard() {
    let mut world = World::new(settings(true));
    world.tell(Input::Died { how: "before it was taken over".into() });
    assert!(world.order.is_none());
    world.define("web", 80, &[]);
    world.servers("web", &["1.1.1.1:1"]);
    world.tell(Input::Listed);
    world.settle(LONG);
    assert_eq!((world.reloads, world.running.as_ref().unwrap().served().len()), (1, 1));
}

#[test]
fn an_order_that_was_never_given_is_given_again() {
    let mut world = taken_over();
    world.die();
    world.settle_until_ordered();
    // Lost on the way.
    world.order = None;
    world.reconciler.begin_anew(false, world.now);
    world.settle(LONG);
    assert_eq!((world.reloads, world.running.as_ref().unwrap().served().len()), (1, 2));
}

#[test]
fn a_service_that_left_meanwhile_goes_once_the_list_is_there() {
    let mut world = taken_over();
    world.define("web", 80, &[]);
    world.servers("web", &["2.2.2.2:2", "4.4.4.4:4"]);
    world.tell(Input::Listed);
    world.settle(LONG);
    assert_eq!(world.reloads, 0);
    assert!(world.commands.contains(&"shutdown frontend api".to_owned()), "{:?}", world.commands);
    assert!(world.reconciler.applied().unwrap().serving().all(|(service, _)| *service == name("web")));
}

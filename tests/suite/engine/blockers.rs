//! `HAProxy` refuses what runs already: it must not stand in the way of all others for ever.

use std::path::Path;
use std::time::Duration;

use proxymgr::engine::include::{IncludedFile, Includes};
use proxymgr::engine::reconciler::{Input, Notice};

use super::world::{World, name, settings};

const LONG: Duration = Duration::from_secs(30);

/// `web` serves, and after it `api`, whose definition has these lines.
fn world(lines: &[&str]) -> World {
    let servers: &[&str] = &["1.1.1.1:1"];
    let mut world = World::running(settings(true), &[("web", 80, servers), ("api", 81, servers)]);
    world.define("api", 81, lines);
    world.settle(LONG);
    world
}

fn add(world: &mut World, service: &str, port: u16, lines: &[&str]) {
    world.define(service, port, lines);
    world.servers(service, &["3.3.3.3:3"]);
}

fn served(world: &World) -> Vec<String> {
    world.running.as_ref().unwrap().served().keys().cloned().collect()
}

fn obstacles(world: &World) -> Vec<String> {
    let obstacles = world.reconciler.obstacles().iter();
    obstacles.map(|(service, obstacle)| format!("{service} {obstacle}")).collect()
}

const WEB_STAYS: &str =
    "web is gone, but service api refers to it: it stays without its addresses until that changes";

#[test]
fn a_service_that_is_gone_stays_without_its_addresses_while_another_refers_to_it() {
    let mut world = world(&["use_backend web"]);
    world.tell(Input::Removed(name("web")));
    world.settle(LONG);
    assert_eq!(served(&world), ["api", "web"]);
    assert!(!world.config.contains(":80"), "{}", world.config);
    assert_eq!(obstacles(&world), [WEB_STAYS]);
    let told: Vec<_> = world.notices.iter().map(ToString::to_string).collect();
    assert!(told.contains(&format!("service {WEB_STAYS}")), "{told:?}");
    // Others go ahead, also on what was its address.
    add(&mut world, "new", 80, &[]);
    world.settle(LONG);
    assert_eq!(served(&world), ["api", "new", "web"]);
    // It is not for ever.
    world.define("api", 81, &[]);
    world.settle(LONG);
    assert_eq!(served(&world), ["api", "new"]);
    assert!(obstacles(&world).is_empty());
}

#[test]
fn a_service_that_is_needed_stays_over_a_death_of_haproxy_and_is_itself_when_it_is_back() {
    let mut world = world(&["use_backend web"]);
    world.tell(Input::Removed(name("web")));
    world.die();
    world.settle(LONG);
    assert_eq!(
        (served(&world), obstacles(&world)),
        (vec!["api".into(), "web".into()], vec![WEB_STAYS.into()])
    );
    add(&mut world, "web", 80, &[]);
    world.settle(LONG);
    assert!(world.config.contains(":80") && obstacles(&world).is_empty(), "{}", world.config);
}

#[test]
fn a_name_that_is_only_a_word_keeps_nobody() {
    let mut world = world(&["http-request set-header x-from web"]);
    world.tell(Input::Removed(name("web")));
    world.settle(LONG);
    assert_eq!((served(&world), obstacles(&world).len()), (vec!["api".into()], 0));
}

#[test]
fn what_runs_and_is_no_longer_good_has_a_minute_then_the_others_go_ahead_and_it_comes_back() {
    let mut world = world(&["errorfile 503 /a.http"]);
    world.refused_line = "errorfile 503 /a.http";
    world.notices.clear();
    add(&mut world, "new", 82, &[]);
    world.settle(LONG);
    assert_eq!(served(&world), ["api", "web"], "it serves on, and may recover");
    let warned = "service api ran so far, and is left out if this lasts";
    assert!(world.notices.iter().any(|notice| notice.to_string().contains(warned)), "{:?}", world.notices);
    world.settle(3 * LONG);
    assert_eq!(served(&world), ["new", "web"]);
    assert_eq!(obstacles(&world), ["api HAProxy says: unknown keyword 'bad'"]);
    world.settle(10 * LONG);
    world.refused_line = "bad option";
    world.settle(10 * LONG);
    assert_eq!((served(&world).len(), obstacles(&world).len()), (3, 0));
}

#[test]
fn what_recovers_within_the_minute_is_never_left_out() {
    let mut world = world(&["errorfile 503 /a.http"]);
    world.refused_line = "errorfile 503 /a.http";
    add(&mut world, "new", 82, &[]);
    world.settle(LONG);
    world.refused_line = "bad option";
    world.settle(LONG);
    assert_eq!(served(&world), ["api", "new", "web"]);
}

#[test]
fn a_new_definition_for_which_one_that_runs_is_named_is_found() {
    let servers: &[&str] = &["1.1.1.1:1"];
    let mut world = World::running(settings(true), &[("zoo", 80, servers)]);
    world.define("zoo", 80, &["id 7"]);
    world.settle(LONG);
    world.notices.clear();
    for (service, port, lines) in [("a", 1, &["id 7"][..]), ("b", 2, &[]), ("c", 3, &[])] {
        add(&mut world, service, port, lines);
    }
    world.settle(Duration::from_secs(5));
    assert_eq!(served(&world), ["b", "c", "zoo"]);
    assert_eq!(obstacles(&world).len(), 1);
    assert!(obstacles(&world)[0].starts_with("a HAProxy refuses the configuration with it"));
    assert!(!world.notices.iter().any(|notice| matches!(notice, Notice::ReloadFailed { .. })));
}

#[test]
fn included_files_without_which_what_runs_is_refused_stay_as_they_were() {
    let includes = |text: &str| {
        Input::Includes(Includes::new(vec![IncludedFile::new(Path::new("/i"), text.as_bytes()).unwrap()]))
    };
    let mut world = world(&[]);
    world.tell(includes("userlist staff\n"));
    world.define("api", 81, &["acl known http_auth(staff)"]);
    world.settle(LONG);
    world.tell(includes("userlist others\n"));
    world.settle(LONG);
    assert!(world.config.contains("userlist staff"), "{}", world.config);
    add(&mut world, "new", 82, &[]);
    world.settle(LONG);
    assert_eq!(served(&world), ["api", "new", "web"]);
    let refused = world.reconciler.report().refused_includes;
    assert!(refused[0].contains("what runs can't be started beside them"), "{refused:?}");
    world.tell(includes("userlist staff\nuserlist others\n"));
    world.settle(LONG);
    assert!(
        world.config.contains("userlist others") && world.reconciler.report().refused_includes.is_empty()
    );
}

#[test]
fn a_definition_that_no_process_serves_with_is_found() {
    let mut world = world(&[]);
    for (service, port, lines) in [("a", 1, &[][..]), ("b", 2, &["hanging option"]), ("c", 3, &[])] {
        add(&mut world, service, port, lines);
    }
    world.settle(LONG);
    assert_eq!(served(&world), ["a", "api", "c", "web"]);
    assert!(obstacles(&world)[0].starts_with("b HAProxy refuses the configuration with it"));
    world.define("b", 2, &[]);
    world.settle(LONG);
    assert_eq!(served(&world).len(), 5);
}

#[test]
fn a_definition_that_is_good_by_then_leaves_quarantine_without_a_change() {
    let mut world = world(&[]);
    world.refused_line = "errorfile 503 /a.http";
    add(&mut world, "first", 82, &["errorfile 503 /a.http"]);
    let before = world.checks;
    world.settle(120 * LONG);
    assert_eq!(served(&world), ["api", "web"]);
    assert!((10..20).contains(&(world.checks - before)), "{} checks in an hour", world.checks - before);
    world.refused_line = "bad option";
    world.settle(30 * LONG);
    assert_eq!(served(&world), ["api", "first", "web"]);
}

#[test]
fn what_a_definition_refers_to_may_come_later() {
    let mut world = world(&[]);
    add(&mut world, "first", 82, &["use_backend second"]);
    world.settle(LONG);
    assert_eq!(served(&world), ["api", "web"]);
    add(&mut world, "second", 83, &[]);
    world.settle(Duration::from_secs(5));
    assert_eq!(served(&world), ["api", "first", "second", "web"]);
}

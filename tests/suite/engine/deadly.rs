//! Definitions that the check takes, and that kill `HAProxy`, or that it doesn't start with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proxymgr::engine::include::{IncludedFile, Includes};
use proxymgr::engine::option_line::OptionLine;
use proxymgr::engine::reconciler::{Input, Notice, Order, Outcome, ReloadFailure};

use super::world::{Luck, START_FAILS, World, name, settings};

const MOMENT: Duration = Duration::from_millis(20);
const MINUTE: Duration = Duration::from_secs(60);

/// Two services that have proved themselves.
fn web_and_api() -> World {
    let mut world = World::running(
        settings(true),
        &[("web", 80, &["1.1.1.1:1", "2.2.2.2:2"]), ("api", 81, &["3.3.3.3:3"])],
    );
    world.settle(2 * MINUTE);
    world.notices.clear();
    world
}

fn served(world: &World) -> Vec<(String, usize)> {
    let served = world.running.as_ref().unwrap().served();
    served.into_iter().map(|(service, servers)| (service, servers.len())).collect()
}

fn went_back(world: &World) -> Vec<&Vec<String>> {
    let mut went_back = Vec::new();
    for notice in &world.notices {
        if let Notice::BackToLastGood { without, .. } = notice {
            went_back.push(without);
        }
    }
    went_back
}

#[test]
fn a_definition_that_kills_haproxy_is_given_up_for_the_last_good_one() {
    let mut world = web_and_api();
    world.define("web", 80, &["deadly option"]);
    world.settle(5 * MINUTE);
    assert_eq!(world.deaths, 3);
    assert_eq!(went_back(&world), [&["service web"]]);
    assert_eq!(served(&world), [("api".into(), 1), ("web".into(), 2)]);
    assert!(!world.config.contains("deadly"), "{}", world.config);
    // Its servers are followed, and other services come.
    world.servers("web", &["2.2.2.2:2"]);
    world.define("new", 82, &[]);
    world.servers("new", &["4.4.4.4:4"]);
    world.settle(Duration::from_secs(10));
    assert_eq!(served(&world), [("api".into(), 1), ("new".into(), 1), ("web".into(), 1)]);
    assert_eq!(world.deaths, 3);
    // Another definition is taken at once.
    world.define("web", 80, &["timeout queue 7s"]);
    world.settle(Duration::from_secs(10));
    assert!(world.config.contains("timeout queue 7s"));
    assert!(world.reconciler.obstacles().is_empty());
}

#[test]
fn a_new_service_that_kills_haproxy_stays_out_and_is_tried_again_seldom() {
    let mut world = web_and_api();
    world.define("bad", 90, &["deadly option"]);
    world.servers("bad", &["1.1.1.1:1"]);
    world.settle(MINUTE);
    assert_eq!((world.deaths, served(&world).len()), (3, 2));
    let reason = world.reconciler.obstacles()[&name("bad")].to_string();
    assert!(reason.contains("ended by itself 3 times") && reason.contains("(killed)"), "{reason}");
    world.settle(24 * 60 * MINUTE);
    assert!((6..=24).contains(&world.deaths), "{} deaths in a day", world.deaths);
    assert_eq!(served(&world).len(), 2);
    // Once it does no harm any more it is taken by itself.
    world.deadly_line = "something else";
    world.settle(48 * 60 * MINUTE);
    assert_eq!(served(&world).len(), 3);
}

#[test]
fn those_that_came_with_the_guilty_one_are_back_after_a_while() {
    let mut world = web_and_api();
    for (service, port, options) in [("a", 90, &[][..]), ("b", 91, &["deadly option"]), ("c", 92, &[])] {
        world.define(service, port, options);
        world.servers(service, &["1.1.1.1:1"]);
    }
    world.settle(MINUTE);
    assert_eq!((world.deaths, served(&world).len()), (3, 2));
    assert_eq!(went_back(&world), [&["service a", "service b", "service c"]]);
    world.settle(30 * MINUTE);
    assert_eq!((world.deaths, served(&world).len()), (6, 4), "b was tried once more, alone");
}

#[test]
fn included_files_that_kill_haproxy_are_given_up_as_a_whole() {
    let files = |texts: &[(&str, &str)]| {
        let file = |(path, text): &(&str, &str)| IncludedFile::new(Path::new(path), text.as_bytes()).unwrap();
        Input::Includes(Includes::new(texts.iter().map(file).collect()))
    };
    let mut world = web_and_api();
    world.tell(files(&[("/a.cfg", "listen a\n timeout queue 1s\n")]));
    world.settle(2 * MINUTE);
    world.tell(files(&[
        ("/a.cfg", "listen a\n timeout queue 2s\n"),
        ("/b.cfg", "listen b\n deadly option\n"),
    ]));
    world.settle(MINUTE);
    assert_eq!((world.deaths, went_back(&world)), (3, vec![&vec!["the included files".to_owned()]]));
    assert!(
        world.config.contains("timeout queue 1s") && !world.config.contains("deadly"),
        "{}",
        world.config
    );
    world.tell(files(&[("/a.cfg", "listen a\n timeout queue 2s\n"), ("/b.cfg", "listen b\n")]));
    world.settle(MINUTE);
    assert!(world.config.contains("timeout queue 2s") && world.config.contains("listen b"));
    assert_eq!(world.deaths, 3);
}

#[test]
fn defaults_that_kill_haproxy_are_given_up_for_those_that_ran_before_the_new_proxymgr_yml() {
    let world = web_and_api();
    let mut deadly = settings(true);
    let mut base = (*deadly.base).clone();
    base.defaults = vec![OptionLine::parse("deadly option").unwrap()];
    deadly.base = Arc::new(base);
    let mut world = world.taken_over(deadly);
    for (service, port) in [("web", 80), ("api", 81)] {
        world.define(service, port, &[]);
        world.servers(service, &["1.1.1.1:1"]);
    }
    world.tell(Input::Listed);
    world.settle(10 * MINUTE);
    assert_eq!((world.deaths, went_back(&world)), (3, vec![&vec!["global and defaults".to_owned()]]));
    assert!(!world.config.contains("deadly"), "{}", world.config);
    assert_eq!(served(&world), [("api".into(), 1), ("web".into(), 1)]);
}

#[test]
fn without_a_last_good_configuration_the_crashes_go_on_with_pauses() {
    let mut world = World::new(settings(true));
    world.define("web", 80, &["deadly option"]);
    world.servers("web", &["1.1.1.1:1"]);
    world.tell(Input::Listed);
    world.settle(MINUTE);
    assert!((10..20).contains(&world.deaths), "{}", world.deaths);
    assert!(went_back(&world).is_empty());
}

#[test]
fn deaths_long_after_a_change_are_not_its_fault() {
    let mut world = web_and_api();
    world.define("web", 80, &["timeout queue 7s"]);
    world.settle(2 * MINUTE);
    for _ in 0..5 {
        world.die();
        world.settle(Duration::from_secs(6));
    }
    assert!(went_back(&world).is_empty() && world.config.contains("timeout queue 7s"));
}

/// Every new process ends before it serves.
struct StartsFail;

impl Luck for StartsFail {
    fn strikes(&mut self, n: u64) -> bool {
        n == START_FAILS
    }
}

#[test]
fn a_restart_does_not_wait_for_what_is_new() {
    let mut world = web_and_api();
    // It can't be started: what runs serves on.
    world.define("new", 82, &[]);
    world.servers("new", &["4.4.4.4:4"]);
    world.settle_with(Duration::from_secs(2), &mut StartsFail);
    assert_eq!(served(&world).len(), 2);
    world.die();
    world.settle(MOMENT);
    assert_eq!(served(&world).len(), 2, "first what ran before");
    world.settle(Duration::from_secs(5));
    assert_eq!(served(&world).len(), 3, "then what is new");
}

#[test]
fn a_reload_that_fails_after_a_death_is_not_tried_again_before_what_ran() {
    let mut world = web_and_api();
    world.define("new", 82, &[]);
    world.servers("new", &["4.4.4.4:4"]);
    while !matches!(world.order, Some(Order::Reload { .. })) {
        world.now = world.reconciler.deadline().unwrap();
        world.tell(Input::Tick);
    }
    world.die();
    // The new process hangs and is given up.
    world.order = None;
    world.tell(Input::Done(Outcome::ReloadFailed(ReloadFailure::NotServing("no reply".into()))));
    world.now = world.reconciler.deadline().unwrap();
    world.tell(Input::Tick);
    let Some(Order::Reload { after, .. }) = &world.order else { panic!("{:?}", world.order) };
    assert_eq!(after.services.keys().map(ToString::to_string).collect::<Vec<_>>(), ["api", "web"]);
}

#[test]
fn a_definition_that_is_refused_at_a_restart_does_not_keep_the_others_down() {
    let mut world = web_and_api();
    world.define("web", 80, &["errorfile 503 /a.http"]);
    world.settle(2 * MINUTE);
    // The file is gone, and nobody noticed until now.
    world.refused_line = "errorfile 503 /a.http";
    world.die();
    world.settle(Duration::from_secs(10));
    assert_eq!(served(&world), [("api".into(), 1)]);
    world.refused_line = "bad option";
    world.settle(2 * MINUTE);
    assert_eq!(served(&world).len(), 2);
}

#[test]
fn a_definition_that_no_process_starts_with_is_left_out_by_name_and_tried_again() {
    let mut world = web_and_api();
    world.define("bad", 90, &["unstartable option"]);
    world.servers("bad", &["1.1.1.1:1"]);
    world.define("good", 91, &[]);
    world.servers("good", &["1.1.1.1:1"]);
    world.settle(Duration::from_secs(10));
    assert_eq!(served(&world).len(), 3);
    assert!(world.reconciler.obstacles()[&name("bad")].to_string().contains("not enough free sockets"));
    world.settle(5 * MINUTE);
    let told = world.notices.iter().filter(|notice| matches!(notice, Notice::Obstructed { .. })).count();
    assert_eq!(told, 1, "another try is no news");
    world.unstartable_line = "something else";
    world.settle(2 * MINUTE);
    assert_eq!(served(&world).len(), 4);
    assert!(world.reconciler.obstacles().is_empty());
}

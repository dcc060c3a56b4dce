//! What each kind of change costs, and what the reconciler does about trouble.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

use proxymgr::engine::host_name::HostName;
use proxymgr::engine::listen_address::ListenAddress;
use proxymgr::engine::reconciler::{Held, Input, Notice};
use proxymgr::engine::server::Server;

use super::world::{Luck, START_FAILS, World, name, server, settings};

const MOMENT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);

fn web() -> World {
    World::running(settings(true), &[("web", 80, &["1.1.1.1:1", "2.2.2.2:2"])])
}

fn served(world: &World, service: &str) -> Vec<String> {
    world.running.as_ref().unwrap().served()[service].keys().cloned().collect()
}

#[test]
fn a_server_that_is_gone_goes_into_maintenance_and_is_deleted_later() {
    let mut world = web();
    world.servers("web", &["2.2.2.2:2"]);
    world.settle(MOMENT);
    assert_eq!(world.commands, ["set server web/1.1.1.1:1 state maint"]);
    assert!(!world.config.contains("1.1.1.1:1"), "the file says what runs");
    world.settle(LONG);
    assert_eq!(world.commands[1..], ["del server web/1.1.1.1:1"]);
    assert_eq!(world.reloads, 0);
}

#[test]
fn servers_that_left_are_deleted_however_often_others_follow() {
    let mut world = web();
    for port in 1..100 {
        world.servers("web", &[&format!("3.3.3.3:{port}")]);
        world.settle(MOMENT);
    }
    let deleted = world.commands.iter().filter(|command| command.starts_with("del server ")).count();
    assert!(deleted > 80, "{deleted} of 100 servers are deleted after 2 s of churn");
}

#[test]
fn a_definition_that_runs_and_is_refused_later_is_tried_again_with_pauses() {
    let mut world = web();
    world.define("web", 80, &["errorfile 503 /a.http"]);
    world.settle(LONG);
    // The file is gone: any reload would fail now.
    world.refused_line = "errorfile 503 /a.http";
    world.notices.clear();
    world.define("other", 81, &[]);
    world.servers("other", &["3.3.3.3:3"]);
    world.settle(LONG);
    let failures = |world: &World| {
        world.notices.iter().filter(|notice| matches!(notice, Notice::ReloadFailed { .. })).count()
    };
    assert!((2..10).contains(&failures(&world)), "{:?}", world.notices);
    // What runs goes on, and its servers are followed.
    world.servers("web", &["2.2.2.2:2"]);
    world.settle(MOMENT);
    assert_eq!(served(&world, "web"), ["2.2.2.2:2"]);
    world.refused_line = "bad option";
    world.settle(2 * LONG);
    assert_eq!(served(&world, "other"), ["3.3.3.3:3"]);
}

#[test]
fn who_held_an_address_in_an_earlier_run_keeps_it() {
    let mut world = World::new(settings(true));
    let held = BTreeSet::from([ListenAddress::parse("0.0.0.0:80").unwrap()]);
    let held = Held { listens: held, ..Held::default() };
    world.reconciler.remember_holders([(name("zoo"), held)].into());
    for service in ["ant", "zoo"] {
        world.define(service, 80, &[]);
        world.servers(service, &["1.1.1.1:1"]);
    }
    world.tell(Input::Listed);
    world.settle(LONG);
    assert_eq!(world.running.as_ref().unwrap().served().keys().collect::<Vec<_>>(), ["zoo"]);
}

#[test]
fn a_loss_in_pieces_is_held_as_one() {
    let all: Vec<String> = (1..9).map(|host| format!("10.0.0.{host}:80")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut world = World::running(settings(true), &[("web", 80, &all)]);
    for left in [6, 3, 1] {
        world.servers("web", &all[..left]);
        world.settle(MOMENT);
    }
    assert_eq!(served(&world, "web"), all);
    world.settle(LONG);
    assert_eq!((served(&world, "web"), world.reloads), (vec![all[0].to_owned()], 0));
}

#[test]
fn a_server_that_is_back_is_enabled() {
    let mut world = web();
    world.servers("web", &["2.2.2.2:2"]);
    world.settle(MOMENT);
    world.servers("web", &["1.1.1.1:1", "2.2.2.2:2"]);
    world.settle(MOMENT);
    assert_eq!(world.commands[1..], ["set server web/1.1.1.1:1 state ready"]);
    world.settle(LONG);
    assert_eq!((world.commands.len(), world.reloads), (2, 0), "it is not deleted");
}

#[test]
fn a_host_that_moves_keeps_its_server_without_a_reload() {
    let mut world = web();
    let host = |ip: &str| {
        let name = HostName::parse("web.example").unwrap();
        vec![Server::named(name, NonZeroU16::new(80).unwrap(), ip.parse().unwrap())]
    };
    world.tell(Input::Servers(name("web"), host("10.0.0.1")));
    world.settle(LONG);
    world.commands.clear();
    world.tell(Input::Servers(name("web"), host("::1")));
    world.settle(MOMENT);
    assert_eq!(world.commands, ["set server web/web.example:80 addr ::1 port 80"]);
    assert!(world.config.contains("server web.example:80 [::1]:80 id "), "{}", world.config);
    world.settle(LONG);
    assert_eq!((world.commands.len(), world.reloads), (1, 0));
}

#[test]
fn a_new_server_is_added_before_an_old_one_leaves() {
    let mut world = web();
    world.servers("web", &["2.2.2.2:2", "3.3.3.3:3"]);
    world.settle(MOMENT);
    assert!(world.commands[0].starts_with("add server web/3.3.3.3:3 3.3.3.3:3 id "), "{:?}", world.commands);
    assert!(world.commands[0].ends_with(" check inter 2s weight 1"), "{:?}", world.commands);
    let rest = [
        "enable health web/3.3.3.3:3",
        "set server web/3.3.3.3:3 state ready",
        "set server web/1.1.1.1:1 state maint",
    ];
    assert_eq!(world.commands[1..], rest);
    assert_eq!(world.reloads, 0);
}

#[test]
fn weight_and_drain_are_runtime_changes() {
    let mut world = web();
    let mut heavy = server("1.1.1.1:1");
    heavy.weight = proxymgr::engine::server::Weight::new(7);
    let mut draining = server("2.2.2.2:2");
    draining.drain = true;
    world.tell(Input::Servers(name("web"), vec![heavy, draining]));
    world.settle(MOMENT);
    assert_eq!(world.commands, ["set server web/1.1.1.1:1 weight 7", "set server web/2.2.2.2:2 weight 0"]);
    assert!(world.config.contains(" weight 7\n") && world.config.contains(" weight 0\n"));
}

#[test]
fn services_that_arrive_together_share_one_reload() {
    let mut world = web();
    for port in 1000..1010 {
        world.define(&format!("s{port}"), port, &[]);
        world.settle(Duration::from_millis(3));
        world.servers(&format!("s{port}"), &["1.1.1.1:1"]);
        world.settle(Duration::from_millis(3));
    }
    world.settle(LONG);
    assert_eq!(world.reloads, 1);
    assert_eq!(world.running.unwrap().served().len(), 11);
}

#[test]
fn a_service_that_is_gone_is_shut_down_without_a_reload() {
    let mut world = web();
    world.tell(Input::Removed(name("web")));
    world.settle(LONG);
    assert_eq!((world.commands, world.reloads), (vec!["shutdown frontend web".to_owned()], 0));
    assert!(!world.config.contains("listen web"));
}

#[test]
fn a_service_that_is_renamed_keeps_its_port_open() {
    let mut world = web();
    world.tell(Input::Removed(name("web")));
    world.define("shop", 80, &[]);
    world.servers("shop", &["1.1.1.1:1"]);
    world.settle(LONG);
    assert_eq!((world.commands.len(), world.reloads), (0, 1), "nothing is shut down before the reload");
    assert_eq!(served(&world, "shop"), ["1.1.1.1:1"]);
}

#[test]
fn the_same_again_in_any_order_is_nothing() {
    let mut world = web();
    world.define("web", 80, &[]);
    world.servers("web", &["2.2.2.2:2", "1.1.1.1:1"]);
    world.settle(Duration::from_secs(10));
    assert_eq!((world.commands.len(), world.reloads, world.notices.len()), (0, 0, 0));
}

#[test]
fn endless_churn_of_services_starves_nobody() {
    let mut world = web();
    for round in 0..500 {
        world.define("churn", 100 + round % 7, &[]);
        world.servers("churn", &["1.1.1.1:1"]);
        world.settle(Duration::from_millis(10));
    }
    assert!((5..=7).contains(&world.reloads), "5 s with a reload a second, not {}", world.reloads);
    world.servers("web", &["1.1.1.1:1", "9.9.9.9:9"]);
    world.settle(MOMENT);
    assert!(served(&world, "web").contains(&"9.9.9.9:9".to_owned()), "servers do not wait for reloads");
}

#[test]
fn with_updates_off_every_change_is_a_reload() {
    let mut world = World::running(settings(false), &[("web", 80, &["1.1.1.1:1"])]);
    for servers in [&["1.1.1.1:1", "2.2.2.2:2"][..], &["2.2.2.2:2"]] {
        world.servers("web", servers);
        world.settle(Duration::from_secs(2));
    }
    world.tell(Input::Removed(name("web")));
    world.settle(LONG);
    assert_eq!((world.commands.len(), world.reloads), (0, 3));
}

#[test]
fn under_a_static_algorithm_only_new_servers_need_a_reload() {
    let mut world = web();
    world.define("web", 80, &["balance static-rr"]);
    world.settle(LONG);
    assert_eq!(world.reloads, 1);
    world.servers("web", &["2.2.2.2:2"]);
    world.settle(LONG);
    assert_eq!(world.reloads, 1);
    world.servers("web", &["1.1.1.1:1", "2.2.2.2:2"]);
    world.settle(LONG);
    assert_eq!((served(&world, "web").len(), world.reloads), (2, 1), "one that is back needs none");
    world.servers("web", &["2.2.2.2:2", "3.3.3.3:3"]);
    world.settle(LONG);
    assert_eq!(world.reloads, 2);
}

#[test]
fn an_empty_answer_keeps_the_last_servers() {
    let mut world = web();
    world.servers("web", &[]);
    world.settle(LONG);
    assert_eq!(served(&world, "web").len(), 2);
    assert!(matches!(world.notices[..], [Notice::KeptThoughEmpty { servers: 2, .. }]));
}

#[test]
fn a_large_loss_is_held_and_believed_when_it_lasts() {
    let hosts: Vec<_> = (1..=10).map(|host| format!("1.1.1.{host}:1")).collect();
    let all: Vec<_> = hosts.iter().map(String::as_str).collect();
    let mut world = World::running(settings(true), &[("web", 80, &all)]);
    world.servers("web", &["1.1.1.1:1", "9.9.9.9:9"]);
    world.settle(Duration::from_secs(29));
    assert_eq!(served(&world, "web").len(), 11, "the new one comes, the others stay");
    world.settle(Duration::from_secs(2));
    assert_eq!(served(&world, "web"), ["1.1.1.1:1", "9.9.9.9:9"]);
    let told: Vec<_> = world.notices.iter().filter(|notice| notice.is_trouble()).collect();
    assert!(
        matches!(told[..], [Notice::LossHeld { missing: 9, .. }, Notice::LossTaken { missing: 9, .. }]),
        "{told:?}"
    );
}

#[test]
fn a_loss_that_is_made_good_changes_nothing() {
    let hosts: Vec<_> = (1..=8).map(|host| format!("1.1.1.{host}:1")).collect();
    let all: Vec<_> = hosts.iter().map(String::as_str).collect();
    let mut world = World::running(settings(true), &[("web", 80, &all)]);
    world.servers("web", &["1.1.1.1:1"]);
    world.settle(Duration::from_secs(10));
    world.servers("web", &all);
    world.settle(Duration::from_secs(600));
    assert_eq!((served(&world, "web").len(), world.commands.len()), (8, 0));
}

#[test]
fn what_haproxy_refuses_is_quarantined_and_the_others_go_ahead() {
    let mut world = web();
    world.define("bad", 81, &["bad option"]);
    world.servers("bad", &["1.1.1.1:1"]);
    world.define("good", 82, &[]);
    world.servers("good", &["1.1.1.1:1"]);
    world.define("web", 80, &["bad option"]);
    world.settle(LONG);
    let served: Vec<_> = world.running.as_ref().unwrap().served().into_keys().collect();
    assert_eq!(served, ["good", "web"]);
    assert!(!world.config.contains("bad option"));
    assert_eq!(world.reconciler.obstacles().len(), 2);
    world.servers("web", &["1.1.1.1:1"]);
    world.settle(MOMENT);
    assert_eq!(self::served(&world, "web"), ["1.1.1.1:1"], "a service in quarantine keeps being updated");
    world.define("bad", 81, &[]);
    world.settle(LONG);
    assert!(world.running.unwrap().served().contains_key("bad"));
}

#[test]
fn a_dead_haproxy_is_started_at_once_and_later_when_it_keeps_dying() {
    let mut world = web();
    let mut waits = Vec::new();
    for _ in 0..9 {
        let died = world.now;
        world.die();
        while world.running.is_none() {
            world.settle(Duration::from_millis(10));
        }
        waits.push((world.now - died).as_millis());
    }
    assert!(waits[0] <= 100, "{waits:?}");
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1] + 10), "{waits:?}");
    assert!((5000..5200).contains(waits.last().unwrap()), "{waits:?}");
    world.settle(LONG);
    let died = world.now;
    world.die();
    world.settle(Duration::from_millis(200));
    assert!(world.running.is_some() && died < world.now);
}

/// Every new process ends before it serves.
struct StartsFail;

impl Luck for StartsFail {
    fn strikes(&mut self, n: u64) -> bool {
        n == START_FAILS
    }
}

#[test]
fn a_haproxy_that_can_not_be_started_is_tried_every_five_seconds_at_the_longest() {
    let mut world = web();
    world.die();
    world.settle_with(LONG, &mut StartsFail);
    world.settle_with(LONG, &mut StartsFail);
    let failed = |notice: &&Notice| matches!(notice, Notice::ReloadFailed { serves_on: false, .. });
    let tries = world.notices.iter().filter(failed).count();
    assert!((12..=20).contains(&tries), "{tries} tries in a minute");
    world.settle(Duration::from_millis(5200));
    assert!(world.running.is_some());
}

#[test]
fn starts_without_answers_only_after_the_timeout() {
    let mut world = World::new(settings(true));
    world.define("web", 80, &[]);
    world.tell(Input::Listed);
    world.settle(Duration::from_millis(9_990));
    assert!(world.running.is_none());
    world.settle(Duration::from_millis(200));
    assert!(world.running.is_some());
    assert_eq!(world.ready, 1);
    world.servers("web", &["1.1.1.1:1"]);
    world.settle(LONG);
    assert_eq!(served(&world, "web"), ["1.1.1.1:1"]);
}

#[test]
fn servers_of_an_earlier_run_count_until_there_is_an_answer() {
    let mut world = World::new(settings(true));
    for (service, port) in [("silent", 80), ("emptied", 81), ("prompt", 82)] {
        world.define(service, port, &[]);
        world.tell(Input::Remembered(name(service), vec![server("1.1.1.1:1")]));
    }
    world.tell(Input::Listed);
    world.servers("emptied", &[]);
    world.servers("prompt", &["2.2.2.2:2"]);
    world.settle(Duration::from_secs(11));
    for (service, expected) in [("silent", "1.1.1.1:1"), ("emptied", "1.1.1.1:1"), ("prompt", "2.2.2.2:2")] {
        assert_eq!(served(&world, service), [expected], "{service}");
    }
    world.servers("silent", &["3.3.3.3:3"]);
    world.settle(MOMENT);
    assert_eq!(served(&world, "silent"), ["3.3.3.3:3"]);
}

#[test]
fn a_process_that_lost_servers_is_mended() {
    let mut world = web();
    world.running.as_mut().unwrap().backends.get_mut("web").unwrap().servers.clear();
    world.settle(Duration::from_secs(61));
    assert_eq!(served(&world, "web").len(), 2);
    assert_eq!(world.reloads, 0);
    assert!(matches!(world.notices[0], Notice::Differs(_)));
}

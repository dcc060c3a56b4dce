//! Commands without a reply: carried out or not, or later than the next comparison.

use std::time::Duration;

use proxymgr::engine::command::RuntimeCommand;
use proxymgr::engine::reconciler::{Input, Notice, Order, Outcome};
use proxymgr::engine::server::{Server, Weight};

use super::model::Model;
use super::world::{Luck, START_FAILS, World, name, server, settings};

const MOMENT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);
const BOTH: &[&str] = &["1.1.1.1:1", "2.2.2.2:2"];

fn web() -> World {
    World::running(settings(true), &[("web", 80, BOTH)])
}

fn weighted(weight: u16) -> Vec<Server> {
    let mut servers: Vec<_> = BOTH.iter().map(|address| server(address)).collect();
    servers[0].weight = Weight::new(weight);
    servers
}

/// The commands that are sent next, which have no reply yet.
fn sent(world: &mut World) -> Vec<RuntimeCommand> {
    world.settle_until_ordered();
    let Some(Order::Apply { config, commands, .. }) = world.order.take() else { panic!("no commands") };
    if let Some(config) = config {
        world.config = config.text.to_string();
    }
    commands
}

fn carry_out(world: &mut World, commands: &[RuntimeCommand]) {
    for command in commands {
        world.running.as_mut().unwrap().execute(&command.to_string(), false);
    }
}

fn no_reply(world: &mut World) {
    let verdicts = Vec::new();
    world.tell(Input::Done(Outcome::Applied { verdicts, config_error: None }));
}

#[track_caller]
fn assert_all_is_well(mut world: World, reloads: usize) {
    world.settle(LONG);
    let served = world.running.as_ref().unwrap().served();
    assert_eq!(served["web"].keys().collect::<Vec<_>>(), BOTH);
    assert!(served["web"].values().all(|server| server.weight == 1 && server.checked), "{served:?}");
    assert_eq!(served, Model::load(&world.config).served(), "the file says what runs");
    assert_eq!(world.reloads, reloads, "{:?}", world.notices);
}

#[test]
fn a_server_that_left_without_a_reply_and_is_back_is_no_operators_maintenance() {
    let mut world = web();
    world.servers("web", &["2.2.2.2:2"]);
    let commands = sent(&mut world);
    world.servers("web", BOTH);
    carry_out(&mut world, &commands);
    no_reply(&mut world);
    assert_all_is_well(world, 0);
}

#[test]
fn a_weight_that_was_set_without_a_reply_is_no_operators() {
    let mut world = web();
    world.tell(Input::Servers(name("web"), weighted(50)));
    let commands = sent(&mut world);
    world.servers("web", BOTH);
    carry_out(&mut world, &commands);
    no_reply(&mut world);
    assert_all_is_well(world, 0);
}

#[test]
fn what_is_carried_out_after_the_comparison_is_seen_by_another() {
    for servers in [vec![server(BOTH[1])], weighted(50)] {
        let mut world = web();
        world.tell(Input::Servers(name("web"), servers));
        let commands = sent(&mut world);
        world.servers("web", BOTH);
        no_reply(&mut world);
        world.settle(MOMENT);
        carry_out(&mut world, &commands);
        assert_all_is_well(world, 0);
    }
}

#[test]
fn a_server_that_was_added_without_a_reply_is_the_one_that_was_wanted() {
    let mut world = web();
    let mut backup = server("3.3.3.3:3");
    backup.backup = true;
    let with_backup: Vec<_> = BOTH.iter().map(|address| server(address)).chain([backup]).collect();
    world.tell(Input::Servers(name("web"), with_backup));
    let commands = sent(&mut world);
    carry_out(&mut world, &commands[..1]);
    no_reply(&mut world);
    world.settle(LONG);
    assert!(!world.commands.iter().any(|command| command.starts_with("add ")), "{:?}", world.commands);
    let added = &world.running.as_ref().unwrap().served()["web"]["3.3.3.3:3"];
    assert!(added.backup && added.checked, "{added:?}");
    world.servers("web", BOTH);
    assert_all_is_well(world, 0);
}

#[test]
fn a_frontend_that_was_shut_down_without_a_reply_comes_back_with_a_reload() {
    for carried_out in [true, false] {
        let mut world = web();
        world.tell(Input::Removed(name("web")));
        let commands = sent(&mut world);
        world.define("web", 80, &[]);
        world.servers("web", BOTH);
        if carried_out {
            carry_out(&mut world, &commands);
        }
        no_reply(&mut world);
        assert_all_is_well(world, 1);
    }
}

#[test]
fn a_frontend_that_was_shut_down_without_a_reply_is_told_again() {
    for carried_out in [true, false] {
        let mut world = web();
        world.tell(Input::Removed(name("web")));
        let commands = sent(&mut world);
        if carried_out {
            carry_out(&mut world, &commands);
        }
        no_reply(&mut world);
        world.settle(LONG);
        assert_eq!((world.commands, world.reloads), (vec!["shutdown frontend web".to_owned()], 0));
        assert!(world.running.unwrap().served().is_empty());
    }
}

#[test]
fn nothing_is_sent_before_the_process_told_what_it_holds() {
    let mut world = web();
    world.servers("web", &["2.2.2.2:2"]);
    drop(sent(&mut world));
    no_reply(&mut world);
    assert!(matches!(world.order.take(), Some(Order::Compare { .. })));
    world.tell(Input::Done(Outcome::CompareFailed("no answer".into())));
    // Another change comes.
    world.servers("web", &["2.2.2.2:2", "3.3.3.3:3"]);
    world.settle_until_ordered();
    assert!(matches!(world.order, Some(Order::Compare { .. })));
    world.settle(LONG);
    world.servers("web", BOTH);
    assert_all_is_well(world, 0);
}

#[test]
fn the_file_does_not_keep_what_was_never_carried_out() {
    let mut world = web();
    world.servers("web", &[BOTH[0], BOTH[1], "3.3.3.3:3"]);
    drop(sent(&mut world));
    world.servers("web", BOTH);
    no_reply(&mut world);
    assert!(world.config.contains("3.3.3.3:3"));
    assert_all_is_well(world, 0);
}

/// The next process ends before it serves.
struct OneFailedStart(bool);

impl Luck for OneFailedStart {
    fn strikes(&mut self, n: u64) -> bool {
        n == START_FAILS && std::mem::take(&mut self.0)
    }
}

#[test]
fn what_the_old_process_was_told_before_a_reload_that_failed_is_no_operators_doing() {
    let mut world = web();
    world.define("other", 81, &[]);
    world.servers("other", &["3.3.3.3:3"]);
    // Just before the reload is due.
    world.settle(Duration::from_micros(24_500));
    world.servers("web", &["2.2.2.2:2"]);
    world.settle_until_ordered();
    assert!(
        matches!(&world.order, Some(Order::Reload { first, .. }) if first.len() == 1),
        "{:?}",
        world.order
    );
    world.servers("web", BOTH);
    world.tell(Input::Removed(name("other")));
    world.carry_out(&mut OneFailedStart(true));
    assert_all_is_well(world, 0);
}

#[test]
fn a_process_that_never_tells_is_replaced() {
    let mut world = web();
    for _ in 0..3 {
        world.settle_until_ordered();
        assert!(matches!(world.order.take(), Some(Order::Compare { .. })), "{:?}", world.notices);
        world.tell(Input::Done(Outcome::CompareFailed("no answer".into())));
    }
    assert!(matches!(world.notices.last(), Some(Notice::CompareFailed(_) | Notice::Reloading(_))));
    world.settle(LONG);
    assert_eq!(world.reloads, 1);
}

//! The runtime connection: batches, large replies, processes that end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proxymgr::haproxy::runtime::RuntimeError;
use proxymgr::process::exit::Exit;
use proxymgr::process::spawn::ChildSignal;

use crate::world::{LIMIT, World, config, info, servers};

#[tokio::test]
async fn a_killed_process_ends_its_connection_at_once_and_for_good() {
    let world = World::new();
    let mut running = world.start(&config("backend be\n"));
    let mut connection = running.connect().await;
    running.child.signals.send(ChildSignal::Kill).unwrap();
    assert_eq!(running.child.exit.wait().await, Exit::Signal(9));
    let asked = Instant::now();
    assert!(matches!(connection.execute("show info").await, Err(RuntimeError::Closed)));
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    assert!(!connection.is_usable());
    assert!(matches!(connection.execute("show info").await, Err(RuntimeError::Poisoned)));
    assert!(matches!(running.control.connect(LIMIT).await, Err(RuntimeError::Connect(_))));
}

#[tokio::test]
async fn a_failed_start_is_seen_at_once_on_the_runtime_socket() {
    let world = World::new();
    let mut running = world.start(&config("bogus\n"));
    let error = running.control.connect(LIMIT).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Closed | RuntimeError::Connect(_)), "{error:?}");
    assert!(running.spawned.elapsed() < LIMIT / 2);
    assert_eq!(running.child.exit.wait().await, Exit::Code(1));
}

#[tokio::test]
async fn a_thousand_commands_go_out_at_once_and_each_has_its_reply() {
    let world = World::new();
    let mut backend = "backend be\n".to_owned();
    for n in 1..=1000 {
        writeln!(backend, "  server s{n} 127.0.0.1:{n} id {n} weight 10").unwrap();
    }
    let running = world.start(&config(&backend));
    let mut connection = running.connect().await;
    let commands: Vec<String> = (1..=1000)
        .map(|n| format!("set server be/{}{n} weight 5", if n % 2 == 0 { "s" } else { "missing" }))
        .collect();
    let started = Instant::now();
    let replies = connection.execute_all(&commands).await.unwrap();
    println!("1000 commands at once: {:?}", started.elapsed());
    assert_eq!(replies.len(), 1000);
    for pair in replies.chunks(2) {
        assert_eq!(pair, ["No such server.", ""]);
    }
    let all = servers(&mut connection).await;
    assert_eq!(all.len(), 1000);
    assert!(all.iter().all(|s| s.weight == if s.id % 2 == 0 { 5 } else { 10 }), "{all:?}");

    let started = Instant::now();
    for _ in 0..200 {
        assert_eq!(connection.execute("set server be/s1 weight 10").await.unwrap(), "");
    }
    println!("one command after the other: {:?} each", started.elapsed() / 200);
}

#[tokio::test]
async fn replies_far_larger_than_all_buffers_block_neither_side() {
    let world = World::new();
    let mut backend = "backend be\n".to_owned();
    for n in 1..=2000 {
        writeln!(backend, "  server s{n} 127.0.0.1:{n} id {n}").unwrap();
    }
    let running = world.start(&config(&backend));
    let mut connection = running.connect().await;
    let started = Instant::now();
    let one = connection.execute("show servers state").await.unwrap();
    println!("show servers state of {} bytes: {:?}", one.len(), started.elapsed());
    let mut commands = vec!["show servers state be".to_owned(); 50];
    commands.extend(vec![format!("show servers state {}", "x".repeat(10_000)); 50]);
    let replies = connection.execute_all(&commands).await.unwrap();
    let (dumps, refusals) = replies.split_at(50);
    assert!(dumps.iter().all(|dump| dump.lines().count() == 2002));
    assert!(refusals.iter().all(|refusal| refusal == "Can't find backend."), "{:?}", refusals.first());
}

#[tokio::test]
async fn a_command_that_can_not_be_sent_leaves_the_connection_usable() {
    let world = World::new();
    let running = world.start(&config("backend be\n"));
    let mut connection = running.connect().await;
    let refused = connection.execute("show info; show info").await;
    assert!(matches!(refused, Err(RuntimeError::Unsendable(_))));
    assert!(!info(&mut connection).await.stopping);
}

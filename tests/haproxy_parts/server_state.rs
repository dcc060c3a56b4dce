//! What a new process takes over from the old one.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fmt::Write as _;
use std::net::SocketAddr;

use proxymgr::engine::server::Weight;
use proxymgr::haproxy::reply::{AdminState, OperationalState, parse_servers_state};
use proxymgr::haproxy::server_state::{CarriedServer, Intent, carry_over};

use crate::world::{DEFAULTS, GLOBAL, World, config, free_address, servers_until};

fn intent(admin: AdminState, weight: u16) -> Intent {
    Intent { admin, weight: Weight::new(weight).unwrap() }
}

/// A backend of the old process: operators and checks have been at it.
async fn old_state(world: &World, at: SocketAddr) -> String {
    let mut backend = "backend be\n".to_owned();
    for name in ["maint", "drain", "weight", "heavier", "back", "tls", "moved"] {
        writeln!(backend, "  server {name} {at} weight 10").unwrap();
    }
    for name in ["down", "unchecked"] {
        writeln!(backend, "  server {name} {at} weight 10 check inter 50 fall 1").unwrap();
    }
    let running = world.start(&config(&backend));
    let mut connection = running.connect().await;
    for change in [
        "maint state maint",
        "drain state drain",
        "weight weight 3",
        "heavier weight 3",
        "back state maint",
        "moved state maint",
    ] {
        assert_eq!(connection.execute(&format!("set server be/{change}")).await.unwrap(), "");
    }
    servers_until(&mut connection, |servers| {
        servers.iter().filter(|s| s.operational == OperationalState::Stopped).count() == 5
    })
    .await;
    connection.execute("show servers state").await.unwrap()
}

#[tokio::test]
async fn operators_states_survive_a_reload_and_what_changed_does_not() {
    let world = World::new();
    let (at, elsewhere) = (free_address(), free_address());
    let reply = old_state(&world, at).await;
    let ready = intent(AdminState::Ready, 10);
    let server = |name| CarriedServer {
        backend: "be",
        name,
        address: at,
        checked: false,
        disabled: false,
        before: ready,
        after: ready,
    };
    let carried = [
        server("maint"),
        server("drain"),
        server("weight"),
        CarriedServer { after: intent(AdminState::Ready, 20), ..server("heavier") },
        CarriedServer { before: intent(AdminState::Maint, 10), checked: true, ..server("back") },
        server("tls"),
        CarriedServer { address: elsewhere, ..server("moved") },
        CarriedServer { checked: true, ..server("down") },
        server("unchecked"),
    ];
    let state = world.dir.path().join("state");
    std::fs::write(&state, carry_over(&reply, carried).unwrap()).unwrap();

    let mut new = format!("{GLOBAL}  server-state-file {}\n{DEFAULTS}", state.display());
    new.push_str("  load-server-state-from-file global\nbackend be\n");
    for (name, address, options) in [
        ("maint", at, "weight 10"),
        ("drain", at, "weight 10"),
        ("weight", at, "weight 10"),
        ("heavier", at, "weight 20"),
        ("back", at, "weight 10 check inter 50 fall 1"),
        ("tls", at, "weight 10 ssl verify none port 7 addr 127.0.0.9"),
        ("moved", elsewhere, "weight 10"),
        ("down", at, "weight 10 check inter 60000"),
        ("unchecked", at, "weight 10"),
    ] {
        writeln!(new, "  server {name} {address} {options}").unwrap();
    }
    let running = world.start(&new);
    let mut connection = running.connect().await;
    let reply = connection.execute("show servers state").await.unwrap();
    let tls = reply.lines().find(|line| line.contains(" tls ")).unwrap();
    assert!(tls.contains(" - 1 7 127.0.0.9 "), "{tls}");
    let all = parse_servers_state(&reply).unwrap();
    let of = |name: &str| all.iter().find(|s| s.name == name).unwrap();
    let seen = |name| (of(name).operational, of(name).admin.forced(), of(name).weight);
    assert_eq!(seen("maint"), (OperationalState::Stopped, AdminState::Maint, 10));
    assert_eq!(seen("drain"), (OperationalState::Running, AdminState::Drain, 10));
    assert_eq!(seen("weight"), (OperationalState::Running, AdminState::Ready, 3));
    assert_eq!(seen("heavier"), (OperationalState::Running, AdminState::Ready, 20));
    assert_eq!(seen("moved"), (OperationalState::Stopped, AdminState::Maint, 10));
    assert_eq!(of("moved").address, Some(elsewhere));
    assert_eq!(seen("down"), (OperationalState::Stopped, AdminState::Ready, 10));
    assert_eq!(seen("unchecked"), (OperationalState::Running, AdminState::Ready, 10));
    // It was in maintenance, and its checks run again: they find that nothing answers.
    assert_eq!(of("back").admin.forced(), AdminState::Ready);
    servers_until(&mut connection, |servers| {
        servers.iter().any(|s| s.name == "back" && s.operational == OperationalState::Stopped)
    })
    .await;
}

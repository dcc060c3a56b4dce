//! The parts of the `HAProxy` adapter against the real program. `PROXYMGR_TEST_HAPROXY` names another than the one on `PATH`.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proxymgr::engine::listen_address::ListenAddress;
use proxymgr::engine::server::Weight;
use proxymgr::haproxy::check::{CheckError, CheckReport, check_config, discover_version};
use proxymgr::haproxy::control_socket::{ControlAddress, ControlSocket};
use proxymgr::haproxy::listen_sockets::ListenSockets;
use proxymgr::haproxy::reply::{
    AdminState, OperationalState, ProcessInfo, ServerState, parse_servers_state, parse_show_info,
};
use proxymgr::haproxy::runtime::{RuntimeConnection, RuntimeError};
use proxymgr::haproxy::server_state::{CarriedServer, Intent, carry_over};
use proxymgr::process::child_command::ChildCommand;
use proxymgr::process::exit::Exit;
use proxymgr::process::reaper::Reaper;
use proxymgr::process::spawn::{Child, ChildSignal};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(10);

const GLOBAL: &str = "global\n  stats socket \"${PROXYMGR_CONTROL-unix@/tmp/unused.sock}\" level admin\n";
const DEFAULTS: &str =
    "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n";

fn config(sections: &str) -> String {
    format!("{GLOBAL}{DEFAULTS}{sections}")
}

fn haproxy() -> PathBuf {
    std::env::var_os("PROXYMGR_TEST_HAPROXY").map_or_else(|| "haproxy".into(), PathBuf::from)
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

struct World {
    reaper: Reaper,
    dir: TempDir,
    sockets: ListenSockets,
    generation: AtomicU64,
}

struct Running {
    child: Child,
    control: ControlAddress,
    spawned: Instant,
}

impl World {
    fn new() -> Self {
        Self {
            reaper: Reaper::start().unwrap(),
            dir: tempfile::tempdir().unwrap(),
            sockets: ListenSockets::new(None),
            generation: AtomicU64::new(0),
        }
    }

    /// Opens a listen socket; gives its address and its `bind` line.
    fn listen(&mut self) -> (SocketAddr, String) {
        let tcp = free_address();
        let address = ListenAddress::Tcp(tcp);
        self.sockets.open(&address).unwrap();
        (tcp, format!("bind \"${{{}-{tcp}}}\"", address.env_name()))
    }

    fn start(&self, config: &str) -> Running {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        let file = self.dir.path().join(format!("{generation}.cfg"));
        std::fs::write(&file, config).unwrap();
        let control = ControlSocket::open(self.dir.path(), generation).unwrap();
        let mut command = ChildCommand::new(haproxy());
        command.arg("-db").arg("-f").arg(&file);
        self.sockets.hand_to(&mut command).unwrap();
        control.hand_to(&mut command).unwrap();
        let spawned = Instant::now();
        let child = self.reaper.spawn(command).unwrap();
        Running { child, control: control.started(), spawned }
    }

    async fn check(&self, text: &str) -> CheckReport {
        self.check_with(text, &self.sockets).await
    }

    async fn check_with(&self, text: &str, sockets: &ListenSockets) -> CheckReport {
        let file = self.dir.path().join("check.cfg");
        std::fs::write(&file, text).unwrap();
        check_config(&self.reaper, &haproxy(), &file, sockets, LIMIT).await.unwrap()
    }
}

impl Running {
    async fn connect(&self) -> RuntimeConnection {
        self.control.connect(LIMIT).await.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.signals.send(ChildSignal::Kill).unwrap();
    }
}

async fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

async fn servers(connection: &mut RuntimeConnection) -> Vec<ServerState> {
    parse_servers_state(&connection.execute("show servers state").await.unwrap()).unwrap()
}

async fn info(connection: &mut RuntimeConnection) -> ProcessInfo {
    parse_show_info(&connection.execute("show info").await.unwrap()).unwrap()
}

async fn info_until(connection: &mut RuntimeConnection, reached: impl Fn(ProcessInfo) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let info = info(connection).await;
        if reached(info) {
            return;
        }
        assert!(Instant::now() < deadline, "{info:?}");
    }
}

async fn servers_until(connection: &mut RuntimeConnection, reached: impl Fn(&[ServerState]) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let servers = servers(connection).await;
        if reached(&servers) {
            return;
        }
        assert!(Instant::now() < deadline, "{servers:?}");
    }
}

#[tokio::test]
async fn haproxy_serves_on_inherited_sockets_and_is_ready_when_it_replies() {
    let mut world = World::new();
    let (address, bind) = world.listen();
    let config = config(&format!(
        "frontend web\n  {bind}\n  http-request return status 200 content-type text/plain string ok\n"
    ));
    let report = world.check(&config).await;
    assert!(report.accepted, "{report:?}");

    let running = world.start(&config);
    let mut connection = running.connect().await;
    println!("spawn to ready: {:?}", running.spawned.elapsed());
    assert!(get(address).await.ends_with("ok"));
    let version = discover_version(&world.reaper, &haproxy(), LIMIT).await.unwrap();
    let info = info(&mut connection).await;
    assert_eq!((info.version, info.stopping), (version, false));
    assert!(version.at_least(2, 4), "{version}");
}

#[tokio::test]
async fn started_by_hand_the_same_configuration_binds_the_address_itself() {
    let mut world = World::new();
    let (address, bind) = world.listen();
    let config = config(&format!("frontend web\n  {bind}\n  http-request return status 200\n"));
    assert!(world.check_with(&config, &ListenSockets::new(None)).await.accepted);
    assert!(world.sockets.close(&ListenAddress::Tcp(address)));
    let running = world.start(&config);
    running.connect().await;
    assert!(get(address).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_draining_process_answers_on_the_connection_it_had() {
    let mut world = World::new();
    let (address, bind) = world.listen();
    let mut running =
        world.start(&config(&format!("frontend web\n  {bind}\n  http-request return status 200\n")));
    let mut connection = running.connect().await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    info_until(&mut connection, |info| info.current_connections == 1).await;
    running.child.signals.send(ChildSignal::User1).unwrap();
    info_until(&mut connection, |info| info.stopping && info.current_connections == 1).await;
    let refused = running.control.connect(LIMIT).await.unwrap_err();
    assert!(matches!(refused, RuntimeError::Connect(_) | RuntimeError::Closed), "{refused:?}");
    drop(client);
    info_until(&mut connection, |info| info.current_connections == 0).await;
    drop(connection);
    assert_eq!(tokio::time::timeout(LIMIT, running.child.exit.wait()).await, Ok(Exit::Code(0)));
    // The socket is still ours: the next generation would take this client.
    TcpStream::connect(address).await.unwrap();
}

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
    assert_eq!(seen("moved"), (OperationalState::Running, AdminState::Ready, 10));
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

#[tokio::test]
async fn a_refused_configuration_names_line_and_section() {
    let world = World::new();
    let report = world.check(&config("listen a\n  bind fd@777\n")).await;
    assert!(!report.accepted && report.messages.iter().any(|m| m.line == Some(9)), "{report:?}");

    let report = world.check(&config("listen a\n  bind 127.0.0.1:1\n  server s1 1.2.3.4:99999\n")).await;
    let alert = report.messages.iter().find(|m| m.line == Some(10)).unwrap_or_else(|| panic!("{report:?}"));
    assert_eq!(alert.proxy.as_deref(), Some("a"));
    assert!(
        alert.file.as_deref().unwrap().ends_with("check.cfg") && alert.text.contains("99999"),
        "{alert:?}"
    );

    let report = world.check(&config("listen web\n  bind 127.0.0.1:1\n  default_backend nowhere\n")).await;
    let alert = report.messages.iter().find(|m| m.text.contains("nowhere"));
    let alert = alert.unwrap_or_else(|| panic!("{report:?}"));
    assert_eq!((alert.proxy.as_deref(), report.accepted), (Some("web"), false));
}

#[tokio::test]
async fn an_accepted_configuration_has_no_messages() {
    let report = World::new().check(&config("listen a\n  bind 127.0.0.1:1\n")).await;
    assert_eq!(report, CheckReport { accepted: true, messages: Vec::new() });
}

#[tokio::test]
async fn another_program_is_not_taken_for_haproxy() {
    let reaper = Reaper::start().unwrap();
    let error = discover_version(&reaper, Path::new("echo"), LIMIT).await.unwrap_err();
    assert!(matches!(error, CheckError::NoVersion { .. }), "{error}");
    let error = discover_version(&reaper, Path::new("/nowhere/haproxy"), LIMIT).await.unwrap_err();
    assert!(matches!(error, CheckError::Spawn(_)), "{error}");
}

#[tokio::test]
async fn a_check_that_hangs_is_killed() {
    let reaper = Reaper::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("haproxy");
    std::fs::write(&program, "#!/bin/sh\necho $$ >\"$0.pid\"\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = discover_version(&reaper, &program, Duration::from_millis(500)).await.unwrap_err();
    assert!(matches!(error, CheckError::TimedOut { .. }), "{error}");
    let pid = std::fs::read_to_string(dir.path().join("haproxy.pid")).unwrap();
    let deadline = Instant::now() + LIMIT;
    while Path::new("/proc").join(pid.trim()).exists() {
        assert!(Instant::now() < deadline, "{pid} still runs");
        tokio::task::yield_now().await;
    }
}

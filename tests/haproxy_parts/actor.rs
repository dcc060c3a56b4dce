//! The actor while a new process takes its time: what runs is looked after.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests are tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proxymgr::engine::node_rules::NodeRules;
use proxymgr::engine::option_line::OptionLine;
use proxymgr::engine::outage_rules::OwnOutageRules;
use proxymgr::engine::reconciler::{Order, Outcome, ReloadFailure};
use proxymgr::engine::reload_reason::ReloadReason;
use proxymgr::engine::render::Renderer;
use proxymgr::engine::section::{Base, Section};
use proxymgr::engine::server::Server;
use proxymgr::engine::service::{BindAddress, Entrance, ServiceName, ServiceSpec, WatcherSpec};
use proxymgr::engine::state::{AppliedState, DesiredService, DesiredState};
use proxymgr::haproxy::actor::{Actor, Ending, Event, Handle, START_LIMIT, Settings};
use proxymgr::haproxy::generations::Generations;
use proxymgr::haproxy::handover::HandedOver;
use proxymgr::process::reaper::Reaper;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::world::{LIMIT, free_address, haproxy};

/// An actor whose `HAProxy` is a script that tests exchange, in front of a server that keeps every connection until its
/// client closes it.
struct Bench {
    actor: Handle,
    dir: TempDir,
    address: SocketAddr,
    server: SocketAddr,
    renderer: Renderer,
    applied: Option<AppliedState>,
    reloads: u32,
}

/// A program in the place of `HAProxy`.
enum Program {
    Haproxy,
    Hangs,
    ServesLate,
    HangsInChecksToo,
    ChecksLate,
}

impl Bench {
    fn new(start_limit: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let settings = Settings {
            binary: path("program"),
            config_path: path("haproxy.cfg"),
            operators_socket: None,
            state_dir: dir.path().to_owned(),
            runtime_dir: dir.path().to_owned(),
            drain_timeout: Duration::from_secs(600),
            max_draining: 8,
            start_limit,
        };
        let actor = Actor::start(settings, Reaper::start().unwrap(), HandedOver::default()).unwrap();
        let (address, server) = (free_address(), patient_server());
        let bench =
            Self { actor, dir, address, server, renderer: Renderer::default(), applied: None, reloads: 0 };
        bench.install(&Program::Haproxy);
        bench
    }

    fn install(&self, program: &Program) {
        let haproxy = haproxy();
        let haproxy = haproxy.display();
        let start = match program {
            Program::Haproxy => format!("exec {haproxy} \"$@\""),
            Program::Hangs | Program::HangsInChecksToo => "echo $$ > hung; exec sleep 1000".to_owned(),
            Program::ServesLate | Program::ChecksLate => {
                format!("echo $$ > hung; sleep 2; exec {haproxy} \"$@\"")
            }
        };
        let check = match program {
            Program::Haproxy | Program::Hangs | Program::ServesLate => {
                format!("[ \"$1\" = -c ] && exec {haproxy} \"$@\"")
            }
            Program::ChecksLate => format!("[ \"$1\" = -c ] || exec {haproxy} \"$@\""),
            Program::HangsInChecksToo => String::new(),
        };
        let dir = self.dir.path();
        let text = format!("#!/bin/sh\n{check}\ncd {}\n{start}\n", dir.display());
        let unfinished = dir.join("program.new");
        std::fs::write(&unfinished, text).unwrap();
        std::fs::set_permissions(&unfinished, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(unfinished, dir.join("program")).unwrap();
    }

    fn hung(&self) -> Option<i32> {
        std::fs::read_to_string(self.dir.path().join("hung")).ok()?.trim().parse().ok()
    }

    /// Orders a reload to another configuration than the one before.
    async fn order_reload(&mut self) {
        self.reloads += 1;
        let options = ["mode tcp".to_owned(), format!("timeout client {}m", self.reloads)];
        let spec = ServiceSpec {
            entrance: Entrance::Port(NonZeroU16::new(self.address.port()).unwrap()),
            cookie: None,
            bind: vec![BindAddress::parse("127.0.0.1").unwrap()],
            bind_options: None,
            own_binds: Vec::new(),
            listen_options: options.iter().map(|line| OptionLine::parse(line).unwrap()).collect(),
            server_options: Vec::new(),
            watcher: WatcherSpec::File { file: "/servers".into(), rules: NodeRules::default() },
            fixed_servers: Vec::new(),
            outage: OwnOutageRules::default(),
        };
        let base = Base {
            program: None,
            frontends: BTreeMap::new(),
            cookie_key: None,
            global: Vec::new(),
            defaults: ["timeout connect 5s", "timeout server 1h"]
                .map(|line| OptionLine::parse(line).unwrap())
                .into(),
            bind_address: [127, 0, 0, 1].into(),
            operators_socket: None,
        };
        let section = Arc::new(Section::of(&spec, base.bind_address));
        let service = DesiredService::new(section, [Server::at(self.server).unwrap()]);
        let desired = DesiredState {
            base: Arc::new(base),
            services: [(ServiceName::parse("web").unwrap(), Arc::new(service))].into(),
            includes: Arc::default(),
            template: None,
        };
        let after = AppliedState::loaded(&desired, self.applied.as_ref());
        let order = Order::Reload {
            reasons: BTreeSet::from([ReloadReason::Start]),
            first: Vec::new(),
            config: self.renderer.render(&after),
            maxconn: None,
            before: self.applied.clone().map(Box::new),
            after: after.clone(),
        };
        self.actor.orders.send(order).await.unwrap();
        self.applied = Some(after);
    }

    async fn event(&mut self) -> Event {
        loop {
            let event = timeout(LIMIT, self.actor.events.recv()).await.expect("an event comes").unwrap();
            if !matches!(event, Event::Commanded(_)) {
                return event;
            }
        }
    }

    async fn reload(&mut self) {
        self.order_reload().await;
        let event = self.event().await;
        assert!(matches!(event, Event::Done(Outcome::Reloaded { .. })), "{event:?}");
    }

    /// Orders a reload, and waits until its process hangs.
    async fn reload_hangs(&mut self) -> i32 {
        self.install(&Program::Hangs);
        self.order_reload().await;
        self.wait_until("the new process hangs", |bench| bench.hung().is_some()).await;
        self.hung().unwrap()
    }

    fn generations(&self) -> Generations {
        self.actor.generations.borrow().clone()
    }

    async fn wait_until(&self, what: &str, reached: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !reached(self) {
            assert!(Instant::now() < deadline, "not yet: {what}; {:?}", self.generations());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A connection that the serving process has accepted.
    async fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).unwrap();
        let counted = |bench: &Self| bench.generations().serving.is_some_and(|s| s.connections == Some(1));
        self.wait_until("the client is counted", counted).await;
        client
    }
}

fn patient_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            std::thread::spawn(move || connection.unwrap().read_to_end(&mut Vec::new()));
        }
    });
    address
}

fn is_there(pid: i32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn pid(generations: &Generations) -> i32 {
    i32::try_from(generations.serving.unwrap().pid).unwrap()
}

#[tokio::test]
async fn generations_are_told_with_their_pids_ages_and_connections() {
    let mut bench = Bench::new(START_LIMIT);
    assert_eq!(bench.generations(), Generations::default());
    bench.reload().await;
    let first = bench.generations().serving.unwrap();
    assert_eq!(first.number, 1);
    assert!(is_there(pid(&bench.generations())) && first.since.elapsed() < LIMIT);
    let client = bench.client().await;
    let before_drain = Instant::now();
    bench.reload().await;
    bench
        .wait_until("the old one's client is counted", |bench| {
            bench.generations().draining.first().is_some_and(|draining| draining.connections == Some(1))
        })
        .await;
    let seen = bench.generations();
    assert_eq!((seen.serving.unwrap().number, seen.draining.len()), (2, 1));
    assert_eq!((seen.draining[0].number, seen.draining[0].pid), (1, first.pid));
    assert!(seen.draining[0].since >= before_drain);
    drop(client);
    bench.wait_until("the old one is gone", |bench| bench.generations().draining.is_empty()).await;
}

#[tokio::test]
async fn an_end_that_is_asked_for_during_a_start_is_not_kept_waiting() {
    let mut bench = Bench::new(START_LIMIT);
    bench.reload().await;
    let serving = pid(&bench.generations());
    let client = bench.client().await;
    let hung = bench.reload_hangs().await;
    let Bench { actor: Handle { ending, mut task, .. }, .. } = bench;
    let asked = Instant::now();
    ending.send(Ending::Drain(Duration::from_secs(60))).unwrap();
    while is_there(hung) {
        assert!(asked.elapsed() < LIMIT, "the new process is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The old one drains: its client stays as long as it likes.
    assert!(timeout(Duration::from_secs(1), &mut task).await.is_err());
    assert!(is_there(serving));
    drop(client);
    timeout(LIMIT, task).await.expect("it ends with its last connection").unwrap();
    assert!(!is_there(serving));
}

#[tokio::test]
async fn a_death_during_a_start_that_hangs_is_told_at_once_and_the_start_given_up_soon() {
    let mut bench = Bench::new(START_LIMIT);
    bench.reload().await;
    let serving = pid(&bench.generations());
    let hung = bench.reload_hangs().await;
    let died = Instant::now();
    kill(Pid::from_raw(serving), Signal::SIGKILL).unwrap();
    assert!(matches!(bench.event().await, Event::Died(_)));
    println!("told after {:?}", died.elapsed());
    assert!(died.elapsed() < Duration::from_secs(2), "{:?}", died.elapsed());
    assert_eq!(bench.generations().serving, None);
    let event = bench.event().await;
    let Event::Done(Outcome::ReloadFailed(ReloadFailure::NotServing(why))) = event else {
        panic!("{event:?}");
    };
    assert!(why.contains("ended meanwhile"), "{why}");
    assert!(died.elapsed() < LIMIT);
    bench.wait_until("the new one is gone", |_| !is_there(hung)).await;
    bench.install(&Program::Haproxy);
    bench.reload().await;
    TcpStream::connect(bench.address).unwrap();
}

#[tokio::test]
async fn a_death_during_a_check_ends_the_reload_whether_or_not_the_check_hangs() {
    for program in [Program::HangsInChecksToo, Program::ChecksLate] {
        let mut bench = Bench::new(START_LIMIT);
        bench.reload().await;
        let serving = pid(&bench.generations());
        bench.install(&program);
        bench.order_reload().await;
        bench.wait_until("the check is under way", |bench| bench.hung().is_some()).await;
        kill(Pid::from_raw(serving), Signal::SIGKILL).unwrap();
        assert!(matches!(bench.event().await, Event::Died(_)));
        let event = bench.event().await;
        let Event::Done(Outcome::ReloadFailed(ReloadFailure::NotServing(why))) = event else {
            panic!("{event:?}");
        };
        assert!(why.contains("ended meanwhile"), "{why}");
        assert_eq!(bench.generations().serving, None, "what is to be started next is not decided here");
    }
}

#[tokio::test]
async fn a_death_during_a_start_that_succeeds_changes_nothing() {
    let mut bench = Bench::new(START_LIMIT);
    bench.reload().await;
    let serving = pid(&bench.generations());
    bench.install(&Program::ServesLate);
    bench.order_reload().await;
    bench.wait_until("the new process is started", |bench| bench.hung().is_some()).await;
    kill(Pid::from_raw(serving), Signal::SIGKILL).unwrap();
    assert!(matches!(bench.event().await, Event::Died(_)));
    assert!(matches!(bench.event().await, Event::Done(Outcome::Reloaded { .. })));
    let seen = bench.generations();
    assert_eq!((seen.serving.unwrap().number, seen.draining.len()), (2, 0));
}

#[tokio::test]
async fn draining_processes_are_looked_after_during_a_start() {
    let mut bench = Bench::new(START_LIMIT);
    bench.reload().await;
    let first = pid(&bench.generations());
    let client = bench.client().await;
    bench.reload().await;
    let hung = bench.reload_hangs().await;
    assert!(is_there(first));
    drop(client);
    bench
        .wait_until("the first one is gone", |bench| {
            !is_there(first) && bench.generations().draining.is_empty()
        })
        .await;
    assert!(is_there(hung), "the new one still hangs");
}

#[tokio::test]
async fn a_start_that_hangs_is_given_up_after_its_time_and_the_old_one_serves_on() {
    let mut bench = Bench::new(Duration::from_secs(1));
    bench.reload().await;
    let serving = pid(&bench.generations());
    let _client = bench.client().await;
    let hung = bench.reload_hangs().await;
    let event = bench.event().await;
    let Event::Done(Outcome::ReloadFailed(ReloadFailure::NotServing(why))) = event else {
        panic!("{event:?}");
    };
    assert!(why.contains("did not serve") && why.contains("no reply within 1s"), "{why}");
    assert!(!is_there(hung));
    assert_eq!(pid(&bench.generations()), serving);
    TcpStream::connect(bench.address).unwrap();
}

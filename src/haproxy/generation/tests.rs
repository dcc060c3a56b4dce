//! Each edge of the drawing, with the real program where it can be made to take it.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::*;
use crate::engine::listen_address::ListenAddress;
use crate::haproxy::draining::DrainingProcesses;
use crate::haproxy::listen_sockets::ListenSockets;
use crate::haproxy::runtime::RuntimeError;
use crate::process::exit::Exit;
use crate::process::reaper::Reaper;

const SOON: Duration = Duration::from_secs(20);
/// For what must not come.
const NEVER: Duration = Duration::from_secs(3600);

/// A listen socket in front of a server that keeps every connection until its client closes it.
struct Bench {
    dir: TempDir,
    reaper: Reaper,
    sockets: ListenSockets,
    operators: ListenSockets,
    address: SocketAddr,
    server: SocketAddr,
    started: u64,
}

fn haproxy() -> PathBuf {
    std::env::var_os("PROXYMGR_TEST_HAPROXY").map_or_else(|| "haproxy".into(), PathBuf::from)
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

impl Bench {
    fn new() -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut sockets = ListenSockets::new(None);
        sockets.open(&ListenAddress::Tcp(free)).unwrap();
        Self {
            dir: tempfile::tempdir().unwrap(),
            reaper: Reaper::start().unwrap(),
            sockets,
            operators: ListenSockets::new(None),
            address: free,
            server: patient_server(),
            started: 0,
        }
    }

    async fn start(&mut self) -> Serving {
        self.start_as(&haproxy(), SOON).await.unwrap()
    }

    async fn start_as(&mut self, binary: &Path, limit: Duration) -> Result<Serving, StartError> {
        self.started += 1;
        let listen = ListenAddress::Tcp(self.address);
        let config = self.dir.path().join("haproxy.cfg");
        let text = format!(
            "global\n  stats socket \"${{PROXYMGR_CONTROL-unix@/nowhere}}\" level admin\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
             listen web\n  bind \"${{{}-{listen}}}\"\n  server s {}\n",
            listen.env_name(),
            self.server,
        );
        std::fs::write(&config, text).unwrap();
        let server_state = self.dir.path().join("server-state");
        start(Launch {
            reaper: &self.reaper,
            binary,
            config: &config,
            server_state: &server_state,
            runtime_dir: self.dir.path(),
            number: self.started,
            sockets: &self.sockets,
            listen: &BTreeSet::from([&listen]),
            operators: &self.operators,
            listeners_of: None,
            maxconn: None,
            limit,
        })
        .await
    }

    /// One that has accepted a client, which stays.
    async fn start_with_client(&mut self) -> (Serving, TcpStream) {
        let mut serving = self.start().await;
        let client = TcpStream::connect(self.address).unwrap();
        let deadline = Instant::now() + SOON;
        while serving.view().connections != Some(1) {
            assert!(Instant::now() < deadline, "{:?}", serving.view());
            assert!(!serving.is_stopping().await);
        }
        (serving, client)
    }

    /// A program in the place of `HAProxy`; it leaves its process id for [`Bench::is_gone`].
    fn program(&self, script: &str) -> PathBuf {
        let path = self.dir.path().join("program");
        let pid_file = self.pid_file();
        let text = format!("#!/bin/sh\necho $$ > {}\n{script}\n", pid_file.display());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.path().join("pid")
    }

    async fn wait_until_gone(&self) {
        let pid = std::fs::read_to_string(self.pid_file()).unwrap();
        let deadline = Instant::now() + SOON;
        while Path::new("/proc").join(pid.trim()).exists() {
            assert!(Instant::now() < deadline, "the process {pid} is still there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// Stops all threads of a process, so that it hears nothing but SIGKILL.
fn stop(pid: u32) {
    signal(pid, Signal::SIGSTOP);
    let deadline = Instant::now() + SOON;
    let stopped = |thread: PathBuf| std::fs::read_to_string(thread.join("stat")).unwrap().contains(") T ");
    while !std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .all(|thread| stopped(thread.unwrap().path()))
    {
        assert!(Instant::now() < deadline, "the process {pid} does not stop");
    }
}

async fn look_until_empty(draining: &mut DrainingProcesses) {
    let deadline = Instant::now() + SOON;
    while !draining.is_empty() {
        assert!(Instant::now() < deadline, "{:?}", draining.view());
        draining.look().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn numbers(draining: &DrainingProcesses) -> Vec<u64> {
    draining.view().iter().map(|generation| generation.number).collect()
}

#[tokio::test]
async fn a_process_serves_from_its_first_reply_however_late() {
    let mut bench = Bench::new();
    let late = bench.program(&format!("sleep 0.5\nexec {} \"$@\"", haproxy().display()));
    let serving = bench.start_as(&late, SOON).await.unwrap();
    assert_eq!((serving.number(), serving.has_ended()), (1, false));
    assert!(serving.view().since.elapsed() < Duration::from_millis(400), "it did not serve before");
    TcpStream::connect(bench.address).unwrap();
}

#[tokio::test]
async fn one_that_ends_before_it_serves_tells_how_and_why() {
    let mut bench = Bench::new();
    let program = bench.program("echo '[ALERT] (1) : no port left' >&2; exit 3");
    let error = bench.start_as(&program, SOON).await.unwrap_err();
    assert!(matches!(error, StartError::Ended { exit: Exit::Code(3), .. }), "{error}");
    assert!(error.to_string().contains("(exit code 3): no port left"), "{error}");
    let program = bench.program("kill -SEGV $$");
    let error = bench.start_as(&program, SOON).await.unwrap_err();
    assert!(error.to_string().contains("(ended by SIGSEGV): it said nothing"), "{error}");
}

#[tokio::test]
async fn one_that_hangs_is_ended_whether_or_not_it_hears_sigterm() {
    let mut bench = Bench::new();
    for script in ["exec sleep 1000", "trap '' TERM; exec sleep 1000"] {
        let program = bench.program(script);
        let error = bench.start_as(&program, Duration::from_millis(300)).await.unwrap_err();
        assert!(matches!(error, StartError::NoReply(RuntimeError::TimedOut(_))), "{error}");
        bench.wait_until_gone().await;
    }
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_no_process() {
    let mut bench = Bench::new();
    let program = bench.program("exec sleep 1000");
    let pid_file = bench.pid_file();
    let running = async {
        while std::fs::read_to_string(&pid_file).unwrap_or_default().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        started = bench.start_as(&program, NEVER) => panic!("{started:?}"),
        () = running => {}
    }
    bench.wait_until_gone().await;
    let left: Vec<_> = std::fs::read_dir(bench.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("control-")), "{left:?}");
}

#[tokio::test]
async fn the_crash_of_a_serving_process_is_seen() {
    let mut bench = Bench::new();
    let mut serving = bench.start().await;
    assert!(!serving.has_ended());
    signal(serving.pid(), Signal::SIGKILL);
    assert_eq!(serving.ended().await, Exit::Signal(9));
    assert!(serving.has_ended());
    // What ended before it could drain does not drain.
    let mut draining = DrainingProcesses::new(NEVER, 8);
    draining.push(serving);
    draining.look().await;
    assert!(draining.is_empty());
}

#[tokio::test]
async fn a_draining_process_ends_with_its_last_connection() {
    let mut bench = Bench::new();
    let (serving, client) = bench.start_with_client().await;
    let pid = serving.pid();
    let mut draining = DrainingProcesses::new(NEVER, 8);
    draining.push(serving);
    for _ in 0..5 {
        draining.look().await;
        let view = draining.view();
        assert_eq!((view[0].pid, view[0].number, view[0].connections), (pid, 1, Some(1)));
    }
    drop(client);
    look_until_empty(&mut draining).await;
    // One without clients ends at once.
    draining.push(bench.start().await);
    look_until_empty(&mut draining).await;
}

#[tokio::test]
async fn one_that_drains_too_long_is_ended_by_sigterm() {
    let mut bench = Bench::new();
    let (serving, _client) = bench.start_with_client().await;
    let mut draining = serving.drain();
    assert_eq!(draining.exit(), None);
    draining.terminate();
    assert_eq!(draining.ended().await, Exit::Signal(15));

    let (serving, _client) = bench.start_with_client().await;
    let limit = Duration::from_millis(400);
    let mut draining = DrainingProcesses::new(limit, 8);
    let began = Instant::now();
    draining.push(serving);
    look_until_empty(&mut draining).await;
    assert!(began.elapsed() >= limit, "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_that_does_not_hear_sigterm_is_killed() {
    let mut bench = Bench::new();
    let (serving, _client) = bench.start_with_client().await;
    stop(serving.pid());
    let mut draining = DrainingProcesses::new(Duration::ZERO, 8);
    let began = Instant::now();
    draining.push(serving);
    look_until_empty(&mut draining).await;
    assert!(began.elapsed() >= TERM_LIMIT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_oldest_end_when_too_many_drain() {
    let mut bench = Bench::new();
    let mut draining = DrainingProcesses::new(NEVER, 2);
    let mut clients = Vec::new();
    for _ in 1..=4 {
        let (serving, client) = bench.start_with_client().await;
        draining.push(serving);
        draining.end_excess().await;
        clients.push(client);
    }
    assert_eq!(numbers(&draining), [3, 4]);
    // Two that ended by themselves make room, though nobody has looked since.
    for generation in draining.view() {
        signal(generation.pid, Signal::SIGKILL);
    }
    for _ in 5..=6 {
        let (serving, client) = bench.start_with_client().await;
        draining.push(serving);
        draining.end_excess().await;
        clients.push(client);
    }
    assert_eq!(numbers(&draining), [5, 6]);
}

#[tokio::test]
async fn the_oldest_that_does_not_hear_sigterm_is_killed_soon() {
    let mut bench = Bench::new();
    let mut draining = DrainingProcesses::new(NEVER, 1);
    let (first, _client) = bench.start_with_client().await;
    stop(first.pid());
    let (second, _client) = bench.start_with_client().await;
    draining.push(first);
    draining.push(second);
    let began = Instant::now();
    draining.end_excess().await;
    assert_eq!(numbers(&draining), [2]);
    assert!(began.elapsed() < TERM_LIMIT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_process_that_nobody_holds_any_more_is_killed() {
    let mut bench = Bench::new();
    let (serving, _client) = bench.start_with_client().await;
    let mut watch = serving.exit_watch();
    drop(serving);
    assert_eq!(watch.wait().await, Exit::Signal(9));
    let (serving, _client) = bench.start_with_client().await;
    let mut watch = serving.exit_watch();
    drop(serving.drain());
    assert_eq!(watch.wait().await, Exit::Signal(9));
}

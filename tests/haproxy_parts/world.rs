//! A directory, listen sockets and real `HAProxy` processes, all gone at the end of a test.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proxymgr::engine::listen_address::ListenAddress;
use proxymgr::haproxy::check::{CheckReport, check_config};
use proxymgr::haproxy::control_socket::{ControlAddress, ControlSocket};
use proxymgr::haproxy::listen_sockets::ListenSockets;
use proxymgr::haproxy::reply::{ProcessInfo, ServerState, parse_servers_state, parse_show_info};
use proxymgr::haproxy::runtime::RuntimeConnection;
use proxymgr::process::child_command::ChildCommand;
use proxymgr::process::reaper::Reaper;
use proxymgr::process::spawn::{Child, ChildSignal};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const LIMIT: Duration = Duration::from_secs(10);

pub const GLOBAL: &str = "global\n  stats socket \"${PROXYMGR_CONTROL-unix@/tmp/unused.sock}\" level admin\n";
pub const DEFAULTS: &str =
    "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n";

pub fn config(sections: &str) -> String {
    format!("{GLOBAL}{DEFAULTS}{sections}")
}

pub fn haproxy() -> PathBuf {
    std::env::var_os("PROXYMGR_TEST_HAPROXY").map_or_else(|| "haproxy".into(), PathBuf::from)
}

pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub struct World {
    pub reaper: Reaper,
    pub dir: TempDir,
    pub sockets: ListenSockets,
    pub generation: AtomicU64,
}

pub struct Running {
    pub child: Child,
    pub control: ControlAddress,
    pub spawned: Instant,
}

impl World {
    pub fn new() -> Self {
        Self {
            reaper: Reaper::start().unwrap(),
            dir: tempfile::tempdir().unwrap(),
            sockets: ListenSockets::new(None),
            generation: AtomicU64::new(0),
        }
    }

    /// Opens a listen socket; gives its address and its `bind` line.
    pub fn listen(&mut self) -> (SocketAddr, String) {
        let tcp = free_address();
        let address = ListenAddress::Tcp(tcp);
        self.sockets.open(&address).unwrap();
        (tcp, format!("bind \"${{{}-{tcp}}}\"", address.env_name()))
    }

    pub fn start(&self, config: &str) -> Running {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        let file = self.dir.path().join(format!("{generation}.cfg"));
        std::fs::write(&file, config).unwrap();
        let control = ControlSocket::open(self.dir.path(), generation).unwrap();
        let mut command = ChildCommand::new(haproxy());
        command.arg("-db").arg("-f").arg(&file);
        self.sockets.hand_to(&mut command, |_| true);
        control.hand_to(&mut command);
        let spawned = Instant::now();
        let child = self.reaper.spawn(command).unwrap();
        Running { child, control: control.started(), spawned }
    }

    pub async fn check(&self, text: &str) -> CheckReport {
        let file = self.dir.path().join("check.cfg");
        std::fs::write(&file, text).unwrap();
        check_config(&self.reaper, &haproxy(), &file, &self.sockets, LIMIT).await.unwrap()
    }
}

impl Running {
    pub async fn connect(&self) -> RuntimeConnection {
        self.control.connect(LIMIT).await.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.signals.send(ChildSignal::Kill).unwrap();
    }
}

pub async fn get(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

pub async fn servers(connection: &mut RuntimeConnection) -> Vec<ServerState> {
    parse_servers_state(&connection.execute("show servers state").await.unwrap()).unwrap()
}

pub async fn info(connection: &mut RuntimeConnection) -> ProcessInfo {
    parse_show_info(&connection.execute("show info").await.unwrap()).unwrap()
}

pub async fn info_until(connection: &mut RuntimeConnection, reached: impl Fn(ProcessInfo) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let info = info(connection).await;
        if reached(info) {
            return;
        }
        assert!(Instant::now() < deadline, "{info:?}");
    }
}

pub async fn servers_until(connection: &mut RuntimeConnection, reached: impl Fn(&[ServerState]) -> bool) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let servers = servers(connection).await;
        if reached(&servers) {
            return;
        }
        assert!(Instant::now() < deadline, "{servers:?}");
    }
}

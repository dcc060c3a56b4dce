//! Panics, which no input from outside can cause, against a real `HAProxy`: it serves on.

use std::future::pending;
use std::net::TcpListener;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use super::handover::inherited::Inherited;
use super::start::start_with;
use super::*;
use crate::logging;
use crate::panics::hook;

const LIMIT: Duration = Duration::from_secs(30);

struct Host {
    dir: TempDir,
    port: u16,
}

impl Host {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = Self { dir: tempfile::tempdir().unwrap(), port };
        std::fs::create_dir(host.path("services")).unwrap();
        let yml = "haproxy: {path: haproxy, config_path: DIR/haproxy.cfg, socket_path: DIR/stats.sock}\n\
                   service_config: {type: file, path: DIR/services}\nreload: {min_interval: 1ms}\n\
                   state_dir: DIR/state\nruntime_dir: DIR/run\nshutdown: {grace: 0s}\n";
        host.write("proxymgr.yml", &yml.replace("DIR", host.dir.path().to_str().unwrap()));
        host.servers(&["192.0.2.1:1"]);
        host.define("30s");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let new = self.path(".new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    fn servers(&self, servers: &[&str]) {
        self.write("servers", &(servers.join("\n") + "\n"));
    }

    /// Another time-out is another definition, which needs a reload.
    fn define(&self, timeout: &str) {
        let (file, port) = (self.path("servers"), self.port);
        let options = ["mode http", "http-request return status 200", &format!("timeout server {timeout}")];
        let definition =
            serde_json::json!({"type": "file", "file": file, "port": port, "listen_options": options});
        self.write("services/web.json", &definition.to_string());
    }

    /// A supervisor whose `HAProxy` was started `generations` times before.
    async fn supervisor(&self, generations: u64, signals: &mut Signals) -> Supervisor {
        let file = self.path("proxymgr.yml");
        let config = Config::load(&file, &|_| None).unwrap();
        // Without a log of its own a panic, of a test too, would go unseen; other tests may have it already.
        drop(logging::start(&config.log, None));
        hook::install();
        let haproxy = HandedOver { generations, ..HandedOver::default() };
        let inherited = Inherited { haproxy, ..Inherited::default() };
        let started = start_with(&config, Some(inherited), Vec::new(), signals).await.unwrap().unwrap();
        Supervisor::new(config, file, started)
    }

    async fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)).await else { return false };
        let mut answer = String::new();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.is_ok()
            && stream.read_to_string(&mut answer).await.is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }

    async fn ask(&self, question: &str) -> String {
        let mut answer = String::new();
        if let Ok(mut stream) = UnixStream::connect(self.path("stats.sock")).await {
            stream.write_all(format!("{question}\n").as_bytes()).await.unwrap();
            stream.read_to_string(&mut answer).await.unwrap();
        }
        answer
    }

    async fn pid(&self) -> Option<String> {
        self.ask("show info").await.lines().find_map(|line| line.strip_prefix("Pid: ").map(str::to_owned))
    }

    async fn serves(&self) -> String {
        // The snapshot is written once the loop knows that HAProxy serves.
        let known = self.path("state/topology.json");
        let serves = async || known.exists() && self.answers().await && self.pid().await.is_some();
        until("HAProxy serves", serves).await;
        self.pid().await.unwrap()
    }

    async fn has_server(&self, address: &str) {
        until(address, async || self.ask("show servers state web").await.contains(address)).await;
    }
}

/// Panics so far that were put down to `task`.
fn panics(task: &str) -> u64 {
    hook::counts().get(task).copied().unwrap_or_default()
}

async fn until(what: &str, reached: impl AsyncFn() -> bool) {
    let wait = async {
        while !reached().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, wait).await.unwrap_or_else(|_| panic!("still not: {what}"));
}

/// Runs the loop until `script` is through.
async fn meanwhile<T>(
    supervisor: &mut Supervisor,
    signals: &mut Signals,
    script: impl Future<Output = T>,
) -> T {
    tokio::select! {
        () = supervisor.serve_until_asked_to_end(signals) => panic!("it has ended"),
        result = script => result,
    }
}

#[tokio::test]
async fn an_order_that_panics_half_way_leaves_what_serves_and_those_that_follow() {
    let (host, mut signals) = (Host::new(), Signals::listen().unwrap());
    // The number of the second process can't be told any more.
    let mut supervisor = host.supervisor(u64::MAX - 1, &mut signals).await;
    let script = async {
        let pid = host.serves().await;
        host.define("31s");
        until("two reloads panic", async || panics("HAProxy order") >= 2).await;
        assert_eq!(host.serves().await, pid);
        host.define("30s");
        host.servers(&["192.0.2.1:1", "192.0.2.2:2"]);
        host.has_server("192.0.2.2").await;
        assert_eq!(host.serves().await, pid);
    };
    meanwhile(&mut supervisor, &mut signals, script).await;
}

#[tokio::test]
async fn a_loop_that_panics_goes_on_with_what_runs_and_hears_the_registries_anew() {
    let (host, mut signals) = (Host::new(), Signals::listen().unwrap());
    let mut supervisor = host.supervisor(0, &mut signals).await;
    let pid = meanwhile(&mut supervisor, &mut signals, host.serves()).await;

    // No clock goes that far.
    supervisor.watchdog = Watchdog::within(Some(Duration::MAX));
    host.servers(&["192.0.2.1:1", "192.0.2.2:2"]);
    let script = until("the loop has panicked thrice", async || panics("supervisor") >= 3);
    meanwhile(&mut supervisor, &mut signals, script).await;
    assert_eq!(host.serves().await, pid);
    supervisor.watchdog = Watchdog::within(None);
    meanwhile(&mut supervisor, &mut signals, host.has_server("192.0.2.2")).await;
    assert_eq!(host.serves().await, pid, "no reload");

    // The same for the task that follows the registries.
    let as_configured = supervisor.config.safety.startup_timeout;
    supervisor.config.safety.startup_timeout = Duration::MAX;
    host.servers(&["192.0.2.1:1", "192.0.2.3:3"]);
    let script = until("the registries have panicked thrice", async || panics("registries") >= 3);
    meanwhile(&mut supervisor, &mut signals, script).await;
    assert_eq!(host.serves().await, pid);
    supervisor.config.safety.startup_timeout = as_configured;
    meanwhile(&mut supervisor, &mut signals, host.has_server("192.0.2.3")).await;
    assert_eq!(host.serves().await, pid, "no reload");
}

#[tokio::test]
async fn a_haproxy_task_that_is_gone_is_started_anew() {
    let (host, mut signals) = (Host::new(), Signals::listen().unwrap());
    let mut supervisor = host.supervisor(0, &mut signals).await;
    let pid = meanwhile(&mut supervisor, &mut signals, host.serves()).await;
    supervisor.haproxy.task.abort();
    let started_again = until("another HAProxy serves", async || {
        host.answers().await && host.pid().await.is_some_and(|other| other != pid)
    });
    meanwhile(&mut supervisor, &mut signals, started_again).await;
    host.servers(&["192.0.2.1:1", "192.0.2.2:2"]);
    meanwhile(&mut supervisor, &mut signals, host.has_server("192.0.2.2")).await;
}

#[tokio::test]
async fn a_signal_ends_it_though_the_loop_panics() {
    let (host, mut signals) = (Host::new(), Signals::listen().unwrap());
    let mut supervisor = host.supervisor(0, &mut signals).await;
    meanwhile(&mut supervisor, &mut signals, host.serves()).await;
    supervisor.watchdog = Watchdog::within(Some(Duration::MAX));
    let end = async {
        until("the loop has panicked", async || panics("supervisor") >= 1).await;
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
        pending::<()>().await;
    };
    tokio::select! {
        () = supervisor.serve_until_asked_to_end(&mut signals) => {}
        () = end => {}
    }
    supervisor.end(&mut signals).await;
    assert!(!host.answers().await && !host.path("stats.sock").exists());
}

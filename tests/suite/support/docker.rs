//! A real Docker daemon in namespaces of its own, with containers that answer with their name; needs root and the packages
//! docker.io, iptables and busybox-static.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::deadline::eventually;
use super::netns::Netns;
use super::proc::Process;
use super::proxymgr::output_of;
use super::proxymgr_setup::Setup;
use super::requests::{SOON, answering_at};

/// The image that is imported.
const IMAGE: &str = "local/answering:1";
/// What a container runs: answers on `$LISTENS` with `$ANSWER`; asked to end, it serves on for `$LINGERS` seconds.
const PROGRAM: &str = r#"
trap 'sleep ${LINGERS:-1}; exit 0' TERM
mkdir -p /www && printf %s "$ANSWER" >/www/index.html
httpd -f -p "${LISTENS:-80}" -h /www &
while :; do sleep 3600 & wait $!; done
"#;
/// What is the init process of the namespace: starts the daemon again when it has ended, unless it is to stay away.
const INIT: &str = r#"
umount /sys/fs/cgroup/unified 2>/dev/null
mount -t tmpfs tmpfs /run && mkdir -p /etc/docker && mount -t tmpfs tmpfs /etc/docker
while :; do
    while [ -e "$1/away" ]; do sleep 0.05; done
    rm -f "$1/docker.pid"
    dockerd --data-root "$1/data" --exec-root "$1/exec" --host "unix://$1/docker.sock" --pidfile "$1/docker.pid" \
        --live-restore --default-ulimit nofile=20000:20000 "${@:2}" >>"$1/log" 2>&1
done
"#;

/// Ends with the value, and all containers with it.
pub struct Dockerd {
    process: Child,
    directory: tempfile::TempDir,
    netns: Netns,
}

impl Dockerd {
    /// Starts one and waits until it answers and has the image. Its containers outlive it.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further options.
    pub fn start_with(options: &[&str]) -> Self {
        Self::start_in(Netns::new(), options)
    }

    /// The same in a place that is there already.
    pub fn start_in(netns: Netns, options: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("proxymgr-docker-").tempdir().unwrap();
        // A test that is killed leaves nothing behind either.
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "nsenter"])
            .arg(format!("--net={}", netns.file().display()))
            .args([
                "unshare",
                "--mount",
                "--propagation",
                "slave",
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
            ])
            .args(["bash", "-c", INIT, "init"])
            .arg(directory.path())
            .args(options)
            .stdin(Stdio::null())
            .spawn()
            .expect("nsenter and unshare run (util-linux)");
        let dockerd = Self { process, directory, netns };
        dockerd.wait();
        dockerd.import();
        dockerd
    }

    fn wait(&self) {
        eventually(Duration::from_secs(60), "dockerd answers (packages docker.io and iptables)", || {
            self.ask("GET", "/_ping", b"").map_err(|error| format!("{error}: {}", self.log()))
        });
    }

    fn import(&self) {
        let root = self.directory.path().join("root");
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("the package busybox-static");
        for name in ["sh", "httpd", "sleep", "mkdir", "touch", "test", "rm", "wget"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        self.import_root(IMAGE, &root);
    }

    /// Makes an image called `name:tag` of a root file system.
    pub fn import_root(&self, image: &str, root: &Path) {
        let tar = output_of(Command::new("tar").arg("-C").arg(root).args(["-cf", "-", "."])).stdout;
        let (repository, tag) = image.split_once(':').unwrap();
        self.must("POST", &format!("/images/create?fromSrc=-&repo={repository}&tag={tag}"), &tar);
    }

    /// The socket's path.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// The same as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A setup whose `ProxyMgr` runs where the containers can be reached.
    pub fn setup(&self) -> Setup {
        let place = format!("nsenter --net={}", self.netns.file().display());
        Setup::new().before_proxymgr("", &place)
    }

    /// The address at which what runs there reaches what runs here.
    pub fn outside(&self) -> IpAddr {
        self.netns.outside()
    }

    /// What listens on `port` of all addresses there, as it is reached from here.
    pub fn reached(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.netns.address(), port)
    }

    /// Makes a container called `name` that exposes port 80 and answers with its name; `words` are labels where there is a dot
    /// in them, else variables. `more` are further keys (Docker Engine API, "Create a container").
    pub fn create(&self, name: &str, words: &[(&str, &str)], more: &Value) -> String {
        let (labels, variables): (Vec<_>, Vec<_>) = words.iter().partition(|(key, _)| key.contains('.'));
        let answer = format!("ANSWER={name}");
        let variables = variables.iter().map(|(key, value)| format!("{key}={value}"));
        let variables: Vec<_> = variables.chain([answer]).collect();
        let labels: serde_json::Map<_, _> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let mut config = json!({
            "Image": IMAGE, "Cmd": ["/bin/sh", "-c", PROGRAM], "Labels": labels, "ExposedPorts": {"80/tcp": {}},
            "Env": variables,
        });
        let config_map = config.as_object_mut().unwrap();
        config_map
            .extend(more.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        let path = format!("/containers/create?name={name}");
        let made: Value =
            serde_json::from_str(&self.must("POST", &path, config.to_string().as_bytes())).unwrap();
        made["Id"].as_str().unwrap().to_owned()
    }

    /// The same, started.
    pub fn run(&self, name: &str, words: &[(&str, &str)]) -> String {
        self.run_with(name, words, &json!({}))
    }

    pub fn run_with(&self, name: &str, words: &[(&str, &str)], more: &Value) -> String {
        let id = self.create(name, words, more);
        self.must("POST", &format!("/containers/{id}/start"), b"");
        id
    }

    pub fn start_container(&self, name: &str) {
        self.must("POST", &format!("/containers/{name}/start"), b"");
    }

    /// Its stop signal, and SIGKILL later.
    pub fn stop(&self, name: &str) {
        self.must("POST", &format!("/containers/{name}/stop?t=20"), b"");
    }

    pub fn kill_container(&self, name: &str, signal: &str) {
        self.must("POST", &format!("/containers/{name}/kill?signal={signal}"), b"");
    }

    pub fn remove(&self, name: &str) {
        self.must("DELETE", &format!("/containers/{name}?force=true"), b"");
    }

    /// What the command prints that is run in a container.
    pub fn execute(&self, name: &str, command: &[&str]) -> String {
        let asked = json!({"Cmd": command, "AttachStdout": true, "Tty": true}).to_string();
        let made = self.must("POST", &format!("/containers/{name}/exec"), asked.as_bytes());
        let made: Value = serde_json::from_str(&made).unwrap();
        let id = made["Id"].as_str().unwrap();
        self.must("POST", &format!("/exec/{id}/start"), br#"{"Detach": false, "Tty": true}"#)
    }

    /// All that is known of a container.
    pub fn inspect(&self, name: &str) -> Value {
        serde_json::from_str(&self.must("GET", &format!("/containers/{name}/json"), b"")).unwrap()
    }

    /// A health check that is good once the container answers.
    pub fn answers_check() -> Value {
        json!({"Healthcheck": {"Test": ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1/"], "Interval": 1_000_000_000}})
    }

    /// Makes an image called `name` whose containers answer with `answer`.
    pub fn image(&self, name: &str, answer: &str) {
        let id = self.create(answer, &[], &json!({}));
        self.must("POST", &format!("/commit?container={id}&repo={name}"), b"{}");
        self.remove(answer);
    }

    /// Waits until exactly these containers answer on a port of the place where they run.
    #[track_caller]
    pub fn wait_for_answers(&self, port: u16, names: &[&str]) {
        let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        eventually(SOON, &format!("{wanted:?} answer on {port}"), || {
            match answering_at(self.reached(port), wanted.len()) {
                Ok(names) if names == wanted => Ok(()),
                other => Err(other),
            }
        });
    }

    /// Its address in the network called `network`.
    pub fn address(&self, name: &str, network: &str) -> String {
        let inspected = self.inspect(name);
        inspected["NetworkSettings"]["Networks"][network]["IPAddress"].as_str().unwrap().to_owned()
    }

    /// Asks the daemon; fails the test when it refuses.
    #[track_caller]
    pub fn must(&self, method: &str, path: &str, body: &[u8]) -> String {
        self.ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// The body of the answer; an error when it is no success.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Result<String, String> {
        ask(&self.socket(), method, path, body)
    }

    /// SIGKILL; the containers run on. It stays away until [`Dockerd::come_back`].
    pub fn kill(&self) {
        self.end(Signal::SIGKILL);
    }

    /// The same by another signal.
    pub fn end(&self, signal: Signal) {
        fs::write(self.away(), "").unwrap();
        let daemon = self.daemon().expect("it runs");
        daemon.signal(signal);
        eventually(SOON, "dockerd is gone", || if daemon.is_alive() { Err(()) } else { Ok(()) });
    }

    /// Waits until it answers again.
    pub fn come_back(&self) {
        fs::remove_file(self.away()).unwrap();
        self.wait();
    }

    fn away(&self) -> PathBuf {
        self.directory.path().join("away")
    }

    fn daemon(&self) -> Option<Process> {
        let is_it = |process: &Process| process.arguments().first().is_some_and(|name| name == "dockerd");
        Process::of_child(&self.process).descendants().into_iter().find(is_it)
    }

    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// Asks the daemon behind `socket`, on a connection of its own.
pub fn ask(socket: &Path, method: &str, path: &str, body: &[u8]) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    let mut stream = UnixStream::connect(socket).map_err(told)?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).map_err(told)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(told)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1).is_some_and(|status| status.starts_with('2')) => {
            Ok(body.to_owned())
        }
        _ => Err(answer),
    }
}

impl Drop for Dockerd {
    /// Removes the containers, paused ones too, which no signal would reach. The init process dies with unshare, and whatever is
    /// left in its namespace with it.
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    fn drop(&mut self) {
        drop(fs::remove_file(self.away()));
        let all = eventually(SOON, "dockerd lists all", || self.ask("GET", "/containers/json?all=true", b""));
        let all: Vec<Value> = serde_json::from_str(&all).unwrap();
        let dockerd = &*self;
        std::thread::scope(|scope| {
            for part in all.chunks(all.len().div_ceil(8).max(1)) {
                scope.spawn(move || {
                    for container in part {
                        let id = container["Id"].as_str().unwrap();
                        drop(dockerd.ask("DELETE", &format!("/containers/{id}?force=true"), b""));
                    }
                });
            }
        });
        let inside = Process::of_child(&self.process).descendants();
        drop(self.process.kill());
        drop(self.process.wait());
        eventually(SOON, "all of Docker's processes are gone", || {
            if inside.iter().any(|process| process.is_alive()) { Err(()) } else { Ok(()) }
        });
    }
}

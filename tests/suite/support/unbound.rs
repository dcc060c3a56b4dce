//! A real DNS server: `unbound`, whose records are changed while it runs (`unbound-control`).

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::deadline::eventually;
use super::ports::free_ports;
use super::proxymgr::output_of;

/// Ends with the value.
pub struct Unbound {
    dir: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

impl Unbound {
    /// Starts one on a free port of 127.0.0.1 and waits until it answers; it holds the zone `example` and asks nobody.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [port, _] = free_ports();
        let socket = dir.path().join("control.sock");
        let config = format!(
            "server:\n interface: 127.0.0.1@{port}\n chroot: \"\"\n username: \"\"\n directory: \"{}\"\n \
             pidfile: \"\"\n use-syslog: no\n do-daemonize: no\n do-not-query-localhost: yes\n \
             local-zone: example. static\nremote-control:\n control-enable: yes\n \
             control-interface: {}\n control-use-cert: no\n",
            dir.path().display(),
            socket.display()
        );
        fs::write(dir.path().join("unbound.conf"), config).unwrap();
        let mut server = Self { dir, port, process: None };
        server.restart();
        server
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Starts it again with no record.
    pub fn restart(&mut self) {
        self.kill();
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let child = Command::new("unbound")
            .arg("-d")
            .arg("-c")
            .arg(self.dir.path().join("unbound.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("unbound runs; install the package unbound");
        self.process = Some(child);
        eventually(Duration::from_secs(20), "unbound takes commands", || self.try_control(&["status"]));
    }

    /// SIGKILL, and waits for its end.
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Replaces all records of `name` by these, each as in a zone file: `60 A 10.0.0.1`.
    pub fn set(&self, name: &str, records: &[String]) {
        self.control(&["local_data_remove", name]);
        for record in records {
            self.control(&["local_data", &format!("{name} {record}")]);
        }
    }

    #[track_caller]
    fn control(&self, words: &[&str]) {
        self.try_control(words).unwrap_or_else(|error| panic!("unbound-control {words:?}: {error}"));
    }

    fn try_control(&self, words: &[&str]) -> Result<(), String> {
        let mut command = Command::new("unbound-control");
        command.arg("-c").arg(self.dir.path().join("unbound.conf")).args(words);
        let output = output_of(&mut command);
        let said = || {
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
        };
        if output.status.success() { Ok(()) } else { Err(said()) }
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        self.kill();
    }
}

//! A real DNS server: `unbound`, whose records are changed while it runs (`unbound-control`).

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use super::deadline::eventually;
use super::ports::free_ports;
use super::proxymgr::output_of;
use super::server_process::ServerProcess;

/// Ends with the value.
pub struct Unbound {
    /// Ends before its directory goes.
    process: ServerProcess,
    dir: tempfile::TempDir,
    port: u16,
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
        let process = ServerProcess::new(dir.path());
        let mut server = Self { process, dir, port };
        server.restart();
        server
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Starts it again with no record.
    pub fn restart(&mut self) {
        let mut command = Command::new("unbound");
        command.arg("-d").arg("-c").arg(self.dir.path().join("unbound.conf"));
        self.process.start(&mut command, "install the package unbound");
        eventually(Duration::from_secs(20), "unbound takes commands", || self.try_control(&["status"]));
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        self.process.kill();
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

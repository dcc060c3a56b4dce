//! A real `HAProxy`: its binary, its checker, a process of it, and questions to a stats socket.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::proc::Process;

/// The binary under test: `PROXYMGR_TEST_HAPROXY`, else `haproxy` on the PATH.
pub fn binary() -> PathBuf {
    std::env::var_os("PROXYMGR_TEST_HAPROXY").map_or_else(|| "haproxy".into(), PathBuf::from)
}

/// What `haproxy -c` says about a config: its output, as an error when it refuses the config.
#[expect(clippy::disallowed_methods, reason = "no reaper runs in a test")]
pub fn check(config: &Path) -> Result<String, String> {
    let checker = Command::new(binary()).arg("-c").arg("-f").arg(config).output().unwrap();
    let said = String::from_utf8_lossy(&[checker.stdout, checker.stderr].concat()).into_owned();
    if checker.status.success() { Ok(said) } else { Err(said) }
}

/// A `HAProxy` in the foreground, killed when it is dropped.
pub struct Haproxy(Child);

impl Haproxy {
    /// Started, not necessarily ready.
    pub fn start(config: &Path) -> Self {
        let mut command = Command::new(binary());
        command.arg("-db").arg("-f").arg(config).stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// The same, with variables that the config takes its addresses from.
    pub fn start_elsewhere(config: &Path, variables: &[(String, String)]) -> Self {
        let mut command = Command::new(binary());
        command.envs(variables.iter().cloned());
        command.arg("-db").arg("-f").arg(config).stdin(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    pub fn process(&self) -> Process {
        Process::of_child(&self.0)
    }
}

impl Drop for Haproxy {
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Sends one command line to a stats socket and returns the whole reply, without the empty line at its end.
pub fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply.trim_end_matches('\n').to_owned())
}

/// A line of `show servers state`: `HAProxy` management guide, section 9.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRow {
    pub backend: String,
    pub id: u32,
    pub name: String,
    pub address: IpAddr,
    pub port: u16,
    /// 0 stopped, 1 starting, 2 running, 3 stopping.
    pub operational: u8,
    /// A bit mask; 1 is maintenance, 8 is drain.
    pub admin: u8,
    /// The weight in force, as set by the config or at run time.
    pub weight: u16,
}

impl ServerRow {
    pub fn in_maintenance(&self) -> bool {
        self.admin & 0x01 != 0
    }

    pub fn draining(&self) -> bool {
        self.admin & 0x08 != 0
    }
}

/// All servers that the `HAProxy` behind `socket` has.
pub fn servers(socket: &Path) -> io::Result<Vec<ServerRow>> {
    Ok(parse_servers_state(&ask(socket, "show servers state")?))
}

/// The frontends that take no connections any more: management guide, section 9.1, fields 1, 2 and 18.
pub fn stopped_frontends(socket: &Path) -> io::Result<BTreeSet<String>> {
    let rows = ask(socket, "show stat -1 1 -1")?;
    let fields = rows.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let stopped = fields.filter(|row| row.get(17) == Some(&"STOP"));
    Ok(stopped.map(|row| row[0].to_owned()).collect())
}

fn parse_servers_state(reply: &str) -> Vec<ServerRow> {
    let mut lines = reply.lines();
    assert_eq!(lines.next(), Some("1"), "the format's version, at the head of: {reply}");
    let header: Vec<_> = lines.next().unwrap().trim_start_matches("# ").split(' ').collect();
    lines.filter(|line| !line.is_empty()).map(|line| parse_row(&header, line)).collect()
}

fn parse_row(header: &[&str], line: &str) -> ServerRow {
    let row: HashMap<_, _> = header.iter().copied().zip(line.split(' ')).collect();
    ServerRow {
        backend: row["be_name"].to_owned(),
        id: row["srv_id"].parse().unwrap(),
        name: row["srv_name"].to_owned(),
        address: row["srv_addr"].parse().unwrap(),
        port: row["srv_port"].parse().unwrap(),
        operational: row["srv_op_state"].parse().unwrap(),
        admin: row["srv_admin_state"].parse().unwrap(),
        weight: row["srv_uweight"].parse().unwrap(),
    }
}

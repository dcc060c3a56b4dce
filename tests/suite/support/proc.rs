//! Processes as `/proc` shows them: see proc(5).

use std::collections::BTreeSet;
use std::fs;
use std::process::Child;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that can't be mistaken for a later one with the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: Pid,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot.
    started: u64,
}

impl Process {
    /// None when there is no such process, or only its zombie.
    pub fn with_pid(pid: Pid) -> Option<Self> {
        let (state, started) = state_and_start(pid)?;
        (!["Z", "X"].contains(&state.as_str())).then_some(Self { pid, started })
    }

    /// A child that was not waited for yet, so that it is at least a zombie.
    pub fn of_child(child: &Child) -> Self {
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (_, started) = state_and_start(pid).expect("a child stays until it is waited for");
        Self { pid, started }
    }

    pub fn is_alive(self) -> bool {
        Self::with_pid(self.pid) == Some(self)
    }

    /// Its arguments, its name first; none once it is gone.
    pub fn arguments(self) -> Vec<String> {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let arguments = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        arguments.filter(|word| !word.is_empty()).collect()
    }

    /// The processes started by any of its threads, and still alive.
    pub fn children(self) -> Vec<Self> {
        self.child_pids().into_iter().filter_map(Self::with_pid).collect()
    }

    fn child_pids(self) -> Vec<Pid> {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return Vec::new() };
        let lists = threads.flatten().flat_map(|thread| fs::read_to_string(thread.path().join("children")));
        let pids = lists.flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<_>>());
        pids.map(Pid::from_raw).collect()
    }

    /// How many of its children have ended and were not collected.
    pub fn zombies(self) -> usize {
        self.child_pids()
            .into_iter()
            .filter(|pid| state_and_start(*pid).is_some_and(|(state, _)| state == "Z"))
            .count()
    }

    /// A line of `/proc/PID/status`, such as `SigIgn`.
    pub fn status(self, field: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {field} in {status}")).trim().to_owned()
    }

    /// Its children, their children, and so on.
    pub fn descendants(self) -> Vec<Self> {
        let children = self.children();
        let below: Vec<_> = children.iter().flat_map(|child| child.descendants()).collect();
        [children, below].concat()
    }

    /// Where it takes connections: `tcp PORT`, `unix PATH`.
    pub fn listening(self) -> BTreeSet<String> {
        let own = self.sockets();
        let table = |name: &str| self.net(name);
        let tcp = ["tcp", "tcp6"].map(table).concat();
        let tcp = tcp.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        // The state 0A is LISTEN.
        let tcp = tcp.filter(|row| row.get(3) == Some(&"0A") && own.contains(row[9]));
        let port = |row: Vec<&str>| u16::from_str_radix(row[1].rsplit(':').next().unwrap(), 16).unwrap();
        let unix = table("unix");
        let unix = unix.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        // The flag 00010000 is __SO_ACCEPTCON.
        let unix = unix.filter(|row| row.get(3) == Some(&"00010000") && own.contains(row[6]));
        let path = |row: Vec<&str>| (*row.get(7).unwrap_or(&"")).to_owned();
        let tcp = tcp.map(|row| format!("tcp {}", port(row)));
        tcp.chain(unix.map(|row| format!("unix {}", path(row)))).collect()
    }

    /// How many connections to this port it has.
    pub fn connections_to(self, port: u16) -> usize {
        let (own, table, port) = (self.sockets(), self.net("tcp"), format!(":{port:04X}"));
        let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        // The state 01 is ESTABLISHED.
        rows.filter(|row| row.get(3) == Some(&"01") && row[2].ends_with(&port) && own.contains(row[9]))
            .count()
    }

    /// The inodes of its open sockets.
    fn sockets(self) -> BTreeSet<String> {
        let Ok(files) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return BTreeSet::new() };
        let inode = |target: &str| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
        let targets = files.flatten().flat_map(|file| fs::read_link(file.path()));
        targets.filter_map(|target| inode(&target.to_string_lossy())).collect()
    }

    /// A table of `/proc/net`, as it sees it.
    fn net(self, table: &str) -> String {
        fs::read_to_string(format!("/proc/{}/net/{table}", self.pid)).unwrap_or_default()
    }

    /// Sends `signal`, unless it is gone.
    pub fn signal(self, signal: Signal) {
        if self.is_alive() {
            match kill(self.pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("{signal} to {}: {error}", self.pid),
            }
        }
    }

    /// Resident memory in bytes: `VmRSS`.
    pub fn memory(self) -> u64 {
        self.bytes("status", "VmRSS:")
    }

    /// Resident memory in bytes, of shared pages only its share: `Pss`.
    pub fn proportional_memory(self) -> u64 {
        self.bytes("smaps_rollup", "Pss:")
    }

    /// A field in kB of one of its files in `/proc`; 0 when there is none.
    fn bytes(self, file: &str, field: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|kb| kb.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    }
}

fn state_and_start(pid: Pid) -> Option<(String, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold blanks and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.to_owned();
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

#[test]
fn a_child_is_found_alive_and_then_gone() {
    let own = Process::with_pid(Pid::this()).unwrap();
    let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let child = Process::of_child(&sleeper);
    assert_eq!(Process::with_pid(child.pid), Some(child));
    assert!(own.descendants().contains(&child));
    assert!(own.memory() > 100_000);
    assert!((100_000..=own.memory()).contains(&own.proportional_memory()));
    child.signal(Signal::SIGKILL);
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    sleeper.wait().unwrap();
    assert!(!child.is_alive());
    assert!(child.arguments().is_empty());
}

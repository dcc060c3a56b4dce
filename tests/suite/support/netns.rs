//! A network namespace of the test's own, joined to this one by a pair of interfaces (ip-netns(8), veth(4)); needs root.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use super::proxymgr::output_of;

/// Goes with the value, and all rules and interfaces with it.
pub struct Netns {
    name: String,
    network: [u8; 2],
}

/// How many this process has made.
static MADE: AtomicU16 = AtomicU16::new(0);

impl Netns {
    pub fn new() -> Self {
        let (id, made) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        // A documentation network for each (RFC 2544: 198.18.0.0/15 is for tests of networks).
        let number = (id * 2 + u32::from(made)) % 500;
        let network = [18 + u8::try_from(number / 250).unwrap(), u8::try_from(number % 250).unwrap()];
        let netns = Self { name: format!("proxymgr-{id}-{made}"), network };
        let (here, there) = (format!("pm{id}a{made}"), format!("pm{id}b{made}"));
        run(&["ip", "netns", "add", &netns.name]);
        run(&["ip", "link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &netns.name]);
        run(&["ip", "address", "add", &format!("{}/24", netns.ip(1)), "dev", &here]);
        run(&["ip", "link", "set", &here, "up"]);
        for host in [2, 3] {
            netns.run(&["ip", "address", "add", &format!("{}/24", netns.ip(host)), "dev", &there]);
        }
        netns.run(&["ip", "link", "set", &there, "up"]);
        netns.run(&["ip", "link", "set", "lo", "up"]);
        netns
    }

    /// The address in the namespace that [`Netns::cut`] cuts.
    pub fn address(&self) -> IpAddr {
        self.ip(2).into()
    }

    /// This side's address of the pair.
    pub fn outside(&self) -> IpAddr {
        self.ip(1).into()
    }

    /// Another one of it, which stays.
    pub fn other_address(&self) -> IpAddr {
        self.ip(3).into()
    }

    fn ip(&self, host: u8) -> Ipv4Addr {
        let [second, third] = self.network;
        Ipv4Addr::new(198, second, third, host)
    }

    /// What starts a program in it.
    pub fn place(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name].map(str::to_owned).into()
    }

    /// What nsenter(1) takes for it.
    pub fn file(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Drops every packet from and to [`Netns::address`], without a word to either side.
    pub fn cut(&self) {
        self.change("-A");
    }

    /// Lets them through again.
    pub fn heal(&self) {
        self.change("-D");
    }

    fn change(&self, action: &str) {
        let address = self.address().to_string();
        self.run(&["iptables", "-w", action, "INPUT", "-d", &address, "-j", "DROP"]);
        self.run(&["iptables", "-w", action, "OUTPUT", "-s", &address, "-j", "DROP"]);
    }

    fn run(&self, words: &[&str]) {
        let place = self.place();
        let all: Vec<_> = place.iter().map(String::as_str).chain(words.iter().copied()).collect();
        run(&all);
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        run(&["ip", "netns", "delete", &self.name]);
    }
}

fn run(words: &[&str]) {
    let output = output_of(Command::new(words[0]).args(&words[1..]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{words:?} (it needs root and the packages iproute2 and iptables): {said}"
    );
}

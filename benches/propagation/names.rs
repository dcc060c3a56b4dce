//! Servers behind names.

use std::time::Instant;

use serde_json::json;

use crate::changes::{local, quick_setup};
use crate::figures::Figures;
use crate::probe::Probe;
use crate::support::backend::Backends;
use crate::support::dns_server::DnsServer;
use crate::support::ports::free_ports;

const ROUNDS: usize = 30;
const TTL: u32 = 1;

/// A record with a TTL of 1 s changes: the question that notices comes up to 1.1 s later.
pub fn a_record_changes() {
    let (setup, backends, dns) = (quick_setup(), Backends::new(), DnsServer::start());
    let [port, server_port] = free_ports();
    let servers = [("one", "127.0.0.2"), ("two", "127.0.0.3")];
    let _running =
        servers.map(|(name, ip)| backends.start_at(format!("{ip}:{server_port}").parse().unwrap(), name));
    dns.set("web.example", TTL, &[servers[0].1]);
    setup.paths.write_service(
        "web",
        &json!({"type": "dns", "port": port, "nameservers": [dns.address.to_string()],
            "backends": [{"name": "web.example", "port": server_port}]}),
    );
    let _proxymgr = setup.start();
    let probe = Probe::start(local(port));
    probe.first_answer_of("one");
    let mut figures = Figures::default();
    for round in 1..=ROUNDS {
        let (name, ip) = servers[round % servers.len()];
        let began = Instant::now();
        dns.set("web.example", TTL, &[ip]);
        figures.add(probe.first_answer_of(name) - began);
    }
    figures.print("DNS record with TTL 1 changed -> the new server's first answer", "");
}

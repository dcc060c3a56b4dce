//! Which lines write into another section's stick table: those that are refused, as a real `HAProxy` shows, and no others.

use std::fmt::Write as _;
use std::fs;

use proxymgr::engine::risk::{Allowed, check_risks};
use proxymgr::engine::service::ServiceName;

use super::support::deadline::eventually;
use super::support::haproxy::{Haproxy, ask, check};
use super::support::ports::free_port;
use super::support::requests::{SOON, get, local};

/// `victim` stands for the section whose table it is.
const LINES: [&str; 18] = [
    "http-request track-sc0 src table victim",
    "http-response track-sc0 src table victim",
    "tcp-request connection track-sc0 src table victim",
    "tcp-request session track-sc0 src table victim",
    "tcp-request content track-sc0 src table victim",
    "stick on src table victim",
    "stick store-request src table victim",
    "stick match src table victim",
    "http-request set-header x %[src_inc_gpc0(victim)]",
    "http-request set-header x %[src_clr_gpc0(victim)]",
    "http-request set-header x %[src_updt_conn_cnt(victim)]",
    "http-request set-header x %[src,table_inc_gpc0(victim)]",
    "http-request set-header x %[src,table_clr_gpc0(victim)]",
    "http-request set-header x %[src_get_gpc0(victim)]",
    "http-request set-header x %[src_conn_cnt(victim)]",
    "http-request set-header x %[src,in_table(victim)]",
    "http-request set-header x %[src,table_gpc0(victim)]",
    "http-request deny if { table_cnt(victim) gt 9 }",
];

struct Trial {
    line: String,
    victim: String,
    port: u16,
}

impl Trial {
    fn new(number: usize, line: &str) -> Self {
        let victim = format!("victim{number}");
        Self { line: line.replace("victim", &victim), victim, port: free_port() }
    }

    fn sections(&self, server: u16) -> String {
        let Self { line, victim, port } = self;
        format!(
            "backend {victim}\n  stick-table type ip size 1k expire 1m store gpc0,conn_cnt\n\
             listen evil-{victim}\n  bind 127.0.0.1:{port}\n  {line}\n  server s 127.0.0.1:{server}\n"
        )
    }
}

#[test]
fn the_lines_that_write_into_another_section_are_refused_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let (file, socket) = (directory.path().join("haproxy.cfg"), directory.path().join("stats.sock"));
    let server = free_port();
    let base = format!(
        "global\n  maxconn 100\n  stats socket {} level admin\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         listen answers\n  bind 127.0.0.1:{server}\n  http-request return status 200\n",
        socket.display()
    );
    let mut trials: Vec<_> =
        LINES.iter().enumerate().map(|(number, line)| Trial::new(number, line)).collect();
    // Some came with later versions.
    trials.retain(|trial| {
        fs::write(&file, base.clone() + &trial.sections(server)).unwrap();
        check(&file).is_ok()
    });
    assert!(trials.len() >= 16, "{}", trials.len());
    let text = trials.iter().fold(base, |mut text, trial| {
        write!(text, "{}", trial.sections(server)).unwrap();
        text
    });
    fs::write(&file, text).unwrap();
    let _haproxy = Haproxy::start(&file);
    eventually(SOON, "HAProxy answers", || ask(&socket, "show version"));

    let mut refused = 0;
    for Trial { line, victim, port } in &trials {
        get(local(*port)).unwrap_or_else(|error| panic!("{line}: {error:?}"));
        let table = ask(&socket, &format!("show table {victim}")).unwrap();
        let writes = table.lines().any(|entry| entry.contains("key=127.0.0.1"));
        let own = |name: &str| ServiceName::parse(name).unwrap();
        let evil = check_risks(line, &own(&format!("evil-{victim}")), &Allowed::new());
        assert_eq!(evil.is_err(), writes, "{line}: {table}");
        assert!(check_risks(line, &own(victim), &Allowed::new()).is_ok(), "{line} in its own section");
        refused += usize::from(writes);
    }
    assert!(refused >= 10 && refused < trials.len(), "{refused}");
}

//! A hand-written haproxy.cfg, and servers behind SRV records.

use std::fs;

use crate::support::backend::Backends;
use crate::support::dns_server::Dns;
use crate::support::example::Example;
use crate::support::load::{Load, RunningLoad};
use crate::support::ports::free_ports;
use crate::support::proxymgr::Proxymgr;
use crate::support::proxymgr_setup::write_in_one_step;
use crate::support::requests::local;
use crate::support::routed::{wait_for, wait_for_all, who};
use crate::support::running::{reloads, wait_for_message};
use crate::support::{deadline::eventually, requests::SOON, system_dns};

/// The example on ports of its own; what is written otherwise in its files is what stands there for a real host.
fn example(www: u16, shop: u16, site: u16) -> Example {
    let example = Example::of("dns-srv");
    let file = |name: &str| example.folder.join(name).display().to_string();
    let (hand_written, services) = (file("haproxy.cfg"), file("services"));
    example.rewrite("haproxy.cfg", "bind *:80", &format!("bind 127.0.0.1:{www}"));
    example.rewrite("haproxy.cfg", "10.0.0.21:8080", &local(site).to_string());
    example.rewrite("services/shop.yml", "port: 8081", &format!("port: {shop}"));
    example.variable("HAND_WRITTEN", &hand_written).variable("SERVICES", &services)
}

fn load(port: u16, path: &str) -> RunningLoad {
    Load::to(local(port)).path(path).short(2).keep_alive(2).rate(150).start()
}

#[track_caller]
fn wait_for_reloads(proxymgr: &Proxymgr, count: usize) -> Vec<String> {
    eventually(SOON, "the reload", || {
        let reasons = reloads(proxymgr);
        if reasons.len() == count { Ok(reasons) } else { Err(reasons) }
    })
}

#[test]
fn srv_records_move_traffic_below_a_hand_written_frontend_under_load() {
    let (backends, dns) = (Backends::new(), system_dns::start());
    let [www, shop] = free_ports();
    let [site, one, two, three] = ["site", "one", "two", "three"].map(|name| backends.start(name));
    dns.set("node.example", 0, &["127.0.0.1"]);
    let name = "_http._tcp.shop.example";
    let serve = |ports: &[u16]| {
        let records: Vec<_> = ports.iter().map(|port| (10, 1, *port, "node.example")).collect();
        dns.set_services(name, 0, &records);
    };
    serve(&[one.port(), two.port()]);
    let example = example(www, shop, site.port());
    let program = system_dns::program(&dns, &example.paths().root, "");
    let example = example.program(&program);
    let proxymgr = example.start();
    wait_for(www, "/", "site");
    wait_for_all(www, "/shop/", &["one", "two"]);
    let loads = [load(www, "/"), load(www, "/shop/")];

    for (ports, names) in [
        (vec![two.port(), three.port()], vec!["three", "two"]),
        (vec![one.port()], vec!["one"]),
        (vec![one.port(), two.port(), three.port()], vec!["one", "three", "two"]),
    ] {
        serve(&ports);
        wait_for_all(www, "/shop/", &names);
    }
    // No word of the name server, and no record: the last servers stay.
    dns.behave(Dns::Fails);
    wait_for_message(&proxymgr, "the name is not answered");
    dns.behave(Dns::Answers);
    serve(&[]);
    wait_for_message(&proxymgr, "on_empty");
    wait_for_all(www, "/shop/", &["one", "three", "two"]);
    serve(&[three.port()]);
    wait_for_all(www, "/shop/", &["three"]);
    assert_eq!(reloads(&proxymgr).len(), 1, "all of it at run time");

    // It goes on being written by hand: a change is one reload, and a mistake none.
    let hand_written = example.folder.join("haproxy.cfg");
    let text = fs::read_to_string(&hand_written).unwrap();
    let rule = "    http-request return status 200 content-type text/plain string rule if { path /rule }\n";
    write_in_one_step(&hand_written, &text.replace("    # \"shop\" is", &format!("{rule}    # \"shop\" is")));
    wait_for(www, "/rule", "rule");
    assert_eq!(wait_for_reloads(&proxymgr, 2)[1], "the included files changed");
    write_in_one_step(&hand_written, &format!("{text}    nonsense\n"));
    let line = wait_for_message(&proxymgr, "the included files are refused");
    assert!(line.says("nonsense"), "{line:?}");
    assert_eq!([who(www, "test", "/rule"), who(www, "test", "/")], ["rule", "site"]);

    for load in loads {
        let report = load.stop();
        println!("{report} {:?}", report.by_backend);
        report.assert_no_errors();
    }
    assert!(proxymgr.end().success());
    let written = fs::read_to_string(&hand_written).unwrap();
    assert_eq!(written, format!("{text}    nonsense\n"), "the hand-written file was not touched");
}

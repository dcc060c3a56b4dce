//! As many words as `HAProxy` takes in a line, and one more: of haproxy.cfg, and of the runtime socket, where one more ends
//! the process (2.6, 3.0).

use serde_json::{Value, json};

use super::support::backend::{Backend, Backends};
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::ports::free_port;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_answer, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, reloads, start};

/// `count` words that servers take, also at run time.
fn words(count: usize) -> String {
    let pairs = vec!["maxconn 100"; count / 2].join(" ");
    if count.is_multiple_of(2) { pairs } else { pairs + " check" }
}

fn list(servers: &[(&Backend, &str)]) -> String {
    let one = |(server, options): &(&Backend, &str)| json!({"host": "127.0.0.1", "port": server.port(), "weight": 3, "backup": false, "haproxy_server_options": options});
    Value::from(servers.iter().map(one).collect::<Vec<_>>()).to_string()
}

#[test]
fn a_server_that_needs_a_longer_command_than_haproxy_takes_comes_with_a_reload() {
    for (count, reloaded) in [(55, false), (56, true)] {
        let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
        let [first, second] = ["first", "second"].map(|name| backends.start(name));
        let file = setup.root_file("web.json", &list(&[(&first, "")]));
        let definition = json!({"type": "file", "file": file, "port": port, "server_options": words(count)});
        setup.paths.write_service("web", &definition);
        let proxymgr = start(&setup);
        let haproxy = proxymgr.haproxies();
        wait_for_answer(local(port), "first");
        write_in_one_step(&file, &list(&[(&first, ""), (&second, "")]));
        wait_for_backends(port, &["first", "second"]);
        let reasons = reloads(&proxymgr);
        assert_eq!(reasons.len(), if reloaded { 2 } else { 1 }, "{reasons:?}");
        if reloaded {
            assert!(reasons[1].contains("too long for the runtime socket"), "{reasons:?}");
        } else {
            assert_eq!(proxymgr.haproxies(), haproxy);
        }
        assert_config_says_what_runs(&setup.paths);
    }
}

#[test]
fn a_line_with_more_words_than_haproxy_takes_is_refused_with_the_reason() {
    let (setup, backends, ports) = (Setup::new(), Backends::new(), [free_port(), free_port(), free_port()]);
    let server = backends.start("web");
    let file = setup.root_file("web.json", &list(&[(&server, "")]));
    let define = |name: &str, port: u16, key: &str, value: Value| {
        let mut definition = json!({"type": "file", "file": file, "port": port});
        definition[key] = value;
        setup.paths.write_service(name, &definition);
    };
    define("long-server", ports[0], "server_options", json!(words(57)));
    define("long-line", ports[1], "listen_options", json!([format!("acl x path{}", " /a".repeat(62))]));
    define("longest", ports[2], "listen_options", json!([format!("acl x path{}", " /a".repeat(61))]));
    let proxymgr = start(&setup);
    wait_for_answer(local(ports[2]), "web");
    for (name, reason) in [
        ("long-server", "57 words are too many"),
        ("long-line", "the line has 65 words; HAProxy takes at most 64"),
    ] {
        eventually(SOON, reason, || {
            let told = said(&setup.paths, &["status", name]).stdout;
            if told.contains(reason) { Ok(()) } else { Err(told) }
        });
    }
    assert_eq!(reloads(&proxymgr).len(), 1);
}

#[test]
fn a_node_whose_options_make_the_line_too_long_is_left_out_and_told() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let [first, second] = ["first", "second"].map(|name| backends.start(name));
    let own = "check inter 2s fall 2 rise 2 maxconn 50";
    let file = setup.root_file("web.json", &list(&[(&first, "")]));
    let definition = json!({"type": "file", "file": file, "port": port, "server_options": words(50)});
    setup.paths.write_service("web", &definition);
    let proxymgr = start(&setup);
    write_in_one_step(&file, &list(&[(&first, ""), (&second, own)]));
    let told = eventually(SOON, "it is told", || {
        let told = said(&setup.paths, &["status", "web"]).stdout;
        if told.contains("1 servers are left out") { Ok(told) } else { Err(told) }
    });
    println!("{told}");
    wait_for_backends(port, &["first"]);
    assert_eq!(reloads(&proxymgr).len(), 1);
    // It comes once it is shorter.
    write_in_one_step(&file, &list(&[(&first, ""), (&second, "maxconn 50")]));
    wait_for_backends(port, &["first", "second"]);
    assert_config_says_what_runs(&setup.paths);
}

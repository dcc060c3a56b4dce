//! The same again, in another order or format, is nothing: no command, no reload, no write.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::support::backend::Backends;
use super::support::ports::free_ports;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{local, wait_for_answer};
use super::support::running::{log_lines, start, wait_for_message};

/// What the log tells of definitions, commands and reloads, in short.
fn told(proxymgr: &Proxymgr) -> Vec<String> {
    let starts =
        ["reloading", "runtime change", "service defined", "service removed", "definition", "server"];
    let messages = log_lines(proxymgr).into_iter().filter(|line| line.target != "haproxy");
    let about_changes = messages.filter(|line| starts.iter().any(|start| line.message.starts_with(start)));
    about_changes.map(|line| format!("{} {}", line.message, line.fields["service"])).collect()
}

/// A rewritten file has another one.
fn inode_of_config(proxymgr: &Proxymgr) -> u64 {
    fs::metadata(&proxymgr.paths.haproxy_cfg).unwrap().ino()
}

#[test]
fn the_same_servers_and_definitions_in_another_order_or_format_change_nothing() {
    let (setup, backends, [port, marker_port]) = (Setup::new(), Backends::new(), free_ports());
    let [a, b, marker] = ["a", "b", "marker"].map(|name| backends.start(name));
    let (one, two) = (a.address, b.address);
    let file = setup.paths.write_file_service("web", port, &[one.to_string(), two.to_string()]);
    let definition = |server_options: &[&str]| {
        let listen_options = ["mode http"];
        json!({"type": "file", "file": file, "port": port,
            "server_options": server_options, "listen_options": listen_options})
    };
    setup.paths.write_service("web", &definition(&["check", "inter 10s"]));
    let marker_file = setup.paths.write_file_service("marker", marker_port, &[marker.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for_answer(local(marker_port), "marker");
    let (before, inode) = (told(&proxymgr), inode_of_config(&proxymgr));

    let reordered = format!(
        r#"{{"server_options": ["check", "inter 10s"], "port": "{port}", "listen_options": "mode http",
            "file": {file:?}, "type": "file"}}"#
    );
    for text in [
        definition(&["check", "inter 10s"]).to_string(),
        definition(&["check inter 10s"]).to_string(),
        reordered,
    ] {
        write_in_one_step(&setup.paths.services.join("web.json"), &text);
    }
    for text in [
        format!("{two}\n{one}\n"),
        format!("# servers\n\n  {two}   weight=1 # second\n{one}\n{two}\n"),
        format!("{one}\r\n{two}\r\n"),
    ] {
        write_in_one_step(&file, &text);
    }
    // What came before this was read when this is told.
    write_in_one_step(&marker_file, &format!("{}\nnonsense\n", marker.address));
    setup.paths.write_service("bad", &json!({}));
    wait_for_message(&proxymgr, "has no port");
    wait_for_message(&proxymgr, "\"type\" is missing");
    let mut after = told(&proxymgr).split_off(before.len());
    after.sort();
    let markers = [
        "definition refused; the last good one stays, if there is one \"bad\"",
        "server entry skipped \"marker\"",
    ];
    assert_eq!(after, markers);
    assert_eq!(inode_of_config(&proxymgr), inode, "haproxy.cfg was written again");
}

#[test]
fn json_turned_into_yaml_changes_nothing() {
    let (setup, backends, [port, marker_port]) = (Setup::new(), Backends::new(), free_ports());
    let [web, marker] = ["web", "marker"].map(|name| backends.start(name));
    let list = setup.paths.root.join("services.yml");
    let setup = setup.section("service_config", json!({"type": "file", "path": list}));
    let servers = setup.paths.root.join("web.servers");
    fs::write(&servers, format!("{}\n", web.address)).unwrap();
    let marker_servers = setup.paths.root.join("marker.servers");
    fs::write(&marker_servers, format!("{}\n", marker.address)).unwrap();
    let definition = json!({"type": "file", "file": servers, "port": port, "listen_options": ["mode http"]});
    fs::write(&list, json!({"web": definition}).to_string()).unwrap();
    let proxymgr = start(&setup);
    wait_for_answer(local(port), "web");
    let before = told(&proxymgr);

    let yaml = format!(
        "# by hand\nweb:\n  listen_options: mode http\n  port: {port}\n  file: {}\n  type: file\n",
        servers.display()
    );
    write_in_one_step(&list, &yaml);
    let marker = format!("marker: {{type: file, file: {}, port: {marker_port}}}\n", marker_servers.display());
    write_in_one_step(&list, &(yaml + &marker));
    wait_for_answer(local(marker_port), "marker");
    let after = told(&proxymgr).split_off(before.len());
    let markers = ["service defined \"marker\"", "reloading HAProxy: marker: new service null"];
    assert_eq!(after, markers);
}

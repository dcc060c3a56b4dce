//! A definition or server that can't be used is refused with a clear line in the log, and harms no other.

use std::fs;
use std::net::TcpListener;

use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, get, local, wait_for_answer, wait_for_refusal};
use super::support::running::{
    assert_config_says_what_runs, in_rotation, log_lines, reloads, start, wait_for_message,
};

/// A `ProxyMgr` with one good service, which must go on whatever else comes.
struct Bystander {
    setup: Setup,
    proxymgr: Proxymgr,
    backends: Backends,
    port: u16,
    server: Backend,
}

impl Bystander {
    fn start() -> Self {
        Self::start_with(Setup::new().section("reload", json!({"min_interval": "10ms"})))
    }

    fn start_with(setup: Setup) -> Self {
        let (backends, port) = (Backends::new(), free_port());
        let server = backends.start("good");
        setup.paths.write_file_service("good", port, &[server.address.to_string()]);
        let proxymgr = start(&setup);
        wait_for_answer(local(port), "good");
        Self { setup, proxymgr, backends, port, server }
    }

    fn servers_file(&self) -> std::path::PathBuf {
        self.setup.paths.root.join("good.servers")
    }

    /// The text of a service's file, as it is.
    fn write_raw(&self, name: &str, text: &str) {
        write_in_one_step(&self.setup.paths.services.join(format!("{name}.json")), text);
    }

    /// The good service serves, is updated, and a new service still comes.
    #[track_caller]
    fn assert_goes_on(&mut self) {
        assert_eq!(get(local(self.port)).as_deref(), Ok("good"));
        let replaced = self.backends.start("good");
        write_in_one_step(&self.servers_file(), &format!("{}\n", replaced.address));
        eventually(SOON, "the good service's new server alone is in rotation", || {
            let rotation = in_rotation(&self.setup.paths);
            let mut good = rotation.iter().filter(|server| server.service == "good");
            if good.next().is_some_and(|only| only.address == replaced.address) && good.next().is_none() {
                Ok(())
            } else {
                Err(rotation.clone())
            }
        });
        self.server = replaced;
        assert_eq!(get(local(self.port)).as_deref(), Ok("good"));
        let port = free_port();
        let name = format!("new-{port}");
        self.setup.paths.write_file_service(&name, port, &[self.server.address.to_string()]);
        wait_for_answer(local(port), "good");
        self.setup.paths.remove_service(&name);
        wait_for_refusal(local(port));
        assert_config_says_what_runs(&self.setup.paths);
    }
}

#[test]
fn a_bad_definition_is_refused_with_its_reason_and_the_others_go_on() {
    let mut world = Bystander::start();
    let port = free_port();
    let file = world.servers_file();
    let with = |key: &str, value: serde_json::Value| {
        let mut definition = json!({"type": "file", "file": file, "port": port});
        definition[key] = value;
        definition.to_string()
    };
    for (name, text, reason) in [
        ("syntax", r#"{"type": "file", "port": 80"#.to_owned(), "EOF"),
        ("type", with("type", json!("zookeper")), "did you mean \"zookeeper\"?"),
        ("unknown", with("type", json!("etcd")), "file and static are taken"),
        ("noport", json!({"type": "file", "file": file}).to_string(), "\"port\" is missing"),
        ("range", with("port", json!(99999)), "it must be 1 to 65535"),
        (
            "section",
            with("listen_options", json!(["mode http", "backend evil"])),
            "'backend' begins a section",
        ),
        ("newline", with("listen_options", json!(["mode http\nlisten evil"])), "control character \\n"),
        ("server", with("server_options", json!(["check\nserver evil 1.2.3.4:5"])), "control character \\n"),
        ("bind", with("bind", json!("nowhere")), "bind"),
    ] {
        world.write_raw(name, &text);
        let line = eventually(SOON, &format!("{name} is refused"), || {
            let lines = log_lines(&world.proxymgr);
            lines.into_iter().find(|line| line.fields["service"] == name).ok_or(())
        });
        assert!(line.level == "WARN" && line.says(reason), "wanted {reason:?}: {line:?}");
        assert!(line.message.starts_with("definition refused"), "{line:?}");
        assert!(line.fields["origin"].as_str().unwrap().ends_with(&format!("{name}.json")), "{line:?}");
    }
    assert_eq!(reloads(&world.proxymgr), ["start"], "what is refused costs nothing");
    assert!(!fs::read_to_string(&world.setup.paths.haproxy_cfg).unwrap().contains("evil"));
    world.assert_goes_on();

    // Mended, it serves.
    world.write_raw("range", &with("port", json!(port)));
    wait_for_answer(local(port), "good");
    // Spoilt again, its last good definition serves on.
    world.write_raw("range", "{}");
    wait_for_message(&world.proxymgr, "\"type\" is missing");
    assert_eq!(get(local(port)).as_deref(), Ok("good"));
}

#[test]
fn a_bad_line_of_a_servers_file_is_skipped_and_the_others_serve() {
    let mut world = Bystander::start();
    let good = world.server.address;
    let text = format!(
        "127.0.0.1:99999\n127.0.0.1:80\u{1b}[31m\n127.0.0.1\n127.0.0.1:80 check disabled\n127.0.0.1:80\u{0}\n{good} weight=9\n"
    );
    write_in_one_step(&world.servers_file(), &text);
    for (line, reason) in [
        ("line 1", "the port must be 1 to 65535"),
        ("line 2", "the port must be 1 to 65535"),
        ("line 3", "has no port"),
        ("line 4", "a word after the address is unknown"),
        ("line 5", "the port must be 1 to 65535"),
    ] {
        let found = eventually(SOON, &format!("{line} is told"), || {
            let lines = log_lines(&world.proxymgr);
            lines.into_iter().find(|found| found.fields["entry"] == line).ok_or(())
        });
        assert_eq!((found.level.as_str(), found.fields["service"].as_str()), ("WARN", Some("good")));
        assert!(found.says(reason), "{found:?}");
        let reason = found.fields["reason"].as_str().unwrap();
        assert!(!reason.contains(char::is_control), "{reason:?}");
    }
    eventually(SOON, "the good line is applied", || {
        let rotation = in_rotation(&world.setup.paths);
        let as_written =
            |server: &&super::support::running::Server| server.address == good && server.weight == 9;
        if rotation.len() == 1 && rotation.iter().all(|server| as_written(&server)) {
            Ok(())
        } else {
            Err(rotation)
        }
    });
    world.assert_goes_on();
    assert_eq!(reloads(&world.proxymgr).len(), 2, "the start, and the new service of the check");
}

#[test]
fn the_first_to_hold_a_port_keeps_it_and_the_next_has_it_once_it_is_free() {
    let mut world = Bystander::start();
    let late = world.backends.start("late");
    // Its name sorts before the holder's.
    world.setup.paths.write_file_service("aaa", world.port, &[late.address.to_string()]);
    let line = wait_for_message(&world.proxymgr, "belongs to the service good");
    assert_eq!(line.level, "WARN");
    assert!(line.message.contains("service aaa is refused, it does not serve"), "{line:?}");
    world.assert_goes_on();
    assert_eq!(late.requests(), 0);

    world.setup.paths.remove_service("good");
    wait_for_answer(local(world.port), "late");
    wait_for_message(&world.proxymgr, "service aaa goes ahead");
    assert_config_says_what_runs(&world.setup.paths);
}

#[test]
fn a_port_of_another_process_is_tried_again_until_it_is_free() {
    let mut world = Bystander::start();
    let port = free_port();
    let stranger = TcpListener::bind(("0.0.0.0", port)).unwrap();
    world.setup.paths.write_file_service("waits", port, &[world.server.address.to_string()]);
    let line = wait_for_message(&world.proxymgr, "is used by another process");
    assert!(line.message.contains("service waits is refused") && line.level == "WARN", "{line:?}");
    assert!(line.message.contains(&port.to_string()), "{line:?}");
    world.assert_goes_on();
    let server = world.server.address.to_string();
    write_in_one_step(&world.setup.paths.root.join("waits.servers"), &format!("{server}\n"));
    drop(stranger);
    wait_for_answer(local(port), "good");
    wait_for_message(&world.proxymgr, "service waits goes ahead");
    world.assert_goes_on();
}

#[test]
fn options_that_haproxy_refuses_stop_their_service_alone() {
    let mut world = Bystander::start();
    let [changed, new, other] = free_ports();
    let server = [world.server.address.to_string()];
    let file = world.setup.paths.write_file_service("changed", changed, &server);
    wait_for_answer(local(changed), "good");
    let kept = world.backends.start("good");
    write_in_one_step(&file, &format!("{}\n", kept.address));

    // A running service, a new one, and a good one, all at once.
    let bad =
        |port: u16| json!({"type": "file", "file": file, "port": port, "listen_options": ["no-such-word"]});
    world.setup.paths.write_service("changed", &bad(changed));
    world.setup.paths.write_service("new", &bad(new));
    world.setup.paths.write_file_service("other", other, &server);
    for (service, meanwhile) in
        [("changed", "its last good definition serves on"), ("new", "it does not serve")]
    {
        let line = wait_for_message(&world.proxymgr, &format!("service {service} is refused, {meanwhile}"));
        assert!(line.level == "WARN" && line.message.contains("no-such-word"), "{line:?}");
    }
    wait_for_answer(local(other), "good");
    assert_eq!(get(local(changed)).as_deref(), Ok("good"));
    wait_for_refusal(local(new));
    world.assert_goes_on();

    // The one that keeps its last good definition still follows its servers.
    let moved = world.backends.start("moved");
    write_in_one_step(&file, &format!("{}\n", moved.address));
    wait_for_answer(local(changed), "moved");
    drop(kept);

    let mended = json!({"type": "file", "file": file, "port": new, "listen_options": ["timeout queue 5s"]});
    world.setup.paths.write_service("new", &mended);
    wait_for_answer(local(new), "moved");
    wait_for_message(&world.proxymgr, "service new goes ahead");
    assert_config_says_what_runs(&world.setup.paths);
}

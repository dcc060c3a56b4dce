//! Hand-written sections beside the services: appended, watched, and no danger to others.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::{Proxymgr, command, output_of};
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, get, local, wait_for_answer, wait_for_refusal};
use super::support::running::{assert_config_says_what_runs, log_lines, reloads, start, wait_for_message};

/// Services from files, one of them good, and an include directory.
struct World {
    setup: Setup,
    conf: PathBuf,
    backends: Backends,
    port: u16,
    server: Backend,
}

impl World {
    fn new() -> Self {
        let setup = Setup::new().section("reload", json!({"min_interval": "10ms"}));
        let conf = setup.paths.root.join("conf.d");
        fs::create_dir(&conf).unwrap();
        let setup = setup.haproxy_key("include", json!([format!("{}/*.cfg", conf.display())]));
        let (backends, port) = (Backends::new(), free_port());
        let server = backends.start("good");
        setup.paths.write_file_service("good", port, &[server.address.to_string()]);
        Self { setup, conf, backends, port, server }
    }

    fn write(&self, name: &str, text: &str) {
        write_in_one_step(&self.conf.join(name), text);
    }

    /// The good service serves, a new one comes, and haproxy.cfg tells it all.
    #[track_caller]
    fn assert_services_go_on(&self, proxymgr: &Proxymgr) {
        assert_eq!(get(local(self.port)).as_deref(), Ok("good"));
        let port = free_port();
        let name = format!("new-{port}");
        self.setup.paths.write_file_service(&name, port, &[self.server.address.to_string()]);
        wait_for_answer(local(port), "good");
        self.setup.paths.remove_service(&name);
        wait_for_refusal(local(port));
        eventually(SOON, "only one process remains", || match proxymgr.haproxies().len() {
            1 => Ok(()),
            more => Err(more),
        });
        assert_config_says_what_runs(&self.setup.paths);
    }
}

/// A section that answers with its own name; its port can be moved by a variable, for a second `HAProxy`.
fn answers(name: &str, port: u16) -> String {
    format!(
        "listen {name}\n  bind \"${{TEST_{name}-127.0.0.1:{port}}}\"\n  \
         http-request return status 200 content-type text/plain string {name}\n"
    )
}

#[track_caller]
fn wait_for_warning(proxymgr: &Proxymgr, texts: &[&str]) {
    eventually(SOON, &format!("a warning with {texts:?}"), || {
        let mut lines = log_lines(proxymgr).into_iter();
        let found = lines.rfind(|line| line.level == "WARN" && line.says(texts[0]));
        let Some(line) = found else { return Err(None) };
        if texts.iter().all(|text| line.message.contains(text)) { Ok(()) } else { Err(Some(line.message)) }
    });
}

#[test]
fn sections_are_appended_and_each_change_is_one_reload() {
    let world = World::new();
    let [first, second, third] = free_ports();
    world.write("10-first.cfg", &answers("first", first));
    let proxymgr = start(&world.setup);
    wait_for_answer(local(first), "first");
    world.assert_services_go_on(&proxymgr);
    let text = fs::read_to_string(&world.setup.paths.haproxy_cfg).unwrap();
    let path = world.conf.join("10-first.cfg");
    let end = format!(
        "\n# Included from {}; changes made here are lost.\n{}",
        path.display(),
        answers("first", first)
    );
    assert!(text.ends_with(&end), "{text}");
    let before = reloads(&proxymgr).len();

    // No section, but the same directory; the same text again; then a change.
    fs::write(world.conf.join("README"), "x").unwrap();
    fs::write(&path, answers("first", first)).unwrap();
    world.write("10-first.cfg", &answers("changed", second));
    wait_for_answer(local(second), "changed");
    wait_for_refusal(local(first));
    world.write("05-more.cfg", &answers("more", third));
    wait_for_answer(local(third), "more");
    fs::rename(world.conf.join("10-first.cfg"), world.conf.join("10-first.off")).unwrap();
    wait_for_refusal(local(second));
    world.assert_services_go_on(&proxymgr);
    let reasons = reloads(&proxymgr)[before..].to_vec();
    assert_eq!(reasons[..3], ["the included files changed"; 3], "{reasons:?}");
    // The service of the check comes and goes: HAProxy would keep its listen socket, for a process that takes the included ones.
    assert!(
        reasons.len() == 5 && reasons[4].ends_with("`expose-fd listeners` keeps its address until then"),
        "{reasons:?}"
    );
}

#[test]
fn a_bad_file_at_the_start_is_left_out_alone_and_taken_once_it_is_mended() {
    let world = World::new();
    let [good, mended] = free_ports();
    world.write("a.cfg", &answers("other", good));
    world.write("b.cfg", &format!("{}  no-such-word\n", answers("mended", mended)));
    let proxymgr = start(&world.setup);
    let place = format!("{}:4: HAProxy says: ", world.conf.join("b.cfg").display());
    wait_for_warning(
        &proxymgr,
        &["the included files are refused, this file is left out", &place, "no-such-word"],
    );
    wait_for_answer(local(good), "other");
    wait_for_refusal(local(mended));
    world.assert_services_go_on(&proxymgr);

    world.write("b.cfg", &answers("mended", mended));
    wait_for_answer(local(mended), "mended");
    wait_for_message(&proxymgr, "all included files go ahead");
    assert_eq!(get(local(good)).as_deref(), Ok("other"));
    world.assert_services_go_on(&proxymgr);
}

#[test]
fn a_bad_change_leaves_the_last_good_files_and_services_go_on() {
    let world = World::new();
    let [port, moved] = free_ports();
    world.write("a.cfg", &answers("mine", port));
    let proxymgr = start(&world.setup);
    wait_for_answer(local(port), "mine");

    world.write("a.cfg", &format!("{}  default_backend nowhere\n", answers("mine", moved)));
    world.write("b.cfg", "backend stands_for_nothing\n  mode nonsense\n");
    wait_for_warning(
        &proxymgr,
        &["the included files are refused, the last good ones serve on", ".cfg:2", "nonsense"],
    );
    assert_eq!(get(local(port)).as_deref(), Ok("mine"));
    world.assert_services_go_on(&proxymgr);
    fs::remove_file(world.conf.join("b.cfg")).unwrap();
    wait_for_warning(
        &proxymgr,
        &["the included files are refused, the last good ones serve on", "a.cfg", "nowhere"],
    );
    // What stands outside of any section would change the section before it.
    world.write("a.cfg", "server stray 127.0.0.1:1\n");
    wait_for_message(&proxymgr, "line 1: 'server' stands in no section");
    world.assert_services_go_on(&proxymgr);
    assert_eq!(get(local(port)).as_deref(), Ok("mine"));

    world.write("a.cfg", &answers("mine", moved));
    wait_for_answer(local(moved), "mine");
    wait_for_refusal(local(port));
    world.assert_services_go_on(&proxymgr);
}

#[test]
fn a_port_that_is_taken_stops_the_file_alone_until_it_is_free() {
    let world = World::new();
    let stranger = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = stranger.local_addr().unwrap().port();
    world.write("a.cfg", &answers("mine", port));
    let proxymgr = start(&world.setup);
    let place = format!("{}:2: HAProxy says: ", world.conf.join("a.cfg").display());
    wait_for_warning(&proxymgr, &["this file is left out", &place, "cannot bind socket"]);
    world.assert_services_go_on(&proxymgr);
    drop(stranger);
    wait_for_answer(local(port), "mine");
    wait_for_message(&proxymgr, "all included files go ahead");

    // A service holds its port, and the last good file stays where it was.
    world.write("a.cfg", &answers("mine", world.port));
    wait_for_warning(&proxymgr, &["the last good ones serve on", &place, "cannot bind socket"]);
    assert_eq!(get(local(port)).as_deref(), Ok("mine"));
    world.assert_services_go_on(&proxymgr);
    let moved = free_port();
    world.write("a.cfg", &answers("mine", moved));
    wait_for_answer(local(moved), "mine");
    world.assert_services_go_on(&proxymgr);
}

#[test]
fn files_that_are_good_no_longer_hold_no_service_up_and_come_back() {
    let world = World::new();
    let [port, other] = free_ports();
    let page = world.setup.paths.root.join("page");
    fs::write(&page, "mine").unwrap();
    let text = answers("mine", port).replace("string mine", &format!("file {}", page.display()));
    world.write("a.cfg", &text);
    world.write("b.cfg", &answers("other", other));
    let proxymgr = start(&world.setup);
    wait_for_answer(local(port), "mine");
    fs::remove_file(&page).unwrap();
    world.assert_services_go_on(&proxymgr);
    wait_for_warning(&proxymgr, &["this file is left out", "a.cfg:3: HAProxy says: "]);
    assert_eq!(get(local(other)).as_deref(), Ok("other"));
    fs::write(&page, "mine").unwrap();
    wait_for_answer(local(port), "mine");
    wait_for_message(&proxymgr, "all included files go ahead");
}

#[test]
fn who_has_a_name_first_keeps_it() {
    let world = World::new();
    let [port, second] = free_ports();
    world.write("a.cfg", &answers("good", port));
    let proxymgr = start(&world.setup);
    wait_for_warning(&proxymgr, &["this file is left out", "its section good has the name of a service"]);
    world.assert_services_go_on(&proxymgr);
    wait_for_refusal(local(port));

    world.write("a.cfg", &answers("mine", port));
    wait_for_answer(local(port), "mine");
    world.setup.paths.write_file_service("mine", second, &[world.server.address.to_string()]);
    wait_for_warning(&proxymgr, &["service mine is refused, it does not serve", "a.cfg has this name"]);
    assert_eq!(get(local(port)).as_deref(), Ok("mine"));
    world.assert_services_go_on(&proxymgr);
    fs::remove_file(world.conf.join("a.cfg")).unwrap();
    wait_for_answer(local(second), "good");
    world.assert_services_go_on(&proxymgr);
}

/// The sockets that listen on a port of 127.0.0.1, by inode: proc(5), `/proc/net/tcp`.
fn listening(port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| row[1] == format!("0100007F:{port:04X}") && row[3] == LISTEN);
    ours.map(|row| row[9].to_owned()).collect()
}

const RELOADS: usize = 50;

#[test]
fn reloads_under_load_cost_the_listeners_of_included_sections_nothing() {
    let world = World::new();
    let [port, unused] = free_ports();
    let server = world.backends.start("own");
    let text = |unused: u16, round: usize| {
        format!(
            "listen own\n  bind 127.0.0.1:{port}\n  timeout queue {}s\n  server s {}\n{}",
            1000 + round,
            server.address,
            answers("unused", unused)
        )
    };
    world.write("a.cfg", &text(unused, 0));
    let proxymgr = start(&world.setup);
    wait_for_answer(local(port), "own");
    let socket = listening(port);
    assert_eq!(socket.len(), 1);
    let load = Load::to(local(port)).short(8).keep_alive(8).rate(1500).start();
    for round in 1..=RELOADS {
        if round % 2 == 0 {
            world.write("a.cfg", &text(unused, round));
        } else {
            let file = world.setup.paths.root.join("good.servers");
            let options = [format!("timeout queue {}s", 1000 + round)];
            let definition =
                json!({"type": "file", "file": file, "port": world.port, "listen_options": options});
            world.setup.paths.write_service("good", &definition);
        }
        eventually(SOON, "a reload is done", || {
            let done =
                log_lines(&proxymgr).iter().filter(|line| line.message == "a new HAProxy serves").count();
            if done > round { Ok(()) } else { Err(done) }
        });
    }
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert!(report.rate() >= 1000.0, "the load was to be at least 1000 requests/s: {report}");
    assert_eq!(reloads(&proxymgr).len(), RELOADS + 1);
    assert_eq!(listening(port), socket, "it is handed on, not bound anew");
    eventually(SOON, "only one process remains", || match proxymgr.haproxies().len() {
        1 => Ok(()),
        more => Err(more),
    });
    assert_eq!(get(local(port)).as_deref(), Ok("own"));
}

#[test]
fn after_a_crash_included_listeners_are_bound_again() {
    let world = World::new();
    let port = free_port();
    world.write("a.cfg", &answers("mine", port));
    let proxymgr = start(&world.setup);
    for _ in 0..2 {
        wait_for_answer(local(port), "mine");
        let [killed] = proxymgr.haproxies()[..] else { panic!("{:?}", proxymgr.haproxies()) };
        killed.signal(Signal::SIGKILL);
        eventually(SOON, "another HAProxy runs", || match proxymgr.haproxies()[..] {
            [other] if other != killed => Ok(()),
            _ => Err(proxymgr.haproxies()),
        });
        wait_for_answer(local(port), "mine");
        world.assert_services_go_on(&proxymgr);
    }
}

#[test]
fn a_program_that_takes_over_follows_the_files_without_a_reload() {
    let world = World::new();
    let [port, moved] = free_ports();
    world.write("a.cfg", &answers("mine", port));
    let proxymgr = start(&world.setup);
    wait_for_answer(local(port), "mine");
    let socket = listening(port);
    proxymgr.signal(Signal::SIGHUP);
    wait_for_message(&proxymgr, "another program takes over");
    world.write("b.cfg", &answers("other", moved));
    wait_for_answer(local(moved), "other");
    assert_eq!(reloads(&proxymgr), ["start", "the included files changed"]);
    assert_eq!(listening(port), socket, "it is handed on, not bound anew");
    world.assert_services_go_on(&proxymgr);
}

#[test]
fn check_and_render_show_the_included_files_and_name_the_line_that_is_wrong() {
    let world = World::new();
    let [good, bad] = free_ports();
    world.write("a.cfg", &answers("other", good));
    let (a, b, c) = (world.conf.join("a.cfg"), world.conf.join("b.cfg"), world.conf.join("c.cfg"));
    fs::write(&world.setup.paths.proxymgr_yml, world.setup.yaml()).unwrap();
    let said = |arguments: &[&str]| {
        let output = output_of(command().args(arguments).arg("-c").arg(&world.setup.paths.proxymgr_yml));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, stdout, _) = said(&["check"]);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.contains(&format!("{}  ok\n", a.display())), "{stdout}");

    world.write("b.cfg", &format!("{}  no-such-word\n", answers("bad", bad)));
    world.write("c.cfg", "stray\n");
    let (code, stdout, stderr) = said(&["check"]);
    assert_eq!((code, stderr.as_str()), (1, ""), "{stdout}");
    let refused =
        format!("{b}  refused\n    {b}:4: HAProxy says: unknown keyword 'no-such-word'", b = b.display());
    assert!(stdout.contains(&refused), "{stdout}");
    assert!(
        stdout.contains(&format!("{}  refused\n    line 1: 'stray' stands in no section", c.display())),
        "{stdout}"
    );
    assert!(stdout.contains("takes the rest"), "{stdout}");
    let (code, json, _) = said(&["check", "--json"]);
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &report["ok"], report["includes"].as_array().unwrap().len()), (1, &json!(false), 3));
    assert_eq!(report["includes"][0], json!({"file": a, "accepted": true, "problems": []}));

    let (code, stdout, stderr) = said(&["render"]);
    assert_eq!(code, 0);
    assert!(stdout.contains(&answers("other", good)) && !stdout.contains("stray"), "{stdout}");
    assert!(stderr.contains(&format!("included file {}: line 1: 'stray'", c.display())), "{stderr}");
}

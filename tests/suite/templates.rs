//! A layout of the user's own: written, followed, and no danger to what serves.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::backend::{Backend, Backends};
use super::support::control::{said, said_of};
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::command;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, get, local, wait_for_answer, wait_for_backends, wait_for_refusal};
use super::support::running::{assert_config_says_what_runs, log_lines, reloads, start, wait_for_message};

const BUILT_IN: &str = include_str!("../../config/haproxy.cfg.j2");
const CHANGED: &str = "the template changed";

/// A service of one server, laid out by a template.
struct World {
    setup: Setup,
    template: PathBuf,
    backends: Backends,
    port: u16,
    server: Backend,
}

impl World {
    fn new(template: &str) -> Self {
        let setup = Setup::new().section("reload", json!({"min_interval": "10ms"}));
        let file = setup.paths.root.join("haproxy.cfg.j2");
        let setup = setup.haproxy_key("template", json!(file));
        let (backends, port) = (Backends::new(), free_port());
        let server = backends.start("one");
        setup.paths.write_file_service("web", port, &[server.address.to_string()]);
        let world = Self { setup, template: file, backends, port, server };
        world.write(template);
        world
    }

    fn write(&self, template: &str) {
        write_in_one_step(&self.template, template);
    }

    fn config(&self) -> String {
        fs::read_to_string(&self.setup.paths.haproxy_cfg).unwrap()
    }

    fn status(&self) -> Value {
        said(&self.setup.paths, &["status", "--json"]).json()
    }

    #[track_caller]
    fn wait_for_config(&self, text: &str) {
        eventually(SOON, &format!("haproxy.cfg holds {text:?}"), || {
            let config = self.config();
            if config.contains(text) { Ok(()) } else { Err(config) }
        });
    }

    #[track_caller]
    fn wait_for_problem(&self, text: &str) {
        eventually(SOON, &format!("the status tells {text:?}"), || {
            let problems = self.status()["template"]["problems"].clone();
            let told = problems.as_array().unwrap().iter().any(|one| one.as_str().unwrap().contains(text));
            if told { Ok(()) } else { Err(problems) }
        });
    }

    /// A second server comes and goes.
    #[track_caller]
    fn assert_servers_come_and_go(&self) {
        let (one, two) = (self.server.address.to_string(), self.backends.start("two"));
        self.setup.paths.write_file_service("web", self.port, &[one.clone(), two.address.to_string()]);
        wait_for_backends(self.port, &["one", "two"]);
        self.setup.paths.write_file_service("web", self.port, &[one]);
        wait_for_backends(self.port, &["one"]);
    }
}

/// The built-in layout, and a section that answers with its name.
fn with_section(name: &str, port: u16) -> String {
    format!(
        "{BUILT_IN}\nlisten {name}\n  bind 127.0.0.1:{port}\n  \
         http-request return status 200 content-type text/plain string {name}\n"
    )
}

#[test]
fn the_built_in_layout_as_a_template_writes_what_is_written_without_it() {
    let world = World::new(BUILT_IN);
    let [routed, own] = free_ports();
    let paths = &world.setup.paths;
    let included = paths.root.join("own.cfg");
    fs::write(&included, format!("listen own\n  bind 127.0.0.1:{own}\n")).unwrap();
    let setup = world
        .setup
        .clone()
        .haproxy_key("include", json!([included]))
        .haproxy_key("cookie_key", json!("0123456789abcdef"))
        .section(
            "frontends",
            json!({"in": {"bind": format!("127.0.0.1:{routed}"), "default_service": "web"}}),
        );
    let servers = paths.root.join("routed.servers");
    fs::write(&servers, format!("{} weight=3 drain\n10.255.0.1:1 backup\n", world.server.address)).unwrap();
    let route = json!({"frontend": "in", "path": "/hello", "strip_prefix": true});
    paths.write_service("hello", &json!({"type": "file", "file": servers, "route": route, "cookie": "SRV"}));
    let options = json!({"listen_options": ["option httplog"], "server_options": ["check inter 30s"]});
    let mut service =
        json!({"type": "file", "file": servers, "port": free_port(), "bind": ["127.0.0.1", "[::1]"]});
    service.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    paths.write_service("more", &service);

    let proxymgr = start(&setup);
    wait_for_answer(local(world.port), "one");
    let written = world.config();
    assert!(
        written.contains("frontend in from")
            && written.contains("cookie SRV")
            && written.contains("listen own")
    );
    let rendered = said(paths, &["render"]);
    assert_eq!((rendered.code, &rendered.stdout, rendered.stderr.as_str()), (0, &written, ""));
    let yaml = setup.yaml();
    let (before, after) = yaml.split_once("template: ").unwrap();
    let plain = format!("{before}template:\n{}", after.split_once('\n').unwrap().1);
    let plain_yml = paths.root.join("plain.yml");
    fs::write(&plain_yml, plain).unwrap();
    let rendered = said_of(command().arg("render").arg("-c").arg(&plain_yml));
    assert_eq!((rendered.code, &rendered.stdout, rendered.stderr.as_str()), (0, &written, ""));
    assert_eq!(said(paths, &["render", "--diff"]).stdout, "");
    assert_eq!(reloads(&proxymgr), ["start"]);
}

#[test]
fn servers_come_and_go_without_a_reload_beside_what_a_template_adds_under_load() {
    let [extra, moved] = free_ports();
    let world = World::new(&with_section("extra", extra));
    let proxymgr = start(&world.setup);
    wait_for_answer(local(extra), "extra");
    let load = Load::to(local(world.port)).short(2).keep_alive(2).rate(200).start();
    for _ in 0..5 {
        world.assert_servers_come_and_go();
    }
    assert_eq!(reloads(&proxymgr), ["start"]);
    assert_config_says_what_runs(&world.setup.paths);
    let own_load = Load::to(local(extra)).short(2).rate(100).start();
    let service = "{{ service.section_line }}\n";
    let marked = with_section("extra", extra)
        .replace(service, &format!("{service}  http-response set-header x-mine 1\n"));
    world.write(&marked);
    world.wait_for_config("x-mine");
    eventually(SOON, "one process remains", || match proxymgr.haproxies().len() {
        1 => Ok(()),
        more => Err(more),
    });
    own_load.stop().assert_no_errors();
    world.write(&with_section("moved", moved));
    wait_for_answer(local(moved), "moved");
    wait_for_refusal(local(extra));
    world.assert_servers_come_and_go();
    assert_eq!(reloads(&proxymgr), ["start", CHANGED, CHANGED]);
    load.stop().assert_no_errors();
    let events = said(&world.setup.paths, &["events"]).stdout;
    assert!(events.contains(CHANGED), "{events}");
}

#[test]
fn what_follows_from_the_servers_elsewhere_is_a_reload() {
    let list = "{% for service in services %}\n  http-response set-header x-{{ service.name }} \
                \"{{ service.servers | map(attribute='address') | join(' ') }}\"\n{% endfor %}\n";
    let port = free_port();
    let world = World::new(&(with_section("extra", port) + list));
    let proxymgr = start(&world.setup);
    wait_for_answer(local(port), "extra");
    let two = world.backends.start("two");
    let servers = [world.server.address.to_string(), two.address.to_string()];
    world.setup.paths.write_file_service("web", world.port, &servers);
    wait_for_backends(world.port, &["one", "two"]);
    world.wait_for_config(&format!(
        "\"{} {}\"",
        servers[0].as_str().min(&servers[1]),
        servers[0].as_str().max(&servers[1])
    ));
    eventually(SOON, "a reload", || match reloads(&proxymgr) {
        told if told.len() == 2 && told[1].contains("other lines than those of servers") => Ok(()),
        other => Err(other),
    });
}

#[test]
fn a_bad_template_keeps_what_serves_and_is_taken_once_it_is_mended_under_load() {
    let world = World::new(&with_section("extra", free_port()));
    let proxymgr = start(&world.setup);
    wait_for_answer(local(world.port), "one");
    let load = Load::to(local(world.port)).short(2).keep_alive(2).rate(200).start();
    let at = world.template.display().to_string();
    let bad: &[(&str, &str)] = &[
        ("{% for x in services %}", ": syntax error"),
        ("{{ service.servers }}", ": undefined value"),
        (
            "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
            "it takes too many steps",
        ),
        ("{% for a in range(10000) %}{{ 'a' * 10000 }}{% endfor %}", "it writes more than 10 times"),
        ("{% include '/etc/passwd' %}", "template not found"),
        ("listen worse\n  no-such-word\n", "HAProxy says: unknown keyword 'no-such-word'"),
        ("backend worse\n  use_backend nobody\n", "nobody"),
    ];
    for (number, (more, told)) in bad.iter().enumerate() {
        world.write(&format!("{BUILT_IN}{more}"));
        world.wait_for_problem(told);
        world.wait_for_problem(&at);
        assert_eq!(get(local(world.port)).as_deref(), Ok("one"));
        assert!(
            world.config().contains(if number == 0 { "listen extra" } else { "listen mended" }),
            "{more}"
        );
        world.assert_servers_come_and_go();
        world.write(&format!("{BUILT_IN}listen mended\n  timeout client {}s\n", number + 1));
        world.wait_for_config(&format!("timeout client {}s", number + 1));
        eventually(SOON, "nothing is wrong any more", || {
            let problems = world.status()["template"]["problems"].clone();
            if problems == json!([]) { Ok(()) } else { Err(problems) }
        });
    }
    for (what, told) in [("gone", "can't be read"), ("bytes", "is no UTF-8 text")] {
        match what {
            "gone" => fs::remove_file(&world.template).unwrap(),
            _ => fs::write(&world.template, b"\xff\xfe").unwrap(),
        }
        world.wait_for_problem(told);
        world.assert_servers_come_and_go();
    }
    // Each that is mended is one, and HAProxy is asked about those that it refuses.
    let asked = bad.iter().filter(|(more, _)| more.contains("worse")).count();
    assert_eq!(reloads(&proxymgr).len(), 1 + bad.len() + asked, "{:?}", reloads(&proxymgr));
    // The status for people, and the events, tell it too.
    let text = said(&world.setup.paths, &["status"]).stdout;
    assert!(text.contains("is no UTF-8 text"), "{text}");
    let events = said(&world.setup.paths, &["events"]).stdout;
    assert!(events.contains("the template is refused, the last good one stays"), "{events}");
    assert!(
        log_lines(&proxymgr).iter().any(|line| line.level == "WARN" && line.says("the template is refused"))
    );
    // Another service still comes.
    let late = free_port();
    world.setup.paths.write_file_service("late", late, &[world.server.address.to_string()]);
    wait_for_answer(local(late), "one");
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
}

#[test]
fn a_start_with_a_bad_template_takes_what_served_last_or_tells_what_is_wrong() {
    let good = with_section("extra", free_port());
    let world = World::new("{{ nowhere }}");
    let paths = &world.setup.paths;
    fs::write(&paths.proxymgr_yml, world.setup.yaml()).unwrap();
    let run = said(paths, &["run"]);
    assert_eq!(run.code, 78, "{run:?}");
    let told =
        format!("haproxy.template: {}:1: undefined value, in '{{{{ nowhere }}}}'", world.template.display());
    assert!((run.stdout.clone() + &run.stderr).contains(&told), "{run:?}");

    world.write(&good);
    let proxymgr = start(&world.setup);
    wait_for_answer(local(world.port), "one");
    assert!(proxymgr.end().success());
    for bad in ["{{ nowhere }}", "{% if", "listen x\n  no-such-word\n"] {
        world.write(&format!("{BUILT_IN}{bad}"));
        let proxymgr = start(&world.setup);
        wait_for_answer(local(world.port), "one");
        wait_for_message(&proxymgr, "the template that served last stands in");
        assert!(world.config().contains("listen extra"), "{}", world.config());
        world.assert_servers_come_and_go();
        assert!(proxymgr.end().success());
    }
    let proxymgr = start(&world.setup);
    world.write(&with_section("mended", free_port()));
    world.wait_for_config("listen mended");
    // After a crash too.
    world.write("{{ nowhere }}");
    world.wait_for_problem("undefined value");
    let [killed] = proxymgr.haproxies()[..] else { panic!("{:?}", proxymgr.haproxies()) };
    killed.signal(Signal::SIGKILL);
    eventually(SOON, "another HAProxy serves", || match proxymgr.haproxies()[..] {
        [other] if other != killed && get(local(world.port)).is_ok() => Ok(()),
        _ => Err(proxymgr.haproxies()),
    });
    assert!(world.config().contains("listen mended"));
}

#[test]
fn check_and_render_show_the_template_and_what_is_wrong_with_it() {
    let world = World::new(&with_section("extra", free_port()));
    let paths = &world.setup.paths;
    fs::write(&paths.proxymgr_yml, world.setup.yaml()).unwrap();
    let rendered = said(paths, &["render"]);
    assert!(rendered.code == 0 && rendered.stdout.contains("\nlisten extra\n"), "{rendered:?}");
    assert_eq!(said(paths, &["check"]).code, 0);
    for (bad, told) in [
        ("{% for x in services %}", ": syntax error"),
        ("{{ nowhere }}", ": undefined value"),
        ("{% for x in services %}{{ x.nowhere }}{% endfor %}", ": undefined value"),
        // It would keep a start from coming to anything that finds no service.
        ("# {{ (services | first).name }}", "(where there is no service)"),
    ] {
        world.write(&format!("{BUILT_IN}{bad}"));
        for name in ["render", "check"] {
            let output = said(paths, &[name]);
            assert_eq!(output.code, 78, "{output:?}");
            let at = format!("haproxy.template: {}:", world.template.display());
            let text = output.stderr.clone() + &output.stdout;
            assert!(text.contains(&at) && text.contains(told), "{text}");
        }
        let report = said(paths, &["check", "--json"]).json();
        assert_eq!(report["config"]["errors"][0]["key"], "haproxy.template");
    }
    world.write(&format!("{BUILT_IN}listen worse\n  no-such-word\n"));
    let output = said(paths, &["check"]);
    assert_eq!(output.code, 78, "{output:?}");
    assert!(output.stdout.contains("haproxy.template: line "), "{output:?}");
    assert!(output.stdout.ends_with("refuses what the template writes\n"), "{output:?}");
    let line = line_with(&said(paths, &["render"]).stdout, "no-such-word");
    assert!(output.stdout.contains(&format!("line {line} of its output (proxymgr render)")), "{output:?}");
}

fn line_with(text: &str, needle: &str) -> usize {
    text.lines().position(|line| line.contains(needle)).unwrap() + 1
}

#[test]
fn a_program_that_takes_over_goes_on_with_the_template_and_refuses_a_bad_one() {
    let extra = free_port();
    let world = World::new(&with_section("extra", extra));
    let proxymgr = start(&world.setup);
    wait_for_answer(local(extra), "extra");
    let load = Load::to(local(world.port)).short(2).keep_alive(2).rate(100).start();
    proxymgr.signal(Signal::SIGHUP);
    wait_for_message(&proxymgr, "another program takes over");
    world.assert_servers_come_and_go();
    assert_eq!(reloads(&proxymgr), ["start"]);
    // What served last stands in for a bad one, as at a start.
    world.write("{% if");
    world.wait_for_problem("syntax error");
    proxymgr.signal(Signal::SIGHUP);
    eventually(SOON, "the next one has taken over", || {
        let count = proxymgr.log().matches("another program takes over").count();
        if count == 2 { Ok(()) } else { Err(count) }
    });
    world.assert_servers_come_and_go();
    world.wait_for_problem("syntax error");
    assert_eq!(reloads(&proxymgr), ["start"]);
    world.write(BUILT_IN);
    wait_for_refusal(local(extra));
    load.stop().assert_no_errors();
    assert_eq!(reloads(&proxymgr), ["start", CHANGED]);
}

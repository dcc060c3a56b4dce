//! `check` and `render`, as users and programs call them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::{command, output_of};
use super::support::proxymgr_setup::{Paths, Setup};

const SERVERS: [&str; 2] = ["127.0.0.1:81", "127.0.0.1:82"];

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs `proxymgr ARGUMENTS -c FILE` on what `setup` says.
fn said(setup: &Setup, arguments: &[&str]) -> Said {
    fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
    said_of(command().args(arguments).arg("-c").arg(&setup.paths.proxymgr_yml))
}

fn said_of(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = output_of(command);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}

/// `check --json`: its exit code and its object.
fn checked(setup: &Setup) -> (i32, Value) {
    let said = said(setup, &["check", "--json"]);
    assert_eq!(said.stderr, "", "programs get all in one object");
    (said.code, serde_json::from_str(&said.stdout).unwrap())
}

fn service<'a>(report: &'a Value, name: &str) -> &'a Value {
    let services = report["services"].as_array().unwrap();
    services.iter().find(|service| service["name"] == name).unwrap()
}

#[track_caller]
fn assert_service(report: &Value, name: &str, status: &str, problem: &str) {
    let service = service(report, name);
    assert_eq!(service["status"], status, "{service}");
    assert!(service["problems"].to_string().contains(problem), "{problem:?} in {service}");
}

fn quick(setup: Setup) -> Setup {
    setup.section("safety", json!({"startup_timeout": "1s"}))
}

fn write_servers(paths: &Paths, name: &str, port: u16) {
    paths.write_file_service(name, port, &SERVERS.map(str::to_owned));
}

/// A service whose definition has more keys than [`write_servers`] gives it.
fn write_service_with(paths: &Paths, name: &str, port: u16, more: &Value) {
    let file = paths.write_file_service(name, port, &SERVERS.map(str::to_owned));
    let mut definition = json!({"type": "file", "file": file, "port": port});
    definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    paths.write_service(name, &definition);
}

/// Every file below `root` with its text; directories and sockets without.
fn everything_in(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_in(&path));
        }
        found.insert(path.clone(), fs::read(&path).ok());
    }
    found
}

#[test]
fn check_of_a_good_setup_says_so_in_one_line_a_service_and_a_summary() {
    let setup = Setup::new();
    let [web, api] = free_ports();
    write_servers(&setup.paths, "web", web);
    setup.paths.write_file_service("api", api, &["127.0.0.1:81".to_owned()]);
    let said = said(&setup, &["check"]);
    let lines: Vec<_> = said.stdout.lines().collect();
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    assert_eq!(lines[..2], ["api  ok          1 server", "web  ok          2 servers"]);
    assert!(lines[2].starts_with("good: 2 services (2 ok), 3 servers; HAProxy "), "{}", lines[2]);
    assert_eq!(lines.len(), 3);
    let (code, report) = checked(&setup);
    assert_eq!((code, &report["ok"], &report["haproxy"]["accepted"]), (0, &json!(true), &json!(true)));
    assert_eq!(
        service(&report, "web"),
        &json!({"name": "web", "status": "ok", "servers": 2, "problems": []})
    );
}

#[test]
fn what_does_no_harm_is_shown_and_is_no_failure() {
    let setup = Setup::new();
    write_service_with(&setup.paths, "web", free_port(), &json!({"lissten_options": []}));
    fs::write(setup.paths.root.join("web.servers"), "127.0.0.1:81\nnonsense\n").unwrap();
    write_service_with(&setup.paths, "raw", free_port(), &json!({"listen_options": ["mode tcp"]}));
    write_service_with(
        &setup.paths,
        "warned",
        free_port(),
        &json!({"listen_options": ["mode tcp", "option forwardfor"]}),
    );
    let (code, report) = checked(&setup);
    assert_eq!(code, 0);
    assert_service(&report, "raw", "ok", "[]");
    assert_service(&report, "warned", "ok", "HAProxy warns: 'option forwardfor' ignored");
    assert_service(&report, "web", "ok", "skipped line 2");
    assert_service(&report, "web", "ok", "lissten_options");
}

#[test]
fn servers_that_a_definition_names_are_counted() {
    let setup = Setup::new();
    write_service_with(
        &setup.paths,
        "web",
        free_port(),
        &json!({"default_servers": [SERVERS[0], "127.0.0.1:9"]}),
    );
    let fixed = json!({"type": "static", "port": free_port(), "default_servers": ["127.0.0.1:9"]});
    setup.paths.write_service("fixed", &fixed);
    let (code, report) = checked(&setup);
    assert_eq!(code, 0, "{report}");
    assert_eq!(service(&report, "web")["servers"], SERVERS.len() + 1);
    assert_eq!(service(&report, "fixed")["servers"], 1);
}

#[test]
fn every_mistake_in_proxymgr_yml_is_told_and_ends_with_78() {
    let setup =
        Setup::new().haproxy_key("pth", json!("x")).section("reload", json!({"min_interval": "soon"}));
    for arguments in [&["check"][..], &["render"], &["render", "--diff"]] {
        let said = said(&setup, arguments);
        assert_eq!((said.code, said.stdout.as_str()), (78, ""), "{arguments:?}");
        assert!(
            said.stderr.contains("haproxy.pth") && said.stderr.contains("reload.min_interval"),
            "{}",
            said.stderr
        );
    }
    let (code, report) = checked(&setup);
    let keys: Vec<_> =
        report["config"]["errors"].as_array().unwrap().iter().map(|error| &error["key"]).collect();
    assert_eq!((code, &report["ok"]), (78, &json!(false)));
    assert!(
        keys.contains(&&json!("haproxy.pth")) && keys.contains(&&json!("reload.min_interval")),
        "{keys:?}"
    );
    assert!(report["config"]["errors"][0]["line"].is_u64());
    let missing = said_of(command().args(["check", "--json", "-c", "/nonexistent/proxymgr.yml"]));
    assert_eq!(missing.code, 78);
    let report: Value = serde_json::from_str(&missing.stdout).unwrap();
    assert!(report["config"]["errors"][0]["message"].as_str().unwrap().contains("can't be read"));
}

#[test]
fn each_bad_service_is_named_with_its_reason_and_the_others_are_ok() {
    let setup = quick(Setup::new());
    let paths = &setup.paths;
    let [taken, lost, unreachable] = free_ports();
    write_servers(paths, "a", taken);
    write_servers(paths, "same-port", taken);
    paths.write_service("no-port", &json!({"type": "file", "file": "/f"}));
    paths.write_service("no-file", &json!({"type": "file", "file": paths.root.join("none"), "port": lost}));
    paths.write_service(
        "no-zookeeper",
        &json!({"type": "zookeeper", "server": format!("127.0.0.1:{}", free_port()), "path": "/x", "port": unreachable}),
    );
    fs::write(paths.services.join("bad-json.json"), "{").unwrap();
    let (code, report) = checked(&setup);
    assert_eq!((code, &report["ok"]), (1, &json!(false)));
    assert_service(&report, "a", "ok", "[]");
    assert_service(&report, "same-port", "refused", "belongs to the service a");
    assert_service(&report, "no-port", "refused", "\\\"port\\\" is missing");
    assert_service(&report, "bad-json", "refused", "no valid JSON");
    assert_service(&report, "no-file", "unanswered", "can't be read");
    assert_service(&report, "no-zookeeper", "unanswered", "did not answer within 1s");
    assert!(report["registries"]["problems"].to_string().contains("ZooKeeper can't be reached"), "{report}");

    let text = said(&setup, &["check"]);
    assert_eq!(text.code, 1);
    assert_eq!(text.stderr.lines().count(), 1, "{}", text.stderr);
    assert!(text.stderr.starts_with("proxymgr: ZooKeeper can't be reached (127.0.0.1:"), "{}", text.stderr);
    assert!(text.stdout.contains("bad: 6 services (1 ok, 3 refused, 2 unanswered)"), "{}", text.stdout);

    let rendered = said(&setup, &["render"]);
    assert_eq!(rendered.code, 1, "the text lacks the unanswered services");
    assert!(rendered.stdout.contains("listen a\n") && !rendered.stdout.contains("listen no-"));
    assert!(
        rendered.stderr.contains("proxymgr: service no-port: refused: \"port\" is missing"),
        "{}",
        rendered.stderr
    );
}

#[test]
fn services_that_haproxy_refuses_are_found_though_one_hides_the_other() {
    let setup = Setup::new();
    let [good, parsing, later] = free_ports();
    write_servers(&setup.paths, "good", good);
    // The first fails while the file is parsed, the second only once all is.
    write_service_with(&setup.paths, "parsing", parsing, &json!({"listen_options": ["bogus option"]}));
    write_service_with(&setup.paths, "later", later, &json!({"listen_options": ["use_backend nowhere"]}));
    let (code, report) = checked(&setup);
    assert_eq!(code, 1);
    assert_service(&report, "good", "ok", "[]");
    assert_service(&report, "parsing", "refused", "unknown keyword 'bogus'");
    assert_service(&report, "later", "refused", "nowhere");
    assert_eq!((&report["haproxy"]["accepted"], &report["haproxy"]["messages"]), (&json!(true), &json!([])));
    assert_eq!(said(&setup, &["render"]).code, 0, "render does not ask HAProxy");
}

#[test]
fn a_global_line_that_haproxy_refuses_is_proxymgr_ymls_fault() {
    let setup = Setup::new().global(&["maxconn many", "bogus line"]);
    write_service_with(&setup.paths, "web", free_port(), &json!({"server_options": "check bogus"}));
    let (code, report) = checked(&setup);
    assert_eq!((code, &report["haproxy"]["accepted"]), (78, &json!(false)));
    assert!(report["haproxy"]["messages"].to_string().contains("bogus"), "{report}");
    assert_service(&report, "web", "refused", "unknown keyword 'bogus'");
    let text = said(&setup, &["check"]);
    assert_eq!(text.code, 78);
    assert!(text.stdout.contains("\nglobal and defaults\n    "), "{}", text.stdout);
    assert!(text.stdout.ends_with("refuses the sections global or defaults\n"), "{}", text.stdout);
}

#[test]
fn without_haproxy_both_end_with_69() {
    let setup = Setup::new().haproxy_key("path", json!("/nonexistent/haproxy"));
    for command in ["check", "render"] {
        let said = said(&setup, &[command]);
        assert_eq!((said.code, said.stdout.as_str()), (69, ""));
        assert!(said.stderr.starts_with("proxymgr: haproxy.path: "), "{}", said.stderr);
    }
    let (code, report) = checked(&setup);
    assert_eq!((code, &report["haproxy"]["version"]), (69, &Value::Null));
    assert!(report["haproxy"]["messages"][0].as_str().unwrap().starts_with("haproxy.path: "));
}

#[test]
fn a_wrong_command_line_ends_with_64_and_help_explains_the_exit_codes() {
    for line in [&["check"][..], &["render", "-c", "f", "--json"], &["check", "-c", "f", "--diff"], &["fly"]]
    {
        let said = said_of(command().args(line));
        assert_eq!((said.code, said.stdout.as_str()), (64, ""), "{line:?}");
    }
    for line in [&["--help"][..], &["check", "--help"], &["render", "--help"]] {
        let said = said_of(command().args(line));
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        assert!(
            said.stdout.contains("Exit codes:\n  0 ") && said.stdout.contains("\n  78  "),
            "{}",
            said.stdout
        );
    }
}

#[test]
fn a_list_of_services_that_does_not_come_is_waited_for_within_bounds_and_told() {
    let setup = quick(Setup::new()).zookeeper(&format!("127.0.0.1:{}", free_port()), "/services");
    let began = Instant::now();
    let text = said(&setup, &["check"]);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(text.code, 1);
    assert!(text.stderr.contains("ZooKeeper can't be reached"), "{}", text.stderr);
    assert!(text.stderr.contains("the list of services did not come within 1s"), "{}", text.stderr);
    let (code, report) = checked(&setup);
    assert_eq!((code, &report["registries"]["answered"]), (1, &json!(false)));
    assert_eq!(said(&setup, &["render"]).code, 1);
}

#[test]
fn who_waits_long_is_told_for_what() {
    let setup = Setup::new().section("safety", json!({"startup_timeout": "3s"}));
    for name in ["a", "b", "c", "d", "e"] {
        let silent = json!({"type": "file", "file": "/none/servers", "port": free_port()});
        setup.paths.write_service(name, &silent);
    }
    write_servers(&setup.paths, "good", free_port());
    let expected = "waiting for the registries of a, b, c and 2 more, 3s from the start at the longest (safety.startup_timeout)\n";
    for command in ["check", "render"] {
        let text = said(&setup, &[command]);
        assert_eq!((text.code, text.stderr.contains(expected)), (1, true), "{}", text.stderr);
    }
    let of_a_program = said(&setup, &["check", "--json"]);
    assert!(!of_a_program.stderr.contains("waiting"), "{}", of_a_program.stderr);
    let nowhere = setup.zookeeper(&format!("127.0.0.1:{}", free_port()), "/services");
    let text = said(&nowhere, &["check"]);
    assert!(text.stderr.contains("waiting for the list of services, 3s "), "{}", text.stderr);
}

#[test]
fn render_prints_what_run_writes_and_diff_tells_what_a_change_would_do() {
    let setup = Setup::new();
    let [web, api, new] = free_ports();
    write_servers(&setup.paths, "web", web);
    write_service_with(&setup.paths, "api", api, &json!({"server_options": "check inter 2000"}));
    let before = said(&setup, &["render", "--diff"]);
    assert!(before.stdout.contains("@@ -0,0 +1,"), "no file yet, so all of it is new: {}", before.stdout);

    let proxymgr = setup.start();
    proxymgr.wait_for_log(Duration::from_secs(10), "\"ready\"");
    let rendered = said(&setup, &["render"]);
    assert_eq!((rendered.code, rendered.stderr.as_str()), (0, ""));
    assert_eq!(rendered.stdout, fs::read_to_string(&setup.paths.haproxy_cfg).unwrap());
    let same = said(&setup, &["render", "--diff"]);
    assert_eq!((same.code, same.stdout.as_str()), (0, ""));
    assert_eq!(said(&setup, &["check"]).code, 0, "ports in use by run are no obstacle");
    assert!(proxymgr.end().success());

    write_servers(&setup.paths, "new", new);
    let differs = said(&setup, &["render", "--diff"]);
    assert_eq!(differs.code, 0);
    assert!(differs.stdout.starts_with(&format!("--- {}\n+++ ", setup.paths.haproxy_cfg.display())));
    assert!(
        differs.stdout.contains("\n+listen new\n") && !differs.stdout.contains("\n-"),
        "{}",
        differs.stdout
    );
}

#[test]
fn neither_leaves_a_trace() {
    let setup = Setup::new();
    write_servers(&setup.paths, "web", free_port());
    write_service_with(&setup.paths, "bad", free_port(), &json!({"listen_options": ["bogus"]}));
    fs::remove_dir(&setup.paths.state_dir).unwrap();
    fs::remove_dir(&setup.paths.runtime_dir).unwrap();
    let temporary = setup.paths.root.join("tmp");
    fs::create_dir(&temporary).unwrap();
    fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
    let before = everything_in(&setup.paths.root);
    for arguments in [&["check"][..], &["check", "--json"], &["render"], &["render", "--diff"]] {
        let mut command = command();
        command.args(arguments).arg("-c").arg(&setup.paths.proxymgr_yml).env("TMPDIR", &temporary);
        assert!(!said_of(&mut command).stdout.is_empty());
        assert_eq!(everything_in(&setup.paths.root), before, "{arguments:?}");
    }
}

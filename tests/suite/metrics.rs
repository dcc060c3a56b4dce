//! `/metrics`: what it counts, that Prometheus takes it, and that no count goes back.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use serde_json::json;

use super::http::{LOCALHOST, with_http};
use super::support::admin_http::{Answer, ask, fetch};
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::ports::free_ports;
use super::support::proc::Process;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_answer, wait_for_backends};
use super::support::running::{reloads, start};
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::Nodes;

/// Waits for metrics that `probe` likes; they are shared for half a second.
#[track_caller]
fn wait_for_metrics(port: u16, what: &str, probe: impl Fn(&Answer) -> bool) -> Answer {
    eventually(SOON, what, || {
        let metrics = fetch(port, "/metrics");
        if probe(&metrics) { Ok(metrics) } else { Err(metrics.body) }
    })
}

/// Feeds `text` to `promtool check metrics`, which also judges names.
#[track_caller]
fn assert_promtool_is_content(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool, of Debian's package prometheus");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn metrics_count_what_happens_and_promtool_finds_no_fault() {
    let ports @ [web, http] = free_ports();
    let (setup, backends, server) = with_http(Setup::new(), ports);
    let other = backends.start("b");
    let proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    let before = wait_for_metrics(http, "a process serves", |metrics| {
        metrics.count("proxymgr_haproxy_processes{state=\"serving\"}") == 1
    });
    assert_promtool_is_content(&before.body);
    for (name, value) in [
        ("proxymgr_ready", 1),
        ("proxymgr_haproxy_up", 1),
        ("proxymgr_reloads_total{reason=\"start\"}", 1),
        ("proxymgr_changes_total{kind=\"reload\",result=\"done\"}", 1),
        ("proxymgr_changes_total{kind=\"runtime\",result=\"done\"}", 0),
        ("proxymgr_propagation_seconds_count", 0),
        ("proxymgr_services{state=\"serving\"}", 1),
        ("proxymgr_services{state=\"refused\"}", 0),
        ("proxymgr_service_servers_in_rotation{service=\"web\"}", 1),
        ("proxymgr_service_serves{service=\"web\"}", 1),
        ("proxymgr_service_servers_up{service=\"web\"}", 1),
        ("proxymgr_haproxy_starts_total", 1),
    ] {
        assert_eq!(before.count(name), value, "{name} in {}", before.body);
    }
    assert!(before.sample("process_open_fds") > 5.0 && before.sample("process_resident_memory_bytes") > 1e6);
    let file = setup.paths.root.join("web.servers");
    write_in_one_step(&file, &format!("{}\n{}\n", server.address, other.address));
    setup.paths.write_service("bad", &json!({"type": "file", "file": file}));
    wait_for_backends(web, &["a", "b"]);
    let after = wait_for_metrics(http, "both are counted", |metrics| {
        metrics.count("proxymgr_server_changes_total{action=\"added\"}") == 1
            && metrics.count("proxymgr_services{state=\"refused\"}") == 1
    });
    assert_promtool_is_content(&after.body);
    assert_eq!(after.count("proxymgr_propagation_seconds_count"), 1);
    assert!(after.sample("proxymgr_propagation_seconds_sum") < 5.0);
    assert!(after.count("proxymgr_runtime_commands_total{result=\"done\"}") >= 2);
    assert!(after.count("proxymgr_runtime_commands_duration_seconds_count") >= 1);
    assert!(after.sample("proxymgr_registry_last_event_timestamp_seconds{registry=\"file\"}") > 1.7e9);
    let snapshot = wait_for_metrics(http, "the snapshot is written", |metrics| {
        metrics.body.contains("\nproxymgr_snapshot_written_timestamp_seconds ")
    });
    assert!(snapshot.sample("proxymgr_config_written_timestamp_seconds") > 1.7e9);

    let headers =
        format!("{LOCALHOST}Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    let open = ask(http, "GET /metrics", &headers).unwrap();
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(open.body.ends_with("\n# EOF\n") && open.body.contains("\n# TYPE proxymgr_changes counter\n"));

    proxymgr.haproxies()[0].signal(Signal::SIGKILL);
    wait_for_metrics(http, "its death is counted", |metrics| {
        metrics.count("proxymgr_haproxy_deaths_total") == 1
            && metrics.count("proxymgr_reloads_total{reason=\"crash\"}") == 1
    });
}

#[test]
fn servers_that_are_down_and_each_registrys_last_word_are_told() {
    let ports @ [web, http] = free_ports();
    let (setup, backends, server) = with_http(Setup::new(), ports);
    let zookeeper = ZookeeperServer::start();
    let [registered] = free_ports();
    let other = backends.start("b");
    let nodes = Nodes::of(&zookeeper);
    nodes.add("registered", &other);
    let definition = nodes.definition("registered", registered);
    setup.paths.write_service("registered", &definition);
    let file = setup.paths.root.join("web.servers");
    let checked =
        json!({"type": "file", "file": file, "port": web, "server_options": "check inter 50ms fall 1"});
    setup.paths.write_service("web", &checked);
    let _proxymgr = start(&setup);
    let last =
        format!("proxymgr_registry_last_event_timestamp_seconds{{registry=\"{}\"}}", zookeeper.address());
    let up = |metrics: &Answer| metrics.body.contains("\nproxymgr_service_servers_up{service=\"web\"} 1\n");
    let metrics = wait_for_metrics(http, "all is up", |metrics| up(metrics) && metrics.body.contains(&last));
    let before = metrics.sample(&last);
    let of_files = "proxymgr_registry_last_event_timestamp_seconds{registry=\"file\"}";
    assert!(before > 1.7e9 && metrics.sample(of_files) > 1.7e9, "{}", metrics.body);
    assert_promtool_is_content(&metrics.body);
    drop(server);
    nodes.remove("registered", &other);
    let metrics = wait_for_metrics(http, "one is down", |metrics| {
        metrics.count("proxymgr_service_servers_up{service=\"web\"}") == 0 && metrics.sample(&last) > before
    });
    assert_eq!(metrics.count("proxymgr_service_servers_in_rotation{service=\"web\"}"), 1);
}

#[test]
fn prometheus_itself_scrapes_it() {
    let ports @ [web, http] = free_ports();
    let (setup, _backends, _server) = with_http(Setup::new(), ports);
    let _proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    let [own] = free_ports();
    let config = format!(
        "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n- job_name: proxymgr\n  static_configs: [{{targets: ['127.0.0.1:{http}']}}]\n"
    );
    let config = setup.root_file("prometheus.yml", &config);
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", setup.paths.root.join("tsdb").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{own}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut prometheus = command.spawn().expect("prometheus, of Debian's package");
    let seen = eventually(SOON, "it has scraped", || {
        let answer = ask(own, "GET /api/v1/query?query=proxymgr_changes_total", LOCALHOST)?;
        if answer.status != 200 {
            return Err(answer.body);
        }
        let found = answer.json()["data"]["result"].as_array().map_or(0, Vec::len);
        let targets = ask(own, "GET /api/v1/targets", LOCALHOST)?.json();
        let target = targets["data"]["activeTargets"][0].clone();
        if found == 4 && target["health"] == "up" { Ok(target) } else { Err(format!("{found}, {target}")) }
    });
    let process = Process::of_child(&prometheus);
    process.signal(Signal::SIGKILL);
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    prometheus.wait().unwrap();
    assert_eq!(seen["lastError"], "");
}

#[test]
fn no_scrape_is_refused_and_no_count_goes_back_over_upgrades_and_reloads() {
    let ports @ [web, http] = free_ports();
    let (setup, backends, server) = with_http(Setup::new(), ports);
    let other = backends.start("b");
    let proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    let file = setup.paths.root.join("web.servers");
    write_in_one_step(&file, &format!("{}\n{}\n", server.address, other.address));
    wait_for_metrics(http, "it is counted", |metrics| {
        metrics.count("proxymgr_server_changes_total{action=\"added\"}") == 1
    });
    let stop = Arc::new(AtomicBool::new(false));
    let scraper = std::thread::spawn({
        let stop = stop.clone();
        move || {
            let (mut scrapes, mut changes) = (0_u32, 0);
            while !stop.load(Ordering::Relaxed) {
                for path in ["/metrics", "/readyz", "/livez"] {
                    let answer = fetch(http, path);
                    assert_eq!(answer.status, 200, "{path}: {answer:?}");
                    if path == "/metrics" {
                        let now = answer.count("proxymgr_changes_total{kind=\"runtime\",result=\"done\"}")
                            + answer.count("proxymgr_registry_events_total{event=\"servers\"}");
                        assert!(now >= changes, "{now} after {changes}");
                        changes = now;
                        scrapes += 1;
                    }
                }
            }
            scrapes
        }
    });
    for _ in 0..5 {
        assert_eq!(said(&setup.paths, &["upgrade"]).code, 0);
    }
    assert_eq!(said(&setup.paths, &["reload"]).code, 0);
    let after = wait_for_metrics(http, "the registry is heard", |metrics| {
        metrics.count("proxymgr_registry_events_total{event=\"listed\"}") >= 7
    });
    stop.store(true, Ordering::Relaxed);
    println!("{} scrapes during 6 replacements", scraper.join().unwrap());
    assert_eq!(after.count("proxymgr_server_changes_total{action=\"added\"}"), 1);
    assert_eq!(after.count("proxymgr_reloads_total{reason=\"start\"}"), 1);
    assert_eq!((reloads(&proxymgr).len(), after.count("proxymgr_haproxy_starts_total")), (1, 1));
}

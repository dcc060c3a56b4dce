//! The alert rules and the dashboard of packaging/monitoring: sound, and about metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::http::with_http;
use super::support::admin_http::fetch;
use super::support::deadline::eventually;
use super::support::ports::free_ports;
use super::support::proxymgr::output_of;
use super::support::proxymgr_setup::Setup;
use super::support::requests::SOON;
use super::support::running::start;
use super::support::zookeeper::ZookeeperServer;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring")
}

fn promtool(arguments: &[&str]) {
    let mut command = Command::new("promtool");
    let output = output_of(command.args(arguments).current_dir(directory()));
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

#[test]
fn the_alert_rules_are_sound_and_call_when_they_should() {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"]);
    promtool(&["test", "rules", "alerts-test.yml"]);
}

/// The words of a text that are names of metrics.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named = words.filter(|word| word.starts_with("proxymgr_") || word.starts_with("process_"));
    named.map(str::to_owned).collect()
}

/// All values of the key `expr`.
fn expressions(dashboard: &Value, found: &mut Vec<String>) {
    match dashboard {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_metric_that_is_looked_at_is_told() {
    let zookeeper = ZookeeperServer::start();
    let ports @ [_web, http] = free_ports();
    let (setup, _backends, _server) = with_http(Setup::new(), ports);
    // A service whose servers are in ZooKeeper, beside the one in a file.
    let [port] = free_ports();
    let registered = serde_json::json!({"type": "zookeeper", "server": zookeeper.address(), "path": "/none", "port": port});
    setup.paths.write_service("registered", &registered);
    let _proxymgr = start(&setup);
    let told = eventually(SOON, "a session is told", || {
        let metrics = fetch(http, "/metrics").body;
        if metrics.contains("\nproxymgr_registry_sessions{") && metrics.contains("state=\"connected\"} 1") {
            Ok(metrics_in(&metrics))
        } else {
            Err(metrics)
        }
    });
    let alerts = fs::read_to_string(directory().join("alerts.yml")).unwrap();
    let dashboard = fs::read_to_string(directory().join("grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let mut looked_at = Vec::new();
    expressions(&dashboard, &mut looked_at);
    assert!(looked_at.len() > 20, "{looked_at:?}");
    let alerting = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    looked_at.extend(alerting.map(str::to_owned));
    for expression in &looked_at {
        promtool_takes(expression);
        let unknown: Vec<_> = metrics_in(expression).difference(&told).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?} in {expression}");
    }
}

/// Grafana's variables apart.
fn promtool_takes(expression: &str) {
    let plain = expression.replace("$__rate_interval", "5m").replace("$instance", ".*");
    let directory = tempfile::tempdir().unwrap();
    let rules = serde_json::json!({"groups": [{"name": "x", "rules": [{"record": "x", "expr": plain}]}]});
    let file = directory.path().join("rules.yml");
    fs::write(&file, rules.to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

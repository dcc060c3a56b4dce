//! Services whose servers are containers: `type: docker`.

use serde_json::{Value, json};

use super::support::control::said;
use super::support::deadline::eventually;
use super::support::docker::Dockerd;
use super::support::load::Load;
use super::support::requests::SOON;
use super::support::running::{
    Server, assert_config_says_what_runs, in_rotation, reloads, start, wait_for_message,
};

const PORT: u16 = 8080;

fn definition(dockerd: &Dockerd, more: &Value) -> Value {
    let mut keys = json!({"type": "docker", "port": PORT, "docker_host": dockerd.host()});
    let more = more.as_object().unwrap().clone();
    keys.as_object_mut().unwrap().extend(more);
    keys
}

#[test]
fn containers_come_and_go_without_a_reload() {
    let dockerd = Dockerd::start();
    let setup = dockerd.setup();
    setup.paths.write_service("web", &definition(&dockerd, &json!({})));
    dockerd.run("one", &[("proxymgr.service", "web"), ("proxymgr.weight", "3"), ("PASSWORD", "hunter2")]);
    dockerd.run("other", &[("proxymgr.service", "other")]);
    let proxymgr = start(&setup);
    dockerd.wait_for_answers(PORT, &["one"]);
    dockerd.run("two", &[("SERVICE_NAME", "web")]);
    dockerd.run("three", &[("SERVICE_NAME", "web"), ("PORT", "8000"), ("LISTENS", "8000")]);
    dockerd.wait_for_answers(PORT, &["one", "two", "three"]);
    let at = format!("web/{}:80", dockerd.address("one", "bridge"));
    let why = said(&setup.paths, &["why", &at]);
    assert!(why.stdout.contains("container one (") && why.stdout.contains(&dockerd.host()), "{}", why.stdout);
    let weights: u16 = in_rotation(&setup.paths).iter().map(|server: &Server| server.weight).sum();
    assert_eq!(weights, 3 + 1 + 1);
    dockerd.stop("two");
    dockerd.wait_for_answers(PORT, &["one", "three"]);
    dockerd.start_container("two");
    dockerd.wait_for_answers(PORT, &["one", "two", "three"]);
    // A paused container would take requests and never answer.
    dockerd.must("POST", "/containers/two/pause", b"");
    eventually(SOON, "two of them are left", || match in_rotation(&setup.paths).len() {
        2 => Ok(()),
        other => Err(other),
    });
    dockerd.wait_for_answers(PORT, &["one", "three"]);
    dockerd.must("POST", "/containers/two/unpause", b"");
    dockerd.remove("three");
    dockerd.wait_for_answers(PORT, &["one", "two"]);
    assert_eq!(reloads(&proxymgr).len(), 1, "{:?}", reloads(&proxymgr));
    assert_config_says_what_runs(&setup.paths);
    assert!(!proxymgr.log().contains("hunter2"), "the environment of a container is in the log");
}

#[test]
fn a_container_is_reached_in_a_chosen_network_or_by_its_published_port() {
    let dockerd = Dockerd::start();
    let setup = dockerd.setup();
    dockerd.must("POST", "/networks/create", br#"{"Name": "front"}"#);
    let bound = json!({"80/tcp": [{"HostIp": "", "HostPort": "18080"}]});
    let words = [("SERVICE_NAME", "web"), ("SERVICE_TAGS", "rest,v1"), ("SERVICE_ZONE", "a")];
    dockerd.run_with("web", &words, &json!({"HostConfig": {"PortBindings": bound}}));
    let services = [
        ("inside", json!({"service": "web"})),
        ("front", json!({"service": "web", "network": "front", "port": 8081, "tags": ["rest"]})),
        ("outside", json!({"service": "web", "published": true, "port": 8082, "filter": {"zone": "a"}})),
        ("nobody", json!({"service": "web", "port": 8083, "tags": ["v2"]})),
    ];
    for (name, more) in &services {
        setup.paths.write_service(name, &definition(&dockerd, more));
    }
    let proxymgr = start(&setup);
    let reason = wait_for_message(&proxymgr, "no address in the network 'front'");
    assert!(reason.says("server entry skipped") && reason.says("front"), "{reason:?}");
    dockerd.wait_for_answers(PORT, &["web"]);
    dockerd.wait_for_answers(8082, &["web"]);
    dockerd.must("POST", "/networks/front/connect", br#"{"Container": "web"}"#);
    dockerd.wait_for_answers(8081, &["web"]);
    // In two networks now, and nothing says which one is meant: that is no loss of a server.
    wait_for_message(&proxymgr, "several networks");
    dockerd.wait_for_answers(PORT, &["web"]);
    let at: Vec<_> = in_rotation(&setup.paths).into_iter().map(|server| server.name).collect();
    let own = |network: &str| format!("{}:80", dockerd.address("web", network));
    assert_eq!(at, [own("front"), own("bridge"), "127.0.0.1:18080".to_owned()], "by service");
}

#[test]
fn a_container_that_is_not_well_leaves_under_load_until_it_is() {
    let dockerd = Dockerd::start();
    let setup = dockerd.setup();
    setup.paths.write_service("web", &definition(&dockerd, &json!({})));
    dockerd.run("well", &[("SERVICE_NAME", "web")]);
    let check = json!({"Test": ["CMD", "test", "-e", "/well"], "Interval": 200_000_000, "Retries": 1});
    dockerd.run_with("checked", &[("SERVICE_NAME", "web")], &json!({"Healthcheck": check}));
    let proxymgr = start(&setup);
    wait_for_message(&proxymgr, "its own health check says that it is unhealthy");
    dockerd.wait_for_answers(PORT, &["well"]);
    let load = Load::to(dockerd.reached(PORT)).short(4).keep_alive(2).rate(200).start();
    for _ in 0..5 {
        dockerd.execute("checked", &["touch", "/well"]);
        dockerd.wait_for_answers(PORT, &["well", "checked"]);
        dockerd.execute("checked", &["rm", "/well"]);
        dockerd.wait_for_answers(PORT, &["well"]);
    }
    let report = load.stop();
    report.assert_no_errors();
    assert!(report.by_backend["checked"] > 0, "{:?}", report.by_backend);
    assert_eq!(reloads(&proxymgr).len(), 1);
}

#[test]
fn what_a_container_says_harms_no_other() {
    let dockerd = Dockerd::start();
    let setup = dockerd.setup();
    setup.paths.write_service("web", &definition(&dockerd, &json!({})));
    dockerd.run("good", &[("SERVICE_NAME", "web")]);
    let heavy = "x".repeat(4 * 1024 * 1024);
    let bad: [(&str, &[(&str, &str)]); 7] = [
        ("no-port", &[("proxymgr.service", "web"), ("proxymgr.port", "99999")]),
        ("port-by-link", &[("SERVICE_NAME", "web"), ("PORT", "tcp://10.0.0.1:80")]),
        ("heavy", &[("proxymgr.service", "web"), ("proxymgr.weight", "257")]),
        ("odd-name", &[("proxymgr.service", "we\nb server x 1.2.3.4:80"), ("SERVICE_NAME", "\u{1b}[31m")]),
        (
            "odd-keys",
            &[("proxymgr.", "x"), ("proxymgr.80.", "x"), ("SERVICE__NAME", "x"), ("SERVICE_80_", "")],
        ),
        ("long-label", &[("proxymgr.service", "web"), ("proxymgr.route.path", &heavy)]),
        ("lost", &[("proxymgr.service", "web"), ("proxymgr.network", "no\u{202e}where")]),
    ];
    for (name, words) in bad {
        dockerd.run(name, words);
    }
    let proxymgr = start(&setup);
    for reason in [
        "the label proxymgr.port is '99999'; it must be 1 to 65535",
        "the variable PORT is 'tcp://10.0.0.1:80'; it must be 1 to 65535",
        "its label proxymgr.weight is '257'; it must be 0 to 256",
        "no address in the network 'no\\u{202e}where'",
    ] {
        wait_for_message(&proxymgr, reason);
    }
    // What is too long of a container is as if it weren't there.
    dockerd.wait_for_answers(PORT, &["good", "long-label"]);
    dockerd.run("late", &[("SERVICE_NAME", "web")]);
    dockerd.wait_for_answers(PORT, &["good", "long-label", "late"]);
    let log = proxymgr.log();
    assert!(!log.contains("panicked") && !log.contains("following the containers failed"), "{log}");
    assert_config_says_what_runs(&setup.paths);
}

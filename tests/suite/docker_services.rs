//! Services that containers define: `service_config: {type: docker}`.

use std::time::{Duration, Instant};

use serde_json::json;

use super::support::control::said;
use super::support::deadline::eventually;
use super::support::docker::Dockerd;
use super::support::load::Load;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, get, wait_for_refusal};
use super::support::routed::who_at;
use super::support::running::{reloads, start, wait_for_message};

fn setup(dockerd: &Dockerd) -> Setup {
    dockerd.setup().section("service_config", json!({"type": "docker", "docker_host": dockerd.host()}))
}

#[test]
fn containers_define_services_by_their_labels() {
    let dockerd = Dockerd::start();
    let setup = setup(&dockerd);
    dockerd.run(
        "web-1",
        &[
            ("proxymgr.service", "web"),
            ("proxymgr.listen_port", "8080"),
            ("proxymgr.server_options", "check inter 500"),
            ("proxymgr.listen_options", "option httpchk GET /\nhttp-response set-header x-a b"),
        ],
    );
    dockerd.run("nobody", &[("SERVICE_NAME", "nobody")]);
    dockerd.run(
        "wrong",
        &[("proxymgr.service", "wrong"), ("proxymgr.listen_options", "errorfile 503 /etc/shadow")],
    );
    let proxymgr = start(&setup);
    dockerd.wait_for_answers(8080, &["web-1"]);
    let refused = wait_for_message(&proxymgr, "'errorfile' is not allowed");
    assert!(refused.says("\\\"port\\\" is missing") || refused.says("\"port\" is missing"), "{refused:?}");
    assert!(!proxymgr.log().contains("nobody"), "who defines nothing is left to other sources");
    let config = std::fs::read_to_string(&setup.paths.haproxy_cfg).unwrap();
    assert!(
        config.contains("http-response set-header x-a b") && config.contains("check inter 500"),
        "{config}"
    );

    let check = said(&setup.paths, &["check"]);
    assert!(check.stdout.contains("2 services (1 ok, 1 refused), 1 server"), "{check:?}");

    // The older container's word counts.
    dockerd.run("web-2", &[("proxymgr.service", "web"), ("proxymgr.listen_port", "8081")]);
    dockerd.wait_for_answers(8080, &["web-1", "web-2"]);
    wait_for_message(&proxymgr, "otherwise than an older one");
    let before = reloads(&proxymgr).len();
    dockerd.stop("web-1");
    dockerd.wait_for_answers(8081, &["web-2"]);
    assert_eq!(reloads(&proxymgr).len(), before + 1, "its port is another now");
}

#[test]
fn containers_share_a_frontend_by_their_labels_or_by_cosmonauts_variables() {
    let dockerd = Dockerd::start();
    let source = json!({"type": "docker", "docker_host": dockerd.host(), "frontend": "http-in"});
    let frontends = json!({"http-in": {"bind": "*:8080"}});
    let setup = dockerd.setup().section("service_config", source).section("frontends", frontends);
    let routed = |name: &str, path: &str| {
        let route = [("proxymgr.route.path", path), ("proxymgr.route.strip_prefix", "true")];
        dockerd.run(name, &[&[("proxymgr.service", name)][..], &route].concat());
    };
    let wait_for = |host: &str, path: &str, name: &str| {
        let what = format!("{host}{path} is answered by {name}");
        eventually(SOON, &what, || match who_at(dockerd.reached(8080), host, path) {
            answer if answer == name => Ok(()),
            other => Err(other),
        });
    };
    routed("v1", "/hello/v1");
    let words =
        [("SERVICE_NAME", "shop"), ("PREDICATE", "shop.example"), ("CONFIG_MODE", "host"), ("COOKIE", "SRV")];
    dockerd.run("shop", &words);
    let _proxymgr = start(&setup);
    wait_for("a.example", "/hello/v1", "v1");
    wait_for("shop.example", "/", "shop");
    routed("v2", "/hello/v2");
    wait_for("a.example", "/hello/v2/", "v2");
    wait_for("a.example", "/hello/v1", "v1");
    wait_for("a.example", "/hello/v3", "404");
    wait_for("a.example", "/hello/v12", "404");
    let config = std::fs::read_to_string(&setup.paths.haproxy_cfg).unwrap();
    assert!(config.contains("cookie SRV "), "{config}");
}

#[test]
fn a_service_outlives_the_restart_of_its_only_container() {
    let dockerd = Dockerd::start();
    let setup = setup(&dockerd);
    let words = [("proxymgr.service", "web"), ("proxymgr.listen_port", "8080"), ("LINGERS", "0")];
    dockerd.run("web", &words);
    dockerd.run("other", &[("proxymgr.service", "other"), ("proxymgr.listen_port", "8081")]);
    let proxymgr = start(&setup);
    dockerd.wait_for_answers(8080, &["web"]);
    let before = reloads(&proxymgr).len();
    dockerd.must("POST", "/containers/web/restart?t=20", b"");
    dockerd.wait_for_answers(8080, &["web"]);
    dockerd.remove("web");
    // Still listening; then it is gone for good.
    let answer = get(dockerd.reached(8080)).unwrap_err();
    assert!(!answer.contains("connect:"), "{answer}");
    eventually(Duration::from_secs(60), "its port is closed", || {
        get(dockerd.reached(8080))
            .map_or_else(|error| if error.contains("connect:") { Ok(()) } else { Err(error) }, Err)
    });
    wait_for_refusal(dockerd.reached(8080));
    dockerd.wait_for_answers(8081, &["other"]);
    assert_eq!(reloads(&proxymgr).len(), before);
}

#[test]
fn one_of_several_daemons_that_is_away_holds_up_the_others_only_for_a_while() {
    let dockerd = Dockerd::start();
    let away = "unix:///run/nobody.sock";
    let source = json!({"type": "docker", "docker_host": [away, dockerd.host()], "network": "bridge"});
    let setup = dockerd.setup().section("service_config", source);
    dockerd.run("web", &[("proxymgr.service", "web"), ("proxymgr.listen_port", "8080")]);
    let proxymgr = setup.start();
    wait_for_message(&proxymgr, "following the containers failed");
    eventually(Duration::from_secs(60), "it is done without", || get(dockerd.reached(8080)));
    // Once, not for each change or service.
    let since = Instant::now();
    dockerd.run("late", &[("proxymgr.service", "web"), ("proxymgr.listen_port", "8080")]);
    dockerd.wait_for_answers(8080, &["web", "late"]);
    dockerd.run("new", &[("proxymgr.service", "new"), ("proxymgr.listen_port", "8081")]);
    dockerd.wait_for_answers(8081, &["new"]);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
    let at = format!("web/{}:80", dockerd.address("late", "bridge"));
    let why = said(&setup.paths, &["why", &at]).stdout;
    assert!(why.contains(&format!("docker {} container late (", dockerd.host())), "{why}");
    let status = said(&setup.paths, &["status"]).stdout;
    assert!(status.contains(&format!("No connection with Docker {away} since ")), "{status}");
    assert!(status.contains(&format!("Connected with Docker {}", dockerd.host())), "{status}");
}

#[test]
fn a_daemon_that_is_away_at_the_start_is_found_later() {
    let dockerd = Dockerd::start();
    let setup = setup(&dockerd);
    dockerd.run("web", &[("proxymgr.service", "web"), ("proxymgr.listen_port", "8080")]);
    dockerd.kill();
    let proxymgr = setup.start();
    let told = wait_for_message(&proxymgr, "following the containers failed");
    assert!(told.says("check docker_host"), "{told:?}");
    dockerd.come_back();
    dockerd.wait_for_answers(8080, &["web"]);
    // It goes again, and nobody notices.
    let load = Load::to(dockerd.reached(8080)).short(2).rate(100).start();
    dockerd.kill();
    eventually(SOON, "a second of it", || if load.so_far().successes > 100 { Ok(()) } else { Err(()) });
    load.stop().assert_no_errors();
}

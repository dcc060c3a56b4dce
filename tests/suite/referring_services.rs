//! Services whose lines refer to others, which come late and go early.

use serde_json::json;

use super::support::backend::Backends;
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::free_ports;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, local, wait_for_answer, wait_for_refusal};
use super::support::running::{assert_config_says_what_runs, start, wait_for_message};

#[test]
fn a_service_may_refer_to_one_that_comes_later_and_goes_early_under_load() {
    let setup = Setup::new().section("reload", json!({"min_interval": "10ms"}));
    let (backends, [web, api, new]) = (Backends::new(), free_ports());
    let [one, own, other] = ["one", "own", "other"].map(|name| backends.start(name));
    let paths = &setup.paths;
    let define_api = |lines: &[&str]| {
        let definition = json!({"type": "static", "default_servers": [own.address.to_string()], "port": api, "listen_options": lines});
        paths.write_service("api", &definition);
    };
    define_api(&["mode http", "use_backend web"]);
    paths.write_file_service("new", new, &[other.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for_answer(local(new), "other");
    wait_for_message(
        &proxymgr,
        "service api is refused, it does not serve: HAProxy says: Proxy 'api': unable to find required use_backend: 'web'",
    );
    paths.write_file_service("web", web, &[one.address.to_string()]);
    wait_for_answer(local(api), "one");

    let load = Load::to(local(api)).short(4).rate(400).start();
    std::fs::remove_file(paths.services.join("web.json")).unwrap();
    let told = wait_for_message(
        &proxymgr,
        "service web is gone, but service api refers to it: it stays without its addresses",
    );
    assert_eq!(told.level, "WARN", "{told:?}");
    wait_for_refusal(local(web));
    // Others go ahead, also where it listened.
    paths.write_file_service("new", web, &[other.address.to_string()]);
    wait_for_answer(local(web), "other");
    let status = said(paths, &["status", "web", "--json"]).json();
    let problem = status["services"][0]["problems"][0].as_str().unwrap().to_owned();
    assert!(problem.contains("service api refers to it"), "{status}");
    wait_for_answer(local(api), "one");
    load.stop().assert_no_errors();
    assert_config_says_what_runs(paths);

    define_api(&["mode http"]);
    wait_for_answer(local(api), "own");
    eventually(SOON, "nothing is left of it", || {
        let text = std::fs::read_to_string(&paths.haproxy_cfg).unwrap();
        if text.contains("listen web") { Err(text) } else { Ok(()) }
    });
    assert_config_says_what_runs(paths);
}

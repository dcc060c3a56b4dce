//! Services and servers in Consul: its catalog, its checks, its keys.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::backend::Backends;
use super::support::consul::{ConsulServer, Instance};
use super::support::control::said;
use super::support::ports::free_ports;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{local, wait_for_backends, wait_for_refusal};
use super::support::running::{in_rotation, start, wait_for_message};

fn definition(consul: &ConsulServer, port: u16) -> Value {
    json!({"type": "consul", "server": consul.address(), "service": "web", "port": port})
}

fn register(consul: &ConsulServer, id: &str, address: SocketAddr, more: Value) {
    consul.register(&Instance { service: "web", id, address }, more);
}

#[test]
fn instances_come_and_go_by_their_registration_and_their_checks() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let [port] = free_ports();
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    consul.add("web", "one", &one);
    let setup = Setup::new();
    setup.paths.write_service("web", &definition(&consul, port));
    let proxymgr = start(&setup);
    wait_for_backends(port, &["one"]);
    consul.add("web", "two", &two);
    wait_for_backends(port, &["one", "two"]);
    consul.check("two", "fail");
    wait_for_backends(port, &["one"]);
    consul.check("two", "pass");
    wait_for_backends(port, &["one", "two"]);
    consul.put("/v1/agent/service/maintenance/one?enable=true", "");
    wait_for_backends(port, &["two"]);
    consul.put("/v1/agent/service/maintenance/one?enable=false", "");
    consul.remove("two");
    wait_for_backends(port, &["one"]);
    // The last one gone is an empty answer: kept, and told.
    consul.check("one", "fail");
    wait_for_message(&proxymgr, "on_empty");
    wait_for_backends(port, &["one"]);
    assert_eq!(proxymgr.reloads(), 1);
}

#[test]
fn tags_labels_and_consuls_filter_choose_and_weights_are_taken() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let [tagged, labelled, filtered, all] = free_ports();
    let [one, two, three] = ["one", "two", "three"].map(|name| backends.start(name));
    let weights = |weight: u16| json!({"Passing": weight, "Warning": 0});
    register(
        &consul,
        "one",
        one.address,
        json!({"Tags": ["blue", "v1"], "Meta": {"az": "a"}, "Weights": weights(5)}),
    );
    register(
        &consul,
        "two",
        two.address,
        json!({"Tags": ["blue"], "Meta": {"az": "b"}, "Weights": weights(9)}),
    );
    register(&consul, "three", three.address, json!({"Meta": {"az": "c"}}));
    consul.put("/v1/agent/service/maintenance/three?enable=true", "");
    let setup = Setup::new();
    for (name, port, more) in [
        ("tagged", tagged, json!({"tags": ["blue", "v1"]})),
        ("labelled", labelled, json!({"filter": {"az": ["b"]}})),
        (
            "filtered",
            filtered,
            json!({"filter": "Service.Meta.az == a or Service.Meta.az == b", "near": "_agent"}),
        ),
        ("all", all, json!({"passing_only": false})),
    ] {
        let mut of = definition(&consul, port);
        of.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        setup.paths.write_service(name, &of);
    }
    let proxymgr = start(&setup);
    wait_for_backends(tagged, &["one"]);
    wait_for_backends(labelled, &["two"]);
    wait_for_backends(filtered, &["one", "two"]);
    // In maintenance: it drains, where it is taken at all.
    wait_for_backends(all, &["one", "two"]);
    let weights: BTreeSet<_> = in_rotation(&proxymgr.paths)
        .into_iter()
        .filter(|server| server.service == "all")
        .map(|server| (server.name, server.weight))
        .collect();
    let expected =
        [(&one, 5), (&two, 9), (&three, 0)].map(|(backend, weight)| (backend.address.to_string(), weight));
    assert_eq!(weights, BTreeSet::from(expected));
}

#[test]
fn where_a_server_comes_from_is_told() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let [port] = free_ports();
    let one = backends.start("one");
    consul.add("web", "one", &one);
    let setup = Setup::new();
    setup.paths.write_service("web", &definition(&consul, port));
    let _proxymgr = start(&setup);
    wait_for_backends(port, &["one"]);
    let said = said(&setup.paths, &["why", &format!("web/{}", one.address)]).stdout;
    assert!(said.contains(&format!("consul {} service web, instance alone/one", consul.address())), "{said}");
}

#[test]
fn keys_hold_definitions_and_what_consul_section_says_holds_for_watchers() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let [web, api, late] = free_ports();
    let one = backends.start("one");
    consul.add("web", "one", &one);
    let define = |port: u16| json!({"type": "consul", "service": "web", "port": port}).to_string();
    let setup = Setup::new()
        .section("consul", json!({"servers": [consul.address()]}))
        .section("service_config", json!({"type": "consul", "path": "/proxy/services/"}));
    let proxymgr = setup.start();
    wait_for_message(&proxymgr, "no key lies below the folder");
    consul.write("proxy/services/web", &define(web));
    wait_for_backends(web, &["one"]);
    consul.write("proxy/services/eu/api", &define(api));
    wait_for_backends(api, &["one"]);
    consul.write("proxy/services/late", "{");
    wait_for_message(&proxymgr, "definition refused");
    consul.write("proxy/services/late", &define(late));
    wait_for_backends(late, &["one"]);
    consul.delete("proxy/services/late");
    wait_for_refusal(local(late));
    // All gone at once is no order to stop everything.
    consul.delete("proxy/services?recurse");
    // Consul's index may stay where it is, and the question waits for its time.
    proxymgr.wait_for_log(Duration::from_secs(60), "as if it had lost its data");
    wait_for_backends(web, &["one"]);
    wait_for_backends(api, &["one"]);
}

#[test]
fn services_of_the_catalog_with_a_tag_are_made_from_a_template() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let [web, api, moved] = free_ports();
    let [one, two, other] = ["one", "two", "other"].map(|name| backends.start(name));
    let rest = |port: u16| json!({"Tags": ["rest", "mode=http"], "Meta": {"proxy_port": port.to_string()}});
    let add = |service: &str, id: &str, address: SocketAddr, more: Value| {
        consul.register(&Instance { service, id, address }, more);
    };
    add("web", "one", one.address, rest(web));
    add("other", "other", other.address, json!({"Meta": {"proxy_port": api.to_string()}}));
    let template = json!({"port": "${meta.proxy_port}", "listen_options": ["mode ${tag.mode}", "http-request set-header X-Service ${name}"]});
    let catalog = json!({"tag": "rest", "template": template});
    let setup = Setup::new().section(
        "service_config",
        json!({"type": "consul", "servers": consul.address(), "catalog": catalog}),
    );
    let proxymgr = start(&setup);
    wait_for_backends(web, &["one"]);
    // A second service, and one whose metadata would break out of its line.
    add("api", "two", two.address, rest(api));
    wait_for_backends(api, &["two"]);
    let evil = json!({"Tags": ["rest", "mode=http\n  stats enable"], "Meta": {"proxy_port": "1"}});
    add("evil", "evil", other.address, evil);
    wait_for_message(&proxymgr, "definition refused");
    // Its metadata change: the service moves. An instance without the tag is none of its servers.
    add("api", "two", two.address, rest(moved));
    wait_for_backends(moved, &["two"]);
    wait_for_refusal(local(api));
    add("web", "plain", other.address, json!({}));
    consul.remove("two");
    wait_for_refusal(local(moved));
    wait_for_backends(web, &["one"]);
    let config = std::fs::read_to_string(&setup.paths.haproxy_cfg).unwrap();
    assert!(!config.contains("stats enable") && config.contains("X-Service web"), "{config}");
}

#[test]
fn a_refused_question_is_told_and_harms_no_other_service() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let [good, bad] = free_ports();
    let one = backends.start("one");
    consul.add("web", "one", &one);
    let setup = Setup::new().section("safety", json!({"startup_timeout": "1s"}));
    setup.paths.write_service("good", &definition(&consul, good));
    let mut of = definition(&consul, bad);
    of["filter"] = json!("no filter (");
    setup.paths.write_service("bad", &of);
    let proxymgr = setup.start();
    wait_for_backends(good, &["one"]);
    let line = wait_for_message(&proxymgr, "watching the servers failed");
    assert_eq!(line.fields["service"], "bad", "{line:?}");
    assert!(line.says("check dc, near and filter"), "{line:?}");
}

#[test]
fn bad_values_of_proxymgr_yml_are_told_with_their_place_and_without_the_token() {
    let setup = Setup::new();
    let check = |service_config: Value| {
        let yaml = setup.clone().section("service_config", service_config).yaml();
        std::fs::write(&setup.paths.proxymgr_yml, yaml).unwrap();
        let said = said(&setup.paths, &["check"]);
        said.stdout + &said.stderr
    };
    for (source, told) in [
        (json!({"type": "consul"}), "service_config.path: is missing"),
        (json!({"type": "consul", "path": "a", "servers": "http://a"}), "must be without http://"),
        (
            json!({"type": "consul", "path": "a", "catalog": {"tag": "x", "template": {}}}),
            "can't stand beside catalog",
        ),
        (json!({"type": "consul", "catalog": {"template": {}}}), "service_config.catalog.tag: is missing"),
        (
            json!({"type": "consul", "catalog": {"tag": "x", "template": {"port": "${meta.}"}}}),
            "'${meta.}' is unknown",
        ),
        (
            json!({"type": "consul", "path": "a", "token": "hunter2 x"}),
            "service_config.token: is empty or holds blanks",
        ),
        (json!({"type": "consul", "path": "a", "token": "file:hunter2"}), "must name the file in full"),
        (json!({"type": "consul", "path": "a", "max_stale": "2"}), "service_config.max_stale"),
        (
            json!({"type": "consul", "path": "a", "tls": {"server_name": "a"}}),
            "service_config.tls.ca: is missing",
        ),
    ] {
        let said = check(source);
        assert!(said.contains(told) && !said.contains("hunter2"), "{told}: {said}");
    }
}

#[test]
fn the_status_tells_which_consul_a_service_is_found_in() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let [port] = free_ports();
    consul.add("web", "one", &backends.start("one"));
    let setup = Setup::new().section("consul", json!({"servers": consul.address()}));
    setup.paths.write_service("web", &json!({"type": "consul", "service": "web", "port": port}));
    let _proxymgr = start(&setup);
    let said = said(&setup.paths, &["status", "web", "--json"]).stdout;
    assert!(said.contains("Consul, service web"), "{said}");
}

//! Services that share a frontend by host and path.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::backend::{Backends, Behaviour};
use super::support::deadline::eventually;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::{command, output_of};
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, local, wait_for_backends, wait_for_refusal};
use super::support::routed::{ask, ask_with, path, setup, wait_for, who, write};
use super::support::running::{assert_config_says_what_runs, start, wait_for_message};

fn told(setup: &Setup, words: &[&str]) -> String {
    let output = output_of(command().args(words).arg("-c").arg(&setup.paths.proxymgr_yml));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_request_goes_where_its_host_and_the_longest_path_lead() {
    let ((setup, port), backends) = (setup(Some("rest")), Backends::new());
    let servers = ["root", "hello", "v1", "host", "deep", "wild", "rest"].map(|name| backends.start(name));
    for server in &servers {
        server.behave(Behaviour::Echo);
    }
    let routes = [
        ("root", path("/shared")),
        ("hello", path("/hello")),
        ("v1", json!({"frontend": "http-in", "path": "/hello/v1", "strip_prefix": true})),
        ("host", json!({"frontend": "http-in", "host": "A.example"})),
        (
            "deep",
            json!([{"frontend": "http-in", "host": "a.example", "path": "/x/y/z/", "strip_prefix": true}]),
        ),
        ("wild", json!({"frontend": "http-in", "host": "*.example", "path": "/hello"})),
    ];
    for ((name, route), server) in routes.iter().zip(&servers) {
        write(&setup.paths, name, route, &[&server.address.to_string()]);
    }
    setup.paths.write_file_service("rest", free_port(), &[servers[6].address.to_string()]);
    let proxymgr = start(&setup);
    eventually(SOON, "all routes are there", || match who(port, "b.example", "/hello") {
        answer if answer == "wild /hello" => Ok(()),
        other => Err(other),
    });
    for (host, path, expected) in [
        ("test", "/", "rest /"),
        ("test", "/hello", "hello /hello"),
        ("test", "/hello/", "hello /hello/"),
        ("test", "/hello?a=/hello/v1/", "hello /hello?a=/hello/v1/"),
        ("test", "/hello2", "rest /hello2"),
        ("test", "/HELLO", "rest /HELLO"),
        ("test", "/hello/v1", "v1 /"),
        ("test", "/hello/v1/", "v1 /"),
        ("test", "/hello/v1/x//y?q=1", "v1 /x//y?q=1"),
        ("test", "/hello/v10", "hello /hello/v10"),
        // The host goes first, whatever the paths.
        ("a.example", "/hello/v1", "host /hello/v1"),
        ("A.EXAMPLE.:8080", "/", "host /"),
        ("a.example", "/x/y/z/1/2", "deep /1/2"),
        ("a.example", "/x/y/", "host /x/y/"),
        ("b.example", "/hello/v1", "wild /hello/v1"),
        ("b.example", "/shared", "root /shared"),
        ("c.b.example", "/hello/v1/", "v1 /"),
        ("example", "/hello", "hello /hello"),
        ("[::1]:80", "/hello", "hello /hello"),
        // As it would be read.
        ("test", "/%68ello/%76%31/a%20b", "v1 /a%20b"),
        ("test", "/hello%2Fv1/x", "rest /hello%2Fv1/x"),
        ("test", "/hello/%zz", "hello /hello/%zz"),
        ("test", "//hello", "rest //hello"),
        ("test", "/hello//v1/", "hello /hello//v1/"),
        ("test", "/hello/..x/.y", "hello /hello/..x/.y"),
        ("test", "/hello/../shared", "400"),
        ("test", "/hello/%2e%2E", "400"),
        ("test", "/./hello", "400"),
        ("!", "/x", "rest /x"),
    ] {
        assert_eq!(who(port, host, path), expected, "{host} {path}");
    }
    assert_eq!(ask_with(port, "/hello/v1/x", "").body, "v1 /x", "without a host");
    let status = told(&setup, &["status"]);
    assert!(
        status.contains("  http-in:a.example/x/y/z\n") && status.contains("  http-in:/hello/v1\n"),
        "{status}"
    );
    let why = told(&setup, &["why", "v1"]);
    assert!(why.contains("at http-in:/hello/v1"), "{why}");
    assert_config_says_what_runs(&setup.paths);
    drop(proxymgr);
}

#[test]
fn what_nobody_has_a_route_for_is_not_found() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let server = backends.start("web");
    write(&setup.paths, "web", &path("/web"), &[&server.address.to_string()]);
    let _proxymgr = start(&setup);
    wait_for(port, "/web/x", "web");
    wait_for(port, "/other", "404");
}

#[test]
fn the_first_to_hold_a_route_keeps_it_also_over_a_restart() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let servers = ["first", "second"].map(|name| backends.start(name));
    write(&setup.paths, "zoo", &path("/a"), &[&servers[0].address.to_string()]);
    let proxymgr = start(&setup);
    wait_for(port, "/a", "first");
    // It comes first in each list.
    write(&setup.paths, "ant", &json!([path("/a"), path("/b")]), &[&servers[1].address.to_string()]);
    wait_for_message(&proxymgr, "the route http-in:/a belongs to the service zoo");
    assert_eq!(who(port, "test", "/b"), "404", "a definition goes ahead as a whole");
    assert_eq!(proxymgr.end().code(), Some(0));
    let proxymgr = start(&setup);
    wait_for(port, "/a", "first");
    assert_eq!(who(port, "test", "/b"), "404");
    // It is not its own for ever.
    setup.paths.remove_service("zoo");
    wait_for(port, "/a", "second");
    wait_for(port, "/b", "second");
    eventually(SOON, "the obstacle is gone", || match told(&setup, &["status"]) {
        status if !status.contains("belongs to the service") => Ok(()),
        status => Err(status),
    });
    drop(proxymgr);
}

#[test]
fn only_frontends_of_proxymgr_yml_have_routes_and_keep_their_addresses_and_names() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let server = backends.start("web");
    let address = server.address.to_string();
    write(&setup.paths, "web", &path("/"), &[&address]);
    write(&setup.paths, "stranger", &json!({"frontend": "http-out"}), &[&address]);
    write(&setup.paths, "http-in", &path("/x"), &[&address]);
    setup.paths.write_file_service("thief", port, &[address]);
    let proxymgr = start(&setup);
    wait_for(port, "/", "web");
    for told in [
        "its route names the frontend http-out, which is not in proxymgr.yml",
        "a section of proxymgr.yml has this name",
        "belongs to the frontend http-in of proxymgr.yml",
    ] {
        wait_for_message(&proxymgr, told);
    }
    assert!(!fs::read_to_string(&setup.paths.haproxy_cfg).unwrap().contains("stranger"));
}

#[test]
fn a_client_with_a_cookie_stays_with_its_server() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let servers = ["a", "b", "c"].map(|name| backends.start(name));
    let addresses = servers.each_ref().map(|server| server.address.to_string());
    let define = |addresses: &[String]| {
        let definition =
            json!({"type": "static", "default_servers": addresses, "route": path("/"), "cookie": "SRV"});
        setup.paths.write_service("web", &definition);
    };
    define(&addresses[..2]);
    let proxymgr = start(&setup);
    wait_for_backends(port, &["a", "b"]);
    let first = ask(port, "test", "/");
    let cookie = first.head.to_lowercase();
    let cookie =
        cookie.split("set-cookie: srv=").nth(1).expect("a cookie").split(';').next().unwrap().to_owned();
    assert_eq!(cookie.len(), 16, "{cookie}");
    let stays = || {
        let headers = format!("Host: test\r\nCookie: SRV={cookie}\r\n");
        let answers: BTreeSet<_> = (0..12).map(|_| ask_with(port, "/", &headers).body).collect();
        assert_eq!(answers, BTreeSet::from([first.body.clone()]));
    };
    stays();
    define(&addresses);
    wait_for_backends(port, &["a", "b", "c"]);
    stays();
    // The secret outlives the program.
    assert_eq!(proxymgr.end().code(), Some(0));
    let proxymgr = start(&setup);
    wait_for_backends(port, &["a", "b", "c"]);
    stays();
    drop(proxymgr);
}

#[test]
fn a_frontend_whose_address_is_taken_holds_up_nobody_else() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let (server, [plain, late]) = (backends.start("web"), free_ports());
    let address = server.address.to_string();
    write(&setup.paths, "web", &path("/"), &[&address]);
    setup.paths.write_file_service("plain", plain, std::slice::from_ref(&address));
    let other = TcpListener::bind(local(port)).unwrap();
    let proxymgr = start(&setup);
    wait_for_backends(plain, &["web"]);
    wait_for_message(&proxymgr, &format!("frontend http-in: port {port}"));
    // New services and routes go on, with reloads and without.
    setup.paths.write_file_service("late", late, std::slice::from_ref(&address));
    wait_for_backends(late, &["web"]);
    write(&setup.paths, "web", &json!([path("/"), path("/x")]), &[&address]);
    let reason = format!("frontend http-in: port {port} on 127.0.0.1 is used by another process");
    let status = told(&setup, &["status"]);
    assert!(status.contains(&reason), "{status}");
    let status: Value = serde_json::from_str(&told(&setup, &["status", "--json"])).unwrap();
    assert!(status["frontends"]["problems"][0].as_str().unwrap().starts_with(&reason), "{status}");
    let why = told(&setup, &["why", "web"]);
    assert!(why.contains("its frontend http-in can't listen: port"), "{why}");
    assert_config_says_what_runs(&setup.paths);
    drop(other);
    wait_for(port, "/x", "web");
    wait_for_message(&proxymgr, "frontend http-in listens");
    assert!(
        !told(&setup, &["status"]).contains(&reason)
            && !told(&setup, &["why", "web"]).contains("can't listen")
    );
    assert_config_says_what_runs(&setup.paths);
}

/// Nobody may lose it.
#[test]
fn a_frontend_that_is_to_move_to_a_taken_address_stays_where_it_was() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let server = backends.start("web");
    write(&setup.paths, "web", &path("/"), &[&server.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for(port, "/", "web");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().port();
    let moved = setup.clone().section("frontends", json!({"http-in": {"bind": local(taken).to_string()}}));
    fs::write(&setup.paths.proxymgr_yml, moved.yaml()).unwrap();
    proxymgr.signal(Signal::SIGHUP);
    wait_for_message(&proxymgr, "it listens where it did before");
    wait_for(port, "/", "web");
    drop(other);
    wait_for(taken, "/", "web");
    wait_for_refusal(local(port));
}

#[test]
fn frontends_come_and_go_with_proxymgr_yml() {
    let ((with, port), backends) = (setup(None), Backends::new());
    let server = backends.start("web");
    let own = free_port();
    write(&with.paths, "web", &path("/"), &[&server.address.to_string()]);
    with.paths.write_file_service("http-in", own, &[server.address.to_string()]);
    let without = with.clone().section("frontends", json!({}));
    let map = with.paths.runtime_dir.join("routes-http-in.map");
    let proxymgr = start(&without);
    wait_for_message(&proxymgr, "its route names the frontend http-in, which is not in proxymgr.yml");
    wait_for_backends(own, &["web"]);
    // It takes the name of a service that runs.
    fs::write(&with.paths.proxymgr_yml, with.yaml()).unwrap();
    proxymgr.signal(Signal::SIGHUP);
    wait_for(port, "/", "web");
    wait_for_refusal(local(own));
    assert!(map.exists());
    fs::write(&with.paths.proxymgr_yml, without.yaml()).unwrap();
    proxymgr.signal(Signal::SIGHUP);
    wait_for_backends(own, &["web"]);
    wait_for_refusal(local(port));
    assert!(!map.exists(), "nobody needs it any more");
}

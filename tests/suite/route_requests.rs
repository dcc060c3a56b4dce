//! Requests in all forms that HTTP has, and the routes that they lead to.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::support::backend::{Backend, Backends, Behaviour};
use super::support::http2;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, local, wait_for_backends};
use super::support::routed::{ask, path, setup, wait_for, write};
use super::support::running::start;

/// A frontend whose routes lead to services that tell their names and what they were asked for.
struct Led {
    port: u16,
    _setup: Setup,
    _backends: (Backends, Vec<Backend>),
    _proxymgr: Proxymgr,
}

/// `web` has the host a.example; `api` the path /api, which it doesn't see; `all` the rest.
fn led(setup: Setup, port: u16) -> Led {
    let backends = Backends::new();
    let routes = [
        ("web", json!({"frontend": "http-in", "host": "a.example"})),
        ("api", json!({"frontend": "http-in", "path": "/api", "strip_prefix": true})),
        ("all", path("/")),
    ];
    let start_one = |(name, route)| {
        let server = backends.start(name);
        server.behave(Behaviour::Echo);
        write(&setup.paths, name, route, &[&server.address.to_string()]);
        server
    };
    let servers = routes.iter().map(|(name, route)| start_one((name, route))).collect();
    let proxymgr = start(&setup);
    Led { port, _setup: setup, _backends: (backends, servers), _proxymgr: proxymgr }
}

/// What a request, as it stands, is answered: the body of a 200, else the status.
fn said(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(local(port)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request:?}: {answer:?}"));
    if head[9..12] == *"200" { body.to_owned() } else { head[9..12].to_owned() }
}

#[test]
fn a_request_target_of_any_form_leads_where_it_means_to() {
    let (setup, port) = setup(None);
    let led = led(setup, port);
    wait_for(led.port, "/", "all /");
    for (line, host, expected) in [
        ("GET / HTTP/1.1", "a.example", "web /"),
        ("GET http://a.example/x?q HTTP/1.1", "a.example", "web http://a.example/x?q"),
        ("GET http://b.example/api/x HTTP/1.1", "b.example", "api http://b.example/x"),
        ("GET HTTP://A.EXAMPLE:8080/ HTTP/1.1", "A.EXAMPLE:8080", "web HTTP://A.EXAMPLE:8080/"),
        ("OPTIONS * HTTP/1.1", "b.example", "all *"),
        ("GET /api HTTP/1.1", "a.example:", "web /api"),
        ("GET /api HTTP/1.1", "a.example.:443", "web /api"),
        ("GET /api?x=/../ HTTP/1.1", "b.example", "api /?x=/../"),
        ("GET /api;v=1/x HTTP/1.1", "b.example", "all /api;v=1/x"),
        ("GET /API HTTP/1.1", "b.example", "all /API"),
        ("GET /api//x HTTP/1.1", "b.example", "api //x"),
        ("GET /api/%2e%2e/x HTTP/1.1", "b.example", "400"),
        ("GET /api/..;/x HTTP/1.1", "b.example", "400"),
        ("GET /api/%252e%252e/x HTTP/1.1", "b.example", "api /%252e%252e/x"),
        ("GET /api HTTP/1.1", "[::1]", "api /"),
        ("GET /api HTTP/1.1", "[2001:db8::1]:8080", "api /"),
        ("GET /api HTTP/1.1", "10.0.0.1:80", "api /"),
    ] {
        let request = format!("{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(said(led.port, &request), expected, "{line}, {host}");
    }
}

/// One of them would be believed by the frontend, and the other by the server.
#[test]
fn a_request_that_names_two_hosts_is_led_nowhere() {
    let (setup, port) = setup(None);
    let led = led(setup, port);
    wait_for(led.port, "/", "all /");
    for hosts in [
        "GET / HTTP/1.1\r\nHost: b.example\r\nHost: a.example",
        "GET http://a.example/ HTTP/1.1\r\nHost: b.example",
        "GET http://b.example/ HTTP/1.1\r\nHost: a.example",
    ] {
        assert_eq!(said(led.port, &format!("{hosts}\r\nConnection: close\r\n\r\n")), "400", "{hosts}");
    }
}

#[test]
fn the_authority_of_http_2_is_the_host() {
    let (setup, port) = setup(None);
    let frontend = json!({"bind": local(port).to_string(), "bind_options": "proto h2"});
    let led = led(setup.section("frontends", json!({"http-in": frontend})), port);
    for (authority, path, expected) in [
        ("a.example", "/", "web /"),
        ("A.Example:8443", "/api", "web /api"),
        ("b.example", "/api", "api /"),
        ("b.example", "/%61pi/x", "api /x"),
        ("[::1]:80", "/x", "all /x"),
    ] {
        assert_eq!(
            http2::get(local(led.port), authority, path).unwrap(),
            (200, expected.to_owned()),
            "{authority} {path}"
        );
    }
    let (status, _) = http2::get(local(led.port), "b.example", "/api/../x").unwrap();
    assert_eq!(status, 400);
}

/// The value of the cookie that a new client gets.
fn cookie(port: u16) -> String {
    let head = ask(port, "test", "/").head.to_lowercase();
    head.split("set-cookie: srv=").nth(1).expect("a cookie").split(';').next().unwrap().to_owned()
}

#[test]
fn a_cookies_value_tells_nothing_of_the_address_and_is_the_same_where_the_key_is() {
    let backends = Backends::new();
    let server = backends.start("web");
    let value_with = |key: Option<&str>| {
        let (mut setup, port) = setup(None);
        if let Some(key) = key {
            setup = setup.haproxy_key("cookie_key", json!(key));
        }
        let definition = json!({
            "type": "static", "default_servers": [server.address.to_string()], "route": path("/"), "cookie": "SRV",
        });
        setup.paths.write_service("web", &definition);
        let _proxymgr = start(&setup);
        wait_for_backends(port, &["web"]);
        cookie(port)
    };
    let (one, same) = (value_with(Some("0123456789abcdef")), value_with(Some("0123456789abcdef")));
    assert_eq!(one, same, "proxy hosts that share clients");
    // Who knows the address can't make or tell the value: it is another with another secret.
    let others: BTreeSet<_> =
        [value_with(Some("0123456789abcdeg")), value_with(None), value_with(None), one].into();
    assert_eq!(others.len(), 4);
    for value in others {
        assert!(value.len() == 16 && value.chars().all(|c| c.is_ascii_hexdigit()), "{value}");
    }
}

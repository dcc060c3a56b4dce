//! Routes that come, with few and with many others, and what they cost a request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::figures::{Figures, print_one};
use crate::support::backend::Backends;
use crate::support::deadline::eventually;
use crate::support::requests::{SOON, local};
use crate::support::routed::{path, setup, who, write};

const ROUNDS: usize = 200;
const ROUTES_OF_A_SERVICE: usize = 100;
const REQUESTS: u32 = 20_000;

pub fn among_few_and_many() {
    for (routes, goal) in [(10, "a change < 10 ms"), (10_000, "< 10 ms, the request as with 10")] {
        among(routes, goal);
    }
}

fn among(others: usize, goal: &str) {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let setup = setup
        .section("log", json!({"format": "json", "level": "info"}))
        .section("reload", json!({"min_interval": "50ms"}));
    let (server, other) = (backends.start("web"), backends.start("other"));
    let other = other.address.to_string();
    let one = others.min(ROUTES_OF_A_SERVICE);
    for service in 0..others / one {
        let routes: Value =
            (0..one).map(|number| path(&format!("/services/{service}/{number}/v1"))).collect();
        write(&setup.paths, &format!("other-{service}"), &routes, &[&other]);
    }
    let address = server.address.to_string();
    write(&setup.paths, "web", &path("/web"), &[&address]);
    let proxymgr = setup.start();
    let last = format!("/services/{}/{}/v1/x", others / one - 1, one - 1);
    wait(port, "/web", "web");
    wait(port, &last, "other");

    let mut come = Figures::default();
    let mut go = Figures::default();
    for round in 0..ROUNDS {
        let route = format!("/round/{round}");
        let began = Instant::now();
        write(&setup.paths, "web", &json!([path("/web"), path(&route)]), &[&address]);
        come.add(until(port, &route, "web", began));
        let began = Instant::now();
        write(&setup.paths, "web", &path("/web"), &[&address]);
        go.add(until(port, &route, "404", began));
    }
    come.print(&format!("file: route comes, {others} others, first answer"), goal);
    go.print(&format!("file: route goes, {others} others, first 404"), "");
    let mut news = Figures::default();
    for round in 0..ROUNDS / 10 {
        let route = format!("/new/{round}");
        let began = Instant::now();
        write(&setup.paths, &format!("new-{round}"), &path(&route), &[&address]);
        news.add(until(port, &route, "web", began));
        // Reloads follow each other at once.
        std::thread::sleep(Duration::from_millis(100));
    }
    news.print(&format!("file: service with a route comes, {others} others, first answer"), "");
    for wanted in [last.as_str(), "/web/services/0/0/v1/x"] {
        let each = one_request(port, wanted);
        print_one(&format!("request for {wanted}, {others} other routes"), &format!("{each:.1} us"), goal);
    }
    drop(proxymgr);
}

fn until(port: u16, path: &str, answer: &str, began: Instant) -> Duration {
    wait(port, path, answer);
    began.elapsed()
}

fn wait(port: u16, path: &str, answer: &str) {
    let end = Instant::now() + SOON;
    while who(port, "test", path) != answer {
        if Instant::now() > end {
            eventually(Duration::ZERO, answer, || Err::<(), _>(who(port, "test", path)));
        }
    }
}

/// Microseconds of a request over a connection that stands, the server's part included.
fn one_request(port: u16, path: &str) -> f64 {
    let mut stream = TcpStream::connect(local(port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let question = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let mut answer = [0; 4096];
    let began = Instant::now();
    for _ in 0..REQUESTS {
        stream.write_all(question.as_bytes()).unwrap();
        assert_ne!(stream.read(&mut answer).unwrap(), 0);
    }
    began.elapsed().as_secs_f64() / f64::from(REQUESTS) * 1e6
}

//! Routes that come and go, and what they cost a request: with few others and with many, side by side, so that what else the
//! machine does weighs on all alike.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::figures::{Figures, print_one};
use crate::support::backend::{Backend, Backends};
use crate::support::deadline::eventually;
use crate::support::proxymgr::Proxymgr;
use crate::support::proxymgr_setup::Setup;
use crate::support::requests::{SOON, local};
use crate::support::routed::{path, setup, who, write};

/// How many others there are.
const OTHERS: [usize; 3] = [10, 1000, 10_000];
const ROUTES_OF_A_SERVICE: usize = 100;
const ROUNDS: usize = 200;
const NEW_SERVICES: usize = 20;
/// Of each of the [`ROUNDS`], one after the other over a connection that stands.
const REQUESTS: u32 = 100;

pub fn among_few_and_many() {
    let backends = Backends::new();
    let all = OTHERS.map(|others| Among::start(others, &backends));
    let (mut come, mut go) = (figures(), figures());
    for round in 0..ROUNDS {
        for (number, among) in all.iter().enumerate() {
            let [first, last] = among.one_comes_and_goes(round);
            come[number].add(first);
            go[number].add(last);
        }
    }
    told(&come, "file: route comes, first answer,", "< 10");
    told(&go, "file: route goes, first 404,", "< 10");
    let mut news = figures();
    for round in 0..NEW_SERVICES {
        for (number, among) in all.iter().enumerate() {
            news[number].add(among.service_comes(round));
        }
    }
    told(&news, "file: service with a route comes, first answer,", "");
    for (what, wanted) in
        [("the last of all", Among::last as fn(&Among) -> String), ("one of few", Among::own)]
    {
        let mut clients = all.each_ref().map(|among| Client::of(among, &wanted(among)));
        let mut took = figures();
        for _ in 0..ROUNDS {
            for (number, client) in clients.iter_mut().enumerate() {
                took[number].add(client.requests());
            }
        }
        told(&took, &format!("{REQUESTS} requests for {what},"), "as with 10");
    }
}

fn figures() -> [Figures; OTHERS.len()] {
    OTHERS.map(|_| Figures::default())
}

fn told(all: &[Figures], what: &str, goal: &str) {
    for (figures, others) in all.iter().zip(OTHERS) {
        figures.print(&format!("{what} {others} other routes"), goal);
    }
    let [few, .., many] = all else { return };
    print_one("    medians, the last to the first", &format!("{:.2}", many.times_median_of(few)), "");
}

/// A `ProxyMgr` with routes, and who answers there.
struct Among {
    setup: Setup,
    port: u16,
    others: usize,
    server: Backend,
    _other: Backend,
    _proxymgr: Proxymgr,
}

impl Among {
    fn start(others: usize, backends: &Backends) -> Self {
        let (setup, port) = setup(None);
        let setup = setup
            .section("log", json!({"format": "json", "level": "info"}))
            .section("reload", json!({"min_interval": "50ms"}));
        let (server, other) = (backends.start("web"), backends.start("other"));
        let one = others.min(ROUTES_OF_A_SERVICE);
        for service in 0..others / one {
            let routes: Value =
                (0..one).map(|number| path(&format!("/services/{service}/{number}/v1"))).collect();
            write(&setup.paths, &format!("other-{service}"), &routes, &[&other.address.to_string()]);
        }
        write(&setup.paths, "web", &path("/web"), &[&server.address.to_string()]);
        let proxymgr = setup.start();
        let among = Self { setup, port, others, server, _other: other, _proxymgr: proxymgr };
        among.wait("/web", "web");
        among.wait(&among.last(), "other");
        among
    }

    /// A path of the others' last route.
    fn last(&self) -> String {
        let one = self.others.min(ROUTES_OF_A_SERVICE);
        format!("/services/{}/{}/v1/x", self.others / one - 1, one - 1)
    }

    #[expect(clippy::unused_self, reason = "beside the other")]
    fn own(&self) -> String {
        "/web/services/0/0/v1/x".to_owned()
    }

    fn write(&self, service: &str, route: &Value) {
        write(&self.setup.paths, service, route, &[&self.server.address.to_string()]);
    }

    fn one_comes_and_goes(&self, round: usize) -> [Duration; 2] {
        let route = format!("/round/{round}");
        let began = Instant::now();
        self.write("web", &json!([path("/web"), path(&route)]));
        self.wait(&route, "web");
        let came = began.elapsed();
        let began = Instant::now();
        self.write("web", &path("/web"));
        self.wait(&route, "404");
        [came, began.elapsed()]
    }

    fn service_comes(&self, round: usize) -> Duration {
        let route = format!("/new/{round}");
        let began = Instant::now();
        self.write(&format!("new-{round}"), &path(&route));
        self.wait(&route, "web");
        let took = began.elapsed();
        // Reloads follow each other at once.
        std::thread::sleep(Duration::from_millis(100));
        took
    }

    fn wait(&self, path: &str, answer: &str) {
        let end = Instant::now() + SOON;
        while who(self.port, "test", path) != answer {
            if Instant::now() > end {
                eventually(Duration::ZERO, answer, || Err::<(), _>(who(self.port, "test", path)));
            }
        }
    }
}

/// A connection that stands, and what is asked over it.
struct Client {
    stream: TcpStream,
    question: String,
}

impl Client {
    fn of(among: &Among, path: &str) -> Self {
        let stream = TcpStream::connect(local(among.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, question: format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n") }
    }

    /// How long they take, the server's part included.
    fn requests(&mut self) -> Duration {
        let mut answer = [0; 4096];
        let began = Instant::now();
        for _ in 0..REQUESTS {
            self.stream.write_all(self.question.as_bytes()).unwrap();
            let length = self.stream.read(&mut answer).unwrap();
            assert!(answer[..length].starts_with(b"HTTP/1.1 200 "));
        }
        began.elapsed()
    }
}

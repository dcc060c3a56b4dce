//! Whom Consul's answers are taken from, how old they may be, and who is told the token.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::backend::{Backend, Backends};
use super::support::consul::{ConsulServer, MASTER_TOKEN};
use super::support::control::said_of;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::free_ports;
use super::support::proxymgr::command;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, local, wait_for_backends};
use super::support::running::{start, wait_for_message};

/// Speaks as an agent would, and notes what it is asked.
struct HandMade {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
}

/// To the target of a question, counted from 0, the headers and the body of what is answered; what is `None` waits for ever.
type Answer = dyn Fn(&str, usize) -> Option<(String, String)> + Send + Sync;

impl HandMade {
    fn start(answer: impl Fn(&str, usize) -> Option<(String, String)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer): (_, Arc<Answer>) = (Arc::clone(&asked), Arc::new(answer));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                std::thread::spawn(move || serve(client.unwrap(), &*answer, &noted));
            }
        });
        Self { address, asked }
    }

    /// Answers with `stale`, so old, where that is allowed, and with `fresh` where its leader is to be asked.
    fn behind(stale: &Backend, fresh: &Backend, old_ms: u64) -> Self {
        let (stale, fresh) = (instances(stale), instances(fresh));
        Self::start(move |target, _| {
            let (body, old) = if target.contains("stale") { (&stale, old_ms) } else { (&fresh, 0) };
            let headers = format!("X-Consul-Index: 7\r\nX-Consul-Lastcontact: {old}\r\n");
            (!target.contains("index=")).then(|| (headers, body.clone()))
        })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(_, question)| question.clone()).collect()
    }
}

fn instances(server: &Backend) -> String {
    json!([{"Node": {}, "Service": {"Address": "127.0.0.1", "Port": server.port()}}]).to_string()
}

fn serve(mut client: TcpStream, answer: &Answer, asked: &Mutex<Vec<(Instant, String)>>) {
    let (mut request, mut chunk) = (String::new(), [0; 4096]);
    while let Ok(count @ 1..) = client.read(&mut chunk) {
        request.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        if !request.ends_with("\r\n\r\n") {
            continue;
        }
        let question = std::mem::take(&mut request);
        let target = question.lines().next().unwrap().to_owned();
        let number = {
            let mut asked = asked.lock().unwrap();
            asked.push((Instant::now(), question));
            asked.len() - 1
        };
        let Some((headers, body)) = answer(&target, number) else { continue };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nX-Consul-Knownleader: true\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        client.write_all(answer.as_bytes()).unwrap();
    }
}

fn definition(servers: &str, port: u16) -> Value {
    json!({"type": "consul", "server": servers, "service": "web", "port": port})
}

#[test]
fn an_answer_that_is_older_than_max_stale_is_asked_of_the_leader() {
    let backends = Backends::new();
    let [stale, fresh] = ["stale", "fresh"].map(|name| backends.start(name));
    for (max_stale, old_ms, taken, modes) in [
        ("10s", 9_000, "stale", vec!["stale"]),
        ("10s", 11_000, "fresh", vec!["stale", "consistent"]),
        ("0s", 0, "fresh", vec![""]),
    ] {
        let agent = HandMade::behind(&stale, &fresh, old_ms);
        let [port] = free_ports();
        let setup = Setup::new()
            .section("consul", json!({"servers": agent.address.to_string(), "max_stale": max_stale}));
        setup.paths.write_service("web", &json!({"type": "consul", "service": "web", "port": port}));
        let _proxymgr = start(&setup);
        wait_for_backends(port, &[taken]);
        let asked = agent.asked();
        let mode = |question: &String| {
            let mode = ["stale", "consistent"].into_iter().find(|mode| question.contains(mode));
            mode.unwrap_or_default()
        };
        assert_eq!(asked.iter().map(mode).take(modes.len()).collect::<Vec<_>>(), modes, "{asked:?}");
    }
}

/// How long it takes until so many questions came, from the first to the last of them.
#[track_caller]
fn time_of(agent: &HandMade, questions: usize) -> Duration {
    let asked = eventually(SOON, &format!("{questions} questions"), || {
        let asked = agent.asked.lock().unwrap().clone();
        if asked.len() >= questions { Ok(asked) } else { Err(asked.len()) }
    });
    asked[questions - 1].0 - asked[0].0
}

#[test]
fn an_agent_is_asked_at_a_bounded_rate_whatever_it_answers_and_waits_differ() {
    let backends = Backends::new();
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    let bodies = [instances(&one), instances(&two)];
    let follow = |agent: &HandMade| {
        let [port] = free_ports();
        let setup = Setup::new();
        setup.paths.write_service("web", &definition(&agent.address.to_string(), port));
        start(&setup)
    };
    // Each answer comes at once, and is another: ten go at once, then ten a second.
    let changing = bodies.clone();
    let agent = HandMade::start(move |_, number| {
        Some((format!("X-Consul-Index: {}\r\n", number + 1), changing[number % 2].clone()))
    });
    let _proxymgr = follow(&agent);
    assert!(time_of(&agent, 40) >= Duration::from_millis(2900));
    let waits: BTreeSet<u32> = agent
        .asked()
        .iter()
        .filter_map(|question| question.split_once("wait=")?.1.split_once("ms")?.0.parse().ok())
        .collect();
    assert!(waits.len() > 5 && waits.iter().all(|wait| (20_000..=30_000).contains(wait)), "{waits:?}");
    // Without an index there is nothing to wait on, and so it is with one that never moves though the answer comes at once.
    let without = bodies[0].clone();
    let agent = HandMade::start(move |_, _| Some((String::new(), without.clone())));
    let _proxymgr = follow(&agent);
    assert!(time_of(&agent, 4) >= Duration::from_millis(2900));
    let same = bodies[0].clone();
    let agent = HandMade::start(move |_, _| Some(("X-Consul-Index: 7\r\n".to_owned(), same.clone())));
    let _proxymgr = follow(&agent);
    assert!(time_of(&agent, 6) >= Duration::from_millis(1900));
}

#[test]
fn a_token_of_the_environment_is_sent_to_its_own_consul_alone_and_shown_nowhere() {
    let (consul, backends) = (ConsulServer::start_with_acl(), Backends::new());
    let [port, other_port] = free_ports();
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    consul.add("web", "one", &one);
    // Whoever writes definitions may name any server.
    let stranger = HandMade::behind(&two, &two, 0);
    let section = json!({"servers": consul.address(), "token": "${TEST_CONSUL_TOKEN}"});
    let setup = Setup::new().variable("TEST_CONSUL_TOKEN", MASTER_TOKEN).section("consul", section);
    setup.paths.write_service("web", &json!({"type": "consul", "service": "web", "port": port}));
    setup.paths.write_service("other", &definition(&stranger.address.to_string(), other_port));
    let proxymgr = start(&setup);
    wait_for_backends(port, &["one"]);
    wait_for_backends(other_port, &["two"]);
    let asked = stranger.asked().concat();
    assert!(asked.starts_with("GET /v1/health/service/web?"), "{asked}");
    assert!(!asked.to_lowercase().contains("x-consul-token") && !asked.contains(MASTER_TOKEN), "{asked}");

    let mut shown = vec![proxymgr.log(), fs::read_to_string(&setup.paths.haproxy_cfg).unwrap()];
    for words in ["status --json", "why web", "events --json", "check --json", "check", "render"] {
        let mut run = command();
        run.args(words.split(' ')).arg("-c").arg(&setup.paths.proxymgr_yml);
        let said = said_of(run.env("TEST_CONSUL_TOKEN", MASTER_TOKEN));
        assert_eq!(said.code, 0, "{words}: {said:?}");
        shown.extend([said.stdout, said.stderr]);
    }
    for haproxy in proxymgr.haproxies() {
        let environment = fs::read(format!("/proc/{}/environ", haproxy.pid)).unwrap();
        shown.push(String::from_utf8_lossy(&environment).into_owned());
    }
    let told: Vec<_> = shown.iter().filter(|text| text.contains(MASTER_TOKEN)).collect();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn an_instance_without_an_address_is_at_its_nodes_in_the_datacenter_that_is_named() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let [port, named, wrong] = free_ports();
    let one = backends.start("one");
    let node = json!({"Node": "elsewhere", "Address": "127.0.0.1", "Service": {"Service": "web", "Port": one.port()}});
    consul.put("/v1/catalog/register", &node.to_string());
    let setup = Setup::new().section("safety", json!({"startup_timeout": "1s"}));
    for (name, port, dc) in
        [("any", port, None), ("named", named, Some("dc1")), ("wrong", wrong, Some("dc9"))]
    {
        let mut of = definition(&consul.address(), port);
        of["dc"] = json!(dc);
        if dc.is_none() {
            of.as_object_mut().unwrap().remove("dc");
        }
        setup.paths.write_service(name, &of);
    }
    let proxymgr = start(&setup);
    wait_for_backends(port, &["one"]);
    wait_for_backends(named, &["one"]);
    let line = wait_for_message(&proxymgr, "No path to datacenter");
    assert_eq!(line.fields["service"], "wrong", "{line:?}");
}

#[test]
fn data_that_are_restored_take_the_index_back_and_are_followed_under_load() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let [port] = free_ports();
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    // Of a node that no agent speaks for: none writes them again.
    let register = |server: &Backend, id: &str| {
        let service = json!({"Service": "web", "ID": id, "Address": "127.0.0.1", "Port": server.port()});
        let node = json!({"Node": "elsewhere", "Address": "127.0.0.1", "Service": service});
        consul.put("/v1/catalog/register", &node.to_string());
    };
    register(&one, "one");
    let setup = Setup::new();
    setup.paths.write_service("web", &definition(&consul.address(), port));
    let proxymgr = start(&setup);
    wait_for_backends(port, &["one"]);
    let load = Load::to(local(port)).short(2).keep_alive(2).rate(200).start();
    let index = || {
        let head = consul.head("/v1/health/service/web");
        let index = head.lines().find_map(|line| line.strip_prefix("X-Consul-Index: ")).unwrap().trim();
        index.parse::<u64>().unwrap()
    };
    let saved = setup.paths.root.join("saved");
    consul.run(&["snapshot", "save", saved.to_str().unwrap()]);
    let before = index();
    for _ in 0..5 {
        register(&two, "two");
        wait_for_backends(port, &["one", "two"]);
        let changed = index();
        consul.run(&["snapshot", "restore", saved.to_str().unwrap()]);
        wait_for_backends(port, &["one"]);
        assert!(before < changed && index() < changed, "the index went back");
    }
    register(&two, "two");
    wait_for_backends(port, &["one", "two"]);
    eventually(SOON, "it is settled", || if proxymgr.reloads() == 1 { Ok(()) } else { Err(()) });
    load.stop().assert_no_errors();
}

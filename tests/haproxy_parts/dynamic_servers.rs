//! Which options a server may have that is added at run time: what the engine believes, and what `HAProxy` replies.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proxymgr::engine::capability::{CannotAdd, Capability};
use proxymgr::engine::option_line::LineEnd;
use proxymgr::engine::section::{Base, Section, SectionKind};
use proxymgr::haproxy::check::discover_version;

use crate::world::{LIMIT, World, config, haproxy};

/// Each as it stands in a configuration.
const OPTIONS: [&str; 40] = [
    "agent-check agent-port 5 agent-inter 1s",
    "backup",
    "check addr 127.0.0.1 port 5",
    "check-proto h2",
    "check-send-proxy",
    "check-sni a",
    "check-ssl verify none",
    "cookie a",
    "error-limit 3",
    "init-addr none",
    "inter 1s rise 1 fall 1",
    "log-proto legacy",
    "max-reuse 5",
    "maxconn 5 minconn 1",
    "maxqueue 5",
    "namespace x",
    "no-send-proxy",
    "no-ssl",
    "non-stick",
    "observe layer4 on-error fastinter",
    "on-marked-down shutdown-sessions",
    "on-marked-up shutdown-backup-sessions",
    "pool-low-conn 5 pool-max-conn 5 pool-purge-delay 5s",
    "proto h2",
    "proxy-v2-options ssl",
    "redir /x",
    "resolve-net 10.0.0.0/8",
    "resolve-opts allow-dup-ip",
    "resolve-prefer ipv4",
    "weight 1 resolvers r",
    "send-proxy-v2",
    "slowstart 5s",
    "socks4 127.0.0.1:1",
    "source 127.0.0.1",
    "ssl verify none sni str(a) alpn h2",
    "ssl ssl-reuse verify none",
    "stick",
    "tcp-ut 5s",
    "tfo",
    "ws auto",
];

fn believed(capability: Capability, options: &str) -> bool {
    let base = Base {
        program: None,
        frontends: BTreeMap::new(),
        cookie_key: None,
        global: Vec::new(),
        defaults: Vec::new(),
        bind_address: [127, 0, 0, 1].into(),
        operators_socket: None,
    };
    let section = Section {
        kind: SectionKind::Listen,
        routes: Arc::default(),
        cookie: None,
        listen: Vec::new(),
        bind_options: None,
        own_bind_options: BTreeMap::new(),
        listen_options: Vec::new(),
        server_options: vec![LineEnd::parse(options).unwrap()],
    };
    match capability.dynamic_server(&base, &section) {
        Ok(_) => true,
        Err(CannotAdd::Option(_)) => false,
        Err(other) => panic!("{options}: {other}"),
    }
}

#[tokio::test]
async fn what_the_engine_believes_of_each_option_is_what_haproxy_replies() {
    let world = World::new();
    let version = discover_version(&world.reaper, &haproxy(), LIMIT).await.unwrap();
    let capability = Capability { version, runtime_updates: true };
    let running = world.start(&config("backend be\n  balance roundrobin\n"));
    let mut connection = running.connect().await;
    let mut wrong = Vec::new();
    for (number, options) in OPTIONS.into_iter().enumerate() {
        let command = format!("add server be/s{number} 127.0.0.1:{} id {} {options}", number + 1, number + 1);
        let reply = connection.execute(&command).await.unwrap();
        if reply.contains("New server registered") != believed(capability, options) {
            wrong.push((options, reply));
        }
    }
    assert!(wrong.is_empty(), "HAProxy {version}: {wrong:?}");
}

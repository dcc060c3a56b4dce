//! What a hostile team could write into the registry: none of it reaches beyond its own service.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::backend::{Backend, Backends};
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::haproxy::servers;
use super::support::load::{Load, RunningLoad};
use super::support::ports::free_port;
use super::support::proc::Process;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{get, local, wait_for_backends};
use super::support::running::{LogLine, assert_config_says_what_runs, log_lines};
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, definition_path};

/// For what may take `HAProxy`'s checker a dozen rounds.
const SOON: Duration = Duration::from_secs(30);
/// Stands in files and in the environment, and may be shown nowhere.
const SECRET: &str = "s3cr3t-of-the-operator";

/// What becomes of an attack.
enum End {
    /// The definition is refused before it is rendered, for a reason that holds this text.
    Refused(&'static str),
    /// It is kept apart once it was tried, for a reason that holds this text.
    Quarantined(&'static str),
    /// It is taken for what it is, and harms its own service at most.
    Harmless,
}

/// The service `victim` with its traffic, as it was before anything came.
struct World {
    setup: Setup,
    proxymgr: Proxymgr,
    nodes: Nodes,
    backends: Backends,
    victims: [Backend; 2],
    port: u16,
    dual: u16,
    load: RunningLoad,
    section: String,
    state: BTreeSet<(String, u32, String, u8, u16)>,
    _zookeeper: ZookeeperServer,
}

impl World {
    fn start() -> Self {
        let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
        let (nodes, port) = (Nodes::of(&zookeeper), free_port());
        let victims = ["victim1", "victim2"].map(|name| backends.start(name));
        for server in &victims {
            nodes.add("victim", server);
        }
        nodes.define("victim", port);
        // At both IPv4 and IPv6.
        let dual = free_port();
        let mut definition = nodes.definition("victim", dual);
        definition["bind"] = json!("::");
        nodes.put(&definition_path("dual"), definition.to_string());
        let setup = Setup::new()
            .zookeeper(&zookeeper.address(), "/service_config")
            .section("reload", json!({"min_interval": "10ms"}))
            .variable("REGISTRY_PASSWORD", SECRET);
        setup.root_file("secret", SECRET);
        let proxymgr = setup.start();
        wait_for_backends(port, &["victim1", "victim2"]);
        let load = Load::to(local(port)).short(2).keep_alive(2).rate(300).start();
        let (section, state) = (String::new(), BTreeSet::new());
        let mut world = Self {
            setup,
            proxymgr,
            nodes,
            backends,
            victims,
            port,
            dual,
            load,
            section,
            state,
            _zookeeper: zookeeper,
        };
        (world.section, world.state) = (world.section_of_victim(), world.state_of_victim());
        world
    }

    fn section_of_victim(&self) -> String {
        let text = fs::read_to_string(&self.setup.paths.haproxy_cfg).unwrap();
        let (_, section) = text.split_once("\nlisten victim\n").unwrap();
        section.lines().take_while(|line| line.starts_with("  ")).collect::<Vec<_>>().join("\n")
    }

    /// All that `HAProxy` tells of its servers, without the outcome of checks.
    fn state_of_victim(&self) -> BTreeSet<(String, u32, String, u8, u16)> {
        let rows = servers(&self.setup.paths.stats_socket).unwrap();
        let victims = rows.into_iter().filter(|row| row.backend == "victim");
        victims
            .map(|row| (row.name, row.id, format!("{}:{}", row.address, row.port), row.admin, row.weight))
            .collect()
    }

    /// Where `ProxyMgr` and its `HAProxy` take connections, without the sockets in their own directory.
    fn listening(&self) -> BTreeSet<String> {
        let own = format!("unix {}/", self.setup.paths.root.display());
        let processes = self.proxymgr.haproxies().into_iter().chain([self.proxymgr.process()]);
        let mut all: BTreeSet<_> = processes.flat_map(Process::listening).collect();
        all.retain(|place| !place.starts_with(&own));
        all
    }

    #[track_caller]
    fn warned(&self, name: &str, reason: &str) {
        eventually(SOON, &format!("a warning of {name} with {reason:?}"), || {
            let told = |line: &LogLine| line.level == "WARN" && line.says(name) && line.says(reason);
            let lines = log_lines(&self.proxymgr);
            let last = lines.iter().rfind(|line| line.says(name)).cloned();
            if lines.iter().any(told) { Ok(()) } else { Err(last) }
        });
    }

    /// The victim is as it was, nothing else is open than `ports` of others, and the log is printable text.
    #[track_caller]
    fn assert_unharmed(self, ports: &[u16]) {
        assert_eq!(self.section_of_victim(), self.section);
        assert_eq!(self.state_of_victim(), self.state);
        let open: BTreeSet<_> =
            ports.iter().chain([&self.port, &self.dual]).map(|port| format!("tcp {port}")).collect();
        assert_eq!(self.listening(), open);
        assert_config_says_what_runs(&self.setup.paths);
        // It is still followed.
        let third = self.backends.start("victim3");
        self.nodes.add("victim", &third);
        wait_for_backends(self.port, &["victim1", "victim2", "victim3"]);
        let report = self.load.stop();
        report.assert_no_errors();
        let answered: Vec<_> = report.by_backend.keys().map(String::as_str).collect();
        assert!(answered.iter().all(|name| name.starts_with("victim")), "{answered:?}");

        let told = ["status --json", "status"].map(|words| {
            let said = said(&self.setup.paths, &words.split(' ').collect::<Vec<_>>());
            assert_eq!(said.code, 0, "{said:?}");
            said.stdout
        });
        assert_printable(&serde_json::from_str(&told[0]).unwrap());
        for line in told[1].lines().chain(self.proxymgr.log().lines()) {
            assert!(!line.chars().any(unprintable), "{line:?}");
        }
        let log = self.proxymgr.log();
        for line in log.lines() {
            assert_printable(&serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}")));
        }
        for text in told.iter().chain([&log]) {
            assert!(!text.contains(SECRET), "{text}");
        }
        assert_eq!(fs::read_to_string(self.setup.paths.root.join("secret")).unwrap(), SECRET);
        drop(self.victims);
    }
}

/// Control characters, and those that turn the text around.
fn unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// No text in `value` holds anything that a terminal obeys, once its JSON is read.
#[track_caller]
fn assert_printable(value: &Value) {
    match value {
        Value::String(text) => assert!(!text.chars().any(unprintable), "{text:?}"),
        Value::Array(items) => items.iter().for_each(assert_printable),
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            assert!(!key.chars().any(unprintable), "{key:?}");
            assert_printable(value);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn no_definition_reaches_beyond_its_own_service_under_load() {
    use End::{Harmless, Quarantined, Refused};
    let world = World::start();
    let root = world.setup.paths.root.display().to_string();
    let (victim, stats) = (world.port, world.setup.paths.stats_socket.display().to_string());
    let server = world.backends.start("evil");
    let with = |more: Value| {
        let mut definition =
            json!({"type": "static", "port": free_port(), "default_servers": [server.address.to_string()]});
        definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        definition.to_string()
    };
    let lines = |lines: &[&str]| with(json!({"listen_options": lines}));
    let named =
        |name: &str| with(json!({"default_servers": [{"name": name, "address": "127.0.0.1", "port": 80}]}));
    let taken = || Quarantined("belongs to the service victim");
    let used = || Quarantined("is used: another process listens there");
    let attacks: Vec<(&str, String, End)> = vec![
        // A section of one's own, or of all.
        (
            "hash",
            lines(&["global# x", "stats socket /tmp/x level admin"]),
            Refused("'global' begins a section"),
        ),
        ("hex", lines(&["\\x6cisten evil", "bind :1234"]), Refused("'listen' begins a section")),
        ("quotes", lines(&["\"def\"'aults'#", "timeout client 1ms"]), Refused("'defaults' begins a section")),
        ("escape", lines(&["b\\ackend evil"]), Refused("'backend' begins a section")),
        (
            "newsection",
            lines(&["healthcheck evil", "http-check connect"]),
            Refused("'healthcheck' begins a section"),
        ),
        ("return", lines(&["mode http\r\nlisten evil"]), Refused("control character \\r")),
        ("separator", lines(&["mode http\u{2028}listen evil"]), Quarantined("mode")),
        ("ended", lines(&["listen\\x00x evil", "bind :1234"]), Refused("control character \\x00")),
        ("no", lines(&["no listen evil"]), Refused("'listen' begins a section")),
        ("if", lines(&["\\x2eif true"]), Refused("preprocessor")),
        (
            "spread",
            with(json!({"server_options": ["check", "\nlisten evil"]})),
            Refused("control character \\n"),
        ),
        ("endless", lines(&[&format!("acl a path {}", "x".repeat(2000))]), Refused("at most 2000")),
        // HAProxy would think about it for an hour.
        ("million", lines(&["server-template s 1-1000000 127.0.0.1:80"]), Refused("has 1000000 servers")),
        ("unclosed", lines(&["http-request set-header x \"y"]), Quarantined("quote")),
        ("trailing", with(json!({"server_options": "check \\"})), Quarantined("keyword")),
        // Ports and sockets of others.
        ("hexbind", lines(&["\\x62ind 127.0.0.1:1234,fd@3"]), Refused("can't be bound")),
        ("fd", lines(&["bind fd@3"]), Refused("can't be bound")),
        ("abstract", lines(&["bind abns@x"]), Refused("can't be bound")),
        ("range", lines(&["bind :1-65535"]), Refused("can't be bound")),
        ("taken", with(json!({"port": victim})), taken()),
        ("nearer", with(json!({"port": victim, "bind": "127.0.0.1"})), taken()),
        ("mapped", with(json!({"port": victim, "bind": "::ffff:127.0.0.1"})), taken()),
        ("line", lines(&[&format!("bind [::ffff:127.0.0.1]:{victim}")]), taken()),
        ("statsbind", with(json!({"bind": format!("unix@{stats}")})), used()),
        ("controlbind", with(json!({"bind": format!("unix@{root}/run/control.sock")})), used()),
        ("filebind", with(json!({"bind": format!("unix@{root}/secret")})), used()),
        ("socketline", lines(&["stats socket /tmp/x level admin"]), Quarantined("stats")),
        ("reach", lines(&[&format!("server x unix@{stats}")]), Refused("local-socket")),
        ("alias", lines(&[&format!("server x uxst@{stats}")]), Refused("local-socket")),
        ("stream", lines(&[&format!("server x stream+{stats}")]), Refused("local-socket")),
        ("zero", with(json!({"port": 0})), Refused("it must be 1 to 65535")),
        ("many", with(json!({"port": 99_999})), Refused("it must be 1 to 65535")),
        // Files and secrets of others.
        (
            "environment",
            lines(&["http-request return string \"${REGISTRY_PASSWORD}\""]),
            Refused("environment"),
        ),
        (
            "fetch",
            lines(&["http-request return lf-string %[env(REGISTRY_PASSWORD)]"]),
            Refused("environment"),
        ),
        ("page", lines(&[&format!("err\\x6frfile 503 {root}/secret")]), Refused("error-file")),
        ("pagex", lines(&[&format!("errorfile\\x00x 503 {root}/secret")]), Refused("control character")),
        // HAProxy would quote the line that names no certificate.
        (
            "quoted",
            with(json!({"bind_options": format!("ssl crt-list {root}/secret")})),
            Refused("certificate-list"),
        ),
        ("list", with(json!({"type": "file", "file": format!("{root}/secret")})), Harmless),
        // What another service counts and stores.
        ("track", lines(&["http-request track-sc0 src table victim"]), Refused("other-section")),
        ("store", lines(&["stick on src table victim"]), Refused("other-section")),
        ("count", lines(&["acl a src_inc_gpc0(victim) gt 0"]), Refused("other-section")),
        ("variable", lines(&["http-request set-var(proc.x) int(1)"]), Refused("shared-state")),
        (
            "certificate",
            with(json!({"bind_options": format!("ssl crt {root}/secret")})),
            Quarantined("unable to load"),
        ),
        (
            "outside",
            with(json!({"type": "zookeeper", "server": "127.0.0.1", "path": "/services/../victim"})),
            Refused("path"),
        ),
        // The stats socket's own words, and the log.
        (
            "command",
            with(json!({"server_options": "check;shutdown frontend victim"})),
            Quarantined("check;shutdown"),
        ),
        ("later", with(json!({"server_options": "cookie \"a;shutdown frontend victim;\""})), Harmless),
        ("comment", with(json!({"server_options": "# x"})), Harmless),
        ("servername", named("a;shutdown frontend victim\n"), Harmless),
        ("serverpath", named("../victim/victim1"), Harmless),
        (
            "serveraddress",
            with(json!({"default_servers": ["127.0.0.1;quit:80"]})),
            Refused("default_servers"),
        ),
        ("colours", with(json!({"type": "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m"})), Refused("\\u{1b}[2J")),
        ("turned", with(json!({"type": "\u{202e}citats"})), Refused("\\u{202e}")),
        (
            "key",
            with(json!({"\u{1b}[31m\nWARN forged": 1, "port": "\u{1b}"})),
            Refused("it must be 1 to 65535"),
        ),
        ("ipv4half", with(json!({"port": world.dual})), Quarantined("belongs to the service dual")),
        ("twice", format!("{{\"port\": 1234, \"port\": {victim}, \"type\": \"static\"}}"), Refused("twice")),
        (
            "logs",
            lines(&["log stdout format raw local0", "log-format \"\\x1b[31m%ci\\nWARN forged\""]),
            Harmless,
        ),
        // Names that look like others.
        ("victim.", lines(&["use_backend victim"]), Harmless),
        ("...", lines(&["mode http"]), Harmless),
        ("-sf", lines(&["mode http"]), Harmless),
        ("0", lines(&["mode http"]), Harmless),
        ("v\u{456}ctim", lines(&["mode http"]), Refused("the name holds '")),
    ];
    assert!(attacks.len() >= 30);
    let harmless = attacks.iter().filter(|(_, _, end)| matches!(end, Harmless));
    let harmless = harmless.map(|(_, data, _)| serde_json::from_str::<Value>(data).unwrap());
    let ports: Vec<_> = harmless.map(|definition| definition["port"].as_u64().unwrap()).collect();
    let ports: Vec<_> = ports.into_iter().map(|port| u16::try_from(port).unwrap()).collect();
    world.nodes.write(async |session| {
        for (name, data, _) in &attacks {
            session.put(&definition_path(name), data.as_bytes()).await;
        }
    });
    for (name, _, end) in &attacks {
        if let Refused(reason) | Quarantined(reason) = end {
            world.warned(if name.is_ascii() { name } else { "" }, reason);
        }
    }
    for port in &ports {
        eventually(SOON, &format!("{port} is open"), || std::net::TcpStream::connect(local(*port)));
        // What it logs, if it does.
        drop(get(local(*port)));
    }
    world.assert_unharmed(&ports);
}

#[test]
fn no_node_reaches_beyond_its_own_server_under_load() {
    let world = World::start();
    let server = world.backends.start("evil");
    let port = free_port();
    world.nodes.define("open", port);
    world.nodes.add("open", &server);
    wait_for_backends(port, &["evil"]);
    let node = |more: Value| {
        let mut node = json!({"host": "127.0.0.1", "port": 80});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        node.to_string()
    };
    let options = |text: &str| node(json!({"haproxy_server_options": text}));
    let attacks = [
        ("command", options("check;shutdown frontend victim"), "the option 'check;shutdown'"),
        ("payload", options("check <<\nshutdown frontend victim\n"), "the option '<<'"),
        ("section", options("check\nlisten evil"), "the option 'listen'"),
        ("comment", options("check # x"), "the option '#'"),
        ("quoted", options("cookie \"a;b\""), "'cookie' has the value"),
        ("file", options("ca-file /etc/shadow"), "the option 'ca-file'"),
        ("track", options("track victim/1"), "the option 'track'"),
        ("number", options("id 1"), "the option 'id'"),
        ("variable", options("cookie ${REGISTRY_PASSWORD}"), "'cookie' has the value"),
        ("checkport", options("check port 99999"), "it takes 1 to 65535"),
        ("heavy", options("weight 257"), "it takes 0 to 256"),
        ("flood", options(&"check ".repeat(1000)), "bytes of options"),
        ("colours", options("\u{1b}[2J\u{202e}"), "\\u{1b}[2J\\u{202e}"),
        ("zero", node(json!({"port": 0})), "1 to 65535"),
        ("wraps", node(json!({"port": 65_616})), "1 to 65535"),
        ("negative", node(json!({"port": -1})), "1 to 65535"),
        ("blank", node(json!({"host": "127.0.0.1 check"})), "IPv4"),
        ("semicolon", node(json!({"host": "127.0.0.1;quit"})), "IPv4"),
        ("socket", node(json!({"host": "/run/x.sock"})), "IPv4"),
        ("family", node(json!({"host": "unix@/run/x.sock"})), "IPv4"),
    ];
    world.nodes.write(async |session| {
        for (name, data, _) in &attacks {
            session.put(&format!("/services/open/{name}"), data.as_bytes()).await;
        }
    });
    for (name, _, reason) in &attacks {
        world.warned(name, reason);
    }
    wait_for_backends(port, &["evil"]);
    assert_eq!(world.proxymgr.reloads(), 2, "the start, and the service open");
    world.assert_unharmed(&[port]);
}

use crate::document::Format;
use std::num::NonZeroU16;

use super::*;
use crate::engine::node_rules::NodeRules;
use crate::engine::risk::Risk;

fn service() -> ServiceName {
    ServiceName::parse("web").unwrap()
}

fn json(text: &str) -> Result<Definition, Refusal> {
    let raw = RawDefinition { data: text.as_bytes().into(), format: Format::Json, origin: "test".into() };
    parse(&service(), &raw, &Allowed::new())
}

fn errors(text: &str) -> Vec<String> {
    json(text).unwrap_err().errors
}

#[test]
fn a_definition_of_2015_with_a_port_is_understood() {
    let text = r#"{"type": "zookeeper", "server": "localhost", "path": "/services/web/", "port": 8080,
        "listen_options": ["mode http"], "server_options": "check inter 2000"}"#;
    let Definition { spec, unknown_keys } = json(text).unwrap();
    assert_eq!(spec.entrance.to_string(), "8080");
    assert_eq!(spec.listen_options, [OptionLine::parse("mode http").unwrap()]);
    assert_eq!(spec.server_options, [LineEnd::parse("check inter 2000").unwrap()]);
    let (server, path) = ("localhost:2181".to_owned(), "/services/web".to_owned());
    assert_eq!(spec.watcher, WatcherSpec::Zookeeper { server, path, rules: NodeRules::default() });
    assert_eq!(unknown_keys, []);
}

#[test]
fn yaml_says_the_same() {
    let yaml = "type: file\nfile: /etc/web\nport: 80\nbind: ['[::]', 'unix@/run/web']\nbind_options: accept-proxy\n\
                listen_options: mode http\nserver_options: [check, inter 2s]\n";
    let raw = RawDefinition { data: yaml.as_bytes().into(), format: Format::Yaml, origin: "test".into() };
    let twin = json(
        r#"{"type":"file","file":"/etc/web","port":"80","bind":["::","unix@/run/web"],"bind_options":["accept-proxy"],
            "listen_options":["mode http"],"server_options":"check inter 2s"}"#,
    );
    assert_eq!(parse(&service(), &raw, &Allowed::new()), twin);
    assert_eq!(twin.unwrap().spec.bind.len(), 2);
}

#[test]
fn everything_wrong_is_told_at_once_with_its_key() {
    let text = r#"{"type": "zookeeper", "server": "zk:0", "bind": ["web", 3], "bind_options": "a\nb",
        "listen_options": ["mode http", "listen evil"], "path": "services"}"#;
    let all = errors(text);
    for part in [
        "\"port\" is missing: add the port clients connect to, 1 to 65535",
        "\"server\": 'zk:0'",
        "\"bind[0]\": 'web'",
        "\"bind[1]\" is 3: it must be a string",
        "\"bind_options\": the line holds the control character",
        "\"listen_options[1]\": 'listen' begins a section",
        "\"path\": 'services' must begin with '/'",
    ] {
        assert_eq!(all.iter().filter(|error| error.contains(part)).count(), 1, "{part}: {all:?}");
    }
    assert_eq!(all.len(), 7, "{all:?}");
}

#[test]
fn types_that_are_unknown_are_refused() {
    let with = |kind: &str| errors(&format!(r#"{{"port": 1, "type": "{kind}"}}"#));
    assert_eq!(
        with("zookeper"),
        [
            "\"type\" is \"zookeper\", did you mean \"zookeeper\"?; zookeeper, consul, dns, docker, file and static are taken"
        ]
    );
    assert_eq!(
        errors(r#"{"port": 1}"#),
        ["\"type\" is missing: add \"zookeeper\", \"consul\", \"dns\", \"docker\", \"file\" or \"static\""]
    );
    assert_eq!(
        with("file"),
        ["\"file\" is missing: add the absolute path of the file that lists the servers"]
    );
}

#[test]
fn unknown_keys_are_told_but_harmless() {
    let definition = json(r#"{"type":"file","file":"/f","port":1,"comment":"x","prot":2}"#).unwrap();
    let told: Vec<_> = definition.unknown_keys.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["\"comment\"", "\"prot\" (did you mean \"port\"?)"]);
}

#[test]
fn wrong_json_is_told_with_line_and_column() {
    assert!(errors("{\"port\": 1,\n nope}")[0].contains("line 2 column 2"));
    assert!(errors(r#"{"port": 1, "port": 2}"#)[0].contains("twice"));
    for port in ["0", "65536", "-1", "8.5", "\"x\"", "[80]"] {
        let text = format!(r#"{{"type":"file","file":"/f","port":{port}}}"#);
        assert!(errors(&text)[0].contains("it must be 1 to 65535"), "{port}");
    }
}

#[test]
fn what_is_taken_from_nodes_can_be_chosen() {
    let definition = json(
        r#"{"type":"file","file":"/f","port":1,"filter":{"az":["a","b"],"tier":1},"weight_from_node":false,"endpoint":"admin",
            "use_ssl_port":true,"remote_port":8080}"#,
    );
    let Definition { spec, unknown_keys } = definition.unwrap();
    let WatcherSpec::File { rules, .. } = spec.watcher else { panic!("{:?}", spec.watcher) };
    assert_eq!((rules.weight_from_node, rules.endpoint.as_deref()), (Some(false), Some("admin")));
    assert_eq!((rules.use_ssl_port, rules.remote_port.map(NonZeroU16::get)), (true, Some(8080)));
    let labels = |az: &str| [("az", az), ("tier", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    assert!(rules.filter.takes(&labels("b")) && !rules.filter.takes(&labels("c")));
    assert_eq!(unknown_keys, []);
    for (text, reason) in [
        (r#""filter":"az""#, "\"filter\" is \"az\": it must be a map"),
        (r#""filter":{"az":[]}"#, "\"filter.az\" is []: it must be a value or a list of them"),
        (r#""filter":{"az":{"b":1}}"#, "\"filter.az\""),
        (r#""weight_from_node":"yes""#, "\"weight_from_node\" is \"yes\": it must be true or false"),
        (r#""remote_port":0"#, "\"remote_port\" is 0: it must be 1 to 65535"),
        (r#""endpoint":1"#, "\"endpoint\" is 1: it must be a string"),
    ] {
        let all = errors(&format!(r#"{{"type":"file","file":"/f","port":1,{text}}}"#));
        assert!(all.len() == 1 && all[0].contains(reason), "{text}: {all:?}");
    }
}

#[test]
fn a_definition_may_name_servers_itself() {
    let definition = json(
        r#"{"type":"static","port":1,"default_servers":["1.1.1.1:1 weight=5",{"address":"2.2.2.2","port":2,"drain":true}],
            "backup_servers":["3.3.3.3:3","1.1.1.1:1"]}"#,
    );
    let spec = definition.unwrap().spec;
    assert_eq!(spec.watcher, WatcherSpec::Static);
    let servers: Vec<_> = spec
        .fixed_servers
        .iter()
        .map(|server| {
            (
                server.name().to_string(),
                server.backup,
                server.drain,
                server.weight.map(crate::engine::server::Weight::get),
            )
        })
        .collect();
    assert_eq!(
        servers,
        [
            ("1.1.1.1:1".into(), false, false, Some(5)),
            ("2.2.2.2:2".into(), false, true, None),
            ("3.3.3.3:3".into(), true, false, None),
        ]
    );
    let all = errors(
        r#"{"type":"static","port":1,"default_servers":["1.1.1.1",{"port":1},3],"backup_servers":"-x:1"}"#,
    );
    for part in [
        "\"default_servers[0]\": '1.1.1.1': it has no port",
        "\"default_servers[1]\": \"address\" is missing",
        "\"default_servers[2]\" is 3: it must be \"address:port\" or an object",
        "\"backup_servers\": '-x': it must be an IPv4 or IPv6 address or a host name",
    ] {
        assert!(all.iter().any(|error| error.contains(part)), "{part}: {all:?}");
    }
    assert!(errors(r#"{"type":"static","port":1}"#)[0].contains("add \"default_servers\""));
}

#[test]
fn what_one_service_takes_of_all_is_bounded() {
    let list = |count: usize, item: &dyn Fn(usize) -> String| {
        format!("[{}]", (0..count).map(item).collect::<Vec<_>>().join(","))
    };
    let server = |number: usize| format!(r#""h{number}:1""#);
    let of = |key: &str, list: String| {
        let text = format!(r#"{{"type":"static","port":1,"default_servers":"a:1","{key}":{list}}}"#);
        assert!(text.len() < MAX_BYTES, "{} bytes", text.len());
        json(&text)
    };
    assert_eq!(of("backup_servers", list(10_000, &server)).unwrap().spec.fixed_servers.len(), 10_001);
    let refusal = of("backup_servers", list(10_001, &server)).unwrap_err().errors;
    assert_eq!(refusal, [r#""backup_servers" names 10001 servers: a service has at most 10000; split it"#]);

    let address = |number: usize| format!(r#""127.0.{}.{}""#, number / 256, number % 256);
    of("bind", list(256, &address)).unwrap();
    let refusal = of("bind", list(257, &address)).unwrap_err().errors;
    assert_eq!(refusal, ["it listens on 257 addresses; at most 256 are taken"]);
    let lines = list(20, &|line| {
        let binds: Vec<_> = (0..20).map(|port| format!(":{}", line * 20 + port + 1)).collect();
        format!("\"bind {}\"", binds.join(","))
    });
    assert!(of("listen_options", lines).unwrap_err().errors[0].starts_with("it listens on 400"));

    let refusal =
        of("listen_options", r#"["server-template s 1-9000 a:1", "server-template t 1001 a:1"]"#.to_owned());
    assert_eq!(
        refusal.unwrap_err().errors,
        [r#""listen_options" has 10001 servers; at most 10000 are taken"#]
    );

    // What is told is bounded, too.
    let refusal = of("listen_options", list(100_000, &|_| "1".to_owned())).unwrap_err().errors;
    assert_eq!((refusal.len(), refusal[20].as_str()), (21, "and 99980 more"));
    let many: Vec<_> = (0..10_000).map(|key| format!(r#""k{key}":1"#)).collect();
    let definition =
        json(&format!(r#"{{{},"type":"static","port":1,"default_servers":"a:1"}}"#, many.join(",")));
    assert_eq!(definition.unwrap().unknown_keys.len(), 20);
}

#[test]
fn options_may_begin_with_any_word_and_are_checked_as_the_end_of_their_line() {
    let text = |key: &str, options: &str| {
        format!(r#"{{"type": "file", "file": "/f", "port": 80, "{key}": {options}}}"#)
    };
    for (key, options) in
        [("server_options", r#"["resolvers dns", "check"]"#), ("bind_options", r#""cache.if""#)]
    {
        json(&text(key, options)).unwrap();
    }
    let binds = json(&text("listen_options", r#""bind :81 resolvers x""#)).unwrap().spec.own_binds;
    assert_eq!(binds[0].options, LineEnd::parse("resolvers x").ok());
    for (key, options, refusal) in [
        ("bind_options", r#"["ssl", "crt-list /l"]"#, "\"bind_options\": 'crt-list' is not allowed"),
        ("listen_options", r#""bind :81 ssl crt-list /l""#, "\"listen_options\": 'crt-list' is"),
        ("server_options", r#""namespace x""#, "\"server_options\": 'namespace' is not allowed"),
        ("server_options", r#""source /x""#, "\"server_options\": '/x' is not allowed"),
    ] {
        let all = errors(&text(key, options));
        assert!(all.len() == 1 && all[0].starts_with(refusal), "{all:?}");
    }
}

#[test]
fn lines_are_taken_for_what_they_do() {
    let text = |lines: &str, allow: &str| {
        format!(
            r#"{{"type": "file", "file": "/f", "port": 80, "listen_options": [{lines}], "bind_options": "{allow}"}}"#
        )
    };
    let definition =
        json(&text(r#""mode http", "bind 127.0.0.1:81,/run/a.sock ssl crt /p.pem""#, "")).unwrap();
    let binds: Vec<_> = definition.spec.own_binds.iter().map(|bind| bind.address.to_string()).collect();
    assert_eq!(binds, ["127.0.0.1:81", "unix@/run/a.sock"]);
    assert_eq!(definition.spec.listen_options, [OptionLine::parse("mode http").unwrap()]);
    for (lines, refusal) in [
        (
            r#""errorfile 503 /etc/shadow""#,
            "\"listen_options[0]\": 'errorfile' is not allowed: it shows files",
        ),
        (r#""bind :80-90""#, "\"listen_options[0]\": ':80-90' can't be bound"),
        (r#""bind :81 crt \"${HOME}\"""#, "\"listen_options[0]\": '${HOME}' is not allowed"),
    ] {
        let all = errors(&text(lines, ""));
        assert!(all.len() == 1 && all[0].starts_with(refusal), "{all:?}");
    }
    let raw = RawDefinition {
        data: text(r#""errorfile 503 /p""#, "").into_bytes().into(),
        format: Format::Json,
        origin: "test".into(),
    };
    let allowed = Risk::WORDS.map(|(_, risk)| risk).into();
    assert!(parse(&service(), &raw, &allowed).is_ok());
}

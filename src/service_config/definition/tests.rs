use super::super::listing::Format;
use super::*;

fn json(text: &str) -> Result<Definition, Refusal> {
    parse(&RawDefinition { data: text.as_bytes().into(), format: Format::Json, origin: "test".into() })
}

fn errors(text: &str) -> Vec<String> {
    json(text).unwrap_err().errors
}

#[test]
fn a_definition_of_2015_with_a_port_is_understood() {
    let text = r#"{"type": "zookeeper", "server": "localhost", "path": "/services/web/", "port": 8080,
        "listen_options": ["mode http"], "server_options": "check inter 2000"}"#;
    let Definition { spec, unknown_keys } = json(text).unwrap();
    assert_eq!(spec.port.get(), 8080);
    assert_eq!(spec.listen_options, [OptionLine::parse("mode http").unwrap()]);
    assert_eq!(spec.server_options, [OptionLine::parse("check inter 2000").unwrap()]);
    let (server, path) = ("localhost:2181".to_owned(), "/services/web".to_owned());
    assert_eq!(spec.watcher, WatcherSpec::Zookeeper { server, path });
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
    assert_eq!(parse(&raw), twin);
    assert_eq!(twin.unwrap().spec.bind.len(), 2);
}

#[test]
fn everything_wrong_is_told_at_once_with_its_key() {
    let text = r#"{"type": "zookeeper", "server": "zk:0", "bind": ["web", 3], "route": {}, "bind_options": "a\nb",
        "listen_options": ["mode http", "listen evil"], "path": "services"}"#;
    let all = errors(text);
    for part in [
        "\"port\" is missing: add the port clients connect to, 1 to 65535",
        "\"server\": 'zk:0'",
        "\"bind[0]\": 'web'",
        "\"bind[1]\" is 3: it must be a string",
        "\"route\" is not supported yet",
        "\"bind_options\": the line holds the control character",
        "\"listen_options[1]\": 'listen' begins a section",
        "\"path\": 'services' must begin with '/'",
    ] {
        assert_eq!(all.iter().filter(|error| error.contains(part)).count(), 1, "{part}: {all:?}");
    }
    assert_eq!(all.len(), 8, "{all:?}");
}

#[test]
fn types_that_are_unknown_or_not_there_yet_are_refused() {
    let with = |kind: &str| errors(&format!(r#"{{"port": 1, "type": "{kind}"}}"#));
    assert_eq!(with("dns"), ["\"type\": \"dns\" is not supported yet; zookeeper and file are"]);
    assert_eq!(
        with("zookeper"),
        ["\"type\" is \"zookeper\", did you mean \"zookeeper\"?; zookeeper and file are taken"]
    );
    assert_eq!(errors(r#"{"port": 1}"#), ["\"type\" is missing: add \"zookeeper\" or \"file\""]);
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

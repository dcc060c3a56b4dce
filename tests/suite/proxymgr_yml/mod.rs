//! proxymgr.yml from outside: the files that load, and what each bad one is told.

mod documented;

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use proxymgr::config::{Config, ConsulListing, LogFormat, LogLevel, SourceConfig};
use proxymgr::engine::consul::ConsulToken;
use proxymgr::engine::docker_spec::{ContainerAddress, DockerHosts, NetworkName};
use proxymgr::engine::outage_rules::OnEmpty;
use proxymgr::engine::risk::Allowed;
use proxymgr::engine::service::ServiceName;
use proxymgr::service_config::{Format, RawDefinition, parse};

fn env(name: &str) -> Option<String> {
    match name {
        "ZK_AUTH" => Some("user:s3cret".to_owned()),
        "CONSUL_HTTP_TOKEN" => Some("c0nsul-t0ken".to_owned()),
        "COUNT" => Some("3".to_owned()),
        "OFF" => Some("false".to_owned()),
        "TWO_LINES" => Some("mode http\nlisten evil".to_owned()),
        "LOOKS_LIKE_YAML" => Some("}, admin: {listen: x".to_owned()),
        _ => None,
    }
}

fn load(text: &str) -> Result<Config, Vec<String>> {
    Config::parse(text.as_bytes(), &env).map_err(|errors| {
        errors.iter().map(|error| error.to_string().trim_start_matches(':').to_owned()).collect()
    })
}

const SOURCE: &str = "service_config: {type: file, path: /s}\n";

/// `text` with a good `service_config` in its first line.
fn load_with_source(text: &str) -> Result<Config, Vec<String>> {
    load(&format!("{SOURCE}{text}"))
}

fn lines<T: ToString>(lines: &[T]) -> Vec<String> {
    lines.iter().map(ToString::to_string).collect()
}

#[test]
fn the_first_example_of_the_original_readme_works() {
    let config = load(
        "haproxy:\n  config_path: /etc/haproxy/haproxy.cfg\n  socket_path: /var/run/haproxy.sock\n\
         service_config:\n  type: zookeeper\n  servers: localhost:2181\n  path: /service_config\n",
    )
    .unwrap();
    assert_eq!(config.haproxy.socket_path, Path::new("/var/run/haproxy.sock"));
    let source = SourceConfig::Zookeeper {
        servers: "localhost:2181".to_owned(),
        path: "/service_config".to_owned(),
        auth: None,
        tls: None,
    };
    assert_eq!(config.service_config, [source]);
}

#[test]
fn a_file_of_2015_with_every_key_works() {
    let config = load(
        "---\nhaproxy:\n  path: /usr/sbin/haproxy\n  config_path: /etc/haproxy/haproxy.cfg\n  socket_path:\n  global:\n  \
         - maxconn 4096\n  - log 127.0.0.1 local0\n  - log 127.0.0.1 local1 notice\n  defaults:\n    - log global\n    \
         - option dontlognull\n    - maxconn 2000\n    - retries 3\n    - timeout connect 5s\n    - timeout client 1m\n    \
         - timeout server 1m\n    - option redispatch\n    - balance roundrobin\nservice_config:\n  type: zookeeper\n  \
         servers: 'zk1:2181, zk2:2181/chroot'\n  path: /service_config\n",
    )
    .unwrap();
    assert_eq!(lines(&config.haproxy.global)[1], "log 127.0.0.1 local0");
    assert_eq!(config.haproxy.defaults.len(), 10);
    assert_eq!(lines(&config.haproxy.defaults)[9], "option idle-close-on-response");
    assert!(matches!(&config.service_config[..],
        [SourceConfig::Zookeeper { servers, .. }] if servers == "zk1:2181,zk2:2181/chroot"));
}

#[test]
fn the_commented_example_is_the_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/proxymgr.yml");
    let example = Config::load(&file, &|_| None).unwrap();
    let short =
        load("service_config: {type: zookeeper, servers: localhost:2181, path: /service_config}").unwrap();
    assert_eq!(example, short);
    assert_eq!(example.reload.min_interval, Duration::from_secs(1));
    assert_eq!(example.reload.drain_timeout, Duration::from_secs(600));
    assert_eq!(example.reload.max_draining.get(), 8);
    assert_eq!(example.safety.outage.on_empty, OnEmpty::Keep);
    assert_eq!(example.safety.startup_timeout, Duration::from_secs(10));
    assert_eq!(example.shutdown.grace, Duration::from_secs(8));
    assert_eq!((example.log.format, example.log.level), (LogFormat::Text, LogLevel::Info));
    assert_eq!(example.haproxy.bind_address.to_string(), "0.0.0.0");
    assert!(example.haproxy.runtime_updates);
}

#[test]
fn the_commented_keys_of_the_example_work_too() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/proxymgr.yml");
    let text = std::fs::read_to_string(file).unwrap().replace("  # auth", "  auth");
    let text = text.replace("  # tls", "  tls").replace("  #   ", "    ");
    let config = load(&text).unwrap();
    let [SourceConfig::Zookeeper { auth: Some(auth), tls: Some(tls), .. }] = &config.service_config[..]
    else {
        panic!("{config:?}")
    };
    assert_eq!((auth.scheme.as_str(), auth.credentials.expose()), ("digest", "user:s3cret"));
    let identity = tls.identity.as_ref().unwrap();
    assert_eq!(
        [&tls.ca, &identity.cert, &identity.key].map(|file| file.to_str().unwrap()),
        ["zookeeper-ca.pem", "zookeeper.pem", "zookeeper.key"].map(|file| format!("/etc/proxymgr/{file}"))
    );
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn the_commented_docker_source_of_the_example_works_too() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/proxymgr.yml");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, docker) = text.split_once("# A source of type docker").unwrap();
    let lines: Vec<_> = docker.lines().skip(1).take_while(|line| line.starts_with("# ")).collect();
    let source = lines.iter().map(|line| &line[2..]).collect::<Vec<_>>().join("\n");
    let config = load(&source).unwrap();
    let [SourceConfig::Docker { hosts, tls: Some(_), address, frontend }] = &config.service_config[..] else {
        panic!("{config:?}")
    };
    assert_eq!(hosts.to_string(), "tcp://docker.example:2376");
    assert_eq!(*address, ContainerAddress::Network(NetworkName::parse("front").ok()));
    assert_eq!(frontend.as_deref(), Some("http-in"));
    for (text, wrong) in [
        ("{type: docker, docker_host: docker}", "docker_host: 'docker' is no Docker daemon"),
        (
            "{type: docker, docker_host: ['unix:///a', docker]}",
            "docker_host[1]: 'docker' is no Docker daemon",
        ),
        ("{type: docker, docker_host: []}", "docker_host: is empty"),
        ("{type: docker, docker_host: ['unix:///a', 'unix:///b']}", "docker_host: names several daemons"),
        ("{type: docker, network: a, docker_host: ['unix:///a', 'tcp://a:1']}", "tls: is missing"),
        ("{type: docker, docker_host: 'tcp://a:1'}", "tls: is missing"),
        ("{type: docker, tls: {ca: /a}}", "plays no part with a unix socket"),
        ("{type: docker, network: a, published: true}", "plays no part beside network"),
        ("{type: docker, network: a b}", "'a b' is no name of a network"),
        ("{type: docker, frontend: a b}", "'a b' is no name of a frontend"),
        ("{type: docker, path: /a}", "path"),
    ] {
        let errors = load(&format!("service_config: {text}")).unwrap_err();
        assert!(errors.len() == 1 && errors[0].contains(wrong), "{text}: {errors:?}");
    }
    let config = load("service_config: {type: docker, published: true}").unwrap();
    let [SourceConfig::Docker { hosts, address, .. }] = &config.service_config[..] else {
        panic!("{config:?}")
    };
    assert_eq!((hosts, address), (&DockerHosts::default(), &ContainerAddress::Published));
}

#[test]
fn the_commented_consul_and_catalog_of_the_example_work_too() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/proxymgr.yml");
    let text = std::fs::read_to_string(file).unwrap();
    let (before, consul) = text.split_once("# consul:\n").unwrap();
    let (consul, after) = consul.split_once("\n\n").unwrap();
    let consul = consul.replace("\n# ", "\n").replacen("# ", "", 1);
    let catalog = after.replace("  # catalog:", "  catalog:").replace("  path: /", "  # path: /");
    let catalog = catalog.replace("type: zookeeper", "type: consul").replace("  servers:", "  # servers:");
    let config = load(&format!("{before}consul:\n{consul}\n\n{catalog}")).unwrap();
    let access = config.consul.unwrap();
    assert_eq!((access.servers.to_string().as_str(), access.dc.as_deref()), ("127.0.0.1:8500", Some("dc1")));
    assert_eq!(access.max_stale, Duration::from_secs(10));
    assert!(matches!(access.token, Some(ConsulToken::Value(_))));
    assert_eq!(access.tls.as_ref().unwrap().server_name.as_deref(), Some("server.dc1.consul"));
    let [SourceConfig::Consul { access: used, listing: ConsulListing::Catalog { tag, template } }] =
        &config.service_config[..]
    else {
        panic!("no catalog")
    };
    assert_eq!((used, tag.as_str(), &template["port"]), (&access, "rest", &"${meta.proxy_port}".into()));
}

#[test]
fn the_commented_include_of_the_example_works_too() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/proxymgr.yml");
    let text = std::fs::read_to_string(file).unwrap();
    let config = load(&text.replace("  # include:\n  #   - ", "  include:\n    - ")).unwrap();
    assert_eq!(lines(&config.haproxy.include), ["/etc/haproxy/conf.d/*.cfg"]);
}

#[test]
fn the_commented_admin_of_the_example_works_too() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/proxymgr.yml");
    let text = std::fs::read_to_string(file).unwrap();
    let config = load(
        &text
            .replace("# admin:", "admin:")
            .replace("#   listen", "  listen")
            .replace("#   token_file", "  token_file"),
    );
    let admin = config.unwrap().admin.unwrap();
    assert_eq!(admin.listen, "127.0.0.1:7070".parse().unwrap());
    assert_eq!(admin.token_file.as_deref(), Some(Path::new("/etc/proxymgr/admin.token")));
}

#[test]
fn http_is_for_this_host_unless_another_address_is_named() {
    for (admin, listen) in
        [("{}", "127.0.0.1:7070"), ("{listen: 81}", "127.0.0.1:81"), ("{listen: '[::]:82'}", "[::]:82")]
    {
        let config = load_with_source(&format!("admin: {admin}")).unwrap();
        assert_eq!(config.admin.unwrap().listen, listen.parse().unwrap());
    }
    assert_eq!(load_with_source("").unwrap().admin, None);
}

#[test]
fn the_example_services_are_understood() {
    for name in ["web.json", "catalog.yml", "containers.yml", "database.yml", "names.yml", "registry.yml"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/services").join(name);
        let data = std::fs::read(file).unwrap().into();
        let raw = RawDefinition { data, format: Format::Yaml, origin: name.to_owned() };
        let service = ServiceName::parse(name).unwrap();
        let definition = parse(&service, &raw, &Allowed::new()).unwrap();
        assert_eq!(definition.unknown_keys, [], "{name}");
    }
}

#[test]
fn several_sources_keep_their_order() {
    let config = load(
        "service_config:\n- {type: file, path: /first}\n- {type: zookeeper, servers: zk, path: /, \
         auth: {scheme: digest, credentials: ${ZK_AUTH}}}\n",
    )
    .unwrap();
    assert_eq!(config.service_config[0], SourceConfig::File { path: PathBuf::from("/first") });
    assert!(matches!(config.service_config[1], SourceConfig::Zookeeper { auth: Some(_), .. }));
}

#[test]
fn variables_stand_for_numbers_words_and_parts_of_texts() {
    let config = load_with_source(
        "reload: {max_draining: ${COUNT}, min_interval: ${PAUSE:-250ms}}\n\
         haproxy: {runtime_updates: ${OFF}, global: ['log-tag $${COUNT}-${COUNT}'], bind_address: ${IP:-[::1]}}\n\
         # ${NOT_SET} in a comment is left alone\n",
    )
    .unwrap();
    assert_eq!(config.reload.max_draining.get(), 3);
    assert_eq!(config.reload.min_interval, Duration::from_millis(250));
    assert!(!config.haproxy.runtime_updates);
    assert_eq!(lines(&config.haproxy.global), ["log-tag ${COUNT}-3"]);
    assert_eq!(config.haproxy.bind_address.to_string(), "::1");
}

#[test]
fn anchors_and_aliases_work() {
    let config = load_with_source("reload: {min_interval: &t 3s, drain_timeout: *t}\n").unwrap();
    assert_eq!(config.reload.drain_timeout, Duration::from_secs(3));
}

#[test]
fn a_byte_order_mark_and_the_line_ends_of_windows_are_taken() {
    let config = load("\u{feff}log:\r\n  level: warn\r\nservice_config: {type: file, path: /s}\r\n").unwrap();
    assert_eq!(config.log.level, LogLevel::Warn);
    assert_eq!(config.service_config, [SourceConfig::File { path: PathBuf::from("/s") }]);
}

#[test]
fn other_bytes_than_utf_8_are_told_by_their_place() {
    let errors = Config::parse(b"log: {}\nhaproxy: \xc3\xa9\xff", &env).unwrap_err();
    assert_eq!(errors[0].to_string(), ":2:11: is not UTF-8 text; save the file as UTF-8");
}

#[test]
fn the_stats_socket_follows_runtime_dir() {
    let config = load_with_source("runtime_dir: /tmp/x\n").unwrap();
    assert_eq!(config.haproxy.socket_path, Path::new("/tmp/x/haproxy.sock"));
}

#[test]
fn an_unreadable_file_is_named() {
    let error = Config::load(Path::new("/nowhere/proxymgr.yml"), &env).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/proxymgr.yml: can't be read: No such file or directory (os error 2)"
    );
}

#[test]
fn every_mistake_is_told_with_its_file_and_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("proxymgr.yml");
    std::fs::write(&file, "haproxy:\n  pat: x\n  socket_path: run\nlog: {level: loud}\n").unwrap();
    let told = Config::load(&file, &env).unwrap_err().to_string();
    let file = file.display();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].starts_with(&format!("{file}:1:1: service_config: is missing; write where")), "{told}");
    assert_eq!(lines[1], format!("{file}:2:3: haproxy.pat: unknown key; did you mean 'path'?"));
    assert_eq!(
        lines[2],
        format!("{file}:3:16: haproxy.socket_path: 'run' is no absolute path; begin it with /")
    );
    assert_eq!(
        lines[3],
        format!("{file}:4:14: log.level: 'loud' is not allowed; write error, warn, info, debug or trace")
    );
}

include!("bad_files.rs");

#[test]
fn each_bad_file_is_told_exactly_this() {
    let mut wrong = Vec::new();
    for (text, expected) in BAD_FILES {
        let text =
            if text.contains("service_config") { (*text).to_owned() } else { format!("{text}\n{SOURCE}") };
        match load(&text) {
            Err(told) if told == *expected => (),
            told => wrong.push(format!("{text:?}\n  told     {told:?}\n  expected {expected:?}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(BAD_FILES.len() >= 25);
}

#[test]
fn credentials_never_reach_a_message() {
    for auth in [
        "{user:s3cret}",
        "{'user:s3cret': x}",
        "user:s3cret",
        "[s3cret]",
        "{scheme: digest, credentials: [s3cret]}",
        "{scheme: digest, credentials: {s3cret: s3cret}}",
        "{scheme: digest, credentials: \"s3cret\\n\"}",
        "{scheme: digest, credentials: 's3cret ${NOT_SET}'}",
        "{scheme: digest, credentials: 's3cret${'}",
        "{scheme: digest, credential: s3cret}",
        "{scheme: digest, credentials: s3cret, credentials: s3cret}",
        "{scheme: digest, credentials: !t s3cret}",
        "{scheme: digest, credentials: s3cret",
        "{scheme: digest, credentials: *s3cret}",
        "{scheme: digest, credentials: \"s3cret\\q\"}",
        "{scheme: digest, credentials: \"${ZK_AUTH}\", x: \"}",
    ] {
        let text = format!("service_config: {{type: zookeeper, servers: zk, path: /, auth: {auth}}}");
        let told = load(&text).unwrap_err();
        assert!(!format!("{told:?}").contains("s3cret"), "{auth}: {told:?}");
    }
    let told = load_with_source("haproxy: {path: './${ZK_AUTH}', bind_address: ${ZK_AUTH}}").unwrap_err();
    assert_eq!(told.len(), 2);
    assert!(!format!("{told:?}").contains("s3cret"), "{told:?}");
}

#[test]
fn a_hostile_file_is_refused_soon() {
    let aliases: Vec<String> =
        (1..30).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9))).collect();
    for text in [
        "[".repeat(1 << 20),
        "{".repeat(1 << 20),
        "- ".repeat(1 << 19),
        "? ".repeat(1 << 19),
        "${".repeat(1 << 19),
        "a".repeat((1 << 20) + 1),
        format!("a0: &a0 x\n{}", aliases.concat()),
        format!("[{}]", "x,".repeat(1 << 18)),
    ] {
        let start = std::time::Instant::now();
        assert!(load(&text).is_err());
        let start_of_text: String = text.chars().take(20).collect();
        assert!(start.elapsed() < Duration::from_secs(5), "{start_of_text}: {:?}", start.elapsed());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _taken = Config::parse(&bytes, &env);
    }

    #[test]
    fn any_damage_to_a_good_file_is_taken_or_refused_without_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), "[-\\[\\]{}:,#&*!|>'\"%@`$\\\\~ \t\n\u{0}\u{85}\u{feff}é<?0-9a-z]{0,4}"), 1..12),
    ) {
        let mut text: Vec<char> = "haproxy: {path: haproxy, global: [maxconn 4096], defaults: [\"mode http\"]}\n\
            service_config:\n- type: zookeeper\n  servers: zk:1,[::1]:2/c\n  path: /s # c\n  auth: &a {scheme: digest, credentials: ${ZK_AUTH}}\n\
            - {type: file, path: \"/x${COUNT:-y}\"}\nreload:\n  min_interval: 1s\n  max_draining: |\n    8\nlog: {level: info}\n".chars().collect();
        for (at, with) in cuts {
            let at = at.index(text.len());
            let end = (at + with.chars().count() / 2).min(text.len());
            text.splice(at..end, with.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(errors) = Config::parse(text.as_bytes(), &env) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
                prop_assert!(!error.to_string().contains("s3cret"), "{error:?}");
            }
        }
    }
}

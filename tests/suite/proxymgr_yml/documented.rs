//! Each key that is understood is explained once, in config/proxymgr.yml.

use serde_yaml::Value;

use super::load;

/// Each section, with a text that has an unknown key in it, which is answered by all that are known there.
const SECTIONS: &[(&[&str], &str)] = &[
    (&[], "zzz: 1"),
    (&["haproxy"], "haproxy: {zzz: 1}"),
    (&["consul"], "consul: {zzz: 1}"),
    (&["consul", "tls"], "consul: {tls: {zzz: 1}}"),
    (&["frontends", "http-in"], "frontends: {http-in: {zzz: 1}}"),
    (&["service_config"], "service_config: {type: zookeeper, servers: a, path: /p, zzz: 1}"),
    (&["service_config", "auth"], "service_config: {type: zookeeper, servers: a, path: /p, auth: {zzz: 1}}"),
    (&["service_config", "tls"], "service_config: {type: zookeeper, servers: a, path: /p, tls: {zzz: 1}}"),
    (&["reload"], "reload: {zzz: 1}"),
    (&["safety"], "safety: {zzz: 1}"),
    (&["admin"], "admin: {zzz: 1}"),
    (&["shutdown"], "shutdown: {zzz: 1}"),
    (&["log"], "log: {zzz: 1}"),
];

/// Sections that are commented out as a whole.
const COMMENTED: &[&str] = &["# frontends:", "# consul:", "# values:", "# admin:"];

/// The example with what is commented out in it; a key that stands there twice is no YAML.
fn example() -> Value {
    let mut text = include_str!("../../../config/proxymgr.yml").to_owned();
    for (commented, plain) in [
        ("  # auth:", "  auth:"),
        ("  # tls:", "  tls:"),
        ("  # include:", "  include:"),
        ("  # template:", "  template:"),
        ("  # cookie_key:", "  cookie_key:"),
        ("  #   ", "    "),
    ] {
        assert!(text.contains(commented), "{commented}");
        text = text.replace(commented, plain);
    }
    for section in COMMENTED {
        let commented = block(&text, section);
        text = text.replace(&commented, &plain(&commented));
    }
    serde_yaml::from_str(&text).unwrap()
}

/// The lines of comment from the one that begins with `first` on.
fn block(text: &str, first: &str) -> String {
    let lines = text.split_inclusive('\n').skip_while(|line| !line.starts_with(first));
    let block: String = lines.take_while(|line| line.starts_with('#')).collect();
    assert!(!block.is_empty(), "{first}");
    block
}

/// What a comment says.
fn plain(commented: &str) -> String {
    commented.split_inclusive('\n').map(|line| line.strip_prefix("# ").unwrap()).collect()
}

#[test]
fn each_key_that_is_understood_is_explained_once() {
    let example = example();
    for (section, text) in SECTIONS {
        assert_all_are_explained(&example, section, text);
    }
}

#[test]
fn each_key_of_a_docker_source_is_explained_once() {
    let example = include_str!("../../../config/proxymgr.yml");
    let source = plain(block(example, "# A source of type docker").split_once('\n').unwrap().1);
    let source: Value = serde_yaml::from_str(&source.replace("  # published:", "  published:")).unwrap();
    let tls = "service_config: {type: docker, docker_host: \"tcp://a:1\", tls: {zzz: 1}}";
    assert_all_are_explained(&source, &["service_config"], "service_config: {type: docker, zzz: 1}");
    assert_all_are_explained(&source, &["service_config", "tls"], tls);
}

/// All keys that are known, where `text` has one that is not, stand in that section of `example`, and no others.
fn assert_all_are_explained(example: &Value, section: &[&str], text: &str) {
    let errors = load(text).unwrap_err();
    let known = errors.iter().find_map(|error| error.split_once("known here are "));
    let (_, known) = known.unwrap_or_else(|| panic!("{section:?}: {errors:?}"));
    let explained = section.iter().fold(example, |value, key| &value[*key]);
    for key in known.split(", ") {
        assert!(explained.get(key).is_some(), "{section:?} {key} in {explained:?}");
    }
    assert_eq!(explained.as_mapping().unwrap().len(), known.split(", ").count(), "{section:?}: {known}");
}

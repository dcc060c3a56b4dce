//! The layer rule of `src/lib.rs`, the limits of a file's size and of who may name which crate, held by reading the
//! sources. Unit tests (`mod tests`, at the end of a file) may use what they like, but count as lines.

use std::fs;
use std::path::{Path, PathBuf};

use super::support::paths::paths_in;

/// What all layers above `engine` stand on.
const GROUND: &[&str] = &[
    "registry_values",
    "zookeeper",
    "docker",
    "consul",
    "tls",
    "dns",
    "process",
    "directory_watch",
    "include_files",
    "template",
    "document",
    "server_entry",
    "config",
    "logging",
    "systemd",
    "panics",
    "unix_listener",
    "own_files",
    "deadline",
    "census",
    "engine",
];

/// Each module with the modules of its own layer and of the one below that it may use, besides [`GROUND`].
const MAY_USE: &[(&str, &[&str])] = &[
    ("main", &["cli", "supervisor", "admin", "service_manager", "haproxy", "watcher", "service_config"]),
    ("cli", &["supervisor", "admin", "service_manager", "haproxy", "watcher", "service_config"]),
    ("supervisor", &["http", "admin", "service_manager", "haproxy", "watcher", "service_config"]),
    ("http", &["admin"]),
    ("admin", &[]),
    ("service_manager", &["watcher", "service_config"]),
    ("haproxy", &[]),
    ("watcher", &[]),
    ("service_config", &[]),
];

/// The ground itself: each may use what is named here only.
const GROUND_MAY_USE: &[(&str, &[&str])] = &[
    ("zookeeper", &["deadline", "census", "tls", "panics", "engine"]),
    ("docker", &["deadline", "census", "tls", "panics", "engine"]),
    ("registry_values", &["zookeeper", "consul", "panics", "engine"]),
    ("consul", &["census", "tls", "directory_watch", "panics", "engine"]),
    ("tls", &["engine"]),
    ("dns", &["panics", "engine"]),
    ("process", &["panics", "engine"]),
    ("directory_watch", &["engine"]),
    ("include_files", &["directory_watch", "panics", "engine"]),
    ("template", &["directory_watch", "panics", "engine"]),
    ("document", &[]),
    ("server_entry", &["engine"]),
    ("config", &["engine"]),
    ("logging", &["config", "engine"]),
    ("systemd", &[]),
    ("panics", &["engine"]),
    ("unix_listener", &[]),
    ("own_files", &[]),
    ("deadline", &[]),
    ("census", &[]),
    ("engine", &[]),
];

/// The engine knows no I/O, clock, randomness or log: addresses (`std::net::IpAddr`) and `Duration` are values.
const NOT_IN_THE_ENGINE: &[&str] = &[
    "tokio",
    "nix",
    "socket2",
    "rand",
    "tracing",
    "std::fs",
    "std::env",
    "std::os",
    "std::process",
    "std::thread",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// The same, as names that a shorter path ends with (`time::Instant`).
const NAMES_NOT_IN_THE_ENGINE: &[&str] = &["Instant", "SystemTime", "TcpListener", "TcpStream", "UdpSocket"];

/// Crates that these modules alone name.
const CRATES_AT_HOME: &[(&str, &[&str])] = &[
    ("zookeeper_client", &["zookeeper"]),
    ("rustls", &["tls", "zookeeper", "consul", "docker"]),
    ("tokio_rustls", &["consul", "docker"]),
    ("hickory_resolver", &["dns"]),
    ("axum", &["http"]),
    ("hyper", &["http", "consul", "docker"]),
    ("hyper_util", &["http", "consul", "docker"]),
    ("http_body_util", &["consul"]),
    ("bollard", &["docker"]),
    ("minijinja", &["template"]),
];

const MAX_LINES: usize = 400;

#[test]
fn every_source_file_keeps_the_layer_rule() {
    let files = sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    assert!(files.iter().any(|(path, _)| path == "engine/mod.rs"), "the sources are found: {files:?}");
    let broken: Vec<_> = files.iter().flat_map(|(path, text)| violations(path, text)).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_broken_rule_is_found() {
    let broken = [
        ("haproxy/runtime.rs", "use crate::watcher::Updates;", "haproxy may not use watcher"),
        (
            "haproxy/runtime.rs",
            "use std::fs;\nuse crate::{engine::plan, watcher};",
            "haproxy may not use watcher",
        ),
        ("haproxy.rs", "fn f() { crate::service_config::g() }", "haproxy may not use service_config"),
        ("watcher/file.rs", "use super::super::haproxy::Plan;", "watcher may not use haproxy"),
        ("service_config/file.rs", "use proxymgr::haproxy;", "service_config may not use haproxy"),
        ("zookeeper/mod.rs", "use crate::supervisor;", "zookeeper may not use supervisor"),
        ("engine/plan.rs", "use crate::config::Config;", "engine may not use config"),
        ("engine/plan.rs", "use std::{fmt, fs::{self, File}};", "the engine may not name std::fs"),
        (
            "engine/plan.rs",
            "let now = std::time::Instant::now();",
            "the engine may not name std::time::Instant",
        ),
        ("engine/plan.rs", "use std::time;\nlet t = time::SystemTime::now();", "name time::SystemTime"),
        ("engine/plan.rs", "tracing::info!(\"x\");", "the engine may not name tracing"),
        ("watcher/zookeeper.rs", "use zookeeper_client as zk;", "only src/zookeeper names zookeeper_client"),
        ("watcher/dns.rs", "use hickory_resolver::Hosts;", "only src/dns names hickory_resolver"),
        ("admin/server.rs", "use crate::supervisor::run;", "admin may not use supervisor"),
        ("page/mod.rs", "", "page has no layer yet"),
    ];
    for (path, text, expected) in broken {
        let found = violations(path, text);
        assert!(
            found.first().is_some_and(|first| first.contains(expected)),
            "{path}: {text}\n  gives {found:?}"
        );
    }
    let long = "//\n".repeat(MAX_LINES + 1);
    assert!(violations("main.rs", &long)[0].contains("401 lines"));
}

#[test]
fn what_the_rule_allows_is_no_violation() {
    let good = [
        ("main.rs", "use proxymgr::cli;"),
        ("supervisor/mod.rs", "use crate::{haproxy::{self, actor}, service_manager, engine};"),
        ("service_manager.rs", "use crate::watcher::drive;"),
        (
            "haproxy/mod.rs",
            "// use crate::watcher;\n/* crate::watcher */ let s = \"crate::watcher\"; let c = '\"';",
        ),
        ("haproxy/mod.rs", "use super::engine; use crate::haproxy::reply; let r = r#\"crate::watcher \"\"#;"),
        ("engine/plan.rs", "use std::net::{IpAddr, SocketAddr}; use std::time::Duration; let tracing = 1;"),
        ("engine/plan.rs", "#[cfg(test)]\nmod tests { use std::fs; }"),
        ("zookeeper/session.rs", "use zookeeper_client::Client;"),
    ];
    for (path, text) in good {
        assert_eq!(violations(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

/// All `.rs` files below `root`, by their path from there, with their text. `lib.rs` only lists the modules.
fn sources(root: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && name != "lib.rs" {
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

/// What `text`, the file at `path` from src/, does against the rules.
fn violations(path: &str, text: &str) -> Vec<String> {
    let steps: Vec<&str> = path.trim_end_matches(".rs").split('/').filter(|step| *step != "mod").collect();
    let module = steps[0];
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES {
        found.push(format!("src/{path} has {lines} lines, at most {MAX_LINES} are readable: split it"));
    }
    let Some(allowed) = allowed_for(module) else {
        found.push(format!("src/{path}: {module} has no layer yet: give it one in tests/suite/layers.rs"));
        return found;
    };
    let only_tests = steps.last() == Some(&"tests");
    let code =
        if only_tests { "" } else { text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default() };
    for named in paths_in(code) {
        let segments: Vec<&str> = named.split("::").collect();
        if let Some(used) = top_module(&segments, &steps)
            && used != module
            && MAY_USE.iter().chain(GROUND_MAY_USE).any(|(known, _)| *known == used)
            && !allowed.contains(&used)
        {
            found.push(format!("src/{path}: {module} may not use {used}, as `{named}` does"));
        }
        let last = segments[segments.len() - 1];
        let forbidden =
            NOT_IN_THE_ENGINE.iter().any(|ban| named == *ban || named.starts_with(&format!("{ban}::")));
        let by_name = segments.iter().any(|segment| NAMES_NOT_IN_THE_ENGINE.contains(segment));
        if module == "engine"
            && (forbidden || by_name)
            && (segments.len() > 1 || last.contains(char::is_uppercase))
        {
            found.push(format!("src/{path}: the engine may not name {named}"));
        }
        if let Some((name, homes)) = CRATES_AT_HOME.iter().find(|(name, _)| segments[0] == *name)
            && !homes.contains(&module)
        {
            found.push(format!("src/{path}: only src/{} names {name}", homes.join(", src/")));
        }
    }
    found
}

fn allowed_for(module: &str) -> Option<Vec<&'static str>> {
    let above = MAY_USE.iter().find(|(name, _)| *name == module);
    let ground = GROUND_MAY_USE.iter().find(|(name, _)| *name == module);
    above.map(|(_, own)| [*own, GROUND].concat()).or_else(|| ground.map(|(_, own)| own.to_vec()))
}

/// The module right below the crate that a path leads to, written in the file at `steps`.
fn top_module<'path>(path: &[&'path str], steps: &[&str]) -> Option<&'path str> {
    let ups = path.iter().take_while(|segment| **segment == "super").count();
    match path {
        ["crate" | "proxymgr", module, ..] => Some(module),
        ["super", ..] if ups == steps.len() => path.get(ups).copied(),
        _ => None,
    }
}

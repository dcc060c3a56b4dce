//! Finding the risks of a line, however it is quoted.

use super::Risk;
use crate::engine::config_words::ConfigWord;
use crate::engine::service::ServiceName;

/// Families of addresses that are no IP addresses (configuration manual, 11.1; 3.x adds `abnsz@` and `rhttp@`). Before them may
/// stand `stream+` or `dgram+`.
const LOCAL_FAMILIES: [&str; 9] =
    ["unix@", "uxst@", "uxdg@", "abns@", "abnsz@", "fd@", "sockpair@", "rhttp@", "rev@"];
/// Words whose next word is an address, or a path that `HAProxy` takes for one.
const BEFORE_ADDRESS: [&str; 6] = ["addr", "agent-addr", "source", "log", "dispatch", "socks4"];
const MAPS: [&str; 5] = ["map", "set-map", "del-map", "add-acl", "del-acl"];
/// Converters that name a certificate, whose key they use (3.3 and later).
const CERTIFICATE_KEYS: [&str; 2] = ["jwt_verify_cert", "jwt_decrypt_cert"];
/// Actions and converters that write the variable in their parentheses.
const SET_VARIABLES: [&str; 4] = ["set-var", "set-var-fmt", "unset-var", "do-resolve"];

/// All risks in a line of `service`, each with the word that shows it.
pub(super) fn risks(words: &[ConfigWord], service: &ServiceName) -> Vec<(Risk, String)> {
    let mut found = Vec::new();
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    // `no option x`, `default option x`.
    let line = match texts.as_slice() {
        ["no" | "default", rest @ ..] => rest,
        all => all,
    };
    let mut note = |risk, word: &str| found.push((risk, word.to_owned()));
    match line {
        ["external-check", ..] | ["option", "external-check", ..] => {
            note(Risk::ExternalCheck, "external-check");
        }
        [first @ ("errorfile" | "errorfiles"), ..] => note(Risk::ErrorFile, first),
        [first @ ("load-server-state-from-file" | "server-state-file-name"), ..] => {
            note(Risk::ServerState, first);
        }
        ["filter", "compression" | "bwlim-in" | "bwlim-out", ..] => {}
        ["filter", "cache", ..] => note(Risk::SharedState, "filter cache"),
        [first @ ("filter" | "use-fcgi-app"), ..] => note(Risk::Filter, first),
        ["stats", "admin", ..] => note(Risk::StatsAdmin, "stats admin"),
        ["http-error" | "http-request" | "http-response" | "http-after-response", rest @ ..] => {
            let by_file = ["file", "lf-file", "errorfile", "errorfiles"];
            if let Some(word) = rest.iter().find(|word| by_file.contains(word)) {
                note(Risk::ErrorFile, word);
            }
            match rest.first() {
                Some(&"send-spoe-group") => note(Risk::Filter, "send-spoe-group"),
                Some(&cache @ ("cache-use" | "cache-store")) => note(Risk::SharedState, cache),
                _ => {}
            }
        }
        // The address of a server of its own.
        ["server" | "peer", _name, address, ..] | ["server-template", _name, _, address, ..]
            if is_path(address) =>
        {
            note(Risk::LocalSocket, address);
        }
        _ => {}
    }
    let has_options =
        matches!(line.first(), Some(&("bind" | "server" | "default-server" | "server-template")));
    for (at, word) in words.iter().enumerate() {
        let (text, before) = (word.text.as_str(), at.checked_sub(1).and_then(|at| texts.get(at)));
        if word.uses_environment || calls(text, "env") {
            note(Risk::Environment, text);
        }
        if holds_name(text, "lua.") {
            note(Risk::Lua, text);
        }
        match text {
            "-f" => note(Risk::AclFile, text),
            "crt-list" if has_options => note(Risk::CertificateList, text),
            "namespace" if has_options => note(Risk::LocalSocket, text),
            _ => {}
        }
        if MAPS.iter().any(|map| calls(text, map)) || holds_name(text, "map_") {
            note(Risk::Map, text);
        }
        if calls(text, "jwt_verify") && text.contains('/')
            || CERTIFICATE_KEYS.iter().any(|name| calls(text, name))
        {
            note(Risk::KeyFile, text);
        }
        let is_address = before.is_some_and(|before| BEFORE_ADDRESS.contains(before));
        if LOCAL_FAMILIES.iter().any(|family| holds_name(text, family)) || is_address && is_path(text) {
            note(Risk::LocalSocket, text);
        }
        // Arguments have quotes and escapes of their own.
        let plain = text.replace(['"', '\'', '\\'], "");
        if SET_VARIABLES
            .iter()
            .any(|name| arguments(&plain, name).any(|of| of.trim_start().starts_with("proc.")))
        {
            note(Risk::SharedState, text);
        }
        if counts_elsewhere(&plain, service) {
            note(Risk::OtherSection, text);
        }
    }
    if let Some(word) = stores_elsewhere(line, service) {
        found.push((Risk::OtherSection, word));
    }
    found
}

/// The word by which a line stores into another section: the table that is tracked or stored in, or that takes the updates of peers
/// (3.0 and later), or the server that a client's connection is attached to (2.9 and later).
fn stores_elsewhere(line: &[&str], service: &ServiceName) -> Option<String> {
    let tracks = line.iter().any(|word| word.starts_with("track-sc"));
    let stores = tracks || matches!(line, ["stick", action, ..] if *action != "match");
    line.windows(2).find_map(|pair| {
        let [before, name] = pair else { return None };
        let other = match *before {
            "table" => stores && *name != service.as_str(),
            "write-to" => *name != service.as_str(),
            "attach-srv" => name.split('/').next() != Some(service.as_str()),
            _ => false,
        };
        other.then(|| format!("{before} {name}"))
    })
}

/// Whether a fetch or converter in `text` changes counters of another section's table: `sc_inc_gpc0(CTR,TABLE)`,
/// `src_clr_gpc(IDX,TABLE)`, `src_updt_conn_cnt(TABLE)`, `table_inc_gpc(IDX,TABLE)`... (7.3.3; converters from 3.2 on).
fn counts_elsewhere(text: &str, service: &ServiceName) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    text.match_indices('(').any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default();
        let begin = before.rfind(|c| !is_of_name(c)).map_or(0, |last| last + 1);
        let name = before.get(begin..).unwrap_or_default();
        let of_tables = ["sc", "src_", "table_"].iter().any(|start| name.starts_with(start));
        let changes = ["_inc_", "_clr_", "_updt_", "_set_", "_add_"].iter().any(|verb| name.contains(verb));
        let numbers = usize::from(name.starts_with("sc_")) + usize::from(name.ends_with("_gpc"));
        let inside = text.get(at + 1..).and_then(|after| after.split(')').next()).unwrap_or_default();
        let table = inside.split(',').nth(numbers).map(str::trim).filter(|table| !table.is_empty());
        of_tables && changes && table.is_some_and(|table| table != service.as_str())
    })
}

/// Whether `HAProxy` takes the address for the path of a socket.
fn is_path(address: &str) -> bool {
    address.rsplit('+').next().is_some_and(|address| address.starts_with('/'))
}

/// What follows each `name(` in `text`.
fn arguments<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(name).filter_map(move |(at, _)| text.get(at + name.len()..)?.strip_prefix('('))
}

/// Whether `text` holds `name(`, where a name begins.
fn calls(text: &str, name: &str) -> bool {
    holds(text, name, |after| after.starts_with('('))
}

fn holds_name(text: &str, name: &str) -> bool {
    holds(text, name, |_| true)
}

fn holds(text: &str, name: &str, follows: impl Fn(&str) -> bool) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let begins = text.get(..at).and_then(|before| before.chars().next_back());
        let begins = begins.is_none_or(|c| !c.is_ascii_alphanumeric() && !"._-".contains(c));
        begins && text.get(at + name.len()..).is_some_and(&follows)
    })
}

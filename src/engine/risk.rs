//! What a line of a definition could do beyond its own service, and what the operator allows (`safety.allow_options`).
//!
//! Many teams write definitions; `HAProxy` and its files belong to one. From the configuration manual, 2.6 to 3.4:
//!
//! | `allow_options` | lines | what they could do |
//! |---|---|---|
//! | external-check | `external-check`, `option external-check` (4.2) | run programs |
//! | lua | `lua.*` actions, fetches, converters, services | run what the operator loaded for others |
//! | error-file | `errorfile`, `errorfiles`, `http-error`, `return`, `deny`... with a file (4.2, 4.3) | show any file that `HAProxy` can read |
//! | acl-file | `-f FILE` in ACLs (7.1) | tell what a file holds |
//! | map | converters `map*(FILE)`, actions `set-map`, `del-map`, `add-acl`, `del-acl` (4.3, 7.3.1) | show files; change others' maps |
//! | key-file | `jwt_verify` with a path (7.3.1) | use keys of others |
//! | server-state | `load-server-state-from-file`, `server-state-file-name` (4.2) | override addresses and states |
//! | filter | `filter spoe`, `filter trace`, `filter fcgi-app`, `filter opentracing` (9), `use-fcgi-app` | read files, open connections, flood the log |
//! | stats-admin | `stats admin` (4.2) | change the servers of all services |
//! | local-socket | `unix@`, `abns@`, `fd@`, `sockpair@`, `rhttp@` and paths as addresses (11.1) | reach `HAProxy`'s stats socket, or other local ones |
//! | environment | `"${NAME}"` (2.3), `env()` (7.3.2) | show what the environment holds |
//!
//! Certificates and keys of `bind` and `server` lines are taken: `HAProxy` uses them, and shows none.

use std::collections::BTreeSet;

use super::config_words::{ConfigWord, config_words};
use super::option_line::OptionLine;

/// One kind of risk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Risk {
    /// Runs programs.
    ExternalCheck,
    /// Runs Lua code.
    Lua,
    /// Answers with the text of a file.
    ErrorFile,
    /// Compares with the lines of a file.
    AclFile,
    /// Looks up in a file, or changes a map.
    Map,
    /// Uses a key in a file.
    KeyFile,
    /// Takes servers' states from a file.
    ServerState,
    /// Hands streams to a filter.
    Filter,
    /// Lets clients change servers.
    StatsAdmin,
    /// Connects to sockets of this machine.
    LocalSocket,
    /// Reads the environment.
    Environment,
}

impl Risk {
    /// The words of `safety.allow_options`.
    pub const WORDS: [(&str, Self); 11] = [
        ("external-check", Self::ExternalCheck),
        ("lua", Self::Lua),
        ("error-file", Self::ErrorFile),
        ("acl-file", Self::AclFile),
        ("map", Self::Map),
        ("key-file", Self::KeyFile),
        ("server-state", Self::ServerState),
        ("filter", Self::Filter),
        ("stats-admin", Self::StatsAdmin),
        ("local-socket", Self::LocalSocket),
        ("environment", Self::Environment),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, risk)| *risk == self).map_or("", |(word, _)| word)
    }

    fn threat(self) -> &'static str {
        match self {
            Self::ExternalCheck => "it runs programs",
            Self::Lua => "it runs Lua code",
            Self::ErrorFile => "it shows files",
            Self::AclFile | Self::Map => "it reads files",
            Self::KeyFile => "it uses keys in files",
            Self::ServerState => "it changes servers by a file",
            Self::Filter => "it hands traffic to a filter",
            Self::StatsAdmin => "it lets clients change the servers of all services",
            Self::LocalSocket => "it reaches sockets of the proxy host",
            Self::Environment => "it shows the environment",
        }
    }
}

/// What the operator allows all definitions.
pub type Allowed = BTreeSet<Risk>;

/// Why a line is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{word}' is not allowed: {threat}; only the operator can allow it (safety.allow_options: [{allow}] in proxymgr.yml)",
    threat = risk.threat(), allow = risk.word()
)]
pub struct Forbidden {
    /// The risk.
    pub risk: Risk,
    word: String,
}

/// Checks a line of a definition.
///
/// # Errors
/// The first risk that isn't allowed.
pub fn check_risks(line: &OptionLine, allowed: &Allowed) -> Result<(), Forbidden> {
    let words = config_words(line.as_str());
    match risks(&words).into_iter().find(|(risk, _)| !allowed.contains(risk)) {
        Some((risk, word)) => Err(Forbidden { risk, word }),
        None => Ok(()),
    }
}

/// Families of addresses that are no IP addresses (configuration manual, 11.1; 3.x adds `abnsz@` and `rhttp@`).
const LOCAL_FAMILIES: [&str; 7] = ["unix@", "abns@", "abnsz@", "fd@", "sockpair@", "rhttp@", "rev@"];
/// Words whose next word is an address, or a path that `HAProxy` takes for one.
const BEFORE_ADDRESS: [&str; 5] = ["addr", "agent-addr", "source", "log", "dispatch"];

fn risks(words: &[ConfigWord]) -> Vec<(Risk, String)> {
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
        ["filter", "compression" | "cache" | "bwlim-in" | "bwlim-out", ..] => {}
        [first @ ("filter" | "use-fcgi-app"), ..] => note(Risk::Filter, first),
        ["stats", "admin", ..] => note(Risk::StatsAdmin, "stats admin"),
        ["http-error" | "http-request" | "http-response" | "http-after-response", rest @ ..] => {
            let by_file = ["file", "lf-file", "errorfile", "errorfiles"];
            if let Some(word) = rest.iter().find(|word| by_file.contains(word)) {
                note(Risk::ErrorFile, word);
            }
            if rest.first() == Some(&"send-spoe-group") {
                note(Risk::Filter, "send-spoe-group");
            }
        }
        // The address of a server of its own.
        ["server" | "peer", _name, address, ..] | ["server-template", _name, _, address, ..]
            if address.starts_with('/') =>
        {
            note(Risk::LocalSocket, address);
        }
        _ => {}
    }
    for (at, word) in words.iter().enumerate() {
        let (text, before) = (word.text.as_str(), at.checked_sub(1).and_then(|at| texts.get(at)));
        if word.uses_environment || calls(text, "env") {
            note(Risk::Environment, text);
        }
        if holds_name(text, "lua.") {
            note(Risk::Lua, text);
        }
        if text == "-f" {
            note(Risk::AclFile, text);
        }
        if MAPS.iter().any(|map| calls(text, map)) || holds_name(text, "map_") {
            note(Risk::Map, text);
        }
        if calls(text, "jwt_verify") && text.contains('/') {
            note(Risk::KeyFile, text);
        }
        let is_address = before.is_some_and(|before| BEFORE_ADDRESS.contains(before));
        if LOCAL_FAMILIES.iter().any(|family| holds_name(text, family)) || is_address && text.starts_with('/')
        {
            note(Risk::LocalSocket, text);
        }
    }
    found
}

const MAPS: [&str; 5] = ["map", "set-map", "del-map", "add-acl", "del-acl"];

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

#[cfg(test)]
mod tests {
    use super::*;

    fn risk_of(line: &str) -> Option<Risk> {
        check_risks(&OptionLine::parse(line).unwrap(), &Allowed::new()).err().map(|forbidden| forbidden.risk)
    }

    #[test]
    fn what_reaches_beyond_the_service_is_found_however_it_is_written() {
        for (line, risk) in [
            ("external-check command /bin/sh", Risk::ExternalCheck),
            ("option external-check", Risk::ExternalCheck),
            ("no option external-check", Risk::ExternalCheck),
            ("opt\\ion 'external-check'", Risk::ExternalCheck),
            ("http-request lua.steal", Risk::Lua),
            ("http-request use-service lua.shell", Risk::Lua),
            ("http-request set-header x %[src,lua.conv]", Risk::Lua),
            ("acl a lua.fetch(1) -m found", Risk::Lua),
            ("http-request \"lua\\x2esteal\"", Risk::Lua),
            ("errorfile 503 /etc/shadow", Risk::ErrorFile),
            ("err'orfile' 503 /etc/shadow", Risk::ErrorFile),
            ("errorfiles pages", Risk::ErrorFile),
            ("http-error status 404 content-type text/plain file /etc/shadow", Risk::ErrorFile),
            ("http-request return content-type text/plain lf-file /etc/shadow", Risk::ErrorFile),
            ("http-request deny errorfile /etc/shadow", Risk::ErrorFile),
            ("http-after-response return file /x", Risk::ErrorFile),
            ("acl a src -f /etc/hosts", Risk::AclFile),
            ("use_backend x if { src -f /etc/hosts }", Risk::AclFile),
            ("http-request set-header x %[src,map(/etc/shadow)]", Risk::Map),
            ("http-request set-header x %[src,map_str_int(/etc/shadow,0)]", Risk::Map),
            ("http-request set-map(/etc/other.map) k v", Risk::Map),
            ("tcp-request content del-acl(/etc/x) v", Risk::Map),
            ("acl a req.hdr(x),jwt_verify(txn.alg,\"/etc/key.pem\") 1", Risk::KeyFile),
            ("load-server-state-from-file local", Risk::ServerState),
            ("server-state-file-name x", Risk::ServerState),
            ("filter spoe engine x config /etc/x", Risk::Filter),
            ("filter trace", Risk::Filter),
            ("http-request send-spoe-group a b", Risk::Filter),
            ("stats admin if TRUE", Risk::StatsAdmin),
            ("server x unix@/run/proxymgr/haproxy.sock", Risk::LocalSocket),
            ("server x /run/proxymgr/haproxy.sock", Risk::LocalSocket),
            ("server-template x 1-3 /run/x", Risk::LocalSocket),
            ("server x \"abns@a\"", Risk::LocalSocket),
            ("server x ipv4@1.2.3.4:1 addr unix@/run/x", Risk::LocalSocket),
            ("tcp-check connect addr /run/proxymgr/haproxy.sock", Risk::LocalSocket),
            ("check agent-addr /run/x", Risk::LocalSocket),
            ("log fd@5 local0", Risk::LocalSocket),
            ("log /dev/log local0", Risk::LocalSocket),
            ("http-request set-header x \"${ZK_AUTH}\"", Risk::Environment),
            ("http-request set-header x %[env(ZK_AUTH)]", Risk::Environment),
        ] {
            assert_eq!(risk_of(line), Some(risk), "{line}");
        }
    }

    #[test]
    fn ordinary_lines_are_taken() {
        for line in [
            "mode http",
            "option httpchk GET /health",
            "http-check send meth GET uri /map hdr Host lua-users.org",
            "http-check expect rstring ^OK$",
            "check inter 2000 fall 3 ssl ca-file /etc/ssl/ca.pem verify required",
            "ssl crt /etc/ssl/web.pem alpn h2,http/1.1",
            "acl api path_beg /api /file /errorfile",
            "http-request set-header X-Map roadmap",
            "http-request redirect location https://www.lua-users.org/ if { path_reg ^/a$ }",
            "log 127.0.0.1:514 local0",
            "log global",
            "filter compression",
            "stats uri /stats",
            "source 10.0.0.1",
            "cookie SRV insert indirect nocache",
            "balance url_param map",
            "http-request set-header x '${literal}'",
            "server own 10.0.0.1:80 check",
        ] {
            assert_eq!(risk_of(line), None, "{line}");
        }
    }

    #[test]
    fn the_operator_may_allow_each_and_the_refusal_tells_how() {
        for (word, risk) in Risk::WORDS {
            assert_eq!(risk.word(), word);
        }
        let line = OptionLine::parse("errorfile 503 /x").unwrap();
        check_risks(&line, &Allowed::from([Risk::ErrorFile])).unwrap();
        let refusal = check_risks(&line, &Allowed::from([Risk::Map])).unwrap_err().to_string();
        assert_eq!(
            refusal,
            "'errorfile' is not allowed: it shows files; only the operator can allow it (safety.allow_options: [error-file] in proxymgr.yml)"
        );
    }
}

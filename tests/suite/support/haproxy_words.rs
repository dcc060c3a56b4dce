//! The words of the `HAProxy` under test, by its own lists, and lines made of them.

use std::collections::BTreeMap;
use std::process::Command;

use proptest::prelude::*;
use proptest::sample::select;

use super::haproxy::binary;

/// Keywords that stand in no list: the oldest ones.
const OLDEST: [&str; 34] = [
    "acl a",
    "backlog",
    "balance",
    "bind-process",
    "capture cookie",
    "capture request header",
    "cookie",
    "default_backend",
    "default-server",
    "description",
    "disabled",
    "dispatch",
    "email-alert from",
    "enabled",
    "fullconn",
    "hash-type",
    "http-reuse",
    "http-send-name-header",
    "id",
    "load-server-state-from-file",
    "log",
    "log-format",
    "log-tag",
    "maxconn",
    "mode",
    "monitor-uri",
    "persist rdp-cookie",
    "redirect location",
    "retries",
    "server s",
    "source",
    "stats",
    "stick-table type ip size 1k",
    "unique-id-format",
];

/// What follows them. No word is a host's name, which would be looked up.
const ARGUMENTS: [&str; 52] = [
    "10.0.0.9:80",
    "127.0.0.1",
    "[::1]:80",
    "0.0.0.0",
    "*",
    "5",
    "100",
    "0",
    "-1",
    "99999999999",
    "10ms",
    "2000",
    "if",
    "unless",
    "TRUE",
    "FALSE",
    "{ src 10.0.0.1 }",
    "{ always_true }",
    "{",
    "}",
    "||",
    "!a",
    "a",
    "http",
    "tcp",
    "roundrobin",
    "source",
    "uri",
    "global",
    "local0",
    "%[src]",
    "%ci",
    "\"%[src] x\"",
    "'a b'",
    "a\\ b",
    "\"",
    "'",
    "\\",
    "\\x41",
    "#",
    "$",
    "\"$x\"",
    "(",
    ")",
    ",",
    "-m",
    "-i",
    "str",
    "found",
    "insert",
    "indirect",
    "expire 1m",
];

/// All words, by kind.
#[derive(Clone, Debug)]
pub struct Words {
    lines: Vec<String>,
    server: Vec<String>,
    bind: Vec<String>,
    fetches: Vec<String>,
    converters: Vec<String>,
}

impl Words {
    /// Asks `haproxy -dKall`.
    #[expect(clippy::disallowed_methods, reason = "no reaper runs in a test")]
    pub fn of_haproxy(empty_config: &std::path::Path) -> Self {
        let told =
            Command::new(binary()).args(["-dKall", "-q", "-c", "-f"]).arg(empty_config).output().unwrap();
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut list = "";
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("# List of registered ") {
                list = title.trim_end_matches(':');
            } else if !line.starts_with('#') {
                lists.entry(list).or_default().push(line);
            }
        }
        let section = lists["configuration keywords"].iter().skip_while(|line| **line != "listen").skip(1);
        let keywords: Vec<_> =
            section.take_while(|line| line.starts_with('\t')).map(|line| line.trim()).collect();
        let after = |start: &str| -> Vec<String> {
            let options = keywords.iter().filter_map(|line| line.strip_prefix(start));
            options.map(|option| option.split(" +").next().unwrap().to_owned()).collect()
        };
        let lines =
            keywords.iter().filter(|line| !line.starts_with("server <") && !line.starts_with("bind <"));
        // `option contstats [ FE ]`, `http-request sc-add-gpc*`
        let lines = lines.map(|line| line.split(" [").next().unwrap().replace('*', "("));
        let names = |list: &str| -> Vec<String> {
            let all = lists[list].iter().map(|line| line.rsplit("] ").next().unwrap_or(line));
            all.map(|line| line.split([':', '(']).next().unwrap().to_owned()).collect()
        };
        Self {
            lines: lines.chain(OLDEST.map(str::to_owned)).collect(),
            server: after("server <name> <addr> "),
            bind: after("bind <addr> "),
            fetches: names("sample fetch functions"),
            converters: names("sample converter functions"),
        }
    }

    /// Some lines of a section.
    pub fn any_lines(&self) -> impl Strategy<Value = Vec<String>> + use<> {
        let keyword = select(self.lines.clone());
        let line = (keyword, self.any_arguments()).prop_map(|(keyword, rest)| format!("{keyword} {rest}"));
        let fetch = (self.any_expression(), any_word())
            .prop_map(|(of, rest)| format!("http-request set-header x %[{of}] {rest}"));
        let acl = (self.any_expression(), any_word()).prop_map(|(of, rest)| format!("acl a {of} {rest}"));
        let plain = select(vec!["mode http", "mode tcp", "option httplog", "balance leastconn", "retries 2"]);
        let any = prop_oneof![6 => line, 2 => fetch, 1 => acl, 4 => plain.prop_map(str::to_owned), 1 => "[ -~]{0,30}"];
        prop::collection::vec(any, 0..4)
    }

    /// The options of a `server` line.
    pub fn any_server_options(&self) -> impl Strategy<Value = Vec<String>> + use<> {
        any_options(&self.server)
    }

    /// The options of a `bind` line.
    pub fn any_bind_options(&self) -> impl Strategy<Value = Vec<String>> + use<> {
        any_options(&self.bind)
    }

    fn any_arguments(&self) -> impl Strategy<Value = String> + use<> {
        let word = prop_oneof![4 => any_word(), 1 => self.any_expression()];
        prop::collection::vec(word, 0..4).prop_map(|words| words.join(" "))
    }

    fn any_expression(&self) -> impl Strategy<Value = String> + use<> {
        let arguments =
            select(vec!["", "(a)", "(1)", "(0,a)", "(txn.x)", "(innocent)", "(", "('a')", "(a,b,c)"]);
        let part =
            |names: &[String]| (select(names.to_vec()), arguments.clone()).prop_map(|(name, of)| name + of);
        let converters = prop::collection::vec(part(&self.converters), 0..3);
        (part(&self.fetches), converters).prop_map(|(fetch, converters)| {
            converters.into_iter().fold(fetch, |all, converter| all + "," + &converter)
        })
    }
}

fn any_word() -> impl Strategy<Value = String> {
    prop_oneof![8 => select(ARGUMENTS.to_vec()).prop_map(str::to_owned), 1 => "[!-~]{1,6}"]
}

fn any_options(known: &[String]) -> impl Strategy<Value = Vec<String>> + use<> {
    let option = (select(known.to_vec()), any_word()).prop_map(|(option, word)| format!("{option} {word}"));
    let option = prop_oneof![2 => select(known.to_vec()), 2 => option, 1 => any_word()];
    prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(option, 0..3)]
}

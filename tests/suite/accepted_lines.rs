//! What is taken from definitions, against `HAProxy`'s own parser: a line stays in its section, whatever it holds.
//!
//! `PROPTEST_CASES` says how many configurations are tried, of 20 lines each; 25 without.

use std::fmt::Write as _;
use std::fs;

use proptest::prelude::*;
use proptest::test_runner::Config;
use proxymgr::engine::bind_line::own_binds;
use proxymgr::engine::option_line::OptionLine;
use proxymgr::engine::risk::{Allowed, check_risks};
use proxymgr::engine::service::ServiceName;

use super::support::haproxy::check;

const MARKER: &str = "no-such-keyword";

/// Keywords as they are, quoted, escaped, cut by a comment; then anything.
fn line() -> impl Strategy<Value = String> {
    let keyword = prop::sample::select(vec![
        "global",
        "defaults",
        "listen",
        "frontend",
        "backend",
        "peers",
        "resolvers",
        "userlist",
        "mailers",
        "cache",
        "program",
        "ring",
        "http-errors",
        "log-forward",
        "fcgi-app",
        "bind",
        "mode",
        "server",
        "option",
        "acl",
        "http-request",
        "timeout",
        "no",
        "default",
        ".if",
        ".endif",
        ".notice",
        "stats",
        "balance",
        "default-server",
    ]);
    let word = (keyword, any::<prop::sample::Index>(), 0_u8..11)
        .prop_map(|(keyword, at, how)| disguised(keyword, at, how));
    let rest = prop_oneof!["( [a-z0-9:.]{1,6}){0,3}", "[ -~]{0,24}", "\\PC{0,12}"];
    let text = (word, rest).prop_map(|(word, rest)| word + &rest);
    let text = prop_oneof![9 => text, 1 => "\\PC{0,24}"];
    // A blank at its end or begin is dropped, as in a definition.
    text.prop_map(|text| text.trim_matches(' ').to_owned())
}

/// `word` as `HAProxy` might read it all the same.
fn disguised(word: &str, at: prop::sample::Index, how: u8) -> String {
    let at = at.index(word.len());
    let (before, after) = word.split_at(at);
    let (first, rest) = after.split_at(1);
    match how {
        0 => word.to_owned(),
        1 => format!("{before}\\{first}{rest}"),
        2 => format!("{before}\\x{:02x}{rest}", after.as_bytes()[0]),
        3 => format!("{before}\"{first}\"{rest}"),
        4 => format!("{before}'{first}'{rest}"),
        5 => format!("\"{word}\"#"),
        6 => format!("{word}#x"),
        7 => format!("'' {word}"),
        8 => format!("no {word}"),
        9 => format!("{word}\\x00{rest}"),
        _ => format!("\"\"{word}''"),
    }
}

fn is_taken(text: &str) -> bool {
    let Ok(line) = OptionLine::parse(text) else { return false };
    let own = ServiceName::parse("service").unwrap();
    own_binds(&line).is_none() && check_risks(text, &own, &Allowed::new()).is_ok()
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(25)
}

#[test]
fn a_line_that_is_taken_stays_in_its_section_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("haproxy.cfg");
    let taken = line().prop_filter("taken", |text| is_taken(text));
    proptest!(Config { cases: cases(), failure_persistence: None, ..Config::default() }, |(lines in prop::collection::vec(taken, 20))| {
        let mut lines = lines;
        loop {
            let (text, markers) = with_markers(&lines);
            fs::write(&file, &text).unwrap();
            let said = check(&file).unwrap_err();
            let known = |marker: &usize| said.contains(&format!(":{marker}] : unknown keyword '{MARKER}' in 'listen' section"));
            let places: Vec<_> = said.lines().filter_map(place).collect();
            if !markers.iter().any(known) {
                // From 3.1 on a line whose words can't be told ends the parser before it looks at sections.
                let before = lines.len();
                let mut at = markers.iter().map(|marker| marker - 1);
                lines.retain(|_| at.next().is_none_or(|line| !places.contains(&line)));
                prop_assert!(lines.len() < before, "{}", said);
                if lines.is_empty() {
                    break;
                }
                continue;
            }
            if let Some((marker, line)) = markers.iter().zip(&lines).find(|(marker, _)| !known(marker)) {
                // Some mistakes end the parser at once: the line is the last that it speaks of.
                prop_assert_eq!(places.iter().max(), Some(&(marker - 1)), "{:?}: {}", line, said);
            }
            break;
        }
    });
}

/// Each line in a section of its own, and the numbers of the markers that follow them.
fn with_markers(lines: &[String]) -> (String, Vec<usize>) {
    let mut text = "global\n  maxconn 10\ndefaults\n  mode http\n  timeout client 1s\n".to_owned();
    let mut markers = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        writeln!(text, "listen service{number}\n  {line}\n  {MARKER}").unwrap();
        markers.push(text.lines().count());
    }
    (text, markers)
}

/// The line of the configuration that a message is about.
fn place(message: &str) -> Option<usize> {
    let (_, after) = message.split_once("haproxy.cfg:")?;
    after.split_once(']')?.0.parse().ok()
}

/// What is refused when it is written plainly; `HAProxy` takes it, or complains of something else than of words.
const RISKS: [&str; 12] = [
    "option external-check",
    "errorfile 503 /no-such-file",
    "http-request return status 200 content-type text/plain file /no-such-file",
    "http-request set-header x %[env(HOME)]",
    "http-request set-header x %[src,map(/no-such-file)]",
    "acl a src -f /no-such-file",
    "stats admin if TRUE",
    "filter trace",
    "http-request track-sc0 src table other",
    "http-request set-var(proc.x) int(1)",
    "server s uxst@/no-such-socket",
    "log fd@1 local0",
];

/// A risk with one of its words, or a part of it, in disguise.
fn risk() -> impl Strategy<Value = String> {
    let parts =
        (prop::sample::select(RISKS.to_vec()), any::<prop::sample::Index>(), any::<prop::sample::Index>());
    (parts, prop_oneof![0_u8..5, Just(9_u8), Just(10_u8)]).prop_map(|((risk, which, at), how)| {
        let mut words: Vec<_> = risk.split(' ').map(str::to_owned).collect();
        let which = which.index(words.len());
        words[which] = disguised(&words[which], at, how);
        words.join(" ")
    })
}

#[test]
fn a_risk_in_disguise_is_refused_or_means_nothing_to_haproxy_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("haproxy.cfg");
    for risk in RISKS {
        assert!(!is_taken(risk), "{risk}");
    }
    proptest!(Config { cases: cases(), failure_persistence: None, ..Config::default() }, |(risks in prop::collection::vec(risk(), 20))| {
        for risk in risks.into_iter().filter(|risk| is_taken(risk)) {
            let text = format!("defaults\n  mode http\nlisten other\n  stick-table type ip size 1k\nlisten service\n  {risk}\n");
            fs::write(&file, text).unwrap();
            let said = check(&file).err();
            let meant = said.as_ref().is_none_or(|said| said.contains("no-such-file"));
            prop_assert!(!meant, "{:?}: {:?}", risk, said);
        }
    });
}

//! Whole configurations of definitions that are taken, whatever they say: `HAProxy` takes them, or the service to blame is the
//! one that it speaks of, and all others stay as they are.
//!
//! `PROPTEST_CASES` says how many configurations are tried, of 24 services each; 3 without.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::Config;
use proxymgr::engine::option_line::OptionLine;
use proxymgr::engine::render::{Owner, Rendered, Renderer};
use proxymgr::engine::risk::Allowed;
use proxymgr::engine::section::{Base, Section};
use proxymgr::engine::service::ServiceName;
use proxymgr::engine::state::{AppliedState, DesiredService, DesiredState};
use proxymgr::haproxy::check_message::parse_check_output;
use proxymgr::haproxy::log_line::LogLevel;
use proxymgr::service_config::{Format, RawDefinition, parse};
use serde_json::{Value, json};

use super::support::haproxy::check;
use super::support::haproxy_words::Words;

const MARKER: &str = "no-such-keyword";
const INNOCENT: &str = "innocent";
const SERVICES: usize = 24;

type Services = BTreeMap<ServiceName, Arc<DesiredService>>;

/// The service of a definition; `None` when it is refused.
fn service(name: &str, definition: &Value) -> Option<(ServiceName, Arc<DesiredService>)> {
    let name = ServiceName::parse(name).ok()?;
    let data = definition.to_string().into_bytes().into();
    let raw = RawDefinition { data, format: Format::Json, origin: "test".to_owned() };
    let spec = parse(&name, &raw, &Allowed::new()).ok()?.spec;
    let section = Arc::new(Section::of(&spec, IpAddr::from([127, 0, 0, 1])));
    let servers = spec.fixed_servers.iter().filter_map(|server| server.located(|_| None));
    Some((name, Arc::new(DesiredService::new(section, servers))))
}

fn base(timeouts: bool) -> Arc<Base> {
    let line = |text: &str| OptionLine::parse(text).unwrap();
    let mut defaults = vec![line("mode http")];
    if timeouts {
        defaults.extend(["timeout connect 1s", "timeout client 1s", "timeout server 1s"].map(line));
    }
    let bind_address = IpAddr::from([127, 0, 0, 1]);
    Arc::new(Base {
        global: vec![line("maxconn 100")],
        defaults,
        bind_address,
        operators_socket: None,
        program: None,
        frontends: BTreeMap::new(),
        cookie_key: None,
    })
}

fn render(services: &Services, timeouts: bool) -> Rendered {
    let desired = DesiredState {
        base: base(timeouts),
        services: services.clone(),
        includes: Arc::default(),
        template: None,
    };
    Renderer::default().render(&AppliedState::loaded(&desired, None))
}

/// The text of each service's section.
fn texts(rendered: &Rendered) -> BTreeMap<ServiceName, String> {
    let mut texts: BTreeMap<ServiceName, String> = BTreeMap::new();
    for (number, line) in (1..).zip(rendered.text.lines()) {
        if let Some(Owner::Service(name)) = rendered.owner_of_line(number) {
            writeln!(texts.entry(name).or_default(), "{line}").unwrap();
        }
    }
    texts
}

/// What `HAProxy` says of a text, and its remarks of that level.
struct Checker(PathBuf);

enum Verdict {
    Taken(Vec<String>),
    Refused { accused: BTreeSet<ServiceName>, said: String },
}

impl Checker {
    fn ask(&self, rendered: &Rendered) -> Verdict {
        fs::write(&self.0, &*rendered.text).unwrap();
        let said = match check(&self.0) {
            Ok(said) => return Verdict::Taken(said.lines().map(str::to_owned).collect()),
            Err(said) => said,
        };
        let lines: Vec<_> = said.lines().map(str::to_owned).collect();
        let alerts =
            parse_check_output(&lines).into_iter().filter(|message| message.level == LogLevel::Alert);
        let mut accused = BTreeSet::new();
        for alert in alerts {
            let complaint = alert.into_complaint(&self.0);
            let by_line = complaint.line.and_then(|line| rendered.owner_of_line(line));
            let by_name = || complaint.proxy.as_deref().and_then(|name| rendered.owner_of_section(name));
            if let Some(Owner::Service(name)) = by_line.or_else(by_name) {
                accused.insert(name);
            }
        }
        Verdict::Refused { accused, said }
    }

    /// Some that make `HAProxy` refuse the rest, found by trying them in parts.
    fn halved(&self, services: &Services) -> BTreeSet<ServiceName> {
        let (mut guilty, innocent) = (services.clone(), name_of(INNOCENT));
        guilty.remove(&innocent);
        while guilty.len() > 1 {
            let half: Services = guilty
                .iter()
                .take(guilty.len() / 2)
                .map(|(name, service)| (name.clone(), service.clone()))
                .collect();
            let mut tried = half.clone();
            tried.insert(innocent.clone(), services[&innocent].clone());
            match self.ask(&render(&tried, true)) {
                Verdict::Taken(_) => guilty.retain(|name, _| !half.contains_key(name)),
                Verdict::Refused { .. } => guilty = half,
            }
        }
        guilty.into_keys().collect()
    }
}

fn name_of(text: &str) -> ServiceName {
    ServiceName::parse(text).unwrap()
}

/// The sections that the markers at their ends stand in, and the proxies that there are.
fn assert_sections_end_where_they_should(
    checker: &Checker,
    services: &Services,
) -> Result<(), TestCaseError> {
    let rendered = render(services, false);
    let Verdict::Taken(said) = checker.ask(&rendered) else {
        return Err(TestCaseError::fail("refused without time-outs"));
    };
    // One remark for each proxy that there is, unless it has all of them.
    for line in said.iter().filter(|line| line.contains("missing timeouts for ")) {
        let proxy = line.split('\'').nth(1).unwrap_or_default();
        prop_assert!(services.keys().any(|name| name.as_str() == proxy), "an unknown proxy: {line}");
    }
    let (mut text, mut markers) = (String::new(), Vec::new());
    let lines: Vec<_> = rendered.text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        writeln!(text, "{line}").unwrap();
        let owner = rendered.owner_of_line(at + 1);
        if owner.is_some() && rendered.owner_of_line(at + 2) != owner || at + 1 == lines.len() {
            writeln!(text, "  {MARKER}").unwrap();
            markers.push(text.lines().count());
        }
    }
    prop_assert_eq!(markers.len(), services.len());
    fs::write(&checker.0, &text).unwrap();
    let said = check(&checker.0).unwrap_err();
    for marker in markers {
        let known = format!(":{marker}] : unknown keyword '{MARKER}' in 'listen' section");
        prop_assert!(said.contains(&known), "{known}: {said}\n{text}");
    }
    Ok(())
}

fn try_all(file: &Path, definitions: &[(String, Value)]) -> Result<(usize, usize), TestCaseError> {
    let checker = Checker(file.to_owned());
    let plain = json!({"type": "static", "port": 19_999, "listen_options": ["stick-table type ip size 1k"],
        "server_options": "check", "default_servers": ["10.0.0.1:80"]});
    let innocent = service(INNOCENT, &plain).unwrap();
    let mut services: Services =
        definitions.iter().filter_map(|(name, value)| service(name, value)).collect();
    services.insert(innocent.0.clone(), innocent.1.clone());
    let taken = services.len();
    let all = texts(&render(&services, true));
    loop {
        match checker.ask(&render(&services, true)) {
            Verdict::Taken(_) => break,
            Verdict::Refused { accused, said } => {
                let guilty = if accused.is_empty() { checker.halved(&services) } else { accused };
                prop_assert!(!guilty.contains(&innocent.0), "the innocent is accused: {said}");
                let before = services.len();
                services.retain(|name, _| !guilty.contains(name));
                prop_assert!(services.len() < before, "nobody is found: {said}");
            }
        }
    }
    prop_assert!(services.contains_key(&innocent.0));
    for (name, desired) in &services {
        let alone = Services::from([(name.clone(), desired.clone())]);
        let text = &texts(&render(&alone, true))[name];
        prop_assert_eq!(&all[name], text, "{} alone", name);
    }
    assert_sections_end_where_they_should(&checker, &services)?;
    Ok((taken, services.len()))
}

fn any_definitions(words: &Words) -> impl Strategy<Value = Vec<(String, Value)>> + use<> {
    let one =
        ("[a-zA-Z0-9._:-]{1,8}", words.any_lines(), words.any_server_options(), words.any_bind_options());
    prop::collection::vec(one, SERVICES).prop_map(|all| {
        let mut definitions = Vec::new();
        for (port, (name, lines, server, bind)) in (20_000..).zip(all) {
            let servers = ["10.0.0.1:80", "[::1]:81 weight=3"];
            let definition = json!({"type": "static", "port": port, "listen_options": lines,
                "server_options": server, "bind_options": bind, "default_servers": servers});
            definitions.push((name, definition));
        }
        definitions
    })
}

#[test]
fn any_accepted_definitions_are_taken_or_stand_alone_accused_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("haproxy.cfg");
    fs::write(&file, "global\n").unwrap();
    let words = Words::of_haproxy(&file);
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3);
    let (taken, kept) = (Cell::new(0), Cell::new(0));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    proptest!(config, |(definitions in any_definitions(&words))| {
        let counts = try_all(&file, &definitions)?;
        taken.set(taken.get() + counts.0);
        kept.set(kept.get() + counts.1);
    });
    let (taken, kept) = (taken.get(), kept.get());
    println!("{cases} configurations, {taken} definitions taken by ProxyMgr, {kept} of them by HAProxy");
    assert!(kept > taken / 10, "too few are good to tell anything: {kept} of {taken}");
}

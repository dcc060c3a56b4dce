use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::subscriber::with_default;
use tracing::{debug, error, info, info_span, warn};

use super::*;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn log(format: LogFormat, level: LogLevel, filter: Option<&str>, speak: impl FnOnce()) -> String {
    let memory = Memory::default();
    let (filter, writer) = (filter_of(level, filter).unwrap(), memory.clone());
    let writer = move || writer.clone();
    match format {
        LogFormat::Text => with_default(text_log(filter, false, writer), speak),
        LogFormat::Json => with_default(json_log(filter, writer), speak),
    }
    memory.text()
}

fn text(speak: impl FnOnce()) -> String {
    log(LogFormat::Text, LogLevel::Info, None, speak)
}

/// What stands behind the time and the level.
fn after_level(line: &str) -> &str {
    line.split_once("INFO ").unwrap().1
}

#[test]
fn a_text_line_has_time_level_message_and_fields() {
    let line = text(|| {
        let span = info_span!("service", service = "web");
        let _inside = span.enter();
        info!(port = 8080, error = %"no route", "service added");
    });
    let (time, rest) = line.split_at(27);
    assert!(time.starts_with("20") && time.ends_with('Z'), "{line}");
    assert_eq!(rest, "  INFO service added port=8080 error=\"no route\" service=web\n");
}

#[test]
fn nothing_from_outside_reaches_a_terminal_raw() {
    let evil = "a\u{1b}[31m\r\nERROR x\u{7f}\u{9b}31m\u{202e}\u{2028}\t\0";
    let line = text(|| {
        let span = info_span!("s", service = evil);
        let _inside = span.enter();
        info!(name = evil, shown = %evil, debugged = ?evil, "{evil}");
    });
    assert_eq!(line.lines().count(), 1, "{line:?}");
    let raw = |c: char| c != '\n' && (c.is_control() || matches!(c, '\u{202e}' | '\u{2028}'));
    assert!(!line.contains(raw), "{line:?}");
    assert!(line.contains(r#"name="a\u{1b}[31m\r\nERROR x\u{7f}\u{9b}31m"#), "{line}");
}

#[test]
fn a_value_cannot_pretend_to_be_another_field() {
    for (value, shown) in [
        ("web", "web"),
        ("1.2.3.4:80", "1.2.3.4:80"),
        ("", "\"\""),
        ("web level=ERROR", "\"web level=ERROR\""),
        ("a=b", "\"a=b\""),
        ("\"a\" b=\"c\"", r#""\"a\" b=\"c\"""#),
        ("\"a b\"", "\"a b\""),
        ("\"a\\\" b=\\\"c\"", r#""a\" b=\"c""#),
        ("\"", r#""\"""#),
        ("\"a\\\"", r#""\"a\\\"""#),
    ] {
        let line = text(|| info!(value, "m"));
        assert_eq!(after_level(&line), format!("m value={shown}\n"));
    }
}

#[test]
fn json_is_one_object_a_line() {
    let lines = log(LogFormat::Json, LogLevel::Info, None, || {
        let _outer = info_span!("outer", service = "web\n\u{1b}").entered();
        let _inner = info_span!("without_fields").entered();
        warn!(target: "proxymgr::x", port = 80_u16, up = true, error = %"a \"b\"", level = "mine", "first {}", 1);
        error!("second\nline");
    });
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, second] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(first["level"], "WARN");
    assert_eq!(first["target"], "proxymgr::x");
    assert_eq!(first["message"], "first 1");
    assert!(first["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')));
    let fields = serde_json::json!(
        {"service": "web\n\u{1b}", "port": 80, "up": true, "error": "a \"b\"", "level": "mine"});
    assert_eq!(first["fields"], fields);
    assert_eq!(second["message"], "second\nline");
}

#[test]
fn json_shows_nothing_raw_either() {
    let evil = "\u{1b}\u{7f}\u{9b}31m\u{202e}\n";
    let line = log(LogFormat::Json, LogLevel::Info, None, || info!(evil, "m"));
    assert!(!line.trim_end_matches('\n').contains(text::is_unsafe_to_show), "{line:?}");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["fields"]["evil"], evil);
}

#[test]
fn the_registry_client_is_heard_only_when_something_goes_wrong_or_one_asks() {
    let speak = || {
        debug!("ours");
        info!(target: "zookeeper_client::session", "chatter");
        warn!(target: "zookeeper_client::session", "lost");
    };
    let heard = |level, filter| {
        let lines = log(LogFormat::Text, level, filter, speak);
        ["ours", "chatter", "lost"].map(|word| lines.contains(word))
    };
    assert_eq!(heard(LogLevel::Debug, None), [true, false, true]);
    assert_eq!(heard(LogLevel::Error, None), [false, false, false]);
    assert_eq!(heard(LogLevel::Info, Some("")), [false, false, true]);
    assert_eq!(heard(LogLevel::Error, Some("info")), [false, true, true]);
}

#[test]
fn nothing_makes_the_docker_client_tell_the_environment_of_containers() {
    let speak = || {
        debug!(target: "bollard::docker", "PASSWORD=hunter2");
        warn!(target: "bollard::docker", "lost");
    };
    for format in [LogFormat::Text, LogFormat::Json] {
        let lines = log(format, LogLevel::Trace, Some("trace,bollard=trace"), speak);
        assert!(lines.contains("lost") && !lines.contains("hunter2"), "{lines}");
    }
}

#[test]
fn a_panic_is_one_line_of_the_log_in_its_format() {
    let before = std::panic::take_hook();
    crate::panics::hook::install();
    let panic = || drop(std::panic::catch_unwind(|| panic!("two\nlines")));
    let line = log(LogFormat::Text, LogLevel::Error, None, panic);
    assert!(line.lines().count() == 1 && line.contains(r#"said="two\nlines""#), "{line:?}");
    let line = log(LogFormat::Json, LogLevel::Error, None, panic);
    std::panic::set_hook(before);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["level"], &line["fields"]["said"]), (&"ERROR".into(), &"two\nlines".into()));
    assert!(line["fields"]["at"].as_str().unwrap().starts_with("src/logging/tests.rs:"), "{line}");
}

#[test]
fn a_bad_filter_is_told() {
    let config = LogConfig { format: LogFormat::Text, level: LogLevel::Info };
    let error = start(&config, Some("info,=,x=loud")).unwrap_err().to_string();
    assert!(error.starts_with("PROXYMGR_LOG is no log filter ("), "{error}");
}

#[test]
fn colour_is_for_terminals_only() {
    let memory = Memory::default();
    let writer = memory.clone();
    let filter = filter_of(LogLevel::Info, None).unwrap();
    with_default(text_log(filter, true, move || writer.clone()), || info!("m"));
    assert!(memory.text().contains("\u{1b}[32m INFO\u{1b}[0m m\n"), "{:?}", memory.text());
    assert!(!text(|| info!("m")).contains('\u{1b}'));
}

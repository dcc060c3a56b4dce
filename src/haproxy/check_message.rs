//! Reading what `haproxy -c` prints. Pure.

use std::path::Path;

use super::log_line::{LogLevel, parse_log_line};
use crate::engine::reconciler::Complaint;

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckMessage {
    /// An alert makes the configuration bad, a warning doesn't.
    pub level: LogLevel,
    /// The file it is about.
    pub file: Option<String>,
    /// The line in that file, from 1.
    pub line: Option<u32>,
    /// The section it is about, when the text names one.
    pub proxy: Option<String>,
    /// What `HAProxy` says, without its prefixes.
    pub text: String,
}

impl CheckMessage {
    /// The message as the engine takes it; its line counts only when it is one of `checked`, the file that was checked.
    pub fn into_complaint(self, checked: &Path) -> Complaint {
        let ours = self.file.as_deref().is_some_and(|file| checked == Path::new(file));
        let line = self.line.filter(|_| ours).and_then(|line| usize::try_from(line).ok());
        Complaint { line, proxy: self.proxy, text: self.text }
    }
}

/// Lines that every run, or every failed run, prints.
const SAYS_NOTHING: &[&str] = &[
    "haproxy version is ",
    "path to executable is ",
    "Configuration file is valid",
    "Error(s) found in configuration file",
    "Fatal errors found in configuration",
    "Warnings were found",
];

/// What stands before a section's name, and what ends the name.
const NAMES_A_PROXY: &[(&str, char)] =
    &[("roxy '", '\''), ("'server ", '/'), ("backend '", '\''), ("frontend '", '\''), ("listen '", '\'')];

/// Reads the output of `haproxy -c`: 2.6 to 3.4 print `[ALERT]    (pid) : config : parsing [FILE:LINE] : ...`, `config : [FILE:LINE] : ...`,
/// or `config : Proxy 'NAME': ...`, and at a start `Binding [FILE:LINE] for proxy NAME: ...` (semantic errors without `config : ` from 3.2 on). A line that begins with ` | ` continues the one before.
pub fn parse_check_output(lines: &[String]) -> Vec<CheckMessage> {
    let mut messages: Vec<CheckMessage> = Vec::new();
    for line in lines {
        if let (Some(more), Some(last)) = (line.trim_start().strip_prefix("| "), messages.last_mut()) {
            last.text.push(' ');
            last.text.push_str(more.trim());
            continue;
        }
        let (level, text) = parse_log_line(line);
        let message = parse_message(level, text);
        if !message.text.is_empty() && !SAYS_NOTHING.iter().any(|start| message.text.starts_with(start)) {
            messages.push(message);
        }
    }
    messages
}

/// Reads the text of one alert.
pub(super) fn parse_alert(text: &str) -> CheckMessage {
    parse_message(LogLevel::Alert, text)
}

fn parse_message(level: LogLevel, text: &str) -> CheckMessage {
    let (mut text, mut place) = (text, None);
    loop {
        if let Some(rest) = text.strip_prefix("config : ").or_else(|| text.strip_prefix("config: ")) {
            text = rest;
        } else if let Some((found, rest)) = leading_place(text) {
            place = Some(found);
            text = rest;
        } else {
            break;
        }
    }
    let (file, line) = place.unzip();
    let proxy = NAMES_A_PROXY.iter().find_map(|(before, end)| {
        let (name, _) = text.split_once(before)?.1.split_once(*end)?;
        Some(name.to_owned())
    });
    CheckMessage { level, file, line, proxy, text: text.trim().to_owned() }
}

/// Takes `parsing [FILE:LINE] : `, `[FILE:LINE] : ` or `Binding [FILE:LINE] for ` off.
fn leading_place(text: &str) -> Option<((String, u32), &str)> {
    let words = ["parsing ", "Parsing ", "Binding "];
    let text = words.iter().find_map(|word| text.strip_prefix(word)).unwrap_or(text);
    let (place, rest) = text.strip_prefix('[')?.split_once(']')?;
    let (file, line) = place.rsplit_once(':')?;
    let rest = rest.trim_start();
    let rest = rest.strip_prefix(':').or_else(|| rest.strip_prefix("for "))?.trim_start();
    Some(((file.to_owned(), line.parse().ok()?), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> CheckMessage {
        let mut messages = parse_check_output(&[format!("[ALERT]    (5136) : {line}")]);
        assert_eq!(messages.len(), 1);
        messages.remove(0)
    }

    #[test]
    fn the_place_is_taken_off_however_often_it_stands_there() {
        let message = one("config : parsing [a.cfg:4] : parsing [a.cfg:4] : 'stats socket' : missing port");
        assert_eq!((message.file.as_deref(), message.line), (Some("a.cfg"), Some(4)));
        assert_eq!(message.text, "'stats socket' : missing port");
        let message = one("config : [/x:y/b.cfg:8] : 'server a/s1' : invalid port '99999'");
        assert_eq!((message.file.as_deref(), message.line), (Some("/x:y/b.cfg"), Some(8)));
        assert_eq!(message.proxy.as_deref(), Some("a"));
        let message =
            one("config : Parsing [b.cfg:8]: proxy 'a' has the same name as proxy 'a' declared at b.cfg:6.");
        assert_eq!((message.line, message.proxy.as_deref()), (Some(8), Some("a")));
        let message =
            one("Binding [b.cfg:7] for proxy a: cannot bind socket (Address already in use) for [::1:80]");
        assert_eq!((message.file.as_deref(), message.line), (Some("b.cfg"), Some(7)));
        assert!(message.text.starts_with("proxy a: cannot bind socket"), "{}", message.text);
        let message = one("config : parsing [b.cfg:5]: Missing LF on last line");
        assert_eq!((message.line, message.text.as_str()), (Some(5), "Missing LF on last line"));
    }

    #[test]
    fn a_section_is_found_without_a_line() {
        for text in [
            "config : Proxy 'web': unable to find",
            "Proxy 'web': unable to find",
            "config : missing timeouts for proxy 'web'.",
        ] {
            let message = one(text);
            assert_eq!((message.proxy.as_deref(), message.line), (Some("web"), None), "{text}");
        }
    }

    #[test]
    fn what_every_run_prints_is_left_out_and_continued_lines_are_joined() {
        let lines = [
            "[NOTICE]   (1) : haproxy version is 2.6.12",
            "[WARNING]  (1) : config : missing timeouts for proxy 'a'.",
            "   | While not properly invalid,",
            "   | you will encounter problems.",
            "[ALERT]    (1) : config : Fatal errors found in configuration.",
            "",
            "Configuration file is valid",
        ];
        let messages = parse_check_output(&lines.map(str::to_owned));
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].level, LogLevel::Warning);
        assert!(messages[0].text.ends_with("invalid, you will encounter problems."), "{}", messages[0].text);
    }

    proptest! {
        #[test]
        fn any_output_is_read(lines in prop::collection::vec("(\\[ALERT\\] \\(1\\) : )?(config : )?(parsing )?(\\[.{0,5}:?[0-9]{0,12}\\])?.*", 0..5)) {
            let _ = parse_check_output(&lines);
        }
    }
}

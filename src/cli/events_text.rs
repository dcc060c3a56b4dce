//! A change for people.

use super::line::Line;
use super::report_text::one_line;
use super::status_text::counted;
use super::terminal::Screen;
use crate::admin::history::{Cause, CauseEvent, Change, ChangeKind, ChangeResult, Few, ServersChanged};

/// The most services that a line names.
const MOST_NAMED: usize = 3;

/// What goes on in another line begins there: below the second column.
const HANG: usize = 26;

/// When, what came of it, how long it took, whom it concerns, what it was, and why: one line, unless the terminal is narrow.
pub(super) fn line(change: &Change, screen: Screen) -> String {
    let took = change.took_ms.map_or(String::new(), |took| format!("{took} ms"));
    let line = Line {
        before: format!("{}  ", one_line(&change.at)),
        state: format!("{:7}", word(change)),
        after: format!("  {took:>8}  {}", what(change)),
    };
    line.wrapped(HANG, screen)
}

fn word(change: &Change) -> &'static str {
    match (change.kind, change.result) {
        (_, ChangeResult::Failed) => "failed",
        (ChangeKind::Runtime, _) => "runtime",
        (ChangeKind::Reload, _) => "reload",
        (ChangeKind::Notice, ChangeResult::Trouble) => "trouble",
        (ChangeKind::Notice, _) => "news",
    }
}

/// Whom it concerns, what it was, and why.
pub(super) fn what(change: &Change) -> String {
    let message = change.message.as_ref().map(|message| one_line(message));
    if change.kind == ChangeKind::Notice {
        return message.unwrap_or_default();
    }
    let mut parts = Vec::new();
    if change.kind == ChangeKind::Reload {
        parts.push(format!("reload: {}", listed(&change.reasons, ", ")));
    }
    match servers(change.servers) {
        text if !text.is_empty() => parts.push(format!("{}: {text}", services(&change.services))),
        _ if change.kind == ChangeKind::Runtime => {
            parts.push(format!("{}: {}", services(&change.services), listed(&change.commands, "; ")));
        }
        _ => {}
    }
    parts.extend(message);
    let mut text = parts.join("; ");
    if let Some(why) = causes(&change.causes) {
        text = format!("{text} ({why})");
    }
    text
}

fn services(services: &Few<String>) -> String {
    let named: Vec<_> = services.first.iter().take(MOST_NAMED).map(|name| one_line(name)).collect();
    match services.total.checked_sub(named.len()).filter(|more| *more > 0) {
        Some(more) => format!("{} and {more} more", named.join(", ")),
        None => named.join(", "),
    }
}

fn servers(changed: ServersChanged) -> String {
    let parts = [(changed.added, "added"), (changed.removed, "removed"), (changed.changed, "changed")];
    let mut told = Vec::new();
    for (count, done) in parts.into_iter().filter(|(count, _)| *count > 0) {
        let count = if told.is_empty() { counted(count as u64, "server") } else { count.to_string() };
        told.push(format!("{count} {done}"));
    }
    told.join(", ")
}

fn listed(few: &Few<String>, between: &str) -> String {
    let mut text = few.first.iter().map(|one| one_line(one)).collect::<Vec<_>>().join(between);
    if few.rest() > 0 {
        text = format!("{text}{between}and {} more", few.rest());
    }
    text
}

/// What led to it, each thing once.
fn causes(causes: &Few<Cause>) -> Option<String> {
    let mut told: Vec<String> = Vec::new();
    for cause in &causes.first {
        let text = cause_text(cause);
        if !told.contains(&text) {
            told.push(text);
        }
    }
    if causes.rest() > 0 {
        told.push(format!("and {} more", causes.rest()));
    }
    (!told.is_empty()).then(|| told.join(", "))
}

fn cause_text(cause: &Cause) -> String {
    let origin = cause.origin.as_ref().map(|origin| one_line(origin));
    let of =
        |what: &str| origin.as_ref().map_or_else(|| what.to_owned(), |origin| format!("{what} {origin}"));
    match cause.event {
        CauseEvent::Defined => of("definition in"),
        CauseEvent::Removed => of("no definition any more in"),
        CauseEvent::Servers => of("servers in"),
        CauseEvent::LossLasted => "the loss lasted for shrink_hold".to_owned(),
        CauseEvent::Confirmed => "confirmed by an operator".to_owned(),
        CauseEvent::Drained => of("an operator drains"),
        CauseEvent::Undrained => of("an operator undrains"),
        CauseEvent::Includes => "the included files changed".to_owned(),
        CauseEvent::Values => of("values changed:"),
        CauseEvent::Template => "the template changed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> Change {
        let cause =
            |event, origin: &str| Cause { event, service: Some("web".into()), origin: Some(origin.into()) };
        Change {
            number: 7,
            at: "2026-11-21T07:33:12.345Z".into(),
            kind: ChangeKind::Runtime,
            result: ChangeResult::Done,
            services: Few::of(["web".to_owned()], 10),
            servers: ServersChanged { added: 2, removed: 1, changed: 0 },
            causes: Few::of([cause(CauseEvent::Servers, "file /s"), cause(CauseEvent::Drained, "a")], 5),
            reasons: Few::default(),
            commands: Few::of(["x".to_owned()], 1),
            waited_ms: Some(2),
            took_ms: Some(3),
            message: None,
        }
    }

    #[test]
    fn a_change_is_one_line() {
        let change = runtime();
        assert_eq!(
            line(&change, Screen::default()),
            "2026-11-21T07:33:12.345Z  runtime      3 ms  web: 2 servers added, 1 removed (servers in file /s, an operator drains a)"
        );
        let reload = Change {
            kind: ChangeKind::Reload,
            result: ChangeResult::Failed,
            reasons: Few::of(["a", "b", "c"].map(str::to_owned), 2),
            servers: ServersChanged::default(),
            causes: Few::default(),
            message: Some("no\nmemory".into()),
            ..change.clone()
        };
        let text = line(&reload, Screen::default());
        assert_eq!(
            text,
            "2026-11-21T07:33:12.345Z  failed       3 ms  reload: a, b, and 1 more; no\\nmemory"
        );
        let notice = Change {
            kind: ChangeKind::Notice,
            result: ChangeResult::Trouble,
            took_ms: None,
            message: Some("it is held".into()),
            ..change.clone()
        };
        let text = line(&notice, Screen::default());
        assert_eq!(text, "2026-11-21T07:33:12.345Z  trouble            it is held");
        let gone = Change { servers: ServersChanged::default(), causes: Few::default(), ..change };
        assert!(line(&gone, Screen::default()).ends_with("web: x"));
    }

    #[test]
    fn many_services_are_counted() {
        let names = ["a", "b", "c", "d"].map(str::to_owned);
        assert_eq!(services(&Few::of(names.clone(), 2)), "a, b and 2 more");
        assert_eq!(services(&Few::of(names, 10)), "a, b, c and 1 more");
    }
}

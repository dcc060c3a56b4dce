//! The last changes: what `events` answers, kept in a ring that is bounded in number and in text.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// The most changes that are kept.
pub const MOST_CHANGES: usize = 1000;

/// What happened to `HAProxy`, or why nothing did. Keys are never renamed or removed, and never absent; new ones may come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Counted from 1, over upgrades too.
    pub number: u64,
    /// When it began, in UTC.
    pub at: String,
    /// What it was.
    pub kind: ChangeKind,
    /// What came of it.
    pub result: ChangeResult,
    /// Whom it concerns; none when all.
    pub services: Few<String>,
    /// Servers that came, left, or were changed, without a reload.
    pub servers: ServersChanged,
    /// What happened outside that led to it.
    pub causes: Few<Cause>,
    /// Why it needed a reload.
    pub reasons: Few<String>,
    /// What `HAProxy` was told without a reload.
    pub commands: Few<String>,
    /// How long the first cause waited for it; null without any.
    pub waited_ms: Option<u64>,
    /// How long it took; null of a notice.
    pub took_ms: Option<u64>,
    /// Why it failed, or the notice.
    pub message: Option<String>,
}

/// What a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Commands through the runtime socket.
    Runtime,
    /// A new process.
    Reload,
    /// No change, but something an operator should know.
    Notice,
}

/// What came of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeResult {
    /// `HAProxy` has it.
    Done,
    /// `HAProxy` has not all of it; what follows mends that.
    Failed,
    /// It is trouble, which lasts or was overcome.
    Trouble,
    /// It is good news.
    Told,
}

/// The first of many, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Few<T> {
    /// How many there are.
    pub total: usize,
    /// The first of them.
    pub first: Vec<T>,
}

/// How many servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServersChanged {
    /// Put into rotation.
    pub added: usize,
    /// Taken out of rotation.
    pub removed: usize,
    /// Given another weight, address or check.
    pub changed: usize,
}

/// What happened outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What.
    pub event: CauseEvent,
    /// Of which service; null of what all share.
    pub service: Option<String>,
    /// Where it was seen: the path of a file or a node, or the server that an operator named.
    pub origin: Option<String>,
}

/// Kinds of causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseEvent {
    /// A service came, or its definition changed.
    Defined,
    /// A service's definition is gone.
    Removed,
    /// A registry told a service's servers.
    Servers,
    /// A loss of servers has lasted.
    LossLasted,
    /// An operator confirmed a loss of servers.
    Confirmed,
    /// An operator drained a server.
    Drained,
    /// An operator undrained a server.
    Undrained,
    /// Included files changed.
    Includes,
    /// Values of a registry in lines of proxymgr.yml changed.
    Values,
    /// The template changed.
    Template,
}

impl CauseEvent {
    /// The word of the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Defined => "defined",
            Self::Removed => "removed",
            Self::Servers => "servers",
            Self::LossLasted => "loss_lasted",
            Self::Confirmed => "confirmed",
            Self::Drained => "drained",
            Self::Undrained => "undrained",
            Self::Includes => "includes",
            Self::Values => "values",
            Self::Template => "template",
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { total: 0, first: Vec::new() }
    }
}

impl<T> Few<T> {
    /// At most the `most` first of `all`.
    pub fn of(all: impl IntoIterator<Item = T>, most: usize) -> Self {
        let mut few = Self::default();
        for one in all {
            few.total += 1;
            if few.first.len() < most {
                few.first.push(one);
            }
        }
        few
    }

    /// How many are not among the first.
    pub fn rest(&self) -> usize {
        self.total.saturating_sub(self.first.len())
    }
}

impl Change {
    /// Whether it concerns `service`. One that concerns more services than it names may concern any.
    pub fn concerns(&self, service: &str) -> bool {
        self.services.first.is_empty() || self.services.rest() > 0 || self.names(service)
    }

    /// Whether it names `service`.
    pub fn names(&self, service: &str) -> bool {
        self.services.first.iter().any(|name| name == service)
    }
}

/// What is asked of `events`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsQuery {
    /// Those that concern this service alone.
    pub service: Option<String>,
    /// At most so many, the latest.
    pub last: Option<usize>,
    /// Those with a higher number alone.
    pub after: Option<u64>,
    /// And those that are still to come.
    pub follow: bool,
}

/// What `events` gives.
#[derive(Debug, Serialize)]
pub struct EventsAnswer<'a> {
    /// Oldest first.
    pub events: Vec<&'a Change>,
}

impl<'a> EventsAnswer<'a> {
    /// With these changes.
    pub fn of(changes: &'a [Arc<Change>]) -> Self {
        Self { events: changes.iter().map(|change| &**change).collect() }
    }
}

/// Where changes are written; there is one of it.
#[derive(Debug, Default)]
pub struct History(Reader);

/// Where changes are read.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    kept: Arc<Mutex<VecDeque<Arc<Change>>>>,
    /// The latest number.
    latest: Arc<watch::Sender<u64>>,
}

impl History {
    /// One that begins with what [`Reader::to_lines`] gave; a line that this version can't understand is left out.
    pub fn from_lines(lines: &str) -> Self {
        let history = Self::default();
        for change in lines.lines().filter_map(|line| serde_json::from_str::<Change>(line).ok()) {
            history.keep(change);
        }
        history
    }

    /// Adds a change, and gives the number that it gets.
    pub fn add(&self, change: Change) -> u64 {
        let number = self.0.latest() + 1;
        self.keep(Change { number, ..change });
        number
    }

    fn keep(&self, change: Change) {
        let number = change.number;
        {
            let mut kept = self.0.kept();
            if kept.len() >= MOST_CHANGES {
                kept.pop_front();
            }
            kept.push_back(Arc::new(change));
        }
        self.0.latest.send_replace(number);
    }

    /// Where it is read.
    pub fn reader(&self) -> Reader {
        self.0.clone()
    }
}

impl Reader {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Change>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the latest change; 0 before the first.
    pub fn latest(&self) -> u64 {
        *self.latest.borrow()
    }

    /// Tells of each change, by its number.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    /// What is asked for, oldest first. A number that is not reached yet is none of this program's: all is told then.
    pub fn select(&self, query: &EventsQuery) -> Vec<Arc<Change>> {
        let after = query.after.filter(|after| *after <= self.latest()).unwrap_or_default();
        let asked = |change: &&Arc<Change>| {
            change.number > after && query.service.as_deref().is_none_or(|service| change.concerns(service))
        };
        let kept = self.kept();
        let mut selected: Vec<_> =
            kept.iter().rev().filter(asked).take(query.last.unwrap_or(MOST_CHANGES)).cloned().collect();
        selected.reverse();
        selected
    }

    /// The change with this number, if it is still kept.
    pub fn numbered(&self, number: u64) -> Option<Arc<Change>> {
        self.kept().iter().rev().find(|change| change.number == number).cloned()
    }

    /// The last change that names `service`, notices apart.
    pub fn last_of(&self, service: &str) -> Option<Arc<Change>> {
        let of_it = |change: &&Arc<Change>| change.kind != ChangeKind::Notice && change.names(service);
        self.kept().iter().rev().find(of_it).cloned()
    }

    /// All of them, each a line of JSON, so that one that can't be understood spoils no other.
    pub fn to_lines(&self) -> String {
        let mut lines = String::new();
        for change in self.kept().iter() {
            if let Ok(line) = serde_json::to_string(&**change) {
                lines.push_str(&line);
                lines.push('\n');
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(services: &[&str], most: usize) -> Change {
        Change {
            number: 0,
            at: "2026-11-21T07:33:12.000Z".into(),
            kind: ChangeKind::Runtime,
            result: ChangeResult::Done,
            services: Few::of(services.iter().map(|name| (*name).to_owned()), most),
            servers: ServersChanged::default(),
            causes: Few::default(),
            reasons: Few::default(),
            commands: Few::default(),
            waited_ms: None,
            took_ms: Some(1),
            message: None,
        }
    }

    fn numbers(changes: &[Arc<Change>]) -> Vec<u64> {
        changes.iter().map(|change| change.number).collect()
    }

    #[test]
    fn the_last_thousand_are_kept_and_found_by_service_and_number() {
        let history = History::default();
        let reader = history.reader();
        let mut watch = reader.watch();
        for _ in 0..MOST_CHANGES {
            history.add(change(&["api"], 9));
        }
        assert!(watch.has_changed().unwrap() && *watch.borrow_and_update() == 1000);
        for services in [&["web"][..], &[], &["a", "b", "c"]] {
            history.add(change(services, 2));
        }
        let all = reader.select(&EventsQuery::default());
        assert_eq!((all.len(), all[0].number, reader.latest()), (MOST_CHANGES, 4, 1003));
        let of_web = EventsQuery { service: Some("web".into()), ..EventsQuery::default() };
        assert_eq!(numbers(&reader.select(&of_web)), [1001, 1002, 1003], "one may concern it, one all");
        let last = EventsQuery { last: Some(2), ..of_web.clone() };
        assert_eq!(numbers(&reader.select(&last)), [1002, 1003]);
        let after = EventsQuery { after: Some(1002), ..of_web.clone() };
        assert_eq!(numbers(&reader.select(&after)), [1003]);
        let of_another = EventsQuery { after: Some(5000), ..of_web };
        assert_eq!(reader.select(&of_another).len(), 3, "numbers of another program tell nothing here");
        assert_eq!(reader.last_of("web").unwrap().number, 1001);
        assert_eq!(reader.numbered(1002).unwrap().services.total, 0);
        assert_eq!((reader.numbered(3), reader.last_of("none")), (None, None));
    }

    #[test]
    fn it_goes_on_from_lines_and_leaves_out_what_it_can_not_understand() {
        let history = History::default();
        for _ in 0..3 {
            history.add(change(&["web"], 9));
        }
        let lines = history.reader().to_lines();
        let mut of_a_newer_one: Vec<_> = lines.lines().map(str::to_owned).collect();
        of_a_newer_one[0] = of_a_newer_one[0].replace("\"runtime\"", "\"magic\"");
        of_a_newer_one[1] = of_a_newer_one[1].replace("{\"number\"", "{\"colour\":\"red\",\"number\"");
        let again = History::from_lines(&of_a_newer_one.join("\n"));
        assert_eq!(numbers(&again.reader().select(&EventsQuery::default())), [2, 3]);
        assert_eq!(again.add(change(&[], 9)), 4);
        assert_eq!(History::from_lines(&lines).reader().to_lines(), lines);
    }
}

//! What is known of a daemon's containers, and what must still be asked. Pure: it is told and it tells.
//!
//! Each listing and each inspection is an answer as of when it was asked for: what has happened since is the later word, so
//! such an answer doesn't count, and the container is looked at again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::client::{Inspected, LOOK_BACK};
use super::container::{Container, ContainerId, Seen};
use super::event::{Event, Happened};
use super::signal::Signal;

const LOOK_BACK_NANOS: i64 = 1_000_000_000 * LOOK_BACK.as_secs().cast_signed();
/// Inspections at a time.
const AT_A_TIME: usize = 8;
/// The most containers of one daemon; the kernel and Docker end sooner.
const MAX_CONTAINERS: usize = 20_000;

/// All that run, by id.
pub type Containers = BTreeMap<ContainerId, Found>;

/// What is known of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// What it is.
    Running {
        /// It was sent a signal that ends it.
        stopping: bool,
        /// All about it.
        container: Arc<Container>,
    },
    /// Why nothing is known of it.
    Unreadable(String),
}

/// A point in the order of what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct When(u64);

#[derive(Debug, Default)]
pub(super) struct Inventory {
    known: BTreeMap<ContainerId, Result<Arc<Container>, String>>,
    /// Since the start of each.
    signals: BTreeMap<ContainerId, BTreeSet<Signal>>,
    /// When something happened to one last.
    touched: BTreeMap<ContainerId, When>,
    wanted: BTreeSet<ContainerId>,
    asked: BTreeMap<ContainerId, When>,
    now: When,
    /// When the last event was, by the daemon's clock.
    last_event: i64,
    /// The connection is new, and what it tells may be known.
    repeating: bool,
}

impl Inventory {
    pub(super) fn now(&self) -> When {
        self.now
    }

    /// The connection is new: these run, no question is on its way, and whatever may have happened.
    pub(super) fn begin_anew(&mut self, list: &BTreeMap<ContainerId, Seen>) {
        self.asked.clear();
        self.wanted = self.known.keys().chain(list.keys().take(MAX_CONTAINERS)).cloned().collect();
    }

    /// These ran when it was asked for them. Gives how many come or have gone without an event.
    pub(super) fn listed(&mut self, asked: When, list: &BTreeMap<ContainerId, Seen>) -> usize {
        let gone = self.known.keys().filter(|id| !list.contains_key(*id));
        let come = list.keys().take(MAX_CONTAINERS).filter(|id| !self.known.contains_key(*id));
        let is_on_its_way = |id: &&ContainerId| self.wanted.contains(*id) || self.asked.contains_key(*id);
        let is_news =
            |id: &&ContainerId| !is_on_its_way(id) && self.touched.get(*id).is_none_or(|when| *when <= asked);
        let news: Vec<_> = gone.chain(come).filter(is_news).cloned().collect();
        let differs = |(id, known): (&ContainerId, &Result<Arc<Container>, String>)| {
            let seen = list.get(id)?;
            let same = known.as_ref().is_ok_and(|container| seen.is_of(container));
            (!same).then(|| id.clone())
        };
        let changed: Vec<_> = self.known.iter().filter_map(differs).collect();
        let count = news.len();
        self.wanted.extend(news.into_iter().chain(changed));
        self.touched.retain(|id, when| *when > asked || self.asked.contains_key(id));
        count
    }

    /// The events of a new connection begin with earlier ones.
    pub(super) fn begin_events(&mut self) {
        self.repeating = true;
    }

    pub(super) fn happened(&mut self, event: &Event) {
        // A clock that was set back makes none of them old.
        let known = event.at <= self.last_event && event.at > self.last_event - LOOK_BACK_NANOS;
        if self.repeating && known {
            return;
        }
        self.repeating = false;
        self.last_event = event.at;
        let id = &event.container;
        match event.what {
            Happened::Signalled(signal) => {
                self.signals.entry(id.clone()).or_default().insert(signal);
                return;
            }
            // One that is about to start tells so itself.
            Happened::Connected if !self.known.contains_key(id) => return,
            Happened::Started => drop(self.signals.remove(id)),
            Happened::Connected | Happened::Changed => {}
        }
        self.now.0 += 1;
        self.touched.insert(id.clone(), self.now);
        self.wanted.insert(id.clone());
    }

    /// The next one to be inspected.
    pub(super) fn question(&mut self) -> Option<ContainerId> {
        if self.asked.len() >= AT_A_TIME {
            return None;
        }
        let id = self.wanted.iter().find(|id| !self.asked.contains_key(*id))?.clone();
        self.wanted.remove(&id);
        self.asked.insert(id.clone(), self.now);
        Some(id)
    }

    pub(super) fn answered(&mut self, id: &ContainerId, answer: Inspected) {
        let Some(asked) = self.asked.remove(id) else { return };
        if self.touched.get(id).is_some_and(|when| *when > asked) {
            self.wanted.insert(id.clone());
            return;
        }
        match answer {
            Inspected::Running(container) => {
                let started = container.started.clone();
                let before = self.known.insert(id.clone(), Ok(Arc::new(*container)));
                if before.and_then(Result::ok).is_some_and(|before| before.started != started) {
                    self.signals.remove(id);
                }
            }
            Inspected::Gone => self.forget(id),
            Inspected::Unreadable(reason) => {
                let known = self.known.entry(id.clone()).or_insert_with(|| Err(reason.clone()));
                if let Err(last) = known {
                    *last = reason;
                }
            }
        }
    }

    fn forget(&mut self, id: &ContainerId) {
        self.known.remove(id);
        self.signals.remove(id);
    }

    /// Whether each container that runs has been looked at.
    pub(super) fn is_complete(&self) -> bool {
        self.wanted.is_empty() && self.asked.is_empty()
    }

    pub(super) fn containers(&self) -> Containers {
        let found = |(id, known): (&ContainerId, &Result<Arc<Container>, String>)| {
            let found = match known {
                Ok(container) => {
                    let mut signals = self.signals.get(id).into_iter().flatten();
                    let stopping = signals.any(|signal| signal.stops(container.stop_signal));
                    Found::Running { stopping, container: Arc::clone(container) }
                }
                Err(reason) => Found::Unreadable(reason.clone()),
            };
            (id.clone(), found)
        };
        self.known.iter().map(found).collect()
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerSummary;
    use serde_json::json;

    use super::super::container::tests::container;
    use super::*;

    fn id(number: u8) -> ContainerId {
        ContainerId::parse(&format!("{number:012}")).unwrap()
    }

    fn running(started: &str) -> Inspected {
        let mut container = container(&[], &[80]);
        started.clone_into(&mut container.started);
        Inspected::Running(Box::new(container))
    }

    fn list(numbers: &[u8]) -> BTreeMap<ContainerId, Seen> {
        let seen = |number: &u8| {
            let summary =
                json!({"Id": id(*number).as_str(), "Names": ["/web"], "State": "running", "Status": "Up"});
            Seen::read(serde_json::from_value::<ContainerSummary>(summary).unwrap()).unwrap()
        };
        numbers.iter().map(seen).collect()
    }

    fn happen(inventory: &mut Inventory, number: u8, what: Happened) {
        let at = inventory.last_event + 1;
        inventory.happened(&Event { container: id(number), what, at });
    }

    /// Those that run and those of them that are about to end.
    fn told(inventory: &Inventory) -> (Vec<ContainerId>, Vec<ContainerId>) {
        let containers = inventory.containers();
        let stopping =
            containers.iter().filter(|(_, found)| matches!(found, Found::Running { stopping: true, .. }));
        (containers.keys().cloned().collect(), stopping.map(|(id, _)| id.clone()).collect())
    }

    fn with_one() -> Inventory {
        let mut inventory = Inventory::default();
        inventory.begin_anew(&list(&[1]));
        assert_eq!(inventory.question(), Some(id(1)));
        assert!(!inventory.is_complete());
        inventory.answered(&id(1), running("a"));
        assert!(inventory.is_complete());
        inventory
    }

    #[test]
    fn each_container_is_asked_for_once_for_each_change() {
        let mut inventory = with_one();
        assert_eq!(inventory.question(), None);
        for what in [Happened::Started, Happened::Changed, Happened::Connected] {
            happen(&mut inventory, 1, what);
        }
        // It starts soon, and tells so.
        happen(&mut inventory, 2, Happened::Connected);
        assert_eq!(inventory.question(), Some(id(1)));
        assert_eq!(inventory.question(), None);
        inventory.answered(&id(1), running("a"));
        assert_eq!(inventory.listed(inventory.now(), &list(&[1])), 0);
        assert_eq!(inventory.question(), None, "the listing says the same");
        let many: Vec<u8> = (10..50).collect();
        inventory.begin_anew(&list(&many));
        assert_eq!(std::iter::from_fn(|| inventory.question()).count(), AT_A_TIME);
    }

    #[test]
    fn an_answer_that_is_older_than_what_has_happened_does_not_count() {
        let mut inventory = with_one();
        happen(&mut inventory, 1, Happened::Changed);
        assert_eq!(inventory.question(), Some(id(1)));
        let listed = inventory.now();
        // It ends while its inspection and a listing are on their way.
        happen(&mut inventory, 1, Happened::Changed);
        inventory.answered(&id(1), running("a"));
        assert_eq!(inventory.listed(listed, &list(&[1, 2])), 1, "2 is news");
        assert_eq!(inventory.question(), Some(id(1)));
        assert_eq!(inventory.question(), Some(id(2)));
        inventory.answered(&id(1), Inspected::Gone);
        inventory.answered(&id(2), Inspected::Gone);
        assert_eq!(told(&inventory).0, []);
        // Gone, as was told after the listing was asked for.
        let listed = inventory.now();
        happen(&mut inventory, 3, Happened::Started);
        assert_eq!(inventory.listed(listed, &list(&[])), 0);
        assert_eq!(inventory.question(), Some(id(3)));
    }

    #[test]
    fn what_no_event_told_is_looked_at_and_counted() {
        let mut inventory = with_one();
        assert_eq!(inventory.listed(inventory.now(), &list(&[2])), 2);
        let asked: BTreeSet<_> = std::iter::from_fn(|| inventory.question()).collect();
        assert_eq!(asked, [id(1), id(2)].into());
        assert_eq!(told(&inventory).0, [id(1)], "a listing alone takes nobody away");
        inventory.answered(&id(1), Inspected::Gone);
        inventory.answered(&id(2), running("a"));
        assert_eq!(told(&inventory).0, [id(2)]);
        let other_address = json!({"Id": id(2).as_str(), "Names": ["/other"], "State": "running"});
        let seen = Seen::read(serde_json::from_value(other_address).unwrap()).unwrap();
        assert_eq!(inventory.listed(inventory.now(), &BTreeMap::from([seen])), 0);
        assert_eq!(inventory.question(), Some(id(2)), "it has changed");
    }

    #[test]
    fn a_stop_signal_counts_until_the_container_is_started_again() {
        let mut inventory = with_one();
        let signal = |text| Happened::Signalled(Signal::parse(text).unwrap());
        happen(&mut inventory, 1, signal("HUP"));
        assert_eq!(told(&inventory).1, []);
        happen(&mut inventory, 1, signal("TERM"));
        assert_eq!(told(&inventory).1, [id(1)]);
        assert_eq!(inventory.question(), None, "there is nothing to ask");
        // Whatever else is told of it, and whatever connection tells it.
        inventory.begin_anew(&list(&[1]));
        inventory.question();
        inventory.answered(&id(1), running("a"));
        assert_eq!(told(&inventory).1, [id(1)]);
        // Started while nobody listened.
        inventory.begin_anew(&list(&[1]));
        inventory.question();
        inventory.answered(&id(1), running("b"));
        assert_eq!(told(&inventory).1, []);
        happen(&mut inventory, 1, signal("9"));
        happen(&mut inventory, 1, Happened::Started);
        assert_eq!(told(&inventory), (vec![id(1)], vec![]));
    }

    #[test]
    fn one_that_can_not_be_read_keeps_what_was_known_of_it_and_is_asked_again() {
        let mut inventory = with_one();
        inventory.begin_anew(&list(&[1, 2]));
        while let Some(id) = inventory.question() {
            inventory.answered(&id, Inspected::Unreadable("odd".into()));
        }
        let containers = inventory.containers();
        assert!(matches!(containers[&id(1)], Found::Running { .. }));
        assert_eq!(containers[&id(2)], Found::Unreadable("odd".into()));
        inventory.listed(inventory.now(), &list(&[1, 2]));
        assert_eq!(inventory.question(), Some(id(2)));
        inventory.answered(&id(2), running("a"));
        assert!(matches!(inventory.containers()[&id(2)], Found::Running { .. }));
    }

    #[test]
    fn what_a_new_connection_tells_again_is_known() {
        let mut inventory = with_one();
        let term = Happened::Signalled(Signal::parse("TERM").unwrap());
        let all = [(term, 100), (Happened::Changed, 200), (Happened::Started, 300)];
        let all = all.map(|(what, at)| Event { container: id(1), what, at });
        for event in &all {
            inventory.happened(event);
        }
        assert_eq!(inventory.question(), Some(id(1)));
        inventory.answered(&id(1), running("b"));
        inventory.begin_events();
        for event in &all {
            inventory.happened(event);
            assert_eq!(told(&inventory).1, [], "it is not about to end again");
        }
        assert_eq!(inventory.question(), None);
        // Of this connection nothing is old from here on, whatever its time; and a clock may be set back.
        inventory.happened(&Event { container: id(1), what: term, at: 301 });
        inventory.happened(&Event { container: id(1), what: Happened::Started, at: 301 });
        assert_eq!(inventory.question(), Some(id(1)));
        inventory.begin_events();
        inventory.happened(&Event { container: id(1), what: term, at: 301 - 2 * LOOK_BACK_NANOS });
        assert_eq!(told(&inventory).1, [id(1)]);
    }
}

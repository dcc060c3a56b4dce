//! What all who look at the live stream share: the latest word on each service, as JSON. Who writes waits for nobody, and who reads
//! slowly gets the latest word, not each.
//!
//! ```text
//! keeper --put--> Board --news--> Visit, one for each who looks
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Shared by those who look; empty while nobody does.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
    /// The latest version.
    news: watch::Sender<u64>,
    /// How many look.
    visits: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    /// Counts what is put.
    version: u64,
    /// Counts how often all was wiped away.
    wiped: u64,
    /// All services have been put once.
    is_complete: bool,
    summary: Posted,
    /// None of a service that is gone.
    services: BTreeMap<Arc<str>, Posted>,
    traffic: BTreeMap<Arc<str>, Posted>,
}

/// JSON, and the version it came with.
#[derive(Clone, Debug, Default)]
struct Posted {
    version: u64,
    json: Option<Arc<str>>,
}

/// What belongs together on a [`Board`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun(u64);

/// What is put at once.
#[derive(Debug, Default)]
pub struct Update {
    /// The summary, if it is another.
    pub summary: Option<String>,
    /// Services that are new or changed.
    pub services: Vec<(String, String)>,
    /// Services that are gone.
    pub gone: Vec<String>,
    /// Services through which something else goes.
    pub traffic: Vec<(String, String)>,
}

/// What somebody has not seen yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// The summary.
    pub summary: Option<Arc<str>>,
    /// Services, each as JSON.
    pub services: Vec<Arc<str>>,
    /// Names of services that are gone.
    pub gone: Vec<Arc<str>>,
    /// Traffic of services, each as JSON.
    pub traffic: Vec<Arc<str>>,
}

/// Somebody looks, as long as it lives.
#[derive(Debug)]
pub struct Visit {
    board: Arc<Board>,
    news: watch::Receiver<u64>,
    seen: u64,
    wiped: u64,
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody begins to look.
    pub fn visit(self: &Arc<Self>) -> Visit {
        let state = self.state();
        self.visits.send_modify(|visits| *visits += 1);
        Visit { board: Arc::clone(self), news: self.news.subscribe(), seen: 0, wiped: state.wiped }
    }

    /// Waits until somebody looks.
    pub async fn visited(&self) {
        // It never fails: the sender is here.
        drop(self.visits.subscribe().wait_for(|visits| *visits > 0).await);
    }

    /// Forgets everything when nobody looks, and tells whether that is so.
    pub fn wipe_if_unseen(&self) -> bool {
        let mut state = self.state();
        let is_unseen = *self.visits.borrow() == 0;
        if is_unseen {
            state.wipe();
        }
        is_unseen
    }

    /// Forgets everything; who looks has to begin anew.
    pub fn wipe(&self) {
        let version = {
            let mut state = self.state();
            state.wipe();
            state.version
        };
        self.news.send_replace(version);
    }

    /// Begins to put things up, from nothing.
    pub fn begin(&self) -> Begun {
        Begun(self.state().wiped)
    }

    /// Puts something up; after the first time all services are there. Tells whether it still counts: it does not when all was wiped
    /// away since it was begun.
    pub fn put(&self, begun: Begun, update: Update) -> bool {
        let version = {
            let mut state = self.state();
            if begun != Begun(state.wiped) {
                return false;
            }
            state.version += 1;
            let version = state.version;
            let posted = |json: Option<String>| Posted { version, json: json.map(Arc::from) };
            if let Some(summary) = update.summary {
                state.summary = posted(Some(summary));
            }
            for (name, json) in update.services {
                state.services.insert(name.into(), posted(Some(json)));
            }
            for name in update.gone {
                state.traffic.remove(name.as_str());
                state.services.insert(name.into(), posted(None));
            }
            for (name, json) in update.traffic {
                state.traffic.insert(name.into(), posted(Some(json)));
            }
            state.is_complete = true;
            version
        };
        self.news.send_replace(version);
        true
    }
}

impl State {
    fn wipe(&mut self) {
        *self = Self { version: self.version + 1, wiped: self.wiped + 1, ..Self::default() };
    }
}

impl Visit {
    /// Waits for something not seen yet; the first is everything. `None` when all was wiped away. Cancel safe.
    pub async fn news(&mut self) -> Option<News> {
        loop {
            self.news.borrow_and_update();
            {
                let state = self.board.state();
                if state.wiped != self.wiped {
                    return None;
                }
                if state.is_complete && state.version > self.seen {
                    let news = state.since(self.seen);
                    self.seen = state.version;
                    return Some(news);
                }
            }
            self.news.changed().await.ok()?;
        }
    }
}

impl State {
    fn since(&self, seen: u64) -> News {
        let mut news = News {
            summary: self.summary.json.clone().filter(|_| self.summary.version > seen),
            ..News::default()
        };
        for (name, posted) in self.services.iter().filter(|(_, posted)| posted.version > seen) {
            match &posted.json {
                Some(json) => news.services.push(Arc::clone(json)),
                // Who sees nothing yet has nothing to forget.
                None if seen > 0 => news.gone.push(Arc::clone(name)),
                None => {}
            }
        }
        let traffic = self.traffic.values().filter(|posted| posted.version > seen);
        news.traffic.extend(traffic.filter_map(|posted| posted.json.clone()));
        news
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.board.visits.send_modify(|visits| *visits -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(names: &[&str], json: &str) -> Update {
        let services = names.iter().map(|name| ((*name).to_owned(), json.to_owned())).collect();
        Update { services, ..Update::default() }
    }

    #[tokio::test]
    async fn who_comes_gets_everything_and_then_only_the_latest_of_what_changed() {
        let board = Arc::new(Board::default());
        let mut early = board.visit();
        let begun = board.begin();
        board.put(begun, Update { summary: Some("s".into()), ..services(&["a", "b"], "1") });
        let first = early.news().await.unwrap();
        assert_eq!((first.summary.as_deref(), first.services.len()), (Some("s"), 2));
        for json in ["2", "3"] {
            board.put(begun, services(&["b"], json));
        }
        board.put(begun, Update { gone: vec!["a".into()], ..Update::default() });
        let second = early.news().await.unwrap();
        assert_eq!(second, News { services: vec!["3".into()], gone: vec!["a".into()], ..News::default() });
        let late = board.visit().news().await.unwrap();
        assert_eq!(late, News { summary: Some("s".into()), services: vec!["3".into()], ..News::default() });
    }

    #[tokio::test]
    async fn nothing_is_kept_when_nobody_looks_and_who_saw_what_is_wiped_begins_anew() {
        let board = Arc::new(Board::default());
        let mut visit = board.visit();
        board.visited().await;
        let begun = board.begin();
        board.put(begun, services(&["a"], "1"));
        assert!(!board.wipe_if_unseen());
        visit.news().await.unwrap();
        board.wipe();
        assert_eq!(visit.news().await, None);
        let mut again = board.visit();
        drop(visit);
        assert!(!board.wipe_if_unseen());
        assert!(!board.put(begun, services(&["c"], "2")));
        assert!(board.put(board.begin(), services(&["b"], "2")));
        assert_eq!(again.news().await.unwrap().services, ["2".into()]);
        drop(again);
        assert!(board.wipe_if_unseen() && board.state().services.is_empty());
    }
}

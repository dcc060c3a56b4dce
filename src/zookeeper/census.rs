//! How many sessions there are, for who is to show it. They are the process's, wherever they were started.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

static SESSIONS: Mutex<BTreeMap<u64, (Arc<str>, bool)>> = Mutex::new(BTreeMap::new());

/// The sessions with one ensemble.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionCount {
    /// The ensemble's servers.
    pub ensemble: String,
    /// Those that are connected.
    pub connected: usize,
    /// Those that are not.
    pub disconnected: usize,
}

/// A session that is counted as long as this lives.
#[derive(Debug)]
pub(super) struct Counted(u64);

impl Counted {
    pub(super) fn new(hosts: &Arc<str>) -> Self {
        let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let id = sessions.keys().next_back().map_or(0, |last| last + 1);
        sessions.insert(id, (Arc::clone(hosts), false));
        Self(id)
    }

    pub(super) fn is_connected(&self, connected: bool) {
        let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, state)) = sessions.get_mut(&self.0) {
            *state = connected;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        SESSIONS.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// The sessions of this process, by ensemble.
pub fn sessions() -> Vec<SessionCount> {
    let mut counts: BTreeMap<Arc<str>, SessionCount> = BTreeMap::new();
    for (hosts, connected) in SESSIONS.lock().unwrap_or_else(PoisonError::into_inner).values() {
        let count = counts.entry(Arc::clone(hosts)).or_default();
        hosts.as_ref().clone_into(&mut count.ensemble);
        if *connected {
            count.connected += 1;
        } else {
            count.disconnected += 1;
        }
    }
    counts.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ensemble: &str) -> Option<(usize, usize)> {
        let count = sessions().into_iter().find(|count| count.ensemble == ensemble);
        count.map(|count| (count.connected, count.disconnected))
    }

    #[test]
    fn a_session_is_counted_as_long_as_it_lives() {
        let hosts: Arc<str> = "counted-in-a-test:1".into();
        let [one, other] = [(); 2].map(|()| Counted::new(&hosts));
        assert_eq!(of(&hosts), Some((0, 2)));
        one.is_connected(true);
        assert_eq!(of(&hosts), Some((1, 1)));
        drop(other);
        one.is_connected(false);
        assert_eq!(of(&hosts), Some((0, 1)));
        drop(one);
        assert_eq!(of(&hosts), None);
    }
}

//! Which registries this process is connected with, for who is to show it, wherever the connections were started.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

static SESSIONS: Mutex<BTreeMap<u64, Session>> = Mutex::new(BTreeMap::new());

/// What kind of registry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An ensemble of `ZooKeeper`.
    Zookeeper,
    /// Agents of Consul.
    Consul,
    /// A Docker daemon.
    Docker,
}

impl Kind {
    /// A word that stays the same.
    pub fn word(self) -> &'static str {
        match self {
            Self::Zookeeper => "zookeeper",
            Self::Consul => "consul",
            Self::Docker => "docker",
        }
    }
}

/// The sessions with one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCount {
    /// What it is.
    pub kind: Kind,
    /// Its servers.
    pub registry: Arc<str>,
    /// Those that are connected.
    pub connected: usize,
    /// Those that are not.
    pub disconnected: usize,
    /// Since when the first of these has not been.
    pub down_since: Option<SystemTime>,
}

/// A session that is counted as long as this lives.
#[derive(Debug)]
pub struct Counted(u64);

#[derive(Debug)]
struct Session {
    kind: Kind,
    registry: Arc<str>,
    /// `None` while it is connected.
    down_since: Option<SystemTime>,
}

impl Counted {
    /// One that is not connected yet.
    pub fn new(kind: Kind, registry: &Arc<str>) -> Self {
        let mut sessions = locked();
        let id = sessions.keys().next_back().map_or(0, |last| last + 1);
        let down_since = Some(SystemTime::now());
        sessions.insert(id, Session { kind, registry: Arc::clone(registry), down_since });
        Self(id)
    }

    /// Whether it is connected now.
    pub fn is_connected(&self, connected: bool) {
        let mut sessions = locked();
        let Some(session) = sessions.get_mut(&self.0) else { return };
        if connected {
            session.down_since = None;
        } else {
            session.down_since.get_or_insert_with(SystemTime::now);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        locked().remove(&self.0);
    }
}

/// The sessions of this process, by registry.
pub fn sessions() -> Vec<SessionCount> {
    let mut counts: BTreeMap<(Kind, Arc<str>), SessionCount> = BTreeMap::new();
    for Session { kind, registry, down_since } in locked().values() {
        let count = counts.entry((*kind, Arc::clone(registry))).or_insert_with(|| SessionCount {
            kind: *kind,
            registry: Arc::clone(registry),
            connected: 0,
            disconnected: 0,
            down_since: None,
        });
        match down_since {
            None => count.connected += 1,
            Some(since) => {
                count.disconnected += 1;
                count.down_since = Some(count.down_since.map_or(*since, |first| first.min(*since)));
            }
        }
    }
    counts.into_values().collect()
}

fn locked() -> MutexGuard<'static, BTreeMap<u64, Session>> {
    SESSIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(registry: &str) -> Option<(usize, usize, Option<SystemTime>)> {
        let count = sessions().into_iter().find(|count| &*count.registry == registry);
        count.map(|count| (count.connected, count.disconnected, count.down_since))
    }

    #[test]
    fn a_session_is_counted_as_long_as_it_lives() {
        let hosts: Arc<str> = "counted-in-a-test:1".into();
        let before = SystemTime::now();
        let [one, other] = [(); 2].map(|()| Counted::new(Kind::Zookeeper, &hosts));
        let (connected, disconnected, since) = of(&hosts).unwrap();
        assert_eq!((connected, disconnected), (0, 2));
        assert!(since.is_some_and(|since| since >= before));
        one.is_connected(false);
        assert_eq!(of(&hosts).unwrap().2, since, "told again, it has been down as long");
        one.is_connected(true);
        assert!(matches!(of(&hosts), Some((1, 1, Some(_)))));
        other.is_connected(true);
        assert_eq!(of(&hosts), Some((2, 0, None)));
        drop(other);
        one.is_connected(false);
        assert!(matches!(of(&hosts), Some((0, 1, Some(_)))));
        drop(one);
        assert_eq!(of(&hosts), None);
    }
}

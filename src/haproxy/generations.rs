//! What may be known of the processes, for whoever is to show it.

use std::path::PathBuf;
use std::time::Instant;

/// The processes as they were seen last: at a start, at an end, and every few seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// How many have been started.
    pub started: u64,
    /// The one that accepts connections; `None` while none does.
    pub serving: Option<Generation>,
    /// Its runtime socket.
    pub control: Option<PathBuf>,
    /// Those that end with their last connection, oldest first.
    pub draining: Vec<Generation>,
}

impl Generations {
    /// The process ids, that of the serving one first.
    pub fn pids(&self) -> Vec<u32> {
        self.serving.iter().chain(&self.draining).map(|generation| generation.pid).collect()
    }
}

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Counted from 1, over upgrades of `ProxyMgr` too.
    pub number: u64,
    /// Its process id.
    pub pid: u32,
    /// Since when it serves, or drains.
    pub since: Instant,
    /// The connections of clients that it had when it was asked last; `None` before that, and of one that does not tell.
    pub connections: Option<u64>,
}

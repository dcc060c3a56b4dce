//! How long to wait before something that failed is started again.

use std::time::Duration;

use tokio::time::Instant;

use crate::engine::backoff::Backoff;

const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Waits of 0.1 s to 5 s; the shortest again after what was started has lasted longer than the longest.
#[derive(Debug)]
pub struct Restarts {
    backoff: Backoff,
    since: Instant,
}

impl Default for Restarts {
    fn default() -> Self {
        Self { backoff: Backoff::new(MIN_WAIT, MAX_WAIT), since: Instant::now() }
    }
}

impl Restarts {
    /// It begins now.
    pub fn started(&mut self) {
        self.since = Instant::now();
    }

    /// It has failed: how long to wait.
    pub fn next_wait(&mut self) -> Duration {
        if self.since.elapsed() > MAX_WAIT {
            self.backoff.reset();
        }
        self.backoff.next_wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_lasted_is_started_again_soon() {
        let mut restarts = Restarts::default();
        let waits: Vec<_> = (0..8).map(|_| restarts.next_wait().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        restarts.started();
        assert_eq!(restarts.next_wait(), MAX_WAIT);
        restarts.since = Instant::now().checked_sub(MAX_WAIT + Duration::from_millis(1)).unwrap();
        assert_eq!(restarts.next_wait(), MIN_WAIT);
    }
}

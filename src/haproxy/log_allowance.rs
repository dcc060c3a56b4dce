//! How much of what `HAProxy` prints goes into the log: a program gone mad must not fill the disk with it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many bytes at once...
const AT_ONCE: u64 = 4 * 1024 * 1024;
/// ...and so many for each second: a log of some thousand requests a second.
const A_SECOND: u64 = 1024 * 1024;

/// What the log adds to each line: the time, the level, the pid.
const AROUND_A_LINE: u64 = 110;

/// That of all processes together: one gone mad is started again and again.
static OF_ALL: Mutex<Option<LogAllowance>> = Mutex::new(None);

/// Whether another line of `bytes` may be logged.
pub(super) fn may_be_logged(bytes: usize) -> bool {
    let now = Instant::now();
    let mut of_all = OF_ALL.lock().unwrap_or_else(PoisonError::into_inner);
    of_all.get_or_insert_with(|| LogAllowance::new(now)).take(bytes, now)
}

/// What may still be logged.
#[derive(Debug)]
struct LogAllowance {
    bytes: u64,
    since: Instant,
}

impl LogAllowance {
    fn new(now: Instant) -> Self {
        Self { bytes: AT_ONCE, since: now }
    }

    /// Whether a line of `bytes` may be logged.
    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        if passed >= Duration::from_millis(1) {
            let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
            let earned = A_SECOND.saturating_mul(millis) / 1000;
            self.bytes = self.bytes.saturating_add(earned).min(AT_ONCE);
            self.since = now;
        }
        let line = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(AROUND_A_LINE);
        let left = self.bytes.checked_sub(line);
        self.bytes = left.unwrap_or(self.bytes);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: usize = 90;

    fn taken(allowance: &mut LogAllowance, lines: usize, now: Instant) -> usize {
        (0..lines).filter(|_| allowance.take(LINE, now)).count() * 200
    }

    #[test]
    fn a_flood_is_cut_and_a_steady_stream_is_not() {
        let begin = Instant::now();
        let mut allowance = LogAllowance::new(begin);
        let at_once = taken(&mut allowance, 1_000_000, begin);
        assert!((4_100_000..4_200_000).contains(&at_once), "{at_once}");
        let later = taken(&mut allowance, 1_000_000, begin + Duration::from_secs(1));
        assert!((1_000_000..1_100_000).contains(&later), "{later}");
        for millis in 1000..20_000 {
            let now = begin + Duration::from_millis(1 + millis);
            assert_eq!(taken(&mut allowance, 5, now), 1000, "1 MB a second");
        }
    }
}

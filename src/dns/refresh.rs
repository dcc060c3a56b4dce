//! When a name is asked again.

use std::time::Duration;

use crate::engine::backoff::Backoff;

/// The bounds of the time between two questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RefreshRules {
    /// Not sooner, whatever the TTL.
    pub min_ttl: Duration,
    /// Not later, whatever the TTL.
    pub max_ttl: Duration,
}

impl Default for RefreshRules {
    /// 1 s and 60 s.
    fn default() -> Self {
        Self { min_ttl: Duration::from_secs(1), max_ttl: Duration::from_secs(60) }
    }
}

/// The first wait after a failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest wait after failures.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// A TTL is stretched by up to a tenth, so that proxy hosts don't all ask at once.
const JITTER_PARTS: u32 = 10;

/// The schedule of one question.
#[derive(Debug)]
pub(super) struct Refresh {
    rules: RefreshRules,
    retry: Backoff,
}

impl Refresh {
    pub(super) fn new(rules: RefreshRules) -> Self {
        let retry = Backoff::new(FIRST_RETRY.min(rules.max_ttl), LONGEST_RETRY.min(rules.max_ttl));
        Self { rules, retry }
    }

    /// The wait after an answer that holds for `ttl`. `chance` is any number.
    pub(super) fn answered(&mut self, ttl: Duration, chance: u64) -> Duration {
        self.retry.reset();
        let ttl = ttl.clamp(self.rules.min_ttl, self.rules.max_ttl);
        stretched(ttl, chance).min(self.rules.max_ttl)
    }

    /// The wait after a failure.
    pub(super) fn failed(&mut self, chance: u64) -> Duration {
        stretched(self.retry.next_wait(), chance).min(self.rules.max_ttl)
    }
}

fn stretched(wait: Duration, chance: u64) -> Duration {
    let thousandths = u32::try_from(chance % 1000).unwrap_or_default();
    wait + wait / JITTER_PARTS * thousandths / 1000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rules(min: u64, max: u64) -> RefreshRules {
        RefreshRules {
            min_ttl: SECOND * u32::try_from(min).unwrap(),
            max_ttl: SECOND * u32::try_from(max).unwrap(),
        }
    }

    #[test]
    fn the_ttl_counts_within_its_bounds() {
        let mut refresh = Refresh::new(rules(2, 60));
        assert_eq!(refresh.answered(Duration::ZERO, 0), 2 * SECOND);
        assert_eq!(refresh.answered(5 * SECOND, 0), 5 * SECOND);
        assert_eq!(refresh.answered(3600 * SECOND, 0), 60 * SECOND);
    }

    #[test]
    fn failures_are_repeated_ever_slower_until_an_answer() {
        let mut refresh = Refresh::new(rules(1, 60));
        let waits: Vec<_> = (0..7).map(|_| refresh.failed(0).as_secs()).collect();
        assert!(waits.is_sorted() && waits[0] == 1 && waits[6] == 30, "{waits:?}");
        refresh.answered(SECOND, 0);
        assert_eq!(refresh.failed(0), SECOND);
    }

    proptest! {
        #[test]
        fn no_wait_is_outside_the_bounds(ttl in 0_u64..100_000, min in 1_u64..50, more in 0_u64..50, chance: u64, failures in 0_usize..9) {
            let (shortest, longest) = (Duration::from_secs(min), Duration::from_secs(min + more));
            let mut refresh = Refresh::new(rules(min, min + more));
            for _ in 0..failures {
                prop_assert!(refresh.failed(chance) <= longest);
            }
            let wait = refresh.answered(Duration::from_secs(ttl), chance);
            prop_assert!(wait >= shortest && wait <= longest);
        }
    }
}

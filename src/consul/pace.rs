//! How often one question is asked: some at once, then at a steady pace.

use std::time::Duration;

use tokio::time::Instant;

/// What changes more often, for long, comes in one answer.
const EACH: Duration = Duration::from_millis(100);
/// So many questions may follow each other without a pause.
const AT_ONCE: u32 = 10;

/// The pace of one question.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When all that was asked would have been asked at the steady pace.
    steady: Option<Instant>,
}

impl Pace {
    /// Notes a question at `now`; when the next may follow.
    pub(super) fn asked(&mut self, now: Instant) -> Instant {
        let steady = self.steady.map_or(now, |steady| steady.max(now)) + EACH;
        self.steady = Some(steady);
        now.max(steady.checked_sub(EACH * (AT_ONCE - 1)).unwrap_or(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_and_what_lasts_keeps_the_pace() {
        let (mut pace, began) = (Pace::default(), Instant::now() + Duration::from_secs(60));
        let mut now = began;
        for _ in 0..30 {
            now = pace.asked(now);
        }
        assert_eq!(now - began, EACH * 21, "nine pauses are left out");
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.asked(later), later);
    }
}

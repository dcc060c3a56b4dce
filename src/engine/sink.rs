//! Changes that come together are handled together, and none waits for ever.

use std::time::Duration;

use super::moment::Moment;

/// Collects changes: due when none came for `quiet`, at the latest `longest` after the first.
#[derive(Clone, Debug)]
pub struct Sink {
    quiet: Duration,
    longest: Duration,
    held: Option<Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    first: Moment,
    last: Moment,
}

impl Sink {
    /// An empty sink.
    pub const fn new(quiet: Duration, longest: Duration) -> Self {
        Self { quiet, longest, held: None }
    }

    /// A change came.
    pub fn touch(&mut self, now: Moment) {
        let first = self.held.map_or(now, |held| held.first);
        self.held = Some(Held { first, last: now });
    }

    /// When the changes are to be handled; `None` when there are none.
    pub fn due(&self) -> Option<Moment> {
        self.held.map(|held| (held.last + self.quiet).min(held.first + self.longest))
    }

    /// When the changes are to be handled if more of them are known to be on their way.
    pub fn due_at_the_latest(&self) -> Option<Moment> {
        self.held.map(|held| held.first + self.longest)
    }

    /// Whether changes are held, and none came for `quiet`.
    pub fn is_quiet(&self, now: Moment) -> bool {
        self.held.is_some_and(|held| held.last + self.quiet <= now)
    }

    /// Whether no changes are held.
    pub fn is_empty(&self) -> bool {
        self.held.is_none()
    }

    /// The changes are handled.
    pub fn clear(&mut self) {
        self.held = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn endless_churn_does_not_starve_a_change() {
        let mut sink = Sink::new(Duration::from_millis(20), Duration::from_millis(100));
        assert_eq!(sink.due(), None);
        for millis in (0..=200).step_by(10) {
            sink.touch(at(millis));
        }
        assert_eq!(sink.due(), Some(at(100)));
        sink.clear();
        sink.touch(at(300));
        assert_eq!(sink.due(), Some(at(320)));
        assert_eq!(sink.due_at_the_latest(), Some(at(400)));
    }
}

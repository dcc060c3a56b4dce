//! Which index to ask with next (Consul documentation, "Blocking Queries", "Implementation Details").

use std::time::Duration;

use tokio::time::Instant;

/// How far the answers to one question have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    known: Option<u64>,
}

impl Cursor {
    /// The index to wait on; `None`: ask without waiting.
    pub(super) fn index(self) -> Option<u64> {
        self.known
    }

    /// Notes the index of an answer; whether it moved. One that goes back, as it does when the
    /// servers' data is restored, or that is none, says nothing about what comes next: the next question doesn't wait. So it is
    /// with one that `is_early` and didn't move: who waits while data is restored is answered with what was before.
    pub(super) fn take(&mut self, index: Option<u64>, is_early: bool) -> bool {
        let index = index.filter(|index| *index >= 1);
        let same = index.is_some() && index == self.known;
        self.known = match (self.known, index) {
            (Some(known), Some(index)) if index < known => None,
            _ if same && is_early => None,
            (_, index) => index,
        };
        !same
    }

    /// The next answer may come from another server.
    pub(super) fn reset(&mut self) {
        self.known = None;
    }
}

/// Whether an answer to a question that was asked at `began`, and might wait for a change, came before its time was up.
pub(super) fn is_early(blocking: Option<(u64, Duration)>, began: Instant) -> bool {
    blocking.is_some_and(|(_, wait)| began.elapsed() < wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_moves_on_stays_and_is_forgotten_when_it_goes_back() {
        let mut cursor = Cursor::default();
        for (told, is_early, differs, next) in [
            (Some(7), false, true, Some(7)),
            (Some(7), false, false, Some(7)),
            (Some(9), true, true, Some(9)),
            (Some(9), true, false, None),
            (Some(9), true, true, Some(9)),
            (Some(3), true, true, None),
            (Some(3), false, true, Some(3)),
            (Some(0), true, true, None),
            (None, false, true, None),
            (Some(1), false, true, Some(1)),
        ] {
            assert_eq!((cursor.take(told, is_early), cursor.index()), (differs, next), "{told:?}");
        }
    }
}

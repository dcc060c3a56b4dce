//! Which index to ask with next (Consul documentation, "Blocking Queries", "Implementation Details").

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
    /// servers' data is restored, or that is none, says nothing about what comes next: the next question doesn't wait.
    pub(super) fn take(&mut self, index: Option<u64>) -> bool {
        let index = index.filter(|index| *index >= 1);
        let same = index.is_some() && index == self.known;
        self.known = match (self.known, index) {
            (Some(known), Some(index)) if index < known => None,
            (_, index) => index,
        };
        !same
    }

    /// The next answer may come from another server.
    pub(super) fn reset(&mut self) {
        self.known = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_moves_on_stays_and_is_forgotten_when_it_goes_back() {
        let mut cursor = Cursor::default();
        for (told, differs, next) in [
            (Some(7), true, Some(7)),
            (Some(7), false, Some(7)),
            (Some(9), true, Some(9)),
            (Some(3), true, None),
            (Some(3), true, Some(3)),
            (Some(0), true, None),
            (None, true, None),
            (Some(1), true, Some(1)),
        ] {
            assert_eq!((cursor.take(told), cursor.index()), (differs, next), "{told:?}");
        }
    }
}

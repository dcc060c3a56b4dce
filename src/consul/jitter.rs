//! Chance, so that many who wait don't all come back at once.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// A time from `least` to `most`.
pub(super) fn between(least: Duration, most: Duration) -> Duration {
    // Each state has keys of its own.
    let chance = RandomState::new().hash_one(());
    let millis = u64::try_from(most.saturating_sub(least).as_millis()).unwrap_or(u64::MAX);
    least + Duration::from_millis(chance.checked_rem(millis.saturating_add(1)).unwrap_or_default())
}

/// Half of `wait` to the whole of it.
pub(super) fn up_to(wait: Duration) -> Duration {
    between(wait / 2, wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_stays_between_its_bounds_and_differs() {
        let (least, most) = (Duration::from_millis(100), Duration::from_millis(300));
        let thrown: std::collections::BTreeSet<_> = (0..50).map(|_| between(least, most)).collect();
        assert!(thrown.len() > 5 && thrown.iter().all(|time| (least..=most).contains(time)), "{thrown:?}");
        assert_eq!(between(most, most), most);
    }
}

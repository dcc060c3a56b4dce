//! Waiting for something to become true, without sleeping longer than needed.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// The pause between two probes.
const PAUSE: Duration = Duration::from_millis(3);

/// Calls `probe` until it gives `Ok` and returns that value. `Err` holds what was seen instead: once `deadline` has
/// passed, the test fails with `what` was waited for and the last thing seen.
#[track_caller]
pub fn eventually<T, Seen: Debug>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, Seen>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) if Instant::now() >= end => {
                panic!("after {deadline:?} still not: {what}; last seen: {seen:?}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

#[test]
fn a_value_that_comes_late_is_returned() {
    let mut probes = 0;
    let value = eventually(Duration::from_secs(5), "three probes", || {
        probes += 1;
        if probes == 3 { Ok(probes) } else { Err(probes) }
    });
    assert_eq!(value, 3);
}

#[test]
#[should_panic(expected = "still not: the moon is blue; last seen: \"grey\"")]
fn a_deadline_missed_tells_what_was_seen_last() {
    eventually(Duration::from_millis(10), "the moon is blue", || Err::<(), _>("grey"));
}

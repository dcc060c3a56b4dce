//! Keeps a watcher going.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::Watcher;
use super::updates::Updates;
use crate::engine::backoff::Backoff;
use crate::engine::printable::printable;
use crate::panics::caught;

const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Starts `watcher` again whenever it fails or panics, with back-off; dropping the future cancels. A reason that stays is logged
/// once. What was published before a failure stays.
pub async fn drive(mut watcher: impl Watcher, out: &Updates) -> Infallible {
    let mut backoff = Backoff::new(MIN_WAIT, MAX_WAIT);
    let mut last_reason = String::new();
    loop {
        let since = Instant::now();
        let error = match caught("watcher", watcher.watch(out)).await {
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        if since.elapsed() > MAX_WAIT {
            backoff.reset();
            last_reason.clear();
        }
        let reason = printable(&error);
        if reason != last_reason {
            warn!(service = %out.service(), reason, "watching the servers failed; trying on, the last known servers stay");
            last_reason = reason;
        }
        sleep(backoff.next_wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::{ListedSet, WatchError, updates};
    use super::*;
    use crate::engine::service::ServiceName;

    /// Fails and panics before it publishes.
    struct Shaky(u32);

    impl Watcher for Shaky {
        async fn watch(&mut self, out: &Updates) -> Result<Infallible, WatchError> {
            self.0 += 1;
            match self.0 {
                1 => return Err(WatchError::RelativePath(PathBuf::from("x"))),
                2 => panic!("before it waits"),
                3 => {
                    sleep(Duration::from_millis(1)).await;
                    panic!("after it has waited");
                }
                _ => {}
            }
            out.publish(ListedSet::default());
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_watcher_that_fails_or_panics_is_started_again() {
        let (out, mut sets) = updates(ServiceName::parse("web").unwrap());
        tokio::select! {
            never = drive(Shaky(0), &out) => match never {},
            changed = sets.changed() => changed.unwrap(),
        }
        assert_eq!(sets.borrow().as_deref(), Some(&ListedSet::default()));
    }
}

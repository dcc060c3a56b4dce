//! The loop's clock.

use std::time::Instant;

use crate::engine::moment::Moment;

#[derive(Debug)]
pub(super) struct Clock(pub(super) Instant);

impl Clock {
    pub(super) fn now(&self) -> Moment {
        Moment::after_start(self.0.elapsed())
    }

    /// Waits for `deadline`; for ever where there is none.
    pub(super) async fn sleep_until(&self, deadline: Option<Moment>) {
        match deadline {
            Some(deadline) => tokio::time::sleep(deadline - self.now()).await,
            None => std::future::pending().await,
        }
    }
}

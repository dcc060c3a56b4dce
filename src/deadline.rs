//! Waiting for a moment that there may not be.

use tokio::time::{Instant, sleep_until};

/// Waits until `deadline`; for ever where there is none. Cancel safe.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

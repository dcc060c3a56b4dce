//! From a place that holds the latest value to a queue.

use tokio::sync::{mpsc, watch};

/// Sends each new value, `tag`ged, until one side is gone. While the queue is full newer values replace older ones.
pub(super) async fn forward<T: Clone, M>(
    mut latest: watch::Receiver<Option<T>>,
    queue: mpsc::Sender<M>,
    tag: impl Fn(T) -> M,
) {
    while latest.changed().await.is_ok() {
        let Ok(place) = queue.reserve().await else { return };
        let value = latest.borrow_and_update().clone();
        if let Some(value) = value {
            place.send(tag(value));
        }
    }
}

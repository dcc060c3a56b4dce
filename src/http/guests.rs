//! The clients that are connected. When there are too many, the one that asked longest ago has to go: a client that asks now gets
//! its answer, however many others only sit there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::{AbortHandle, JoinSet};

/// The most at a time. Each takes some 20 kB.
const MOST: usize = 100;

/// All clients.
#[derive(Debug, Default)]
pub(super) struct Guests {
    tasks: JoinSet<()>,
    present: Vec<Guest>,
    clock: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Guest {
    task: AbortHandle,
    asked: Asked,
}

/// When a client asked last: it counts up with each request of anybody.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    clock: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
}

impl Asked {
    /// It asks now.
    pub(super) fn now(&self) {
        self.last.store(self.clock.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl Guests {
    /// Takes another client, which is served by what `serve` makes.
    pub(super) fn take<F: Future<Output = ()> + Send + 'static>(&mut self, serve: impl FnOnce(Asked) -> F) {
        if self.present.len() >= MOST {
            self.make_room();
        }
        let asked = Asked { clock: Arc::clone(&self.clock), last: Arc::default() };
        asked.now();
        let task = self.tasks.spawn(serve(asked.clone()));
        self.present.push(Guest { task, asked });
    }

    fn make_room(&mut self) {
        self.present.retain(|guest| !guest.task.is_finished());
        let oldest =
            self.present.iter().enumerate().min_by_key(|(_, guest)| guest.asked.last.load(Ordering::Relaxed));
        if let Some((index, _)) = oldest.filter(|_| self.present.len() >= MOST) {
            self.present.swap_remove(index).task.abort();
        }
    }

    /// Waits for one to leave; for ever when there is none. Cancel safe.
    pub(super) async fn left(&mut self) {
        match self.tasks.join_next().await {
            Some(_left) => self.present.retain(|guest| !guest.task.is_finished()),
            None => std::future::pending().await,
        }
    }

    /// Whether nobody is there.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    #[tokio::test]
    async fn who_asked_longest_ago_makes_room_and_who_asks_stays() {
        let mut guests = Guests::default();
        let mut first: Option<Asked> = None;
        let mut alive = Vec::new();
        for _ in 0..MOST + 5 {
            let (lives, ends) = oneshot::channel::<()>();
            alive.push(ends);
            guests.take(|asked| {
                first.get_or_insert(asked);
                async move {
                    let _lives = lives;
                    pending::<()>().await;
                }
            });
            first.as_ref().unwrap().now();
        }
        for _ in 0..5 {
            guests.left().await;
        }
        let left: Vec<_> =
            (0..alive.len()).filter(|n| alive[*n].try_recv() == Err(TryRecvError::Closed)).collect();
        assert_eq!(left, [1, 2, 3, 4, 5]);
        assert_eq!((guests.present.len(), guests.tasks.len(), guests.is_empty()), (MOST, MOST, false));
    }
}

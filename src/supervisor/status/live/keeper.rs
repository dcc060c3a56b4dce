//! Looks and shows, at a pace that neither the loop nor `HAProxy` nor a browser minds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

use super::super::compose::Facts;
use super::super::registries::registries;
use super::Look;
use super::seen::ask;
use super::servers_traffic::servers_traffic;
use super::shown::{PULSE, Shown};
use crate::admin::board::Board;
use crate::http::live::{Later, Live};
use crate::panics::supervised;

/// From one look at what the loop knows to the next.
const SPACING: Duration = Duration::from_millis(100);
/// From one look at all that `HAProxy` tells to the next.
const HAPROXY_SPACING: Duration = Duration::from_secs(2);
/// The same, in times of how long it took: with very many servers it may cost `HAProxy` a twentieth of a thread.
const HAPROXY_SHARE: u32 = 20;

/// Who keeps the board.
#[derive(Clone, Debug)]
pub(in crate::supervisor) struct Keeper {
    board: Arc<Board>,
    operators_socket: PathBuf,
    looks: mpsc::Sender<Look>,
    changes: watch::Receiver<()>,
    turn: Arc<Mutex<()>>,
}

impl Keeper {
    pub(super) fn new(
        operators_socket: PathBuf,
        looks: mpsc::Sender<Look>,
        changes: watch::Receiver<()>,
    ) -> Self {
        Self { board: Arc::default(), operators_socket, looks, changes, turn: Arc::new(Mutex::new(())) }
    }

    /// Lets all who look begin anew, maybe with another program.
    pub(in crate::supervisor) fn wipe(&self) {
        self.board.wipe();
    }

    /// What the page lives on.
    pub(in crate::supervisor) fn live(&self) -> Live {
        let (socket, turn) = (self.operators_socket.clone(), Arc::clone(&self.turn));
        let traffic = move |service: String| -> Later<_> {
            let (socket, turn) = (socket.clone(), Arc::clone(&turn));
            Box::pin(async move {
                // HAProxy is asked by one at a time, however many look.
                let _turn = turn.lock().await;
                servers_traffic(&socket, &service).await
            })
        };
        Live { board: Arc::clone(&self.board), traffic: Arc::new(traffic) }
    }

    /// Keeps it as long as the loop is there.
    pub(in crate::supervisor) async fn keep(self) {
        supervised("live stream", self, |keeper| {
            Box::pin(async {
                // What a panic left may be half done.
                keeper.board.wipe();
                loop {
                    keeper.board.visited().await;
                    if keeper.show().await.is_none() {
                        return;
                    }
                }
            })
        })
        .await;
    }

    /// Shows what changes until nobody looks; `None` when the loop has ended.
    async fn show(&mut self) -> Option<()> {
        let mut shown = Shown::default();
        let mut whole_at = Instant::now();
        let begun = self.board.begin();
        while !self.board.wipe_if_unseen() {
            let now = Instant::now();
            self.changes.borrow_and_update();
            let facts = self.look().await?;
            let differing = shown.differing(&facts);
            let is_whole = now >= whole_at || shown.is_blind();
            let replies = ask(&self.operators_socket, &facts, (!is_whole).then_some(&differing)).await;
            if is_whole {
                whole_at = now + HAPROXY_SPACING.max(now.elapsed() * HAPROXY_SHARE);
            }
            let board = Arc::clone(&self.board);
            let registries = registries();
            let renewed = spawn_blocking(move || {
                let update = shown.renew(facts, differing, replies, registries);
                board.put(begun, update).then_some(shown)
            });
            shown = match renewed.await {
                Ok(Some(shown)) => shown,
                // Wiped meanwhile.
                Ok(None) => return Some(()),
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            };
            sleep_until(now + SPACING).await;
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = sleep_until(whole_at) => {}
                () = sleep_until(now + PULSE), if shown.waits_for_pulse() => {}
            }
        }
        Some(())
    }

    async fn look(&self) -> Option<Facts> {
        let (look, shown) = oneshot::channel();
        self.looks.send(Look(look)).await.ok()?;
        shown.await.ok()
    }
}

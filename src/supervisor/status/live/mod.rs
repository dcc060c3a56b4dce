//! Keeps what those see who look at the live stream: not in the loop, and only while somebody looks.
//!
//! ```text
//! loop --"something changed"--> Keeper --Look--> loop
//!      <--what it shares---------'  |
//! HAProxy <--what it tells----------'---put--> Board
//! ```

mod keeper;
mod seen;
mod servers_traffic;
mod shown;

use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot, watch};

use super::compose::Facts;
pub(in crate::supervisor) use keeper::Keeper;

/// The loop's side.
#[derive(Debug)]
pub(in crate::supervisor) struct LiveDesk {
    looks: mpsc::Receiver<Look>,
    /// So that the channel never ends.
    _asks: mpsc::Sender<Look>,
    changes: watch::Sender<()>,
}

/// The keeper wants to see what the loop knows.
#[derive(Debug)]
pub(in crate::supervisor) struct Look(oneshot::Sender<Facts>);

impl Look {
    pub(super) fn answer(self, facts: Facts) {
        // A keeper that has ended needs none.
        drop(self.0.send(facts));
    }
}

impl LiveDesk {
    /// The desk, and who keeps the board, which asks `HAProxy` at the `operators_socket`.
    pub(in crate::supervisor) fn new(operators_socket: PathBuf) -> (Self, Keeper) {
        let (asks, looks) = mpsc::channel(1);
        let changes = watch::Sender::new(());
        let keeper = Keeper::new(operators_socket, asks.clone(), changes.subscribe());
        (Self { looks, _asks: asks, changes }, keeper)
    }

    /// Something may have changed.
    pub(in crate::supervisor) fn changed(&self) {
        self.changes.send_replace(());
    }

    /// The next look that is wanted. Cancel safe.
    pub(in crate::supervisor) async fn look(&mut self) -> Look {
        match self.looks.recv().await {
            Some(look) => look,
            None => std::future::pending().await,
        }
    }
}

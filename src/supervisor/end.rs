//! The end of `HAProxy`, which is asked for.

use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::signals::Signals;
use crate::haproxy::actor::{Ending, Handle};
use crate::systemd::{self, State};

/// Lets `HAProxy` drain; a second signal ends that.
pub(super) async fn end_haproxy(haproxy: Handle, grace: Duration, signals: &mut Signals) {
    systemd::tell(State::Stopping);
    info!(?grace, "asked to end; HAProxy drains");
    let Handle { ending, mut task, orders: _orders, events: _events, generations: _ } = haproxy;
    if ending.send(Ending::Drain(grace)).is_err() {
        debug!("the HAProxy task has ended already");
    }
    tokio::select! {
        ended = &mut task => if let Err(error) = ended {
            error!(%error, "the HAProxy task failed while it ended");
        },
        () = signals.end_is_asked() => {
            warn!("asked to end again; connections are cut");
            // Dropped with its task, each process is killed.
            task.abort();
            if let Err(error) = task.await {
                debug!(%error, "the HAProxy task is gone");
            }
        }
    }
    info!("ended");
}

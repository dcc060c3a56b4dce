//! What systemd is told about this service (`sd_notify(3)`); nothing, where nobody listens.

pub mod files;

use std::future::pending;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

/// Variables that systemd means for this process alone; no child is to speak in its name.
pub const VARIABLES: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    LISTEN_VARIABLES[0],
    LISTEN_VARIABLES[1],
    LISTEN_VARIABLES[2],
];

/// Those that tell of files ([`files::received`]): they hold for the first program of a process, not for its successors.
pub const LISTEN_VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// What the service does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It serves.
    Ready,
    /// It reads its configuration again; [`State::Ready`] follows, whatever came of it.
    Reloading,
    /// It ends.
    Stopping,
}

/// Tells what the service does now.
pub fn tell(state: State) {
    match state {
        State::Ready => send(&[NotifyState::Ready]),
        // From systemd 253 on only with the time (sd_notify(3), RELOADING=1).
        State::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(_no_clock) => send(&[NotifyState::Reloading]),
        },
        State::Stopping => send(&[NotifyState::Stopping]),
    }
}

/// The line that `systemctl status` shows.
pub fn tell_status(text: &str) {
    send(&[NotifyState::Status(text)]);
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        debug!(%error, "systemd can't be told");
    }
}

/// The watchdog, which wants to hear from a service that is alive (`WatchdogSec=` in `systemd.service(5)`).
#[derive(Debug)]
pub struct Watchdog(Option<(Duration, Instant)>);

impl Watchdog {
    /// As the environment asks for it.
    pub fn from_environment() -> Self {
        Self::within(sd_notify::watchdog_enabled())
    }

    /// One that wants to hear within `limit`; there may be none.
    pub fn within(limit: Option<Duration>) -> Self {
        // Twice in its time, as sd_watchdog_enabled(3) recommends.
        Self(limit.map(|limit| (limit / 2, Instant::now())))
    }

    /// Waits until it is to be told again, and tells it. For ever where there is none. Cancel safe.
    pub async fn tell(&mut self) {
        let Some((every, due)) = &mut self.0 else { return pending().await };
        sleep_until(*due).await;
        *due = Instant::now() + *every;
        send(&[NotifyState::Watchdog]);
    }
}

//! The signals that users send.

use std::io;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as Number};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// TERM, INT, USR1: drain, then end.
    End,
    /// HUP: read proxymgr.yml again.
    Reread,
    /// USR2: go on with the program that is installed now.
    Upgrade,
}

/// All signals that are listened for.
fn handled() -> SigSet {
    [Number::SIGTERM, Number::SIGINT, Number::SIGUSR1, Number::SIGHUP, Number::SIGUSR2].into_iter().collect()
}

/// To be called in each thread but the main one, so that no signal is caught behind its back.
pub fn leave_to_main_thread() {
    if let Err(error) = handled().thread_block() {
        tracing::warn!(%error, "a thread may catch signals; one that comes during an upgrade may be lost");
    }
}

/// To be called once all signals are listened for, or when nobody took over: those that were held back arrive.
pub(super) fn let_through() -> io::Result<()> {
    Ok(handled().thread_unblock()?)
}

/// All signals that are listened for; none of them ends the process by itself.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    user1: Signal,
    hangup: Signal,
    user2: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Holds back the signals that come from now on, for whoever takes over; gives the request that came before, if any.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) async fn hold_back(&mut self) -> io::Result<Option<Request>> {
        handled().thread_block()?;
        // What was caught already arrives when tokio next looks, which is at the latest when it waits for this time.
        tokio::select! {
            biased;
            request = self.next() => Ok(Some(request)),
            () = tokio::time::sleep(Duration::from_millis(2)) => Ok(None),
        }
    }

    /// The next request. Cancel safe.
    pub(super) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::End,
            _ = self.interrupt.recv() => Request::End,
            _ = self.user1.recv() => Request::End,
            _ = self.hangup.recv() => Request::Reread,
            _ = self.user2.recv() => Request::Upgrade,
        }
    }
}

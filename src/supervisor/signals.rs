//! The signals that users send.
//!
//! | signal | what it does |
//! |---|---|
//! | TERM, INT, USR1 | let `HAProxy` drain, then end; a second one ends at once |
//! | HUP | reads proxymgr.yml again, also under nohup(1) |
//! | USR2 | goes on with the program that is installed now |
//! | CHLD | a process has ended: the reaper's |
//! | KILL, QUIT, ABRT, faults (SEGV, BUS ...) | what the kernel does: they are how one gets rid of a program that hangs, or a core of it; PID 1 is spared, but for a KILL from outside its namespace |
//! | STOP, TSTP, TTIN, TTOU, CONT | what the kernel does: job control |
//! | all others (PIPE, ALRM, WINCH, XFSZ, real-time ones ...) | nothing |
//!
//! What signals were blocked or ignored by who started this program plays no part.

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

const HANDLED: [Number; 5] =
    [Number::SIGTERM, Number::SIGINT, Number::SIGUSR1, Number::SIGHUP, Number::SIGUSR2];
/// Left to the reaper and to the kernel.
const LEFT: [Number; 13] = [
    Number::SIGCHLD,
    Number::SIGQUIT,
    Number::SIGABRT,
    Number::SIGSEGV,
    Number::SIGBUS,
    Number::SIGFPE,
    Number::SIGILL,
    Number::SIGTRAP,
    Number::SIGSYS,
    Number::SIGTSTP,
    Number::SIGTTIN,
    Number::SIGTTOU,
    Number::SIGCONT,
];

/// All signals that are listened for.
fn handled() -> SigSet {
    HANDLED.into_iter().collect()
}

/// Those that do nothing. The kernel would end the process by most of them, so they are held back for ever.
fn meaningless() -> SigSet {
    let mut signals = SigSet::all();
    for signal in HANDLED.into_iter().chain(LEFT) {
        signals.remove(signal);
    }
    signals
}

/// To be called in each thread but the main one, so that no signal is caught behind its back.
pub fn leave_to_main_thread() {
    if let Err(error) = handled().thread_block() {
        tracing::warn!(%error, "a thread may catch signals; one that comes during an upgrade may be lost");
    }
}

/// To be called when nobody took over: signals that were held back arrive.
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
    /// What was asked for while only an end was waited for.
    kept: Option<Request>,
}

impl Signals {
    /// Listens from now on, and lets the signals through that were held back for it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn listen() -> io::Result<Self> {
        let signals = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            hangup: signal(SignalKind::hangup())?,
            user2: signal(SignalKind::user_defined2())?,
            kept: None,
        };
        meaningless().thread_set_mask()?;
        Ok(signals)
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
        match self.kept.take() {
            Some(kept) => kept,
            None => self.arrival().await,
        }
    }

    /// Waits until an end is asked for; of what else is asked for meanwhile the last is kept. Cancel safe.
    pub(super) async fn end_is_asked(&mut self) {
        loop {
            match self.arrival().await {
                Request::End => return,
                other @ (Request::Reread | Request::Upgrade) => self.kept = Some(other),
            }
        }
    }

    async fn arrival(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::End,
            _ = self.interrupt.recv() => Request::End,
            _ = self.user1.recv() => Request::End,
            _ = self.hangup.recv() => Request::Reread,
            _ = self.user2.recv() => Request::Upgrade,
        }
    }
}

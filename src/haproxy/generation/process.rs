//! A process, whatever its state.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::haproxy::handover::HandedProcess;
use crate::haproxy::output_log::log_output;
use crate::process::adopt::{Birth, adopt_output};
use crate::process::exit::ExitWatch;
use crate::process::reaper::Reaper;
use crate::process::spawn::{ChildSignal, SignalSender};

/// A process; dropped, it is killed.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) number: u64,
    pub(super) pid: u32,
    pub(super) exit: ExitWatch,
    pub(super) signals: SignalSender,
    /// Where its output comes from, kept for a successor of this program.
    pub(super) output: Option<OwnedFd>,
    pub(super) handed_over: bool,
}

impl Process {
    pub(super) fn take_over(reaper: &Reaper, handed: &mut HandedProcess) -> io::Result<Self> {
        let adopted = handed.adopt(reaper)?;
        if let Some(pipe) = &handed.output {
            log_output(handed.pid, adopt_output(pipe.try_clone()?)?);
        }
        Ok(Self {
            number: handed.number,
            pid: handed.pid,
            exit: adopted.exit,
            signals: adopted.signals,
            output: handed.output.take(),
            handed_over: false,
        })
    }

    pub(super) fn hand_over(mut self) -> HandedProcess {
        self.handed_over = true;
        HandedProcess {
            number: self.number,
            pid: self.pid,
            control: None,
            connection: None,
            output: self.output.take(),
            drained: Duration::ZERO,
        }
    }

    /// When it was started; now, when that can't be told.
    pub(super) fn started(&self) -> Instant {
        let now = Instant::now();
        let age = Birth::of(self.pid).and_then(Birth::age).unwrap_or_default();
        now.checked_sub(age).unwrap_or(now)
    }

    pub(super) fn send(&self, signal: ChildSignal) {
        if let Err(error) = self.signals.send(signal) {
            warn!(pid = self.pid, %error, "HAProxy can't be signalled");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.handed_over && self.exit.ended().is_none() {
            self.send(ChildSignal::Kill);
        }
    }
}

//! The processes that still drain: how many, how long.

use std::time::Duration;

use tracing::{info, warn};

use super::generation::{Draining, Serving};
use super::generations::Generation;
use super::handover::HandedProcess;

/// How often draining processes are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The draining processes, oldest first.
#[derive(Debug)]
pub(super) struct DrainingProcesses {
    processes: Vec<Draining>,
    timeout: Duration,
    most: usize,
}

impl DrainingProcesses {
    pub(super) fn new(timeout: Duration, most: usize) -> Self {
        Self { processes: Vec::new(), timeout, most }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// Lets a process drain.
    pub(super) fn push(&mut self, serving: Serving) {
        info!(pid = serving.pid(), generation = serving.number(), "the old HAProxy drains");
        self.processes.push(serving.drain());
    }

    /// Ends the oldest while there are too many. Cancel safe.
    pub(super) async fn end_excess(&mut self) {
        self.forget_ended();
        let too_many = self.processes.len().saturating_sub(self.most);
        for oldest in self.processes.iter_mut().take(too_many) {
            warn!(
                pid = oldest.pid(),
                "too many old processes drain (reload.max_draining); the oldest is ended"
            );
            oldest.end().await;
        }
        self.forget_ended();
    }

    /// The processes, oldest first.
    pub(super) fn view(&self) -> Vec<Generation> {
        self.processes.iter().map(Draining::view).collect()
    }

    /// Adds one that nobody looked after; it is asked to drain.
    pub(super) fn push_stray(&mut self, stray: Draining) {
        info!(pid = stray.pid(), generation = stray.number(), "an HAProxy that was left alone drains");
        stray.ask_to_drain();
        self.processes.push(stray);
    }

    /// Adds one that drains already.
    pub(super) fn go_on_with(&mut self, draining: Draining) {
        self.processes.push(draining);
    }

    /// Lets go of all without ending any.
    pub(super) fn hand_over(self) -> Vec<HandedProcess> {
        self.processes.into_iter().map(Draining::hand_over).collect()
    }

    /// Notes those that ended, lets go of the idle, ends those that drain too long.
    pub(super) async fn look(&mut self) {
        let timeout = self.timeout;
        for process in &mut self.processes {
            if process.exit().is_some() {
                continue;
            }
            if process.is_terminated() {
                process.terminate();
            } else if process.age() >= timeout {
                warn!(
                    pid = process.pid(),
                    "drained for reload.drain_timeout; ended with its last connections"
                );
                process.terminate();
            } else {
                process.release_when_idle().await;
            }
        }
        self.forget_ended();
    }

    fn forget_ended(&mut self) {
        self.processes.retain(|process| {
            if let Some(exit) = process.exit() {
                let (pid, generation, drained) = (process.pid(), process.number(), process.age());
                info!(pid, generation, ?drained, %exit, "an old HAProxy is gone");
            }
            process.exit().is_none()
        });
    }

    /// Waits until all are gone.
    pub(super) async fn ended(&mut self) {
        for process in &mut self.processes {
            process.ended().await;
        }
        self.processes.clear();
    }

    pub(super) fn kill_all(&mut self) {
        self.processes.iter_mut().for_each(Draining::kill);
    }
}

//! What is looked after while a new process is checked and started, which may take its time.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{debug, warn};

use super::actor::Event;
use super::draining::{DrainingProcesses, LOOK_EVERY};
use super::generation::Serving;
use super::generations::Generations;
use crate::deadline;
use crate::process::exit::Exit;

/// Once nobody serves any more, a reload has this long; then it is given up for a start of what ran before.
const ALONE_LIMIT: Duration = Duration::from_secs(5);

/// The serving process has ended, and the new one was not soon there.
#[derive(Debug, thiserror::Error)]
#[error("the serving HAProxy ended meanwhile, and the new one did not serve soon after that")]
pub(super) struct Alone;

/// The processes that run, and who is told of them.
#[derive(Debug)]
pub(super) struct Meanwhile<'a> {
    pub(super) serving: &'a mut Option<Serving>,
    pub(super) draining: &'a mut DrainingProcesses,
    pub(super) events: &'a mpsc::Sender<Event>,
    pub(super) generations: &'a watch::Sender<Generations>,
    /// How many processes have been started.
    pub(super) started: u64,
}

impl Meanwhile<'_> {
    /// Waits for `work`. Given up, it is dropped.
    pub(super) async fn wait_for<T>(self, work: impl Future<Output = T>) -> Result<T, Alone> {
        let mut work = pin!(work);
        let mut look = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until = None;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                exit = death_of(self.serving) => {
                    *self.serving = None;
                    until = Some(Instant::now() + ALONE_LIMIT);
                    warn!(%exit, "the serving HAProxy ended while a new one was to start");
                    if self.events.send(Event::Died(exit)).await.is_err() {
                        debug!("nobody hears that HAProxy has ended");
                    }
                }
                () = deadline::until(until) => return Err(Alone),
                _ = look.tick(), if !self.draining.is_empty() => self.draining.look().await,
            }
            publish(self.generations, self.started, self.serving.as_ref(), self.draining);
        }
    }
}

/// Waits for the serving process to end; for ever when there is none.
pub(super) async fn death_of(serving: &mut Option<Serving>) -> Exit {
    match serving {
        Some(serving) => serving.ended().await,
        None => std::future::pending().await,
    }
}

/// Shows the processes as they were seen last.
pub(super) fn publish(
    generations: &watch::Sender<Generations>,
    started: u64,
    serving: Option<&Serving>,
    draining: &DrainingProcesses,
) {
    let now = Generations {
        started,
        serving: serving.map(Serving::view),
        control: serving.map(|serving| serving.control_path().to_owned()),
        draining: draining.view(),
    };
    generations.send_if_modified(|before| {
        let differs = *before != now;
        *before = now;
        differs
    });
}

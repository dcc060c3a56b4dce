//! Who may wait at an agent, and who is asked only when something changed; see the module above.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::agent::Agent;
use super::cursor::{Cursor, is_early};
use super::jitter::{between, up_to};
use super::query::{Lane, Query};
use crate::engine::backoff::Backoff;
use crate::panics::supervised;

const WAITING_INSTANCES: usize = 80;
const WAITING_RESERVED: usize = 24;
const SHORT: usize = 24;

/// How long a question waits at the agent: an agent that hangs is noticed when this is over.
const LEAST_WAIT: Duration = Duration::from_secs(20);
const MOST_WAIT: Duration = Duration::from_secs(30);

/// How long one without a place believes that nothing changed, whatever the tables say.
const LEAST_RECHECK: Duration = Duration::from_secs(300);
const MOST_RECHECK: Duration = Duration::from_secs(600);

/// The least time between two rounds of questions, for each who has no place to wait.
const PER_ROUND_AND_FOLLOWER: Duration = Duration::from_millis(1);
const LEAST_BETWEEN_ROUNDS: Duration = Duration::from_millis(100);

/// The places of one agent.
#[derive(Debug)]
pub(super) struct Turns {
    instances: Semaphore,
    reserved: Semaphore,
    short: Semaphore,
    /// By datacenter.
    tables: Mutex<HashMap<Option<String>, Weak<Tables>>>,
    without_place: AtomicUsize,
}

/// Follows the tables of one datacenter for all who have no place.
#[derive(Debug)]
pub(super) struct Tables {
    changes: watch::Receiver<u64>,
    tasks: Vec<AbortHandle>,
}

impl Default for Turns {
    fn default() -> Self {
        let [instances, reserved, short] = [WAITING_INSTANCES, WAITING_RESERVED, SHORT].map(Semaphore::new);
        Self { instances, reserved, short, tables: Mutex::default(), without_place: AtomicUsize::new(0) }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// One who has no place, for as long as that is so.
struct WithoutPlace<'a>(&'a AtomicUsize);

impl<'a> WithoutPlace<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for WithoutPlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one follower keeps between its questions.
#[derive(Debug, Default)]
pub(super) struct Place {
    tables: Option<(Arc<Tables>, watch::Receiver<u64>)>,
}

/// The right to ask once.
pub(super) struct Turn<'a> {
    /// How long the answer may wait for a change; `None`: not at all.
    pub(super) wait: Option<Duration>,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Place {
    /// Waits until `query` may be asked. One that knows no answer yet is asked at once.
    pub(super) async fn turn<'a>(
        &mut self,
        agent: &'a Arc<Agent>,
        query: &Query,
        is_first: bool,
    ) -> Turn<'a> {
        let turns = &agent.turns;
        if is_first {
            return turns.short().await;
        }
        let places = match query.lane {
            Lane::Instances => &turns.instances,
            Lane::Reserved => &turns.reserved,
        };
        if let Ok(permit) = places.try_acquire() {
            self.tables = None;
            return Turn { wait: Some(between(LEAST_WAIT, MOST_WAIT)), _permit: Some(permit) };
        }
        match query.lane {
            Lane::Reserved => sleep(between(Duration::from_secs(5), Duration::from_secs(10))).await,
            Lane::Instances => {
                let _counted = WithoutPlace::new(&turns.without_place);
                let (_, changes) = self.tables.get_or_insert_with(|| {
                    let tables = turns.tables_of(agent, query.dc.as_ref());
                    let changes = tables.changes.clone();
                    (tables, changes)
                });
                tokio::select! {
                    Ok(()) = changes.changed() => {}
                    () = sleep(between(LEAST_RECHECK, MOST_RECHECK)) => {}
                }
            }
        }
        turns.short().await
    }
}

impl Turns {
    async fn short(&self) -> Turn<'_> {
        // Nobody closes it.
        let permit = self.short.acquire().await.ok();
        Turn { wait: None, _permit: permit }
    }

    fn tables_of(&self, agent: &Arc<Agent>, dc: Option<&String>) -> Arc<Tables> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.retain(|_, tables| tables.strong_count() > 0);
        if let Some(running) = tables.get(&dc.cloned()).and_then(Weak::upgrade) {
            return running;
        }
        let (out, changes) = watch::channel(0);
        let queries =
            [Query::any_check(dc.cloned()), Query::any_node(dc.cloned()), Query::services(dc.cloned())];
        let tasks = queries.map(|query| {
            let (agent, out) = (Arc::downgrade(agent), out.clone());
            let announcing = supervised("Consul's tables", (agent, query, out), |(agent, query, out)| {
                Box::pin(announce(agent, query, out))
            });
            tokio::spawn(announcing).abort_handle()
        });
        let started = Arc::new(Tables { changes, tasks: tasks.into() });
        tables.insert(dc.cloned(), Arc::downgrade(&started));
        started
    }
}

/// Tells that a table may have changed, from its first answer on.
async fn announce(agent: &Weak<Agent>, query: &Query, out: &watch::Sender<u64>) {
    let (mut cursor, mut backoff) = (Cursor::default(), new_backoff());
    while let Some(agent) = agent.upgrade() {
        let blocking = cursor.index().map(|index| (index, between(LEAST_WAIT, MOST_WAIT)));
        let began = Instant::now();
        match agent.ask(query, blocking).await {
            Ok(reply) => {
                agent.answered();
                backoff.reset();
                if cursor.take(reply.index, is_early(blocking, began)) {
                    out.send_modify(|round| *round = round.wrapping_add(1));
                }
                let followers =
                    u32::try_from(agent.turns.without_place.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
                sleep((PER_ROUND_AND_FOLLOWER * followers).max(LEAST_BETWEEN_ROUNDS)).await;
            }
            Err(error) => {
                agent.failed(&error);
                cursor.reset();
                sleep(up_to(backoff.next_wait())).await;
            }
        }
    }
}

pub(super) fn new_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(200), Duration::from_secs(5))
}

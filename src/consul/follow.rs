//! One question, asked again whenever its answer may differ.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::agent::Agent;
use super::cursor::{Cursor, is_early};
use super::error::ConsulError;
use super::jitter::up_to;
use super::pace::Pace;
use super::query::Query;
use super::turns::{Place, new_backoff};
use crate::engine::backoff::Backoff;

/// The least time from an answer that gave no index to wait on to the next question.
const PAUSE_WITHOUT_INDEX: Duration = Duration::from_secs(1);

/// The answers to one question.
#[derive(Debug)]
pub struct Follow {
    agent: Arc<Agent>,
    query: Query,
    cursor: Cursor,
    place: Place,
    backoff: Backoff,
    pace: Pace,
    hasher: RandomState,
    /// What tells the last answer from another.
    last: Option<u64>,
    /// Those of the agent when it was asked last.
    failures: u64,
    not_before: Option<Instant>,
}

/// What is known now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// JSON; `None` when there is nothing of the name that was asked for.
    pub body: Option<Vec<u8>>,
}

impl Follow {
    pub(super) fn new(agent: Arc<Agent>, query: Query) -> Self {
        let (cursor, place) = (Cursor::default(), Place::default());
        Self {
            agent,
            query,
            cursor,
            place,
            backoff: new_backoff(),
            pace: Pace::default(),
            hasher: RandomState::new(),
            last: None,
            failures: 0,
            not_before: None,
        }
    }

    /// The next answer that differs from the one before. Whatever keeps the agent from answering is waited out, with
    /// back-off; the last answer holds meanwhile. Not cancel safe: an answer may be lost.
    ///
    /// # Errors
    /// When this question is refused, after a wait; it may be asked again.
    pub async fn next(&mut self) -> Result<Answer, ConsulError> {
        loop {
            if let Some(then) = self.not_before.take() {
                sleep_until(then).await;
            }
            let is_first = self.cursor.index().is_none();
            let turn = self.place.turn(&self.agent, &self.query, is_first).await;
            let failures = self.agent.failures();
            if std::mem::replace(&mut self.failures, failures) != failures {
                self.cursor.reset();
            }
            let index = self.cursor.index();
            let (blocking, began) = (index.zip(turn.wait), Instant::now());
            let asked = self.agent.ask(&self.query, blocking).await;
            drop(turn);
            match asked {
                Ok(reply) => {
                    self.agent.answered();
                    self.backoff.reset();
                    self.cursor.take(reply.index, is_early(blocking, began));
                    let (now, paced) = (Instant::now(), self.pace.asked(Instant::now()));
                    let waits_on_index = self.cursor.index().is_some();
                    self.not_before = Some(if waits_on_index { paced } else { now + PAUSE_WITHOUT_INDEX });
                    // Not by the index: it stays when a folder of keys goes whose last change was a key's end.
                    let body = Some(self.hasher.hash_one(&reply.body));
                    if std::mem::replace(&mut self.last, body) != body {
                        return Ok(Answer { body: reply.body });
                    }
                }
                Err(error) => {
                    self.cursor.reset();
                    if !error.is_of_the_agent() {
                        self.not_before = Some(Instant::now() + up_to(self.backoff.next_wait()));
                        return Err(error);
                    }
                    self.agent.failed(&error);
                    sleep(up_to(self.backoff.next_wait())).await;
                }
            }
        }
    }
}

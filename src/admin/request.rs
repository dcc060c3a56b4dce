//! A request on its way to the supervisor's loop, and the way back.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::exposition::Family;
use super::history::Reader;
use super::protocol::{Command, Failure, FailureCode};
use super::status::Status;

/// A command, and who waits for its answer.
#[derive(Debug)]
pub struct Asked {
    /// What to do.
    pub command: Command,
    /// Who is to be told.
    pub asker: Asker,
}

/// What a command gives.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Done, with a few words.
    Said(Value),
    /// To [`Command::Status`].
    Status(Arc<StatusAnswer>),
    /// To [`Command::Events`]: where they are read.
    Events(Reader),
    /// To [`Command::Metrics`].
    Metrics(Arc<Vec<Family>>),
}

/// A status on its way.
#[derive(Debug)]
pub struct StatusAnswer {
    /// What is told.
    pub status: Status,
    /// Others wait until this one is sent.
    pub turn: OwnedSemaphorePermit,
}

/// Who waits for an answer. One that is dropped without it is told that `ProxyMgr` ends.
#[derive(Debug)]
pub struct Asker(watch::Sender<Told>);

/// The other end: what was told so far.
#[derive(Debug)]
pub struct Hearing(watch::Receiver<Told>);

/// The latest word of the loop.
#[derive(Clone, Debug)]
pub enum Told {
    /// None yet.
    Nothing,
    /// The answer follows once this has come.
    WaitingFor(String),
    /// The answer.
    Answered(Result<Answer, Failure>),
}

impl Asker {
    /// An asker, and where it hears.
    pub fn new() -> (Self, Hearing) {
        let (sender, receiver) = watch::channel(Told::Nothing);
        (Self(sender), Hearing(receiver))
    }

    /// Tells what it has to wait for.
    pub fn waits_for(&self, what: &str) {
        self.0.send_replace(Told::WaitingFor(what.to_owned()));
    }

    /// Whether nobody waits any more.
    pub fn is_gone(&self) -> bool {
        self.0.is_closed()
    }

    /// It is done.
    pub fn answer(self, answer: Answer) {
        self.0.send_replace(Told::Answered(Ok(answer)));
    }

    /// It can't be done.
    pub fn refuse(self, failure: Failure) {
        self.0.send_replace(Told::Answered(Err(failure)));
    }
}

impl Hearing {
    /// The next word, or the latest of several.
    pub async fn next(&mut self) -> Told {
        match self.0.changed().await {
            Ok(()) => self.0.borrow_and_update().clone(),
            Err(_gone) => {
                let message = "ProxyMgr is about to end and takes no commands any more";
                Told::Answered(Err(Failure::new(FailureCode::Ending, message)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_latest_word_is_heard_and_an_answer_outlives_its_asker() {
        let (asker, mut hearing) = Asker::new();
        asker.waits_for("one");
        asker.waits_for("two");
        assert!(matches!(hearing.next().await, Told::WaitingFor(what) if what == "two"));
        asker.answer(Answer::Said(Value::Null));
        assert!(matches!(hearing.next().await, Told::Answered(Ok(Answer::Said(Value::Null)))));
    }

    #[tokio::test]
    async fn who_is_dropped_is_told_of_the_end() {
        let (asker, mut hearing) = Asker::new();
        assert!(!asker.is_gone());
        drop(asker);
        let Told::Answered(Err(failure)) = hearing.next().await else { panic!("no failure") };
        assert_eq!(failure.code, FailureCode::Ending);
        let (asker, hearing) = Asker::new();
        drop(hearing);
        assert!(asker.is_gone());
    }
}

//! What is asked of the loop: seldom, however often clients ask.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::admin::exposition::{Family, Format, encode};
use crate::admin::origin::Origins;
use crate::admin::protocol::{Command, Failure, FailureCode};
use crate::admin::request::{Answer, Asked, Asker, StatusAnswer, Told};
use crate::admin::status::StatusQuery;

/// From one question that costs something to the next.
pub(super) const SPACING: Duration = Duration::from_millis(20);
/// How long the answer to one that costs more is told to others, too.
const SHARED_FOR: Duration = Duration::from_millis(500);
/// The same for whether the loop lives.
const PULSE_SHARED_FOR: Duration = Duration::from_millis(100);
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long the loop may take to show that it lives.
const PULSE_LIMIT: Duration = Duration::from_secs(5);

/// The metrics, each text of them made once.
#[derive(Debug)]
pub(super) struct Metrics {
    families: Arc<Vec<Family>>,
    open: OnceLock<Bytes>,
    text: OnceLock<Bytes>,
}

impl Metrics {
    fn of(families: Arc<Vec<Family>>) -> Self {
        Self { families, open: OnceLock::new(), text: OnceLock::new() }
    }

    pub(super) fn text(&self, format: Format) -> Bytes {
        let text = match format {
            Format::OpenMetrics => &self.open,
            Format::Text => &self.text,
        };
        text.get_or_init(|| encode(&self.families, format).into()).clone()
    }
}

/// The way to the loop.
#[derive(Debug)]
pub(super) struct Questions {
    requests: mpsc::Sender<Asked>,
    /// When the next question may be asked.
    turn: Mutex<Instant>,
    pulse: Shared<()>,
    metrics: Shared<Arc<Metrics>>,
    status: Shared<Bytes>,
}

impl Questions {
    pub(super) fn new(requests: mpsc::Sender<Asked>) -> Self {
        Self {
            requests,
            turn: Mutex::new(Instant::now()),
            pulse: Shared::new(PULSE_SHARED_FOR),
            metrics: Shared::new(SHARED_FOR),
            status: Shared::new(SHARED_FOR),
        }
    }

    /// Whether the loop answers.
    pub(super) async fn pulse(&self) -> Result<(), Failure> {
        let ping = async { self.ask(Command::Ping, PULSE_LIMIT).await.map(drop) };
        self.pulse.get(ping).await
    }

    pub(super) async fn metrics(&self) -> Result<Arc<Metrics>, Failure> {
        let ask = async {
            match self.ask_in_turn(Command::Metrics).await? {
                Answer::Metrics(families) => Ok(Arc::new(Metrics::of(families))),
                Answer::Said(_) | Answer::Status(_) | Answer::Events(_) => Err(odd()),
            }
        };
        self.metrics.get(ask).await
    }

    /// The whole status as JSON.
    pub(super) async fn whole_status(&self) -> Result<Bytes, Failure> {
        let ask = async {
            let answer = self.status(StatusQuery { service: None, servers: true }).await?;
            serde_json::to_vec(&answer.status).map(Bytes::from).map_err(|_never| odd())
        };
        self.status.get(ask).await
    }

    pub(super) async fn status(&self, query: StatusQuery) -> Result<Arc<StatusAnswer>, Failure> {
        match self.ask_in_turn(Command::Status(query)).await? {
            Answer::Status(answer) => Ok(answer),
            Answer::Said(_) | Answer::Events(_) | Answer::Metrics(_) => Err(odd()),
        }
    }

    /// Where both are written; `None` where there is no definition.
    pub(super) async fn origin(&self, service: String, server: Option<String>) -> Option<Origins> {
        match self.ask_in_turn(Command::Origin { service, server }).await {
            Ok(Answer::Said(origins)) => serde_json::from_value(origins).ok(),
            Ok(Answer::Status(_) | Answer::Events(_) | Answer::Metrics(_)) | Err(_) => None,
        }
    }

    async fn ask_in_turn(&self, command: Command) -> Result<Answer, Failure> {
        {
            let mut turn = self.turn.lock().await;
            sleep_until(*turn).await;
            *turn = Instant::now() + SPACING;
        }
        self.ask(command, LIMIT).await
    }

    async fn ask(&self, command: Command, limit: Duration) -> Result<Answer, Failure> {
        let (asker, mut hearing) = Asker::new();
        let answer = async {
            // Of a loop that has ended the asker, which comes back and is dropped, tells.
            drop(self.requests.send(Asked { command, asker }).await);
            loop {
                match hearing.next().await {
                    Told::Answered(answer) => return answer,
                    Told::Nothing | Told::WaitingFor(_) => {}
                }
            }
        };
        let late = |_elapsed| {
            Err(Failure::new(
                FailureCode::Busy,
                format!("ProxyMgr has not answered for {limit:?}; its log tells more"),
            ))
        };
        timeout(limit, answer).await.unwrap_or_else(late)
    }
}

fn odd() -> Failure {
    Failure::new(FailureCode::Internal, "ProxyMgr gave an answer to another question; this is a defect")
}

/// An answer that is told to all who ask within some time.
#[derive(Debug)]
struct Shared<T> {
    last: Arc<Mutex<Option<(Instant, T)>>>,
    lasts: Duration,
}

impl<T: Clone + Send + 'static> Shared<T> {
    fn new(lasts: Duration) -> Self {
        Self { last: Arc::default(), lasts }
    }

    /// The last answer, if it is young enough; else that of `ask`, which the others wait for.
    async fn get(&self, ask: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = last.as_ref()
            && at.elapsed() < self.lasts
        {
            return Ok(answer.clone());
        }
        // Its age is that of the question.
        let asked = Instant::now();
        let answer = ask.await?;
        *last = Some((asked, answer.clone()));
        let (kept, lasts) = (Arc::clone(&self.last), self.lasts);
        tokio::spawn(async move {
            // It may be large.
            sleep(lasts).await;
            let mut last = kept.lock().await;
            if last.as_ref().is_some_and(|(at, _)| at.elapsed() >= lasts) {
                *last = None;
            }
        });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_are_one_question_and_what_was_told_is_forgotten() {
        let (requests, mut asked) = mpsc::channel(16);
        let questions = Arc::new(Questions::new(requests));
        let clients: Vec<_> = (0..50)
            .map(|_| {
                let questions = questions.clone();
                tokio::spawn(async move { questions.metrics().await.map(drop) })
            })
            .collect();
        let one = asked.recv().await.unwrap();
        assert_eq!(one.command, Command::Metrics);
        one.asker.answer(Answer::Metrics(Arc::default()));
        for client in clients {
            client.await.unwrap().unwrap();
        }
        assert!(asked.try_recv().is_err());
        while questions.metrics.last.lock().await.is_some() {
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_failure_is_not_kept_and_questions_keep_their_distance() {
        let (requests, mut asked) = mpsc::channel(16);
        let questions = Arc::new(Questions::new(requests));
        let began = Instant::now();
        let answering = tokio::spawn(async move {
            for number in 0..5 {
                let Asked { command: _, asker } = asked.recv().await.unwrap();
                if number < 4 {
                    asker.refuse(Failure::new(FailureCode::NotFound, "no"));
                } else {
                    asker.answer(Answer::Said(json!({})));
                }
            }
        });
        let query = StatusQuery::default();
        for _ in 0..3 {
            assert_eq!(questions.status(query.clone()).await.unwrap_err().code, FailureCode::NotFound);
        }
        assert!(began.elapsed() >= 2 * SPACING);
        assert_eq!(questions.pulse().await.unwrap_err().code, FailureCode::NotFound);
        questions.pulse().await.unwrap();
        answering.await.unwrap();
        assert_eq!(questions.status(query).await.unwrap_err().code, FailureCode::Ending);
    }
}

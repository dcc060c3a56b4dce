//! A panic is a defect, but no end: it is told and counted ([`hook`]), and what panicked is started again.
//!
//! Whoever catches a panic goes on with state that may be half changed. So only what is built anew, or compared with the world
//! before it is trusted again, is carried over.

pub mod hook;
mod restarts;

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use tracing::warn;

pub use restarts::Restarts;

// With `panic = "abort"` nothing here could work.
const _: () = assert!(cfg!(panic = "unwind"));

/// A panic that was caught; its text is what it said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a defect of ProxyMgr: {0}")]
pub struct Panicked(String);

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        Self(text(payload).to_owned())
    }
}

/// What a panic said.
fn text(payload: &(dyn Any + Send)) -> &str {
    let borrowed = payload.downcast_ref::<&str>().copied();
    borrowed.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}

/// Runs `future` to its end or its panic. `task` names it in the log and in the count.
pub fn caught<T>(
    task: &'static str,
    future: impl Future<Output = T>,
) -> impl Future<Output = Result<T, Panicked>> {
    // Boxed, since futures nest: each layer would hold the inner one twice.
    let mut future = Box::pin(future);
    poll_fn(move |context| {
        let _named = hook::name(task);
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(Panicked::new(&*payload))),
        }
    })
}

/// What a supervised task does with what is lent to it.
pub type Doing<'lent, T> = Pin<Box<dyn Future<Output = T> + Send + 'lent>>;

/// Runs what `start` makes of `lasting` to its end. After a panic it is made anew, with back-off.
pub async fn supervised<S, T>(
    task: &'static str,
    mut lasting: S,
    start: impl for<'lent> Fn(&'lent mut S) -> Doing<'lent, T>,
) -> T {
    let mut restarts = Restarts::default();
    loop {
        restarts.started();
        match caught(task, start(&mut lasting)).await {
            Ok(end) => return end,
            Err(_told_by_the_hook) => {
                let wait = restarts.next_wait();
                warn!(task, ?wait, "it is started again");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test]
    async fn what_panics_is_started_again_later_and_later_and_ends_by_itself() {
        let mut starts = Vec::new();
        let task = supervised("test", &mut starts, |starts| {
            Box::pin(async {
                starts.push(Instant::now());
                sleep(Duration::from_millis(1)).await;
                assert!(starts.len() >= 4, "not yet");
                7
            })
        });
        assert_eq!(task.await, 7);
        let waits: Vec<_> = starts.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
        assert!(waits.len() == 3 && waits[0] >= 100 && waits[1] >= 200 && waits[2] >= 400, "{waits:?}");
    }

    #[tokio::test]
    async fn what_a_panic_said_is_kept() {
        let said = |result: Result<(), Panicked>| result.unwrap_err().to_string();
        assert_eq!(said(caught("test", async { panic!("plain") }).await), "a defect of ProxyMgr: plain");
        let number = 7;
        assert_eq!(said(caught("test", async { panic!("{number}") }).await), "a defect of ProxyMgr: 7");
        let strange = async { std::panic::panic_any(7) };
        assert_eq!(said(caught("test", strange).await), "a defect of ProxyMgr: no words");
        assert_eq!(caught("test", async { 7 }).await, Ok(7));
    }
}

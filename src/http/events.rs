//! Changes as server-sent events (WHATWG HTML, 9.2).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{Stream, unfold};
use tokio::sync::watch;

use crate::admin::history::{Change, EventsQuery, Reader};

/// How often one that waits hears something, so that it is noticed when it has left.
const REMIND_EVERY: Duration = Duration::from_secs(10);

struct Following {
    history: Reader,
    news: watch::Receiver<u64>,
    query: EventsQuery,
    untold: VecDeque<Arc<Change>>,
}

/// Tells each change as it comes.
pub(super) fn follow(
    history: Reader,
    query: EventsQuery,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let following = Following { news: history.watch(), history, query, untold: VecDeque::new() };
    let stream = unfold(following, |mut following| async move {
        let change = following.next().await?;
        // Numbers and texts can always be written as JSON, in one line.
        let json = serde_json::to_string(&*change).unwrap_or_default();
        Some((Ok(Event::default().id(change.number.to_string()).data(json)), following))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(REMIND_EVERY))
}

impl Following {
    async fn next(&mut self) -> Option<Arc<Change>> {
        loop {
            if let Some(change) = self.untold.pop_front() {
                return Some(change);
            }
            let latest = *self.news.borrow_and_update();
            self.untold = self.history.select(&self.query).into();
            let seen = self.untold.back().map_or(latest, |change| change.number.max(latest));
            (self.query.after, self.query.last) = (Some(seen), None);
            if self.untold.is_empty() {
                self.news.changed().await.ok()?;
            }
        }
    }
}

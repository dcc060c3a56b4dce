//! What happens, as it happens, for the page: server-sent events (WHATWG HTML, 9.2).
//!
//! | event | data |
//! |---|---|
//! | `hello` | [`Hello`] |
//! | `summary` | a [`Summary`](crate::admin::live::Summary), now and when it is another |
//! | `services` | an array of those that are new or changed; first of all |
//! | `all` | all services have been told |
//! | `gone` | an array of the names of services that are gone |
//! | `traffic` | an array of [`ServiceTraffic`](crate::admin::live::ServiceTraffic), where it is another |
//! | `change` | a [`Change`]: the last 200, then each that comes |

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{Stream, unfold};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::admin::board::{Board, News, Visit};
use crate::admin::history::{Change, EventsQuery, Reader};
use crate::admin::live::{Hello, VERSION};
use crate::engine::utc_text::utc_text;

/// How often one that waits hears something, so that both ends notice when the other has left.
const REMIND_EVERY: Duration = Duration::from_secs(5);
/// From one message of a kind to the next.
const SPACING: Duration = Duration::from_millis(100);
/// About the longest message, in bytes: a browser reads it between two frames.
const LONGEST: usize = 64 * 1024;
/// The changes that are told first.
const FIRST_CHANGES: usize = 200;

struct Looking {
    visit: Visit,
    history: Reader,
    changes: watch::Receiver<u64>,
    /// The number of the last change that was told.
    told: u64,
    is_new: bool,
    next: Instant,
    unsaid: VecDeque<Unsaid>,
}

/// What is to be said. Lists are put together when their turn comes: who reads slowly keeps little waiting.
enum Unsaid {
    Event(&'static str, String),
    List(&'static str, VecDeque<Arc<str>>),
}

/// Tells everything, and then what changes, until the board is wiped.
pub(super) fn stream(
    board: &Arc<Board>,
    history: Reader,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + use<>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let hello = Hello {
        version: VERSION,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        now: utc_text(now.as_secs()),
    };
    let looking = Looking {
        visit: board.visit(),
        changes: history.watch(),
        history,
        told: 0,
        is_new: true,
        next: Instant::now(),
        unsaid: VecDeque::from([Unsaid::Event("hello", json(&hello))]),
    };
    let stream = unfold(looking, |mut looking| async move {
        let event = looking.next().await?;
        Some((Ok(event), looking))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(REMIND_EVERY))
}

impl Looking {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.say() {
                return Some(event);
            }
            sleep_until(self.next).await;
            if self.is_new {
                let news = self.visit.news().await?;
                let services = news.services.len();
                self.take_news(news);
                self.unsaid.push_back(Unsaid::Event("all", services.to_string()));
                self.take_changes(Some(FIRST_CHANGES));
                self.is_new = false;
            } else {
                tokio::select! {
                    news = self.visit.news() => self.take_news(news?),
                    changed = self.changes.changed() => changed.ok()?,
                }
                self.take_changes(None);
            }
            self.next = Instant::now() + SPACING;
        }
    }

    fn say(&mut self) -> Option<Event> {
        match self.unsaid.pop_front()? {
            Unsaid::Event(name, json) => Some(event(name, &json)),
            Unsaid::List(name, mut rest) => {
                let some = next_piece(&mut rest);
                if !rest.is_empty() {
                    self.unsaid.push_front(Unsaid::List(name, rest));
                }
                Some(event(name, &some))
            }
        }
    }

    fn take_news(&mut self, news: News) {
        let News { summary, services, gone, traffic } = news;
        self.unsaid.extend(summary.map(|summary| Unsaid::Event("summary", summary.to_string())));
        if !gone.is_empty() {
            let names: Vec<&str> = gone.iter().map(AsRef::as_ref).collect();
            self.unsaid.push_back(Unsaid::Event("gone", json(&names)));
        }
        for (name, list) in [("services", services), ("traffic", traffic)] {
            if !list.is_empty() {
                self.unsaid.push_back(Unsaid::List(name, list.into()));
            }
        }
    }

    fn take_changes(&mut self, last: Option<usize>) {
        self.changes.borrow_and_update();
        let after = Some(self.told).filter(|told| *told > 0);
        let changes = self.history.select(&EventsQuery { last, after, ..EventsQuery::default() });
        self.told = changes.last().map_or(self.told, |change| change.number);
        self.unsaid
            .extend(changes.iter().map(|change: &Arc<Change>| Unsaid::Event("change", json(&**change))));
    }
}

/// Takes the first of a list, as many as make about [`LONGEST`] bytes, as an array.
fn next_piece(rest: &mut VecDeque<Arc<str>>) -> String {
    let mut piece = String::from("[");
    while let Some(json) = rest.front() {
        if piece.len() > 1 {
            if piece.len() + json.len() > LONGEST {
                break;
            }
            piece.push(',');
        }
        piece.push_str(json);
        rest.pop_front();
    }
    piece.push(']');
    piece
}

fn event(name: &str, json: &str) -> Event {
    Event::default().event(name).data(json)
}

/// Numbers and texts can always be written as JSON, in one line.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_services_are_told_in_pieces_and_one_that_is_too_long_alone() {
        let short: Arc<str> = "x".repeat(LONGEST / 2 - 10).into();
        let long: Arc<str> = "x".repeat(LONGEST * 2).into();
        let mut all: VecDeque<_> = [&short, &short, &short, &long, &short].map(Arc::clone).into();
        let mut pieces = Vec::new();
        while !all.is_empty() {
            pieces.push(next_piece(&mut all));
        }
        let counts: Vec<_> = pieces.iter().map(|piece| piece.split(',').count()).collect();
        assert_eq!(counts, [2, 1, 1, 1]);
        assert!(pieces.iter().all(|piece| piece.starts_with("[x") && piece.ends_with("x]")));
    }
}

//! How this program makes way for another one.

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::replacement::{Ours, Why};
use super::signals::{Request, Signals, let_through};
use super::{Flow, Supervisor};
use crate::haproxy::actor::Ending;

impl Supervisor {
    pub(super) fn take_request(&mut self, request: Request) -> Flow {
        let why = match request {
            Request::End => return Flow::End,
            Request::Reread => Why::Reread,
            Request::Upgrade => Why::Upgrade,
        };
        self.replacement.begin(why, None, self.reconciler.applied());
        Flow::GoOn
    }

    /// Becomes another program, if one is to take over and nothing is under way.
    pub(super) async fn replace_when_idle(&mut self, signals: &mut Signals) -> Option<Request> {
        if !self.replacement.is_ready() || !self.reconciler.is_idle() {
            return None;
        }
        if self.recorder.is_behind() {
            self.recorder.write(&self.reconciler).await;
        }
        let request = signals.hold_back().await.unwrap_or_else(|error| {
            warn!(%error, "a signal that comes just now may be lost");
            None
        });
        if request.is_none() {
            self.replace().await;
        }
        // Nobody took over.
        stop_holding_back();
        request
    }

    /// Those that ask by HTTP just now get their answers; others wait for the next program.
    async fn answer_http(&mut self) {
        self.http.pause();
        let since = Instant::now();
        while let Some(asked) = self.http.asked_before_rest(since).await {
            // Reading changes nothing.
            let _none = self.carry_out(asked).await;
        }
    }

    async fn replace(&mut self) {
        self.answer_http().await;
        let http = self.http.hand_over();
        let (successor, handed) = oneshot::channel();
        let ending = std::mem::replace(&mut self.haproxy.ending, oneshot::channel().0);
        if ending.send(Ending::HandOver(successor)).is_err() {
            debug!("the HAProxy task is gone");
        } else {
            match handed.await {
                Ok(handed) => {
                    let ours = Ours {
                        history: self.historian.reader().to_lines(),
                        totals: self.totals.to_text(),
                        http,
                    };
                    self.haproxy = self.replacement.replace(handed, self.reconciler.applied(), ours);
                }
                Err(error) => debug!(%error, "the HAProxy task is gone"),
            }
        }
        self.http.go_on();
    }
}

pub(super) fn stop_holding_back() {
    if let Err(error) = let_through() {
        error!(%error, "signals are held back; end it with SIGKILL");
    }
}

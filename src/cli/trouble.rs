//! The warnings of the registries, as part of a command's answer: it has no log.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// One warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// The service it is about; `None` for what several share, such as an ensemble.
    pub(super) service: Option<String>,
    /// What is wrong, in one line.
    pub(super) text: String,
}

/// What was warned of since [`Troubles::collect`].
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles {
    seen: Arc<Mutex<Vec<Trouble>>>,
    aloud: bool,
}

impl Troubles {
    /// Collects the warnings of this thread until the guard is dropped. `aloud`, what several services share is told on
    /// stderr at once: it may be followed by a long wait.
    pub(super) fn collect(aloud: bool) -> (Self, DefaultGuard) {
        let troubles = Self { seen: Arc::default(), aloud };
        let guard =
            tracing_subscriber::registry().with(LevelFilter::WARN).with(troubles.clone()).set_default();
        (troubles, guard)
    }

    /// All of them, each once.
    pub(super) fn seen(&self) -> Vec<Trouble> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Subscriber> Layer<S> for Troubles {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        let target = event.metadata().target();
        // Told as data too: refused definitions and skipped entries.
        let told_elsewhere = target == "proxymgr::watcher::publisher"
            || target == "proxymgr::include_files"
            || words.message.starts_with("definition refused");
        if !target.starts_with("proxymgr::") || told_elsewhere {
            return;
        }
        let trouble = words.into_trouble();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.contains(&trouble) {
            if self.aloud && trouble.service.is_none() {
                eprintln!("proxymgr: {}", trouble.text);
            }
            seen.push(trouble);
        }
    }
}

#[derive(Debug, Default)]
struct Words {
    message: String,
    service: Option<String>,
    reason: Option<String>,
    about: Vec<String>,
}

impl Words {
    fn take(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "service" => self.service = Some(value),
            "reason" | "key" => self.reason = Some(value),
            // It is where the service's definition stands, which the user knows.
            "origin" => {}
            _ => self.about.push(value),
        }
    }

    /// `MESSAGE (ABOUT): REASON`. What the message says behind a semicolon is for a process that runs on.
    fn into_trouble(self) -> Trouble {
        let (message, _) = self.message.split_once(';').unwrap_or((&self.message, ""));
        let about =
            if self.about.is_empty() { String::new() } else { format!(" ({})", self.about.join(" ")) };
        let reason = self.reason.map_or_else(String::new, |reason| format!(": {reason}"));
        Trouble { service: self.service, text: format!("{message}{about}{reason}") }
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing::{info, warn};

    use super::*;

    #[test]
    fn warnings_are_kept_once_and_without_what_is_for_a_process_that_runs_on() {
        let (troubles, _guard) = Troubles::collect(false);
        for _ in 0..2 {
            warn!(target: "proxymgr::watcher::file", service = %"web", file = %"/f", reason = "gone", "it can't be read; waiting");
        }
        info!(target: "proxymgr::watcher::file", "news");
        warn!(target: "zookeeper_client", "a packet");
        warn!(target: "proxymgr::watcher::publisher", service = %"web", reason = "no port", "server entry skipped");
        warn!(target: "proxymgr::zookeeper::session", ensemble = %"zk:1", "lost");
        let of = |service: Option<&str>, text: &str| Trouble {
            service: service.map(str::to_owned),
            text: text.to_owned(),
        };
        assert_eq!(
            troubles.seen(),
            [of(Some("web"), "it can't be read (/f): gone"), of(None, "lost (zk:1)")]
        );
    }
}

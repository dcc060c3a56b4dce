//! What `HAProxy` prints, merged into our log with its level.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::log_allowance::may_be_logged;
use super::log_line::{LogLevel, parse_log_line};
use crate::panics::supervised;
use crate::process::output::OutputLines;

/// After the end of a process its last lines are at hand; only a child of its own could hold its output open.
const LAST_LINES_LIMIT: Duration = Duration::from_secs(1);
/// Alerts kept for the report of a failed start.
const KEPT_ALERTS: usize = 5;
/// Printed at each start for each service in TCP mode, since `option idle-close-on-response` stands in the defaults for
/// those in HTTP mode.
const HARMLESS: &str = "'option idle-close-on-response' ignored for";

/// What `HAProxy` warns of though it only did what it was told: an echo of a command, a proxy that a soft stop ends.
fn is_echo(text: &str) -> bool {
    text.starts_with("CLI : ") || (text.starts_with("Proxy ") && text.contains(" stopped (cumulated conns:"))
}

/// The alerts that a process printed first.
#[derive(Debug)]
pub(super) struct Alerts {
    kept: Kept,
    reading: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Debug, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl Alerts {
    /// Their texts, once the process has ended.
    pub(super) async fn of_ended(self) -> Vec<String> {
        if let Err(error) = tokio::time::timeout(LAST_LINES_LIMIT, self.reading).await {
            debug!(%error, "the last lines of HAProxy are not all read");
        }
        self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Kept {
    fn keep(&self, text: &str) {
        let mut alerts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if alerts.len() < KEPT_ALERTS {
            alerts.push(text.to_owned());
        }
    }
}

fn tell_lost(pid: u32, lines: u64) {
    if lines > 0 {
        warn!(target: "haproxy", pid, lines, "lines are left out: HAProxy prints too much");
    }
}

/// Logs the lines of the process `pid` until its end.
pub(super) fn log_output(pid: u32, output: OutputLines) -> Alerts {
    let kept = Kept::default();
    let reading = supervised("HAProxy's lines", (output, kept.clone()), move |(output, kept)| {
        Box::pin(log_lines(pid, output, kept))
    });
    Alerts { kept, reading: tokio::spawn(reading) }
}

async fn log_lines(pid: u32, output: &mut OutputLines, kept: &Kept) {
    let mut lost = 0_u64;
    while let Some(line) = output.next().await {
        lost = lost.saturating_add(line.dropped_before);
        let (level, text) = parse_log_line(&line.text);
        if level == LogLevel::Alert {
            kept.keep(text);
        }
        if !may_be_logged(line.text.len()) {
            lost = lost.saturating_add(1);
            continue;
        }
        tell_lost(pid, std::mem::take(&mut lost));
        match level {
            LogLevel::Warning if text.contains(HARMLESS) => debug!(target: "haproxy", pid, "{text}"),
            LogLevel::Debug => debug!(target: "haproxy", pid, "{text}"),
            LogLevel::Warning if is_echo(text) => info!(target: "haproxy", pid, "{text}"),
            LogLevel::Notice if text.is_empty() => {}
            LogLevel::Notice => info!(target: "haproxy", pid, "{text}"),
            LogLevel::Warning => warn!(target: "haproxy", pid, "{text}"),
            LogLevel::Alert => error!(target: "haproxy", pid, "{text}"),
        }
    }
    tell_lost(pid, lost);
}

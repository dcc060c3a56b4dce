//! What `HAProxy` says about a dry run's configuration, told apart by service.

use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::reconciler::Complaint;
use crate::engine::render::Owner;
use crate::engine::service::ServiceName;
use crate::haproxy::check::CheckError;
use crate::haproxy::check_text::check_text;
use crate::haproxy::listen_sockets::ListenSockets;
use crate::haproxy::log_line::LogLevel;
use crate::process::reaper::Reaper;
use crate::supervisor::dry_run::DryRun;

/// `ProxyMgr` adds the option to the user's defaults, so its users can't do anything about this.
const CAUSED_BY_US: &str = "'option idle-close-on-response' ignored";

/// What `HAProxy` has against services, and against what they share.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// Whether it takes the configuration, without the services that it refuses.
    pub(super) accepted: bool,
    /// About each service.
    pub(super) services: BTreeMap<ServiceName, Remarks>,
    /// About each included file, by its path; each begins with the file and the line.
    pub(super) includes: BTreeMap<String, Remarks>,
    /// About `global`, `defaults` and the whole.
    pub(super) shared: Remarks,
}

/// Messages, each once, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Remarks {
    /// Each makes the configuration bad.
    pub(super) alerts: Vec<String>,
    /// None of them does.
    pub(super) warnings: Vec<String>,
}

/// Runs `haproxy -c`, and again without the services that it refuses: what it says first may hide the rest.
pub(super) async fn ask(
    dry_run: &mut DryRun,
    reaper: &Reaper,
    haproxy: &Path,
) -> Result<Verdict, CheckError> {
    // Without sockets handed over, the configuration names plain addresses, which a check doesn't open.
    let sockets = ListenSockets::new(None);
    let mut verdict = Verdict::default();
    loop {
        let report = check_text(reaper, haproxy, &dry_run.config.text_for_check(), &sockets).await?;
        for (level, complaint) in &report.remarks {
            verdict.take(*level, complaint, complaint.accused(&dry_run.config));
        }
        verdict.accepted = report.accepted;
        if report.accepted || !dry_run.leave_out(report.alerts().cloned().collect()) {
            return Ok(verdict);
        }
    }
}

impl Verdict {
    fn take(&mut self, level: LogLevel, complaint: &Complaint, accused: Option<Owner>) {
        let mut text = complaint.text.clone();
        let remarks = match accused {
            Some(Owner::Service(service)) => self.services.entry(service).or_default(),
            Some(Owner::Include { file, line }) => {
                let line = line.map_or_else(String::new, |line| format!(":{line}"));
                let says = if level == LogLevel::Alert { "HAProxy says: " } else { "" };
                text = format!("{file}{line}: {says}{text}");
                self.includes.entry(file).or_default()
            }
            Some(Owner::Template { line }) => {
                let line = line.map_or_else(String::new, |line| format!("line {line} of "));
                text = format!("haproxy.template: {line}its output (proxymgr render): {text}");
                &mut self.shared
            }
            None => &mut self.shared,
        };
        let texts = match level {
            LogLevel::Alert => &mut remarks.alerts,
            LogLevel::Warning if complaint.text.starts_with(CAUSED_BY_US) => return,
            LogLevel::Warning => &mut remarks.warnings,
            LogLevel::Notice | LogLevel::Debug => return,
        };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
}

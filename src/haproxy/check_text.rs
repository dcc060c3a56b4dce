//! Asking `HAProxy` about a configuration that no directory holds.

use std::path::Path;

use super::check::{CHECK_LIMIT, CheckError, check_config};
use super::listen_sockets::ListenSockets;
use super::log_line::LogLevel;
use super::memory_file::MemoryFile;
use crate::engine::reconciler::Complaint;
use crate::process::reaper::Reaper;

/// What `HAProxy` says about a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextReport {
    /// Whether the configuration is good. Warnings don't make it bad.
    pub accepted: bool,
    /// Each remark with its level.
    pub remarks: Vec<(LogLevel, Complaint)>,
}

impl TextReport {
    /// What makes the configuration bad.
    pub fn alerts(&self) -> impl Iterator<Item = &Complaint> {
        self.remarks.iter().filter(|(level, _)| *level == LogLevel::Alert).map(|(_, complaint)| complaint)
    }
}

/// Runs `haproxy -c` on `text` with the sockets that it names; without a socket it names the plain address, which a check
/// doesn't open.
///
/// # Errors
/// When `HAProxy` gives no verdict.
pub async fn check_text(
    reaper: &Reaper,
    haproxy: &Path,
    text: &str,
    sockets: &ListenSockets,
) -> Result<TextReport, CheckError> {
    let file = MemoryFile::new(text).map_err(CheckError::Memory)?;
    let path = file.path();
    let report = check_config(reaper, haproxy, &path, sockets, CHECK_LIMIT).await?;
    let remarks = report.messages.into_iter().map(|message| (message.level, message.into_complaint(&path)));
    Ok(TextReport { accepted: report.accepted, remarks: remarks.collect() })
}

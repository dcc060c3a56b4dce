//! Why a service, or a server of it, is not as its registry says, in words. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::engine::line_limits::MAX_WORDS;
use crate::engine::moment::Moment;
use crate::engine::report::{Heard, ReloadAhead, ServiceReport, Stage};
use crate::engine::utc_text::utc_text;

/// How the remark on a service begins whose definition comes with a reload.
pub(super) const WAITS: &str = "its new definition waits for";

/// Of one service.
#[derive(Debug)]
pub(super) struct Reasons<'a> {
    pub(super) service: &'a ServiceReport,
    /// Why its definition is refused.
    pub(super) refusal: Option<String>,
    pub(super) stage: Stage,
    pub(super) reload: ReloadAhead,
    pub(super) clock: Clock,
}

/// What tells the time of a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) began: SystemTime,
    pub(super) now: Moment,
}

impl Clock {
    /// In UTC.
    pub(super) fn utc(self, moment: Moment) -> String {
        let at = self.began + moment.since_start();
        utc_text(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }
}

impl Reasons<'_> {
    /// Why a server that is wanted is not in rotation yet.
    pub(super) fn coming(&self) -> String {
        if let Some(refusal) = self.refusal.as_ref().filter(|_| self.service.runs.is_none()) {
            return format!("its service is refused: {refusal}");
        }
        match (self.reload, self.stage) {
            (_, Stage::Collecting) => {
                "waits for the start of HAProxy, which waits for the registries' first answers".to_owned()
            }
            (ReloadAhead::UnderWay, _) => "waits for the reload that is under way".to_owned(),
            (_, Stage::Starting | Stage::Down) => "waits for the start of HAProxy".to_owned(),
            (ReloadAhead::Waits(_), Stage::Serving) => format!("waits for {}", self.next_reload()),
            (ReloadAhead::None, Stage::Serving) => "is being put into rotation".to_owned(),
        }
    }

    fn next_reload(&self) -> String {
        match self.reload {
            ReloadAhead::Waits(due) if due > self.clock.now => {
                format!("the next reload, at {} (reload.min_interval)", self.clock.utc(due))
            }
            ReloadAhead::Waits(_) | ReloadAhead::UnderWay | ReloadAhead::None => "the next reload".to_owned(),
        }
    }

    /// Why a server stays that its registry does not list.
    pub(super) fn kept(&self) -> String {
        match self.service.held() {
            Some((_, until)) => {
                format!("missing in its registry; held by the shrink guard until {}", self.clock.utc(until))
            }
            None => "missing in its registry; kept though gone (on_empty: keep)".to_owned(),
        }
    }

    /// Why a server leaves.
    pub(super) fn leaving(&self) -> &'static str {
        match self.service.wanted {
            Some(_) => "gone from its registry; leaves with its last connection",
            None => "its service has no definition any more; leaves with its last connection",
        }
    }

    /// What is unusual about the service.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> = self.refusal.iter().cloned().collect();
        if self.refusal.is_some() && self.service.runs.is_some() {
            remarks.push("its last good definition serves on".to_owned());
        }
        if let Some((missing, until)) = self.service.held() {
            remarks.push(format!(
                "{missing} servers are missing in its registry; held until {} by the shrink guard (max_shrink, shrink_hold)",
                self.clock.utc(until)
            ));
        }
        if let Some(wanted) = &self.service.wanted {
            let long: Vec<_> =
                wanted.servers.iter().flat_map(|servers| wanted.section.without_room(servers)).collect();
            if let Some(first) = long.first() {
                remarks.push(format!(
                    "{} servers are left out, {first} first: with their own options a line of haproxy.cfg would hold more than {MAX_WORDS} words; shorten them, or server_options",
                    long.len()
                ));
            }
            remarks.extend(self.unheard(wanted.heard, wanted.awaited).map(str::to_owned));
        }
        remarks.extend(self.service.drained_elsewhere().map(|(server, since)| {
            format!("{server}, which is not there, is drained by an operator since {}", utc_text(since))
        }));
        if self.refusal.is_none() && self.service.waits_for_reload() {
            remarks.push(format!("{WAITS} {}", self.next_reload()));
        }
        remarks
    }

    fn unheard(&self, heard: Heard, is_awaited: bool) -> Option<&'static str> {
        match heard {
            Heard::Emptiness => Some(
                "its registry lists no server any more; the last ones are kept though gone (on_empty: keep)",
            ),
            Heard::Memory => {
                Some("its registry has not answered yet; the servers of an earlier run stand in")
            }
            Heard::Nothing if is_awaited && self.service.runs.is_some() => {
                Some("its registry has not answered yet; what runs stays")
            }
            Heard::Nothing if is_awaited => {
                Some("its registry has not answered yet: its servers were never seen")
            }
            Heard::Nothing | Heard::Answer => None,
        }
    }
}

//! When things are due.

use std::time::Duration;

use super::Settings;
use crate::engine::backoff::Backoff;
use crate::engine::moment::Moment;
use crate::engine::sink::Sink;

/// Runtime changes go out when none came for this long...
const CHANGES_QUIET: Duration = Duration::from_millis(1);
/// ...and at the latest this long after the first.
const CHANGES_LONGEST: Duration = Duration::from_millis(5);
/// New and changed services wait this long for more of them, since each reload costs a process...
const TOPOLOGY_QUIET: Duration = Duration::from_millis(25);
/// ...and at the latest this long after the first.
const TOPOLOGY_LONGEST: Duration = Duration::from_millis(200);
/// How often the running process is compared with what was applied.
const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// The first try to delete a server that left.
const SWEEP_FIRST: Duration = Duration::from_millis(200);
/// The longest wait between two tries.
const SWEEP_LONGEST: Duration = Duration::from_secs(10);
/// After this long without a death the next restart is at once again.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// Another try after a failure that may pass by itself: a port in use, a full disk.
pub(super) const RETRY: Duration = Duration::from_secs(5);
/// Another try of a definition that ran until `HAProxy` died, and that it refuses now, or that no process starts with.
pub(super) const RETRY_REFUSED: Duration = Duration::from_secs(60);
/// Another comparison after one that failed.
const RETRY_COMPARE: Duration = Duration::from_secs(2);
/// Another comparison after one that followed a command without reply: that one may have been carried out later.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// After this many failed attempts in a row to mend by commands, or to compare, a reload mends.
const STRIKES: u32 = 3;

#[derive(Debug)]
pub(super) struct Timing {
    pub(super) collect_until: Moment,
    /// When a process is started, as long as none serves.
    pub(super) start_at: Moment,
    /// How the last process ended, until the next one serves.
    pub(super) crash: Option<String>,
    pub(super) changes: Sink,
    pub(super) topology: Sink,
    /// The last look said that a reload is needed.
    pub(super) reload_wanted: bool,
    pub(super) reload_allowed_at: Moment,
    pub(super) compare_at: Moment,
    /// When the configuration is written again after a failure.
    pub(super) rewrite_at: Option<Moment>,
    pub(super) sweep_at: Option<Moment>,
    sweep: Backoff,
    restart: Backoff,
    retry_reload: Backoff,
    last_death: Option<Moment>,
    min_interval: Duration,
    strikes: u32,
    /// Comparisons in a row that failed.
    unanswered: u32,
}

impl Timing {
    pub(super) fn new(settings: &Settings, now: Moment) -> Self {
        Self {
            collect_until: now + settings.startup_timeout,
            start_at: now,
            crash: None,
            changes: Sink::new(CHANGES_QUIET, CHANGES_LONGEST),
            topology: Sink::new(TOPOLOGY_QUIET, TOPOLOGY_LONGEST),
            reload_wanted: false,
            reload_allowed_at: now,
            compare_at: now,
            rewrite_at: None,
            sweep_at: None,
            sweep: Backoff::new(SWEEP_FIRST, SWEEP_LONGEST),
            restart: Backoff::new(Duration::from_millis(100), Duration::from_secs(5)),
            retry_reload: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            last_death: None,
            min_interval: settings.min_interval,
            strikes: 0,
            unanswered: 0,
        }
    }

    pub(super) fn servers_changed(&mut self, now: Moment) {
        self.changes.touch(now);
    }

    pub(super) fn topology_changed(&mut self, now: Moment) {
        self.changes.touch(now);
        // What was gathered before a silence needed no reload; what goes back and forth does not begin the wait anew.
        if !self.reload_wanted && self.topology.is_quiet(now) {
            self.topology.clear();
        }
        self.topology.touch(now);
    }

    pub(super) fn reload_begins_to_be_wanted(&mut self, now: Moment) {
        if self.topology.is_empty() || self.topology.is_quiet(now) {
            self.topology.clear();
            self.topology.touch(now);
        }
    }

    /// When a wanted reload is due; later when services are on their way that could come with it.
    pub(super) fn reload_due(&self, more_to_come: bool) -> Moment {
        let gathered = if more_to_come { self.topology.due_at_the_latest() } else { self.topology.due() };
        gathered.map_or(self.reload_allowed_at, |gathered| gathered.max(self.reload_allowed_at))
    }

    pub(super) fn reload_ordered(&mut self, now: Moment) {
        self.changes.clear();
        self.topology.clear();
        self.reload_wanted = false;
        self.reload_allowed_at = now + self.min_interval;
    }

    pub(super) fn reloaded(&mut self, now: Moment) {
        self.retry_reload.reset();
        self.crash = None;
        self.rewrite_at = None;
        self.sweep_at = None;
        self.compare_at = now;
        self.strikes = 0;
        self.unanswered = 0;
        self.changes.touch(now);
    }

    /// A reload failed in a way that may pass: when it is tried again.
    pub(super) fn reload_failed(&mut self, now: Moment) {
        self.reload_allowed_at = now + self.retry_reload.next_wait();
        self.reload_wanted = true;
    }

    /// No process serves and none could be started: the next try comes as soon as after a death.
    pub(super) fn start_failed(&mut self, now: Moment) {
        self.start_at = now + self.restart.next_wait();
    }

    /// The guilty services are left out: the others don't wait for them.
    pub(super) fn reload_without_waiting(&mut self, now: Moment) {
        self.reload_allowed_at = now;
        self.start_at = now;
    }

    /// The serving process died: how long until it is started again. The first time that is at once.
    pub(super) fn died(&mut self, now: Moment) -> Duration {
        let keeps_dying = self.last_death.is_some_and(|last| now - last < STABLE_AFTER);
        self.last_death = Some(now);
        if !keeps_dying {
            self.restart.reset();
        }
        let wait = if keeps_dying { self.restart.next_wait() } else { Duration::ZERO };
        self.start_at = now + wait;
        wait
    }

    /// Servers left: when they are to be deleted. Those that left before don't wait longer for it.
    pub(super) fn sweep_soon(&mut self, now: Moment) {
        self.sweep.reset();
        let soon = now + self.sweep.next_wait();
        self.sweep_at = Some(self.sweep_at.map_or(soon, |due| due.min(soon)));
    }

    pub(super) fn sweep_again(&mut self, now: Moment) {
        self.sweep_at = Some(now + self.sweep.next_wait());
    }

    /// The process told what it holds; whether it is asked again soon.
    pub(super) fn compared(&mut self, again: bool, now: Moment) {
        self.unanswered = 0;
        self.compare_at = now + if again { LOOK_AGAIN } else { COMPARE_EVERY };
    }

    /// The process did not tell what it holds.
    pub(super) fn compare_failed(&mut self, now: Moment) {
        self.unanswered += 1;
        self.compare_at = now + RETRY_COMPARE;
        self.changes.touch(self.compare_at);
    }

    /// Something did not go as planned: a comparison is due, and a look at what follows from it.
    pub(super) fn strike(&mut self, now: Moment) {
        self.strikes += 1;
        self.compare_at = now;
        self.changes.touch(now);
    }

    pub(super) fn all_went_well(&mut self) {
        self.strikes = 0;
    }

    /// When a reload mends what commands did not.
    pub(super) fn repair_at(&self) -> Option<Moment> {
        (self.strikes + self.unanswered >= STRIKES).then_some(self.reload_allowed_at)
    }
}

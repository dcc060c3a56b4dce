//! Who of several new definitions makes `HAProxy` refuse the configuration, when it doesn't say: they are tried in parts.
//!
//! First it is tried whether `HAProxy` starts without any of them: if not, the fault is not theirs. Those that only these kept out, of
//! a port or a route, are new too and wait with them. Then
//! a part that is refused is split; its first half is tried, the second waits. What is taken serves at once. When a first half is
//! taken, the second must hold the guilty one and is split without being tried as a whole. So one guilty among n costs about
//! log2(n) checks, and the others don't wait for it to be mended.

use super::timing::RETRY_REFUSED;
use super::{Effect, Notice, Reconciler};
use crate::engine::moment::Moment;
use crate::engine::policy::Obstacle;
use crate::engine::service::ServiceName;
use crate::engine::state::DesiredState;

/// The reason of those that wait for their turn.
const WAITS: &str =
    "HAProxy takes no configuration with the new definitions; this one waits for its turn to be tried";

/// The parts that wait, the next one last.
#[derive(Debug, Default)]
pub(super) struct Halving {
    waiting: Vec<Part>,
    /// All wait, and what ran before is tried.
    control: bool,
    /// The first half of a part is being tried, whose second half waits next.
    first_half: bool,
    why: String,
}

#[derive(Debug)]
struct Part(Vec<ServiceName>);

impl Halving {
    /// Whether definitions are being tried in parts.
    pub(super) fn is_under_way(&self) -> bool {
        self.first_half || !self.waiting.is_empty()
    }

    /// Whether what ran before is to be tried, though nothing of it has changed.
    pub(super) fn wants_control(&self) -> bool {
        self.control
    }
}

/// Whether a service only waits for its turn, which is over soon and not worth a line of the log.
pub(super) fn is_turn(obstacle: &Obstacle) -> bool {
    matches!(obstacle, Obstacle::Quarantined(reason) if reason == WAITS)
}

impl Reconciler {
    /// Splits the new definitions of `desired`, which was refused without naming any. `false` when it is not theirs to mend:
    /// there are none, or `HAProxy` does not start without them either.
    pub(super) fn halve(
        &mut self,
        desired: &DesiredState,
        why: &str,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let new: Vec<_> = self.new_definitions(desired).cloned().collect();
        if new.is_empty() {
            return false;
        }
        if self.halving.control {
            self.let_wait_too(&new);
            self.timing.reload_without_waiting(now);
            self.timing.changes.touch(now);
            return true;
        }
        let begins = !self.halving.is_under_way();
        why.clone_into(&mut self.halving.why);
        self.halving.first_half = false;
        if begins {
            effects.push(Effect::Notice(Notice::TriedInParts { why: why.to_owned(), services: new.len() }));
            self.halving.control = true;
            self.let_wait(&new);
            self.timing.reload_without_waiting(now);
            self.timing.changes.touch(now);
            return true;
        }
        match new.as_slice() {
            [guilty] => {
                self.refuse_found(guilty, now);
                self.try_next_part(false, now);
            }
            many => self.split(many, now),
        }
        self.timing.reload_without_waiting(now);
        true
    }

    /// `HAProxy` refuses `desired`. If nothing of it is new, the fault is none of those that wait.
    pub(super) fn note_failed_control(&mut self, desired: &DesiredState) {
        if self.halving.control && self.new_definitions(desired).next().is_none() {
            self.give_up_halving();
        }
    }

    fn new_definitions<'a>(&'a self, desired: &'a DesiredState) -> impl Iterator<Item = &'a ServiceName> {
        desired.services.keys().filter(|name| self.is_new_definition(name, desired))
    }

    /// Something else is wrong: nobody waits any more.
    pub(super) fn give_up_halving(&mut self) {
        for Part(part) in std::mem::take(&mut self.halving).waiting {
            self.quarantine.forgive(&part, WAITS);
        }
        self.obstacles.retain(|_, obstacle| !is_turn(obstacle));
    }

    /// What was tried serves: the next part has its turn.
    pub(super) fn part_taken(&mut self, now: Moment) {
        if self.halving.is_under_way() {
            let first_half = std::mem::take(&mut self.halving.first_half);
            let rest_is_guilty = std::mem::take(&mut self.halving.control) || first_half;
            self.try_next_part(rest_is_guilty, now);
        }
    }

    fn try_next_part(&mut self, mut is_guilty: bool, now: Moment) {
        while let Some(Part(part)) = self.halving.waiting.pop() {
            // One that changed meanwhile, or is gone, needs no turn.
            let part: Vec<_> =
                part.into_iter().filter(|service| self.quarantine.waits(service, WAITS)).collect();
            match part.as_slice() {
                [] => {}
                [guilty] if is_guilty => self.refuse_found(guilty, now),
                many if is_guilty => {
                    self.split(many, now);
                    self.timing.reload_without_waiting(now);
                    self.timing.topology_changed(now);
                    return;
                }
                unknown => {
                    self.quarantine.forgive(unknown, WAITS);
                    self.timing.reload_without_waiting(now);
                    self.timing.topology_changed(now);
                    return;
                }
            }
            is_guilty = false;
        }
    }

    fn split(&mut self, part: &[ServiceName], now: Moment) {
        let (first, second) = part.split_at(part.len().div_ceil(2));
        self.quarantine.forgive(first, WAITS);
        self.let_wait(second);
        self.halving.first_half = true;
        self.timing.changes.touch(now);
    }

    fn let_wait(&mut self, part: &[ServiceName]) {
        self.halving.waiting.push(Part(Vec::new()));
        self.let_wait_too(part);
    }

    /// In the part that is tried next.
    fn let_wait_too(&mut self, more: &[ServiceName]) {
        for service in more {
            if let Some(section) = self.known.section(service) {
                self.quarantine.refuse(service, section, WAITS.to_owned(), None);
            }
        }
        if let Some(Part(next)) = self.halving.waiting.last_mut() {
            next.extend_from_slice(more);
        }
    }

    /// It is tried again after a while: what it needs may be there by then.
    fn refuse_found(&mut self, service: &ServiceName, now: Moment) {
        let reason = format!("HAProxy refuses the configuration with it: {}", self.halving.why);
        if let Some(section) = self.known.section(service) {
            self.quarantine.forgive(std::slice::from_ref(service), WAITS);
            self.quarantine.refuse(service, section, reason, Some(now + RETRY_REFUSED));
        }
    }
}

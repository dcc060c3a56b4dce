//! Who of several new definitions makes `HAProxy` refuse the configuration, when it doesn't say: they are tried in parts.
//!
//! A part that is refused is split; its first half is tried, the second waits. What is taken serves at once. When a first half is
//! taken, the second must hold the guilty one and is split without being tried as a whole. So one guilty among n costs about
//! log2(n) checks, and the others don't wait for it to be mended.

use super::timing::RETRY_REFUSED;
use super::{Effect, Notice, Reconciler};
use crate::engine::moment::Moment;
use crate::engine::service::ServiceName;
use crate::engine::state::DesiredState;

/// The reason of those that wait for their turn.
const WAITS: &str = "HAProxy refuses the configuration with new definitions, and does not say which; this one waits for its turn to be tried alone";

/// The parts that wait, the next one last.
#[derive(Debug, Default)]
pub(super) struct Halving {
    waiting: Vec<Part>,
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
}

impl Reconciler {
    /// Splits the new definitions of `desired`, which was refused without naming any. `false` when there are none: it is not
    /// theirs to mend.
    pub(super) fn halve(
        &mut self,
        desired: &DesiredState,
        why: &str,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let new: Vec<_> =
            desired.services.keys().filter(|name| self.is_new_definition(name, desired)).cloned().collect();
        if new.is_empty() {
            self.halving = Halving::default();
            return false;
        }
        if !self.halving.is_under_way() && new.len() > 1 {
            effects.push(Effect::Notice(Notice::TriedInParts { why: why.to_owned(), services: new.len() }));
        }
        why.clone_into(&mut self.halving.why);
        self.halving.first_half = false;
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

    /// What was tried serves: the next part has its turn.
    pub(super) fn part_taken(&mut self, now: Moment) {
        if self.halving.is_under_way() {
            let rest_is_guilty = std::mem::take(&mut self.halving.first_half);
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
        for service in second {
            if let Some(section) = self.known.section(service) {
                self.quarantine.refuse(service, section, WAITS.to_owned(), None);
            }
        }
        self.halving.waiting.push(Part(second.to_vec()));
        self.halving.first_half = true;
        self.timing.changes.touch(now);
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

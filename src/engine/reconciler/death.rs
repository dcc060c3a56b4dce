//! What follows when the serving process ends by itself.

use std::time::Duration;

use super::trials::{DEATHS, Part};
use super::{Effect, Notice, Phase, Reconciler, Start};
use crate::engine::moment::Moment;

impl Reconciler {
    pub(super) fn take_death(&mut self, how: String, now: Moment, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Collecting {
            // Nothing served yet; what is to be started is still being collected.
            return;
        }
        self.give_up_halving();
        let mut restart_in = self.timing.died(now);
        let given_up = self.trials.death(now);
        if !given_up.is_empty() {
            self.timing.start_at = now;
            restart_in = Duration::ZERO;
        }
        effects.push(Effect::Notice(Notice::Died { how: how.clone(), restart_in }));
        self.go_back(&given_up, &how, now, effects);
        self.timing.crash = Some(how);
        self.phase = Phase::Down;
        self.next_start = Start::AsBefore;
    }

    /// Refuses what was given up, so that the last good configuration is what is wanted.
    fn go_back(&mut self, given_up: &[(Part, Duration)], how: &str, now: Moment, effects: &mut Vec<Effect>) {
        let Some(loaded) = self.trials.loaded().filter(|_| !given_up.is_empty()) else { return };
        for (part, wait) in given_up {
            let until = now + *wait;
            match part {
                Part::Base => self.base_refused = true,
                Part::Includes => self.includes.refuse_whole(&loaded.includes, until),
                Part::Template => {
                    if let Some(template) = &loaded.template {
                        self.template.refuse(template, until);
                    }
                }
                Part::Service(service) => {
                    if let Some(section) = loaded.sections.get(service) {
                        let minutes = wait.as_secs() / 60;
                        let reason = format!(
                            "HAProxy ended by itself {DEATHS} times soon after it came ({how}); it is tried again in {minutes} min, or when it changes"
                        );
                        self.quarantine.refuse(service, section.clone(), reason, Some(until));
                    }
                }
            }
        }
        let without = given_up.iter().map(|(part, _)| part.to_string()).collect();
        effects.push(Effect::Notice(Notice::BackToLastGood { how: how.to_owned(), without }));
    }
}

//! Values of a registry in lines of `global`, of `defaults` and of frontends: asked of `HAProxy` before they are wanted, remembered once they serve.
//!
//! ```text
//! FollowedValues --known--> lines filled in --haproxy -c--> Input::Base --one reload--> serves: kept in state_dir
//!                              | no word       | refused, each by itself   | fails, and no service is to blame
//!                              +---------------+-> the last good stay <----+
//! ```

mod kept;
pub(super) mod now;
mod problems;
mod taken;

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::Supervisor;
use super::feeds::registry_input;
use crate::admin::history::CauseEvent;
use crate::config::Config;
use crate::deadline::until;
use crate::engine::http_frontend::HttpFrontend;
use crate::engine::reconciler::Input;
use crate::engine::section::Base;
use crate::process::reaper::Reaper;
use crate::registry_values::{FollowedValues, Known, Values};
use crate::service_manager::RegistryEvent;

use kept::remember;
pub(super) use kept::{checked_base, with_recalled_lines};
use problems::{Problems, problems};
use taken::{Taken, filled, taken};

/// What is refused is tried again though it did not change: what it refers to may be there by then.
const TRIED_AGAIN: Duration = Duration::from_secs(5 * 60);

/// What lines of proxymgr.yml are with the values of a registry.
#[derive(Debug)]
pub(super) struct ValuesDesk {
    config: Config,
    reaper: Reaper,
    followed: Option<FollowedValues>,
    /// Nothing was known yet since they are followed.
    is_first: bool,
    listed_waits: bool,
    /// Those that what is wanted was made with.
    good: Arc<Values>,
    asked: Option<(Arc<Known>, JoinHandle<Taken>)>,
    /// Wanted, and not served yet.
    tried: Option<Tried>,
    /// What to go back to.
    back: Option<Arc<Base>>,
    problems: Problems,
    again: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Tried {
    base: Arc<Base>,
    values: Arc<Values>,
    /// What was wanted before.
    before: (Arc<Base>, Arc<Values>),
}

/// What is wanted from now on.
#[derive(Debug)]
pub(super) struct WantedLines {
    base: Arc<Base>,
    /// The paths whose values make it another; none when it is gone back to.
    because_of: Option<String>,
}

impl ValuesDesk {
    pub(super) fn new(config: Config, reaper: Reaper) -> Self {
        Self {
            good: Arc::new(kept::recall(&config)),
            config,
            reaper,
            followed: None,
            is_first: false,
            listed_waits: false,
            asked: None,
            tried: None,
            back: None,
            problems: Problems::default(),
            again: None,
        }
    }

    /// Follows from the beginning.
    pub(super) fn follow(&mut self, followed: Option<FollowedValues>) {
        let are_in_lines = self.config.value_lines().any(|line| !line.paths().is_empty());
        self.is_first = are_in_lines && followed.is_some();
        self.followed = followed;
        (self.listed_waits, self.asked, self.again) = (false, None, None);
    }

    /// Whether the first start is to wait, which [`Self::listed_may_go`] ends.
    fn holds_listed(&mut self) -> bool {
        self.listed_waits |= self.is_first;
        self.is_first
    }

    /// Whether what was held may go on now; once.
    pub(super) fn listed_may_go(&mut self) -> bool {
        !self.is_first && std::mem::take(&mut self.listed_waits)
    }

    /// What is wrong, in words.
    pub(super) fn problems(&self) -> &Arc<BTreeSet<String>> {
        self.problems.texts()
    }

    /// Waits for lines that `HAProxy` takes and that differ from what is `wanted`; for news; or for the end of the first wait.
    /// Cancel safe.
    pub(super) async fn next(&mut self, wanted: &Arc<Base>) -> Option<WantedLines> {
        if let Some(base) = self.back.take() {
            return Some(WantedLines { base, because_of: None });
        }
        let Some(followed) = &mut self.followed else { return pending().await };
        loop {
            tokio::select! {
                () = followed.changed() => {}
                () = until(self.again) => self.again = None,
                answer = answer(self.asked.as_mut()) => {
                    let asked = self.asked.take().map(|(known, _)| known);
                    self.is_first = false;
                    return self.take(asked?.as_ref(), answer?, wanted);
                }
            }
            let Some(known) = followed.known() else { continue };
            if filled(&self.config, &known.values, wanted).is_ok_and(|base| base == **wanted) {
                (self.is_first, self.asked, self.again) = (false, None, None);
                self.good = Arc::new(known.values.clone());
                self.problems.are(problems(&known, &[].into()));
                return None;
            }
            let (config, reaper) = (self.config.clone(), self.reaper.clone());
            let (good, wanted, asked) =
                (made_with(&self.config, &self.good, wanted), wanted.clone(), known.clone());
            let asking =
                tokio::spawn(async move { taken(&config, &good, &known.values, &wanted, &reaper).await });
            self.asked = Some((asked, asking));
        }
    }

    fn take(&mut self, known: &Known, taken: Taken, wanted: &Arc<Base>) -> Option<WantedLines> {
        let Taken { values, base, refused } = taken;
        self.problems.are(problems(known, &refused));
        self.again = (!refused.is_empty()).then(|| Instant::now() + TRIED_AGAIN);
        let good = std::mem::replace(&mut self.good, Arc::clone(&values));
        if base == *wanted {
            return None;
        }
        let because_of = differing(&good, &values);
        info!(paths = because_of, "values of the registry changed lines of haproxy.cfg");
        // What was good before a try that is not over is what to go back to.
        let before = self.tried.take().map_or_else(|| (Arc::clone(wanted), good), |tried| tried.before);
        self.tried = Some(Tried { base: Arc::clone(&base), values, before });
        Some(WantedLines { base, because_of: Some(because_of) })
    }

    /// `HAProxy` serves with `base`.
    pub(super) fn serves(&mut self, base: &Base) {
        if let Some(Tried { values, .. }) = self.tried.take_if(|tried| has_lines_of(base, &tried.base))
            && let Err(error) = remember(&self.config.state_dir, &values)
        {
            warn!(
                error,
                "the values of the registry can't be kept; a start without the registry goes by the defaults"
            );
        }
    }

    /// A reload failed, and no service was to blame.
    fn reload_failed(&mut self, why: &str) {
        let Some(Tried { values, before: (base, good), .. }) = self.tried.take() else { return };
        let paths = differing(&good, &values);
        self.problems.add(format!("{paths}: the reload with them failed, and they wait for a change: {why}"));
        (self.back, self.good) = (Some(base), good);
    }
}

async fn answer(asked: Option<&mut (Arc<Known>, JoinHandle<Taken>)>) -> Option<Taken> {
    let Some((_, asking)) = asked else { return pending().await };
    asking.await.map_err(|panicked| error!(%panicked, "the values of the registry could not be tried")).ok()
}

/// The values that `wanted` was made with: none when `good` ones, that served last, were not taken at the start.
fn made_with(config: &Config, good: &Arc<Values>, wanted: &Base) -> Arc<Values> {
    let makes_it = filled(config, good, wanted).is_ok_and(|base| base == *wanted);
    if makes_it { Arc::clone(good) } else { Arc::default() }
}

/// Whether `served` has the lines of `wanted`. A frontend whose address is taken is out, or stays as it was: no matter of values.
fn has_lines_of(served: &Base, wanted: &Base) -> bool {
    let is_out =
        |served: &HttpFrontend, wanted: &HttpFrontend| served.is_out || served.listen != wanted.listen;
    let same_options = wanted.frontends.iter().all(|(name, wanted)| {
        let served = served.frontends.get(name);
        served.is_none_or(|served| is_out(served, wanted) || served.options == wanted.options)
    });
    same_options && (&served.global, &served.defaults) == (&wanted.global, &wanted.defaults)
}

/// The paths whose values are others, in words.
fn differing(one: &Values, other: &Values) -> String {
    let all: BTreeSet<_> = one.keys().chain(other.keys()).map(String::as_str).collect();
    let differ: Vec<_> = all.into_iter().filter(|path| one.get(*path) != other.get(*path)).collect();
    differ.join(", ")
}

impl Supervisor {
    /// Takes note of what a registry says, and gives what the reconciler is to be told of it now: a first start waits for values too.
    pub(super) fn take_in(&mut self, event: RegistryEvent) -> Option<Input> {
        self.take_note(&event);
        let waits = event == RegistryEvent::Listed && self.values.holds_listed();
        if waits { None } else { registry_input(event) }
    }

    /// Takes note of what the values of a registry make of the lines, and gives what the reconciler is to be told of it.
    pub(super) fn take_lines(&mut self, wanted: Option<WantedLines>) -> Option<Input> {
        self.tell_of_values();
        let WantedLines { base, because_of } = wanted?;
        if let Some(paths) = because_of {
            let now = self.clock.now();
            self.historian.note_cause(None, CauseEvent::Values, Some(&paths), now);
        }
        Some(Input::Base(base))
    }

    /// A reload failed, and no service was to blame.
    pub(super) fn values_may_be_to_blame(&mut self, why: &str) {
        self.values.reload_failed(why);
        self.tell_of_values();
    }

    fn tell_of_values(&mut self) {
        for notice in self.values.problems.news() {
            self.tell(&notice);
        }
        self.status_desk.note_values(self.values.problems());
    }
}

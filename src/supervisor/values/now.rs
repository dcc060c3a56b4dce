//! The lines as a start would have them now.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use tokio::time::{sleep, timeout};

use super::kept::recall;
use super::problems::problems;
use super::taken::{Taken, taken};
use crate::config::Config;
use crate::engine::section::Base;
use crate::process::reaper::Reaper;
use crate::registry_values::{FollowedValues, Known};
use crate::supervisor::dry_run::QUIET_FOR;

/// The lines, and why not all values go ahead.
pub(in crate::supervisor) struct LinesNow {
    pub(in crate::supervisor) base: Arc<Base>,
    pub(in crate::supervisor) problems: BTreeSet<String>,
    /// Whether the registry answered in time.
    pub(in crate::supervisor) answered: bool,
}

/// Waits for the values of the lines of `base`, for `safety.startup_timeout` at the longest, and asks `HAProxy` about them. When the
/// wait takes long, `waiting` is told for what.
pub(in crate::supervisor) async fn lines_now(
    config: &Config,
    followed: Option<FollowedValues>,
    base: Arc<Base>,
    reaper: &Reaper,
    waiting: &mut dyn FnMut(&str),
) -> LinesNow {
    let Some(followed) = followed else {
        return LinesNow { base, problems: BTreeSet::new(), answered: true };
    };
    let longest = config.safety.startup_timeout;
    let mut known = pin!(timeout(longest, first(followed)));
    let known = tokio::select! {
        known = &mut known => known,
        () = sleep(QUIET_FOR) => {
            waiting(&format!("the values of a registry (values), {longest:?} at the longest (safety.startup_timeout)"));
            known.await
        }
    };
    let Ok(known) = known else {
        let problem = format!(
            "the registry of values did not answer within {longest:?} (safety.startup_timeout); those that served last stand in, or the defaults"
        );
        return LinesNow { base, problems: [problem].into(), answered: false };
    };
    let Taken { base, refused, values: _ } =
        taken(config, &recall(config), &known.values, &base, reaper).await;
    LinesNow { base, problems: problems(&known, &refused), answered: true }
}

/// What is known first.
async fn first(mut values: FollowedValues) -> Arc<Known> {
    loop {
        if let Some(known) = values.known() {
            return known;
        }
        values.changed().await;
    }
}

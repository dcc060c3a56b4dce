//! The last reload, for `status`.

use std::time::Duration;

use super::notes::At;
use crate::engine::moment::Moment;
use crate::engine::reconciler::{Notice, Outcome};
use crate::supervisor::history::failed_reload;

/// The most reasons that are kept; a start of 2000 services has one, but their definitions may all change at once.
const MOST_REASONS: usize = 20;

/// The last reload, or start.
#[derive(Clone, Debug)]
pub(super) struct LastReload {
    pub(super) began: At,
    pub(super) reasons: Vec<String>,
    pub(super) end: Option<Result<Duration, String>>,
}

impl LastReload {
    /// What `last` is after this.
    pub(super) fn note(last: &mut Option<Self>, notice: &Notice, now: Moment) {
        let end = match notice {
            Notice::Reloading(reasons) => {
                let mut texts: Vec<_> = reasons.iter().take(MOST_REASONS).map(ToString::to_string).collect();
                if let Some(more) = reasons.len().checked_sub(MOST_REASONS).filter(|more| *more > 0) {
                    texts.push(format!("and {more} more"));
                }
                *last = Some(Self { began: At::now(now), reasons: texts, end: None });
                return;
            }
            Notice::Reloaded(took) => Ok(*took),
            Notice::ReloadFailed { why, serves_on: _ } => Err(why.clone()),
            Notice::Obstructed { .. }
            | Notice::Cleared(_)
            | Notice::IncludesRefused { .. }
            | Notice::FrontendOut { .. }
            | Notice::FrontendBack(_)
            | Notice::IncludesTaken
            | Notice::ValuesRefused(_)
            | Notice::ValuesTaken
            | Notice::TemplateRefused { .. }
            | Notice::TemplateTaken
            | Notice::Unexpected { .. }
            | Notice::Applying(_)
            | Notice::ConfigUnwritten(_)
            | Notice::ConfigWritten
            | Notice::Differs(_)
            | Notice::CompareFailed(_)
            | Notice::TriedInParts { .. }
            | Notice::Died { .. }
            | Notice::BackToLastGood { .. }
            | Notice::KeptThoughEmpty { .. }
            | Notice::LossHeld { .. }
            | Notice::LossTaken { .. }
            | Notice::StartsFromMemory(_)
            | Notice::Limit(_)
            | Notice::StartsWithout(_) => return,
        };
        if let Some(last) = last {
            last.end = Some(end);
        }
    }

    /// The same after an order's end: a configuration that is refused need not be told by a notice of its own.
    pub(super) fn note_outcome(last: &mut Option<Self>, outcome: &Outcome) {
        if let (Some(last), Outcome::ReloadFailed(failure)) = (last, outcome) {
            last.end = Some(Err(failed_reload(failure)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::reconciler::ReloadFailure;
    use crate::engine::reload_reason::ReloadReason;
    use crate::engine::service::ServiceName;

    #[test]
    fn the_latest_reload_is_kept_with_what_came_of_it() {
        let reasons =
            (0..25).map(|n| ReloadReason::NewService(ServiceName::parse(&format!("s{n:02}")).unwrap()));
        let mut last = None;
        LastReload::note(&mut last, &Notice::Reloaded(Duration::ZERO), Moment::START);
        assert!(last.is_none(), "one that began before this program");
        LastReload::note(&mut last, &Notice::Reloading(reasons.collect()), Moment::START);
        let kept = last.as_ref().unwrap();
        assert_eq!((kept.reasons.len(), kept.reasons[20].as_str()), (21, "and 5 more"));
        assert_eq!(kept.end, None);
        let failed = Notice::ReloadFailed { why: "no memory".into(), serves_on: true };
        LastReload::note(&mut last, &failed, Moment::START);
        assert_eq!(last.as_ref().unwrap().end, Some(Err("no memory".into())));
        let refused = Outcome::ReloadFailed(ReloadFailure::NotServing("it hangs".into()));
        LastReload::note_outcome(&mut last, &refused);
        assert_eq!(last.as_ref().unwrap().end, Some(Err("it hangs".into())));
        LastReload::note(&mut last, &Notice::Reloading(BTreeSet::from([ReloadReason::Start])), Moment::START);
        LastReload::note(&mut last, &Notice::Reloaded(Duration::from_millis(7)), Moment::START);
        let kept = last.unwrap();
        assert_eq!((kept.reasons, kept.end), (vec!["start".into()], Some(Ok(Duration::from_millis(7)))));
    }
}

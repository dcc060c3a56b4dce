//! Which included files go ahead.
//!
//! They go ahead together or not at all, since one may refer to another: a set that `HAProxy` refuses leaves the last good
//! one in place. Where there is none, or it is good no longer (a certificate is gone), only the guilty files stay out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::backoff::Backoff;
use crate::engine::include::{IncludedFile, Includes};
use crate::engine::moment::Moment;
use crate::engine::service::ServiceName;
use crate::engine::state::{AppliedState, DesiredService};

/// What was refused is tried again: an address gets free, a certificate arrives.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_LONGEST: Duration = Duration::from_secs(600);

/// The included files as they were read last, and what speaks against them.
#[derive(Debug)]
pub(super) struct KnownIncludes {
    wanted: Arc<Includes>,
    refused: Vec<Refused>,
    /// The refusals of what is wanted that were told.
    told: Vec<String>,
    /// Something was refused since all went ahead last.
    in_trouble: bool,
    retry: Backoff,
}

#[derive(Debug)]
struct Refused {
    set: Arc<Includes>,
    guilty: Guilty,
    until: Moment,
}

#[derive(Clone, Debug)]
enum Guilty {
    File(String),
    /// Nobody can tell which file.
    Unknown,
}

impl Default for KnownIncludes {
    fn default() -> Self {
        Self {
            wanted: Arc::default(),
            refused: Vec::new(),
            told: Vec::new(),
            in_trouble: false,
            retry: Backoff::new(RETRY_FIRST, RETRY_LONGEST),
        }
    }
}

impl KnownIncludes {
    /// Takes what was read; `false` when there is nothing to do about it. The same again is another try for what was refused.
    pub(super) fn want(&mut self, files: Includes) -> bool {
        if *self.wanted == files {
            if self.refused.is_empty() {
                return false;
            }
        } else {
            self.wanted = Arc::new(files);
        }
        self.refused.clear();
        self.told.clear();
        self.retry.reset();
        true
    }

    /// Refuses `set` because of its `file`; `true` when this reason was not told yet.
    pub(super) fn refuse(&mut self, set: &Arc<Includes>, file: &str, reason: &str, now: Moment) -> bool {
        if !set.files().iter().any(|held| held.path() == file) {
            return false;
        }
        self.in_trouble = true;
        let until = now + self.retry.next_wait();
        self.refused.retain(|refused| refused.set != *set);
        self.refused.push(Refused { set: set.clone(), guilty: Guilty::File(file.to_owned()), until });
        self.tell(reason)
    }

    /// Notes why what is wanted does not go ahead; `true` when it was not told yet.
    pub(super) fn tell(&mut self, reason: &str) -> bool {
        let new = !self.told.iter().any(|told| told == reason);
        if new {
            self.told.push(reason.to_owned());
        }
        new
    }

    /// Refuses `set` as a whole.
    pub(super) fn refuse_whole(&mut self, set: &Arc<Includes>, until: Moment) {
        self.in_trouble = true;
        self.refused.retain(|refused| refused.set != *set);
        self.refused.push(Refused { set: set.clone(), guilty: Guilty::Unknown, until });
    }

    /// Whether `set` is refused.
    pub(super) fn is_refused(&self, set: &Arc<Includes>) -> bool {
        self.guilty(set).is_some()
    }

    /// Lets go of what is due for another try.
    pub(super) fn release(&mut self, now: Moment) {
        self.refused.retain(|refused| refused.until > now);
    }

    /// Why what is wanted does not go ahead as a whole.
    pub(super) fn told(&self) -> &[String] {
        &self.told
    }

    /// When the next refused set is due for another try.
    pub(super) fn next_try(&self) -> Option<Moment> {
        self.refused.iter().map(|refused| refused.until).min()
    }

    /// What goes ahead, as far as is known.
    pub(super) fn chosen(&self, last_good: Option<&Arc<Includes>>) -> Arc<Includes> {
        let mut chosen = self.wanted.clone();
        if self.is_refused(&chosen)
            && let Some(last_good) = last_good
            && !last_good.is_empty()
            && !self.is_refused(last_good)
        {
            return last_good.clone();
        }
        while let Some(guilty) = self.guilty(&chosen) {
            chosen = match guilty {
                Guilty::File(file) => Arc::new(chosen.without(file)),
                Guilty::Unknown => Arc::default(),
            };
        }
        chosen
    }

    /// `true` once all that is wanted runs, after something was refused.
    pub(super) fn is_whole_again(&mut self, running: Option<&AppliedState>) -> bool {
        let whole = self.refused.is_empty() && running.is_some_and(|running| running.includes == self.wanted);
        if whole {
            self.told.clear();
            self.retry.reset();
        }
        whole && std::mem::take(&mut self.in_trouble)
    }

    fn guilty(&self, set: &Arc<Includes>) -> Option<&Guilty> {
        self.refused.iter().find(|refused| refused.set == *set).map(|refused| &refused.guilty)
    }
}

/// The first file with a section of the same name as a service.
pub(super) fn namesake<'a>(
    includes: &'a Includes,
    services: &BTreeMap<ServiceName, Arc<DesiredService>>,
) -> Option<(&'a IncludedFile, ServiceName)> {
    services.keys().find_map(|name| Some((includes.with_section(name.as_str())?, name.clone())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::fixtures::desired;

    fn files(files: &[(&str, &str)]) -> Includes {
        Includes::new(
            files
                .iter()
                .map(|(path, text)| IncludedFile::new(Path::new(path), text.as_bytes()).unwrap())
                .collect(),
        )
    }

    fn running(includes: &Includes) -> AppliedState {
        let mut desired = desired(&[]);
        desired.includes = Arc::new(includes.clone());
        AppliedState::loaded(&desired, None)
    }

    const NOW: Moment = Moment::START;

    #[test]
    fn a_refused_set_leaves_the_last_good_one() {
        let good = files(&[("/a", "listen a\n"), ("/b", "listen b\n")]);
        let bad = files(&[("/a", "listen a\n bad\n"), ("/b", "listen b\n mode tcp\n")]);
        let (mut known, running) = (KnownIncludes::default(), running(&good));
        assert!(known.want(bad.clone()));
        assert_eq!(*known.chosen(Some(&running.includes)), bad);
        assert!(known.refuse(&Arc::new(bad.clone()), "/a", "bad", NOW));
        assert_eq!(*known.chosen(Some(&running.includes)), good);
        assert!(!known.refuse(&Arc::new(bad), "/a", "bad", NOW), "it is told once");
        assert!(known.want(good.clone()));
        assert!(!known.is_whole_again(None));
        assert!(known.is_whole_again(Some(&running)) && !known.is_whole_again(Some(&running)));
        assert_eq!(*known.chosen(Some(&running.includes)), good);
        assert!(!known.want(good));
    }

    #[test]
    fn without_a_last_good_set_only_the_guilty_file_stays_out() {
        let wanted = files(&[("/a", "listen a\n"), ("/b", "listen b\n bad\n"), ("/c", "listen c\n bad\n")]);
        let mut known = KnownIncludes::default();
        known.want(wanted.clone());
        known.refuse(&Arc::new(wanted.clone()), "/b", "bad", NOW);
        let next = known.chosen(None);
        assert_eq!(*next, wanted.without("/b"));
        assert!(!known.refuse(&next, "/b", "bad elsewhere", NOW), "it is out already");
        known.refuse(&next, "/c", "bad too", NOW);
        assert_eq!(*known.chosen(Some(&running(&files(&[])).includes)), files(&[("/a", "listen a\n")]));
        // The last good one itself is good no longer.
        let mut known = KnownIncludes::default();
        known.want(wanted.clone());
        known.refuse(&Arc::new(wanted.clone()), "/b", "its certificate is gone", NOW);
        assert_eq!(*known.chosen(Some(&running(&wanted).includes)), wanted.without("/b"));
    }

    #[test]
    fn of_a_set_that_is_refused_as_a_whole_nothing_stays() {
        let wanted = files(&[("/a", "listen a\n"), ("/b", "listen b\n")]);
        let mut known = KnownIncludes::default();
        known.want(wanted.clone());
        known.refuse_whole(&Arc::new(wanted.clone()), NOW + RETRY_LONGEST);
        assert!(known.chosen(Some(&running(&wanted).includes)).is_empty());
        let before = files(&[("/a", "listen a\n")]);
        assert_eq!(*known.chosen(Some(&running(&before).includes)), before);
        known.release(NOW + RETRY_LONGEST);
        assert_eq!(*known.chosen(None), wanted);
    }

    #[test]
    fn what_was_refused_is_tried_again_later_and_when_its_file_is_touched() {
        let wanted = files(&[("/a", "listen a\n")]);
        let mut known = KnownIncludes::default();
        known.want(wanted.clone());
        known.refuse(&Arc::new(wanted.clone()), "/a", "in use", NOW);
        assert_eq!(known.next_try(), Some(NOW + RETRY_FIRST));
        known.release(NOW + RETRY_FIRST);
        assert_eq!(*known.chosen(None), wanted);
        known.refuse(&Arc::new(wanted.clone()), "/a", "in use", NOW);
        assert_eq!(known.next_try(), Some(NOW + RETRY_FIRST * 2));
        assert!(known.want(wanted.clone()), "the same again is another try");
        assert_eq!(*known.chosen(None), wanted);
        assert!(!known.want(wanted));
    }
}

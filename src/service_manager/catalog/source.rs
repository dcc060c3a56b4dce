//! What one source listed, and what it lists no more.

use super::{RESTORE_TIME, Step};
use crate::engine::moment::Moment;
use crate::engine::printable::printable;
use crate::service_config::Listing;

/// What a source says. One that listed services and now lists none keeps them: more often than not it has lost its data.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// Its last listing; `None` before the first.
    pub(super) listing: Option<Listing>,
    /// What it listed before it listed nothing, and not since.
    pub(super) missing: Listing,
    /// When these go; set once it lists something again.
    pub(super) missing_until: Option<Moment>,
}

impl Source {
    /// Takes a listing, and tells what stays though it isn't in it.
    pub(super) fn update(&mut self, source: usize, listing: Listing, now: Moment) -> Option<Step> {
        let names = |missing: &Listing| missing.keys().map(|name| printable(name)).collect();
        let step = if listing.is_empty() {
            self.missing.extend(self.listing.take().unwrap_or_default());
            self.missing_until = None;
            Some(Step::KeepThoughEmpty { source, names: names(&self.missing) })
        } else {
            self.missing.retain(|name, _| !listing.contains_key(name));
            let begins = self.missing_until.is_none();
            self.missing_until = self.missing_until.or(Some(now + RESTORE_TIME));
            begins.then(|| Step::KeepThoughMissing { source, names: names(&self.missing) })
        };
        self.listing = Some(listing);
        if self.missing.is_empty() {
            self.missing_until = None;
            return None;
        }
        step
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.missing_until.is_some_and(|until| until <= now)
    }
}

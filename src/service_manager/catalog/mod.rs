//! What is defined, refused and gone. Pure: listings in, steps out.

mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::moment::Moment;
use source::Source;

use crate::engine::printable::printable;
use crate::engine::risk::Allowed;
use crate::engine::service::{ServiceName, ServiceSpec};
use crate::service_config::{Definition, Entry, Listing, RawDefinition, UnknownKey, parse};

/// One thing that a new listing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Define {
        name: ServiceName,
        spec: Arc<ServiceSpec>,
        definition: RawDefinition,
        unknown_keys: Vec<UnknownKey>,
    },
    Refuse {
        name: String,
        origin: String,
        reason: String,
    },
    Remove {
        name: ServiceName,
    },
    /// Was refused under a name that no service can have.
    Forget {
        name: String,
    },
    /// A source lists nothing any more; these, its last ones, stay until it lists some again.
    KeepThoughEmpty {
        source: usize,
        names: Vec<String>,
    },
    /// It does again, but not yet these; they stay for [`RESTORE_TIME`].
    KeepThoughMissing {
        source: usize,
        names: Vec<String>,
    },
}

/// How long a source that had lost its list may take to be filled again, one service after the other.
pub(super) const RESTORE_TIME: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Catalog {
    /// In the order of precedence.
    sources: Vec<Source>,
    memory: Memory,
    known: BTreeMap<String, Known>,
    /// What the operator allows definitions.
    allowed: Allowed,
}

/// What the sources listed before `ProxyMgr` was started, for as long as they don't tell.
#[derive(Debug, Default)]
struct Memory {
    listing: Listing,
    /// Whether it counts: a source didn't answer in time, or its first answer was empty.
    in_force: bool,
    /// When it goes; set once every source lists something.
    until: Option<Moment>,
}

/// What became of the entry under one name.
#[derive(Debug)]
struct Known {
    entry: Entry,
    good: Option<Arc<ServiceSpec>>,
    unknown_keys: Vec<UnknownKey>,
    refusal: Option<String>,
}

impl Catalog {
    /// A catalog that remembers `listing`.
    pub(super) fn new(sources: usize, listing: Listing, allowed: Allowed) -> Self {
        let memory = Memory { listing, ..Memory::default() };
        Self { sources: vec![Source::default(); sources], memory, known: BTreeMap::new(), allowed }
    }

    /// Whether every source has answered, or is remembered.
    pub(super) fn is_complete(&self) -> bool {
        self.all_answered() || self.memory.in_force
    }

    fn all_answered(&self) -> bool {
        self.sources.iter().all(|source| source.listing.is_some())
    }

    /// The sources had their time: for those that didn't answer counts what is remembered. Tells how many services that are.
    pub(super) fn recall(&mut self) -> (usize, Vec<Step>) {
        if self.all_answered() || self.memory.listing.is_empty() {
            return (0, Vec::new());
        }
        self.memory.in_force = true;
        let steps = self.merge();
        (steps.len(), steps)
    }

    /// Takes the new listing of one source; reads only the definitions that differ.
    pub(super) fn update(&mut self, source: usize, listing: Listing, now: Moment) -> Vec<Step> {
        let is_empty = listing.is_empty();
        let is_first = self.sources.get(source).is_some_and(|last| last.listing.is_none());
        let mut kept = self.sources.get_mut(source).and_then(|last| last.update(source, listing, now));
        if is_first && is_empty && !self.memory.listing.is_empty() {
            self.memory.in_force = true;
            let names = self.memory.listing.keys().map(|name| printable(name)).collect();
            kept = Some(Step::KeepThoughEmpty { source, names });
        }
        self.age_memory(now);
        let mut steps = self.merge();
        steps.extend(kept);
        steps
    }

    /// When [`Catalog::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.sources.iter().filter_map(|source| source.missing_until).chain(self.memory.until).min()
    }

    /// Lets go of what didn't come back in time.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<Step> {
        for source in self.sources.iter_mut().filter(|source| source.is_due(now)) {
            source.missing = Listing::new();
            source.missing_until = None;
        }
        if self.memory.until.is_some_and(|until| until <= now) {
            self.memory = Memory::default();
        }
        self.merge()
    }

    /// Once every source lists something, what is remembered has no more say; what it held in force goes after
    /// [`RESTORE_TIME`], as after any other loss.
    fn age_memory(&mut self, now: Moment) {
        let told = |source: &Source| source.listing.as_ref().is_some_and(|listing| !listing.is_empty());
        if !self.memory.in_force && self.all_answered() {
            self.memory = Memory::default();
        } else if self.memory.in_force && self.sources.iter().all(told) {
            self.memory.until = self.memory.until.or(Some(now + RESTORE_TIME));
        }
    }

    fn merge(&mut self) -> Vec<Step> {
        let Self { sources, memory, known, allowed } = self;
        let mut merged: BTreeMap<&String, &Entry> = BTreeMap::new();
        if memory.in_force {
            merged.extend(&memory.listing);
        }
        for source in sources.iter().rev() {
            merged.extend(&source.missing);
            merged.extend(source.listing.iter().flatten());
        }
        let mut steps = Vec::new();
        known.retain(|name, _| {
            let stays = merged.contains_key(name);
            if !stays {
                steps.push(match ServiceName::parse(name) {
                    Ok(name) => Step::Remove { name },
                    Err(_) => Step::Forget { name: printable(name) },
                });
            }
            stays
        });
        for (name, entry) in merged {
            let before = known.get(name);
            if before.is_none_or(|before| before.entry != *entry) {
                let (now, step) = judge(name, entry, before, allowed);
                known.insert(name.clone(), now);
                steps.extend(step);
            }
        }
        steps
    }
}

fn judge(name: &str, entry: &Entry, before: Option<&Known>, allowed: &Allowed) -> (Known, Option<Step>) {
    let origin = entry.origin().to_owned();
    let last_good = before.and_then(|before| before.good.clone());
    let last_refusal = before.and_then(|before| before.refusal.clone());
    let last_unknown = before.map(|before| before.unknown_keys.clone()).unwrap_or_default();
    match read(name, entry, allowed) {
        Ok((name, raw, Definition { spec, unknown_keys })) => {
            let same_spec = last_refusal.is_none() && last_good.as_deref() == Some(&spec);
            // The same service, but there is a key to warn about.
            let unchanged = same_spec && unknown_keys.iter().all(|key| last_unknown.contains(key));
            let spec = last_good.filter(|good| **good == spec).unwrap_or_else(|| Arc::new(spec));
            let now = Known {
                entry: entry.clone(),
                good: Some(Arc::clone(&spec)),
                unknown_keys: unknown_keys.clone(),
                refusal: None,
            };
            let definition = raw.clone();
            (now, (!unchanged).then_some(Step::Define { name, spec, definition, unknown_keys }))
        }
        Err(reason) => {
            let repeated = last_refusal.as_ref() == Some(&reason);
            let step = Step::Refuse { name: printable(name), origin, reason: reason.clone() };
            let now = Known {
                entry: entry.clone(),
                good: last_good,
                unknown_keys: last_unknown,
                refusal: Some(reason),
            };
            (now, (!repeated).then_some(step))
        }
    }
}

fn read<'a>(
    name: &str,
    entry: &'a Entry,
    allowed: &Allowed,
) -> Result<(ServiceName, &'a RawDefinition, Definition), String> {
    let name = ServiceName::parse(name).map_err(|error| error.to_string())?;
    match entry {
        Entry::Definition(raw) => match parse(&name, raw, allowed) {
            Ok(definition) => Ok((name, raw, definition)),
            Err(refusal) => Err(refusal.to_string()),
        },
        Entry::Unreadable { origin: _, reason } => Err(reason.clone()),
    }
}

#[cfg(test)]
mod tests;

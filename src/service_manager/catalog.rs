//! What is defined, refused and gone. Pure: listings in, steps out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::moment::Moment;
use crate::engine::printable::printable;
use crate::engine::service::{ServiceName, ServiceSpec};
use crate::service_config::{Definition, Entry, Listing, UnknownKey, parse};

/// One thing that a new listing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Define {
        name: ServiceName,
        spec: Arc<ServiceSpec>,
        origin: String,
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
    known: BTreeMap<String, Known>,
}

/// What a source says. One that listed services and now lists none keeps them: more often than not it has lost its data.
#[derive(Clone, Debug, Default)]
struct Source {
    /// Its last listing; `None` before the first.
    listing: Option<Listing>,
    /// What it listed before it listed nothing, and not since.
    missing: Listing,
    /// When these go; set once it lists something again.
    missing_until: Option<Moment>,
}

impl Source {
    /// Takes a listing, and tells what stays though it isn't in it.
    fn update(&mut self, source: usize, listing: Listing, now: Moment) -> Option<Step> {
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

    fn is_due(&self, now: Moment) -> bool {
        self.missing_until.is_some_and(|until| until <= now)
    }
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
    pub(super) fn new(sources: usize) -> Self {
        Self { sources: vec![Source::default(); sources], known: BTreeMap::new() }
    }

    /// Whether every source has answered.
    pub(super) fn is_complete(&self) -> bool {
        self.sources.iter().all(|source| source.listing.is_some())
    }

    /// Takes the new listing of one source; reads only the definitions that differ.
    pub(super) fn update(&mut self, source: usize, listing: Listing, now: Moment) -> Vec<Step> {
        let kept = self.sources.get_mut(source).and_then(|last| last.update(source, listing, now));
        let mut steps = self.merge();
        steps.extend(kept);
        steps
    }

    /// When [`Catalog::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.sources.iter().filter_map(|source| source.missing_until).min()
    }

    /// Lets go of what didn't come back in time.
    pub(super) fn expire(&mut self, now: Moment) -> Vec<Step> {
        for source in self.sources.iter_mut().filter(|source| source.is_due(now)) {
            source.missing = Listing::new();
            source.missing_until = None;
        }
        self.merge()
    }

    fn merge(&mut self) -> Vec<Step> {
        let Self { sources, known } = self;
        let mut merged: BTreeMap<&String, &Entry> = BTreeMap::new();
        for source in sources.iter().rev() {
            merged.extend(&source.missing);
            merged.extend(source.listing.iter().flatten());
        }
        let mut steps = Vec::new();
        known.retain(|name, _| {
            let stays = merged.contains_key(name);
            if !stays && let Ok(name) = ServiceName::parse(name) {
                steps.push(Step::Remove { name });
            }
            stays
        });
        for (name, entry) in merged {
            let before = known.get(name);
            if before.is_none_or(|before| before.entry != *entry) {
                let (now, step) = judge(name, entry, before);
                known.insert(name.clone(), now);
                steps.extend(step);
            }
        }
        steps
    }
}

fn judge(name: &str, entry: &Entry, before: Option<&Known>) -> (Known, Option<Step>) {
    let origin = entry.origin().to_owned();
    let last_good = before.and_then(|before| before.good.clone());
    let last_refusal = before.and_then(|before| before.refusal.clone());
    let last_unknown = before.map(|before| before.unknown_keys.clone()).unwrap_or_default();
    match read(name, entry) {
        Ok((name, Definition { spec, unknown_keys })) => {
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
            (now, (!unchanged).then_some(Step::Define { name, spec, origin, unknown_keys }))
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

fn read(name: &str, entry: &Entry) -> Result<(ServiceName, Definition), String> {
    let name = ServiceName::parse(name).map_err(|error| error.to_string())?;
    match entry {
        Entry::Definition(raw) => {
            parse(raw).map(|definition| (name, definition)).map_err(|refusal| refusal.to_string())
        }
        Entry::Unreadable { origin: _, reason } => Err(reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service_config::{Format, RawDefinition};

    fn entry(origin: &str, text: &str) -> Entry {
        Entry::Definition(RawDefinition {
            data: text.as_bytes().into(),
            format: Format::Json,
            origin: origin.into(),
        })
    }

    fn good(port: u16) -> Entry {
        entry("a", &format!(r#"{{"type":"file","file":"/f","port":{port}}}"#))
    }

    fn listing(entries: &[(&str, Entry)]) -> Listing {
        entries.iter().map(|(name, entry)| ((*name).to_owned(), entry.clone())).collect()
    }

    /// The steps in short: `+name:port`, `!name`, `-name`.
    fn short(steps: &[Step]) -> Vec<String> {
        let one = |step: &Step| match step {
            Step::Define { name, spec, .. } => format!("+{name}:{}", spec.port),
            Step::Refuse { name, .. } => format!("!{name}"),
            Step::Remove { name } => format!("-{name}"),
            Step::KeepThoughEmpty { source, names } => format!("={source}:{}", names.join(",")),
            Step::KeepThoughMissing { source, names } => format!("~{source}:{}", names.join(",")),
        };
        steps.iter().map(one).collect()
    }

    #[test]
    fn only_what_differs_becomes_a_step() {
        let mut catalog = Catalog::new(1);
        let both = listing(&[("a", good(1)), ("b", good(2))]);
        assert_eq!(short(&catalog.update(0, both.clone(), Moment::START)), ["+a:1", "+b:2"]);
        assert_eq!(short(&catalog.update(0, both, Moment::START)), [""; 0]);
        let reformatted = entry("elsewhere", r#"{ "port":1, "file":"/f", "type":"file" }"#);
        assert_eq!(
            short(&catalog.update(0, listing(&[("a", reformatted), ("b", good(3))]), Moment::START)),
            ["+b:3"]
        );
        assert_eq!(
            short(&catalog.update(0, listing(&[("c", good(1))]), Moment::START)),
            ["-a", "-b", "+c:1"]
        );
    }

    #[test]
    fn a_source_that_lists_nothing_any_more_keeps_what_it_listed_last() {
        let mut catalog = Catalog::new(2);
        assert_eq!(short(&catalog.update(0, Listing::new(), Moment::START)), [""; 0], "it never had any");
        assert!(!catalog.is_complete());
        assert_eq!(short(&catalog.update(1, listing(&[("c", good(3))]), Moment::START)), ["+c:3"]);
        let both = listing(&[("a", good(1)), ("b", good(2))]);
        assert_eq!(short(&catalog.update(0, both.clone(), Moment::START)), ["+a:1", "+b:2"]);
        assert_eq!(short(&catalog.update(0, Listing::new(), Moment::START)), ["=0:a,b"]);
        assert_eq!(short(&catalog.update(0, both, Moment::START)), [""; 0], "it is back as it was");
        assert_eq!(short(&catalog.update(0, listing(&[("b", good(2))]), Moment::START)), ["-a"]);
        assert_eq!(short(&catalog.update(0, Listing::new(), Moment::START)), ["=0:b"]);
        assert_eq!(catalog.deadline(), None);
    }

    #[test]
    fn a_lost_list_may_be_filled_again_one_by_one() {
        let mut catalog = Catalog::new(1);
        let [a, b, c] = [("a", good(1)), ("b", good(2)), ("c", good(3))];
        let only_a = listing(std::slice::from_ref(&a));
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        catalog.update(0, listing(&[a.clone(), b.clone(), c.clone()]), at(0));
        assert_eq!(short(&catalog.update(0, Listing::new(), at(10))), ["=0:a,b,c"]);
        assert_eq!(short(&catalog.expire(at(1000))), [""; 0], "nothing goes while nothing is listed");
        assert_eq!(short(&catalog.update(0, only_a.clone(), at(1000))), ["~0:b,c"]);
        assert_eq!(short(&catalog.update(0, listing(&[a.clone(), b.clone()]), at(1010))), [""; 0]);
        assert_eq!(short(&catalog.update(0, only_a, at(1011))), ["-b"], "taken away again");
        assert_eq!(catalog.deadline(), Some(at(1030)));
        assert_eq!(short(&catalog.expire(at(1029))), [""; 0]);
        assert_eq!(short(&catalog.expire(at(1030))), ["-c"]);
        assert_eq!(catalog.deadline(), None);

        assert_eq!(short(&catalog.update(0, Listing::new(), at(1040))), ["=0:a"]);
        assert_eq!(short(&catalog.update(0, listing(&[a]), at(1041))), [""; 0], "all is back");
        assert_eq!(catalog.deadline(), None);
    }

    #[test]
    fn a_key_that_plays_no_part_is_told_when_it_comes() {
        let mut catalog = Catalog::new(1);
        let with = |more: &str| {
            listing(&[("a", entry("a", &format!(r#"{{"type":"file","file":"/f","port":1{more}}}"#)))])
        };
        assert_eq!(short(&catalog.update(0, with(""), Moment::START)), ["+a:1"]);
        let steps = catalog.update(0, with(r#","x":1"#), Moment::START);
        assert!(matches!(steps.as_slice(), [Step::Define { unknown_keys, .. }] if unknown_keys.len() == 1));
        assert_eq!(short(&catalog.update(0, with(r#","x":2"#), Moment::START)), [""; 0]);
        assert_eq!(short(&catalog.update(0, with(""), Moment::START)), [""; 0]);
    }

    #[test]
    fn a_refusal_leaves_the_last_good_definition_and_is_told_once_per_reason() {
        let mut catalog = Catalog::new(1);
        let bad = |text: &str| listing(&[("a", entry("a", text))]);
        assert_eq!(short(&catalog.update(0, listing(&[("a", good(1))]), Moment::START)), ["+a:1"]);
        assert_eq!(short(&catalog.update(0, bad("{}"), Moment::START)), ["!a"]);
        assert_eq!(short(&catalog.update(0, bad("{ }"), Moment::START)), [""; 0], "the same reason");
        assert_eq!(short(&catalog.update(0, bad("[]"), Moment::START)), ["!a"], "another reason");
        assert_eq!(
            short(&catalog.update(0, listing(&[("a", good(1))]), Moment::START)),
            ["+a:1"],
            "the refusal is over"
        );
    }

    #[test]
    fn the_first_source_that_holds_a_name_keeps_it() {
        let mut catalog = Catalog::new(2);
        assert_eq!(
            short(&catalog.update(1, listing(&[("a", good(1)), ("b", good(2))]), Moment::START)),
            ["+a:1", "+b:2"]
        );
        assert!(!catalog.is_complete());
        assert_eq!(short(&catalog.update(0, listing(&[("a", good(9))]), Moment::START)), ["+a:9"]);
        assert!(catalog.is_complete());
        assert_eq!(short(&catalog.update(0, listing(&[("c", good(4))]), Moment::START)), ["+a:1", "+c:4"]);
    }

    #[test]
    fn a_name_that_no_service_can_have_is_refused() {
        let mut catalog = Catalog::new(1);
        assert_eq!(short(&catalog.update(0, listing(&[("a b\n", good(1))]), Moment::START)), ["!a b\\n"]);
        assert_eq!(short(&catalog.update(0, listing(&[("c", good(1))]), Moment::START)), ["+c:1"]);
    }
}

//! What is defined, refused and gone. Pure: listings in, steps out.

use std::collections::BTreeMap;
use std::sync::Arc;

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
    /// A source lists nothing any more; these, its last ones, stay.
    KeepThoughEmpty {
        source: usize,
        names: Vec<String>,
    },
}

#[derive(Debug)]
pub(super) struct Catalog {
    /// The last listing of each source that was not empty, in the order of precedence; `None` before its first answer.
    sources: Vec<Option<Listing>>,
    known: BTreeMap<String, Known>,
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
        Self { sources: vec![None; sources], known: BTreeMap::new() }
    }

    /// Whether every source has answered.
    pub(super) fn is_complete(&self) -> bool {
        self.sources.iter().all(Option::is_some)
    }

    /// Takes the new listing of one source; reads only the definitions that differ.
    ///
    /// A source that listed services and now lists none keeps its last ones: more often than not it has lost its data.
    pub(super) fn update(&mut self, source: usize, listing: Listing) -> Vec<Step> {
        let Self { sources, known } = self;
        if let Some(last) = sources.get_mut(source) {
            if let Some(kept) = last.as_ref().filter(|last| listing.is_empty() && !last.is_empty()) {
                let names = kept.keys().map(|name| printable(name)).collect();
                return vec![Step::KeepThoughEmpty { source, names }];
            }
            *last = Some(listing);
        }
        let mut merged: BTreeMap<&String, &Entry> = BTreeMap::new();
        for listing in sources.iter().rev().flatten() {
            merged.extend(listing);
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
        };
        steps.iter().map(one).collect()
    }

    #[test]
    fn only_what_differs_becomes_a_step() {
        let mut catalog = Catalog::new(1);
        let both = listing(&[("a", good(1)), ("b", good(2))]);
        assert_eq!(short(&catalog.update(0, both.clone())), ["+a:1", "+b:2"]);
        assert_eq!(short(&catalog.update(0, both)), [""; 0]);
        let reformatted = entry("elsewhere", r#"{ "port":1, "file":"/f", "type":"file" }"#);
        assert_eq!(short(&catalog.update(0, listing(&[("a", reformatted), ("b", good(3))]))), ["+b:3"]);
        assert_eq!(short(&catalog.update(0, listing(&[("c", good(1))]))), ["-a", "-b", "+c:1"]);
    }

    #[test]
    fn a_source_that_lists_nothing_any_more_keeps_what_it_listed_last() {
        let mut catalog = Catalog::new(2);
        assert_eq!(short(&catalog.update(0, Listing::new())), [""; 0], "it never had any");
        assert!(!catalog.is_complete());
        assert_eq!(short(&catalog.update(1, listing(&[("c", good(3))]))), ["+c:3"]);
        let both = listing(&[("a", good(1)), ("b", good(2))]);
        assert_eq!(short(&catalog.update(0, both.clone())), ["+a:1", "+b:2"]);
        assert_eq!(short(&catalog.update(0, Listing::new())), ["=0:a,b"]);
        assert_eq!(short(&catalog.update(0, both)), [""; 0], "it is back as it was");
        assert_eq!(short(&catalog.update(0, listing(&[("b", good(2))]))), ["-a"]);
        assert_eq!(short(&catalog.update(0, Listing::new())), ["=0:b"]);
        assert_eq!(short(&catalog.update(0, listing(&[("d", good(2))]))), ["-b", "+d:2"]);
    }

    #[test]
    fn a_key_that_plays_no_part_is_told_when_it_comes() {
        let mut catalog = Catalog::new(1);
        let with = |more: &str| {
            listing(&[("a", entry("a", &format!(r#"{{"type":"file","file":"/f","port":1{more}}}"#)))])
        };
        assert_eq!(short(&catalog.update(0, with(""))), ["+a:1"]);
        let steps = catalog.update(0, with(r#","x":1"#));
        assert!(matches!(steps.as_slice(), [Step::Define { unknown_keys, .. }] if unknown_keys.len() == 1));
        assert_eq!(short(&catalog.update(0, with(r#","x":2"#))), [""; 0]);
        assert_eq!(short(&catalog.update(0, with(""))), [""; 0]);
    }

    #[test]
    fn a_refusal_leaves_the_last_good_definition_and_is_told_once_per_reason() {
        let mut catalog = Catalog::new(1);
        let bad = |text: &str| listing(&[("a", entry("a", text))]);
        assert_eq!(short(&catalog.update(0, listing(&[("a", good(1))]))), ["+a:1"]);
        assert_eq!(short(&catalog.update(0, bad("{}"))), ["!a"]);
        assert_eq!(short(&catalog.update(0, bad("{ }"))), [""; 0], "the same reason");
        assert_eq!(short(&catalog.update(0, bad("[]"))), ["!a"], "another reason");
        assert_eq!(short(&catalog.update(0, listing(&[("a", good(1))]))), ["+a:1"], "the refusal is over");
    }

    #[test]
    fn the_first_source_that_holds_a_name_keeps_it() {
        let mut catalog = Catalog::new(2);
        assert_eq!(short(&catalog.update(1, listing(&[("a", good(1)), ("b", good(2))]))), ["+a:1", "+b:2"]);
        assert!(!catalog.is_complete());
        assert_eq!(short(&catalog.update(0, listing(&[("a", good(9))]))), ["+a:9"]);
        assert!(catalog.is_complete());
        assert_eq!(short(&catalog.update(0, listing(&[("c", good(4))]))), ["+a:1", "+c:4"]);
    }

    #[test]
    fn a_name_that_no_service_can_have_is_refused() {
        let mut catalog = Catalog::new(1);
        assert_eq!(short(&catalog.update(0, listing(&[("a b\n", good(1))]))), ["!a b\\n"]);
        assert_eq!(short(&catalog.update(0, listing(&[("c", good(1))]))), ["+c:1"]);
    }
}

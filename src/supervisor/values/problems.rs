//! What is wrong with values of a registry, and what of it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::printable::printable;
use crate::engine::reconciler::Notice;
use crate::registry_values::Known;

/// In words, each told once for as long as it lasts.
#[derive(Clone, Debug, Default)]
pub(super) struct Problems {
    texts: Arc<BTreeSet<String>>,
    told: Arc<BTreeSet<String>>,
}

impl Problems {
    pub(super) fn texts(&self) -> &Arc<BTreeSet<String>> {
        &self.texts
    }

    /// These are all that there are now.
    pub(super) fn are(&mut self, texts: BTreeSet<String>) {
        self.texts = Arc::new(texts);
    }

    /// There is one more.
    pub(super) fn add(&mut self, text: String) {
        Arc::make_mut(&mut self.texts).insert(text);
    }

    /// What was not told yet.
    pub(super) fn news(&mut self) -> Vec<Notice> {
        if self.told == self.texts {
            return Vec::new();
        }
        let told = std::mem::replace(&mut self.told, Arc::clone(&self.texts));
        if self.texts.is_empty() {
            return vec![Notice::ValuesTaken];
        }
        self.texts.difference(&told).cloned().map(Notice::ValuesRefused).collect()
    }
}

/// What is wrong with what is known, and with what was asked about.
pub(in crate::supervisor) fn problems(known: &Known, refused: &BTreeMap<String, String>) -> BTreeSet<String> {
    let unfit = known.unfit.iter().map(|path| {
        let path = printable(path);
        format!("{path}: it can't be filled in; write one word of letters, digits and -_.:/@+=,~%")
    });
    unfit.chain(refused.iter().map(|(path, why)| printable(&format!("{path}: {why}")))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn each_is_told_once_and_the_end_of_all() {
        let mut problems = Problems::default();
        let refused = |text: &str| Notice::ValuesRefused(text.to_owned());
        assert_eq!(problems.news(), []);
        problems.are(texts(&["a"]));
        assert_eq!(problems.news(), [refused("a")]);
        problems.are(texts(&["a", "b"]));
        problems.add("c".to_owned());
        assert_eq!(problems.news(), [refused("b"), refused("c")]);
        problems.are(texts(&["a"]));
        assert_eq!(problems.news(), []);
        problems.are(texts(&[]));
        assert_eq!(problems.news(), [Notice::ValuesTaken]);
        assert_eq!(problems.news(), []);
    }

    #[test]
    fn what_a_registry_holds_ends_no_line() {
        let known = Known { unfit: ["a\nb".to_owned()].into(), ..Known::default() };
        let told = problems(&known, &[("c".to_owned(), "x\u{1b}".to_owned())].into());
        assert!(told.len() == 2 && !told.iter().any(|text| text.chars().any(char::is_control)), "{told:?}");
    }
}

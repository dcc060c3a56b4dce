//! How a service reads the nodes of its registry.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

/// What a node says of its server, such as the zone it stands in.
pub type Labels = BTreeMap<String, String>;

/// The part of a definition that says what is taken from nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeRules {
    /// Which servers are taken.
    pub filter: LabelFilter,
    /// Whether the weights of nodes count; where it isn't said, a format has its own custom.
    pub weight_from_node: Option<bool>,
    /// The additional endpoint of serversets that is meant, instead of the service's own.
    pub endpoint: Option<String>,
    /// Curator's `sslPort` is meant, not `port`.
    pub use_ssl_port: bool,
    /// The port of nodes whose name is a host alone.
    pub remote_port: Option<NonZeroU16>,
}

/// Labels that a server must have, each with one of some values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelFilter(BTreeMap<String, BTreeSet<String>>);

impl LabelFilter {
    /// A filter that takes servers with one of the values for every label.
    pub fn new(wanted: BTreeMap<String, BTreeSet<String>>) -> Self {
        Self(wanted)
    }

    /// Whether a server with `labels` is taken.
    pub fn takes(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(label, wanted)| labels.get(label).is_some_and(|value| wanted.contains(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_must_have_one_of_its_values() {
        let labels = |text: &[(&str, &str)]| -> Labels {
            text.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
        };
        let set = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let filter = LabelFilter::new(BTreeMap::from([
            ("az".into(), set(&["a", "b"])),
            ("tier".into(), set(&["web"])),
        ]));
        assert!(filter.takes(&labels(&[("az", "b"), ("tier", "web"), ("more", "x")])));
        assert!(!filter.takes(&labels(&[("az", "c"), ("tier", "web")])));
        assert!(!filter.takes(&labels(&[("az", "a")])));
        assert!(LabelFilter::default().takes(&Labels::new()));
    }
}

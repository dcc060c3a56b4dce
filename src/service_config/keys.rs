//! The keys of a definition.

use std::fmt;

use crate::engine::printable::printable;

/// What is understood.
pub(super) const KNOWN: &[&str] = &[
    "type",
    "port",
    "bind",
    "bind_options",
    "listen_options",
    "server_options",
    "server",
    "path",
    "file",
    "on_empty",
    "max_shrink",
    "shrink_hold",
    "default_servers",
    "backup_servers",
    "filter",
    "weight_from_node",
    "endpoint",
    "use_ssl_port",
    "remote_port",
    "backends",
    "nameservers",
    "min_ttl",
    "max_ttl",
    "route",
    "cookie",
    "docker_host",
    "service",
    "tag",
    "tags",
    "network",
    "published",
    "passing_only",
    "dc",
    "near",
];

/// A key that says nothing to `ProxyMgr`: warned about, never fatal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// As written, printable.
    pub key: String,
    /// The known key that looks most like it, when one does.
    pub nearest: Option<&'static str>,
}

impl UnknownKey {
    pub(super) fn new(key: &str) -> Self {
        Self { key: printable(key), nearest: nearest(key, KNOWN) }
    }

    /// The same for a key of the object under `parent`, which understands `known`.
    pub(super) fn within(parent: &str, key: &str, known: &[&'static str]) -> Self {
        Self { key: format!("{parent}.{}", printable(key)), nearest: nearest(key, known) }
    }
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.key)?;
        self.nearest.map_or(Ok(()), |nearest| write!(f, " (did you mean \"{nearest}\"?)"))
    }
}

/// The one of `names` that `text` is most likely a slip of.
pub(super) fn nearest(text: &str, names: &[&'static str]) -> Option<&'static str> {
    let likeness = |name: &&'static str| (strsim::jaro_winkler(text, name), *name);
    let best = names.iter().map(likeness).max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 > 0.8).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_explains_each_key() {
        let readme = include_str!("../../README.md");
        let (_, table) = readme.split_once("### Keys of a service").unwrap();
        let (table, _) = table.split_once("\n#").unwrap();
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        let explained: Vec<_> = rows.filter_map(|line| line.split(" | ").next()).collect();
        for key in KNOWN {
            let quoted = format!("`{key}`");
            let times = explained.iter().filter(|keys| keys.contains(&quoted)).count();
            assert_eq!(times, 1, "{key}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        for (key, shown) in [
            ("prot", "\"prot\" (did you mean \"port\"?)"),
            ("listen_option", "\"listen_option\" (did you mean \"listen_options\"?)"),
            ("comment", "\"comment\""),
        ] {
            assert_eq!(UnknownKey::new(key).to_string(), shown);
        }
    }
}

//! Absolute paths of nodes.

use std::fmt;
use std::sync::Arc;

use crate::engine::printable::printable;

/// An absolute path without a trailing slash (`/` alone is the root).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodePath(Arc<str>);

/// Why a text is no [`NodePath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodePathError {
    /// It doesn't begin with `/`.
    #[error("'{0}' must begin with '/'")]
    Relative(String),
    /// `//`, `/./` or `/../`.
    #[error("'{0}' holds an empty part, '.' or '..', which ZooKeeper doesn't take")]
    Part(String),
    /// A control character (`ZooKeeper` programmer's guide, "Data Model").
    #[error("'{0}' holds a character that ZooKeeper doesn't take in paths")]
    Character(String),
}

impl NodePath {
    /// Checks `text`; one trailing slash is dropped.
    ///
    /// # Errors
    /// When it is relative or holds what `ZooKeeper` doesn't take.
    pub fn parse(text: &str) -> Result<Self, NodePathError> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err(NodePathError::Relative(printable(text)));
        };
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if text
            .chars()
            .any(|c| c.is_control() || matches!(c, '\u{f000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}'))
        {
            return Err(NodePathError::Character(printable(text)));
        }
        if !inner.is_empty() && inner.split('/').any(|part| matches!(part, "" | "." | "..")) || text == "//" {
            return Err(NodePathError::Part(printable(text)));
        }
        Ok(Self(format!("/{inner}").into()))
    }

    /// The path's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// The path of the node `name` below this one.
    ///
    /// # Errors
    /// When `name` holds what `ZooKeeper` doesn't take.
    pub fn below(&self, name: &str) -> Result<Self, NodePathError> {
        Self::parse(&self.child(name))
    }

    /// The path of `below`, which is meant from here.
    pub(super) fn join(&self, below: &Self) -> Self {
        match (self.is_root(), below.is_root()) {
            (true, _) => below.clone(),
            (false, true) => self.clone(),
            (false, false) => Self(format!("{self}{below}").into()),
        }
    }

    /// The path of the child `name`.
    pub(super) fn child(&self, name: &str) -> String {
        if self.is_root() { format!("/{name}") } else { format!("{self}/{name}") }
    }

    /// The name of the direct child that `path` is; `None` for the node itself and for what lies deeper.
    pub(super) fn child_name<'p>(&self, path: &'p str) -> Option<&'p str> {
        let prefix = if self.is_root() { "" } else { &self.0 };
        path.strip_prefix(prefix)?.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/'))
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> NodePath {
        NodePath::parse(text).unwrap()
    }

    #[test]
    fn a_trailing_slash_is_dropped() {
        assert_eq!(path("/services/web/").as_str(), "/services/web");
        assert_eq!(path("/").as_str(), "/");
    }

    #[test]
    fn what_zookeeper_refuses_is_refused() {
        for text in ["", "a", "//", "/a//b", "/a/../b", "/.", "/a\nb", "/a\0"] {
            assert!(NodePath::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_direct_children_have_a_name_here() {
        let root = path("/s");
        let names = ["/s/a", "/s", "/s/a/b", "/sx/a", "/"].map(|p| root.child_name(p));
        assert_eq!(names, [Some("a"), None, None, None, None]);
        assert_eq!(path("/").child_name("/a"), Some("a"));
        assert_eq!(path("/").child("a"), "/a");
    }
}

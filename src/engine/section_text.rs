//! The text of one section of haproxy.cfg, in its parts.

use std::ops::Range;
use std::sync::Arc;

/// Whole lines of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    text: Arc<str>,
    range: Range<usize>,
}

impl Lines {
    /// They; empty, or ending in a line feed.
    pub fn as_str(&self) -> &str {
        self.text.get(self.range.clone()).unwrap_or_default()
    }
}

impl From<String> for Lines {
    fn from(text: String) -> Self {
        Self { range: 0..text.len(), text: text.into() }
    }
}

/// The text of a section, after an empty line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionText {
    text: Arc<str>,
    ends: Ends,
}

/// Where the parts end, in bytes; the last one ends with the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    head: usize,
    binds: usize,
    options: usize,
    own: usize,
}

impl SectionText {
    /// Puts the parts together; each but the first may be empty.
    pub(super) fn write(
        head: &str,
        binds: impl FnOnce(&mut String),
        options: impl FnOnce(&mut String),
        own: impl FnOnce(&mut String),
        servers: impl FnOnce(&mut String),
    ) -> Self {
        let mut text = format!("\n{head}\n");
        let head = text.len();
        binds(&mut text);
        let binds = text.len();
        options(&mut text);
        let options = text.len();
        own(&mut text);
        let own = text.len();
        servers(&mut text);
        Self { text: text.into(), ends: Ends { head, binds, options, own } }
    }

    /// All of it, with the empty line.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `listen web`.
    pub fn head(&self) -> Lines {
        self.part(1, self.ends.head)
    }

    /// The `bind` lines.
    pub fn binds(&self) -> Lines {
        self.part(self.ends.head, self.ends.binds)
    }

    /// The lines that its definition or proxymgr.yml gives.
    pub fn options(&self) -> Lines {
        self.part(self.ends.binds, self.ends.options)
    }

    /// Those that follow from its cookie, or from the routes of a frontend.
    pub fn own(&self) -> Lines {
        self.part(self.ends.options, self.ends.own)
    }

    /// The `server` lines.
    pub fn servers(&self) -> Lines {
        self.part(self.ends.own, self.text.len())
    }

    /// Their text.
    pub(super) fn servers_text(&self) -> &str {
        self.text.get(self.ends.own..).unwrap_or_default()
    }

    fn part(&self, start: usize, end: usize) -> Lines {
        Lines { text: self.text.clone(), range: start..end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_whole() {
        let section = SectionText::write(
            "listen a",
            |text| text.push_str("  bind :1\n"),
            |_| {},
            |text| text.push_str("  cookie c\n"),
            |text| text.push_str("  server a 1.1.1.1:1\n  server b 1.1.1.1:2\n"),
        );
        let parts = [section.head(), section.binds(), section.options(), section.own(), section.servers()];
        let joined: String = parts.iter().map(Lines::as_str).collect();
        assert_eq!(format!("\n{joined}"), section.as_str());
        assert_eq!(
            (parts[1].as_str(), parts[2].as_str(), parts[4].as_str().lines().count()),
            ("  bind :1\n", "", 2)
        );
        assert_eq!(Lines::from("  a\n".to_owned()).as_str(), "  a\n");
    }
}

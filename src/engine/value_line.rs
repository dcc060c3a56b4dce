//! Lines of proxymgr.yml with places for a registry's values: `maxconn ${kv:service/haproxy/maxconn:-4096}`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::option_line::{OptionLine, OptionLineError};
use super::placeholders::{Hole, Pattern};

/// A line that is good with its defaults.
#[derive(Clone, PartialEq, Eq)]
pub struct ValueLine {
    pattern: Pattern,
    by_default: OptionLine,
}

/// Why a text is no [`ValueLine`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueLineError {
    /// What it would be with its defaults is no line.
    #[error(transparent)]
    Line(#[from] OptionLineError),
    /// A place is wrong.
    #[error("{0}")]
    Place(String),
}

impl ValueLine {
    /// Reads `text`. Each place needs a default, and none stands in the line's first word: which keyword it is, the line says.
    ///
    /// # Errors
    /// When a place is wrong, or the line is none with its defaults. A place's error is the end of a sentence that begins with
    /// the line.
    pub fn parse(text: &str) -> Result<Self, ValueLineError> {
        let pattern = Pattern::parse(text).map_err(ValueLineError::Place)?;
        for hole in pattern.holes() {
            if hole.registry_path().is_none() {
                return Err(ValueLineError::Place(format!("has a place '{}' that nothing fills", hole.name)));
            }
            let wrong = hole.wrong_path().or_else(|| {
                let told = format!("has no default for {}; write ${{{}:-default}}", hole.name, hole.name);
                hole.default.is_none().then_some(told)
            });
            if let Some(wrong) = wrong {
                return Err(ValueLineError::Place(wrong));
            }
        }
        let first = text.trim_start().split(' ').next().unwrap_or_default();
        if Pattern::parse(first).map_or(true, |first| first.holes().next().is_some()) {
            let told = "has a value of a registry in its first word; write the keyword itself";
            return Err(ValueLineError::Place(told.to_owned()));
        }
        let by_default = OptionLine::parse(&filled(&pattern, &BTreeMap::new()))?;
        Ok(Self { pattern, by_default })
    }

    /// The line with its defaults.
    pub fn by_default(&self) -> &OptionLine {
        &self.by_default
    }

    /// The paths of the values that it has places for.
    pub fn paths(&self) -> BTreeSet<&str> {
        self.pattern.holes().filter_map(Hole::registry_path).collect()
    }

    /// The line with these values, by their paths.
    ///
    /// # Errors
    /// When it is no line with them.
    pub fn with(&self, values: &BTreeMap<String, String>) -> Result<OptionLine, OptionLineError> {
        OptionLine::parse(&filled(&self.pattern, values))
    }
}

fn filled(pattern: &Pattern, values: &BTreeMap<String, String>) -> String {
    let value = |name: &str| values.get(name.strip_prefix("kv:")?).cloned();
    // Each place has a default.
    pattern.fill(value).unwrap_or_default()
}

impl From<OptionLine> for ValueLine {
    fn from(line: OptionLine) -> Self {
        Self { pattern: Pattern::of_text(line.as_str()), by_default: line }
    }
}

impl fmt::Debug for ValueLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by_default.fmt(f)
    }
}

impl fmt::Display for ValueLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.by_default.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_takes_the_place_of_its_default() {
        let line = ValueLine::parse("timeout server ${kv:a/timeout:-5s} # $${x}").unwrap();
        assert_eq!(line.by_default().as_str(), "timeout server 5s # ${x}");
        assert_eq!(line.paths(), BTreeSet::from(["a/timeout"]));
        let values = [("a/timeout".to_owned(), "7s".to_owned())].into();
        assert_eq!(line.with(&values).unwrap().as_str(), "timeout server 7s # ${x}");
        let plain = ValueLine::from(OptionLine::parse("log-format \"${X}\"").unwrap());
        assert_eq!(plain.with(&values).unwrap().as_str(), "log-format \"${X}\"");
    }

    #[test]
    fn a_place_needs_a_path_a_default_and_a_keyword_before_it() {
        for (text, told) in [
            ("maxconn ${kv:a}", "has no default for kv:a"),
            ("maxconn ${kv:a//b:-1}", "bad path"),
            ("maxconn ${kv:-1}", "that nothing fills"),
            ("maxconn ${kv::-1}", "bad path"),
            ("${kv:a:-maxconn} 1", "first word"),
            ("max${kv:a:-conn} 1", "first word"),
            ("maxconn ${kv:a:-1", "without '}'"),
            ("listen ${kv:a:-x}", "begins a section"),
        ] {
            let error = ValueLine::parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}

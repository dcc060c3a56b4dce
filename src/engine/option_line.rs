//! One line of `HAProxy` configuration as users write it, and the end of one.

use std::fmt;
use std::sync::Arc;

use super::config_words::config_words;
use super::line_limits::MAX_WORDS;
use super::printable::printable;

/// Words that open a section or steer the parser: none may begin a line inside a section of ours.
/// Source: `HAProxy` configuration manual 2.6 to 3.4, sections 2.4 (conditional blocks), 3.4 to 3.10, 4 and 10 to 12.
pub(super) const SECTION_KEYWORDS: &[&str] = &[
    "acme",
    "backend",
    "cache",
    "crt-store",
    "defaults",
    "dynamic-update",
    "fcgi-app",
    "frontend",
    "global",
    "healthcheck",
    "http-errors",
    "listen",
    "log-forward",
    "log-profile",
    "mailers",
    "namespace_list",
    "peers",
    "program",
    "resolvers",
    "ring",
    "traces",
    "userlist",
];

/// A line of a section, free of anything that could end the line or open another section.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OptionLine(Arc<str>);

/// What ends a line that `ProxyMgr` begins, as the options of a `bind` or a `server` line do: it may begin with any word.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineEnd(Arc<str>);

/// Why a text is no [`OptionLine`] or no [`LineEnd`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionLineError {
    /// Nothing but blanks.
    #[error("the line is empty; remove it")]
    Empty,
    /// A line feed, a tab in disguise, an escape: all below U+0020, and U+007F to U+009F. Or `\\x00`, at which each word ends for
    /// `HAProxy`, though not for one who compares it.
    #[error("the line holds the control character {0}; a line is one line of printable text")]
    ControlCharacter(String),
    /// The line would open a section of its own.
    #[error("'{0}' begins a section of haproxy.cfg and can't stand inside one")]
    SectionKeyword(String),
    /// `.if`, `.else`, `.notice`...: the preprocessor's words.
    #[error("'{0}' is a word of HAProxy's preprocessor and can't stand inside a section")]
    Preprocessor(String),
    /// `HAProxy` would refuse the whole file.
    #[error("the line has {0} words; HAProxy takes at most {max}", max = MAX_WORDS)]
    TooManyWords(usize),
    /// Long lines are hard to read, and none needs to be so long.
    #[error("the line is {0} bytes long; HAProxy takes at most {max}", max = OptionLine::MAX_BYTES)]
    TooLong(usize),
}

impl OptionLine {
    /// The longest line taken, in bytes. `HAProxy` itself takes any.
    pub const MAX_BYTES: usize = 2000;

    /// Checks and trims `text`.
    ///
    /// # Errors
    /// When the text is empty, holds a control character, is too long or begins with a section's keyword.
    pub fn parse(text: &str) -> Result<Self, OptionLineError> {
        let line = checked(text)?;
        let words = config_words(line);
        if words.len() > MAX_WORDS {
            return Err(OptionLineError::TooManyWords(words.len()));
        }
        let mut words = words.into_iter().map(|word| word.text);
        let first = words.next().unwrap_or_default();
        if first.starts_with('.') {
            return Err(OptionLineError::Preprocessor(printable(&first)));
        }
        // HAProxy takes these two off before it looks for sections.
        let keyword = if matches!(first.as_str(), "no" | "default") { words.next() } else { Some(first) };
        match keyword.filter(|keyword| SECTION_KEYWORDS.contains(&keyword.as_str())) {
            Some(keyword) => Err(OptionLineError::SectionKeyword(keyword)),
            None => Ok(Self(line.into())),
        }
    }

    /// The first word as `HAProxy` reads it: `"listen"`, `l\isten`, `\x6cisten` and `listen#` are all `listen`. Empty when the
    /// line is a comment.
    pub fn keyword(&self) -> String {
        config_words(&self.0).into_iter().next().unwrap_or_default().text
    }

    /// The line without leading or trailing blanks.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The words of the line, split at blanks; quotes and escapes are left as they stand.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }
}

impl LineEnd {
    /// Checks and trims `text`.
    ///
    /// # Errors
    /// When the text is empty, holds a control character or is too long.
    pub fn parse(text: &str) -> Result<Self, OptionLineError> {
        checked(text).map(|text| Self(text.into()))
    }

    /// How many words `HAProxy` reads.
    pub fn count_words(&self) -> usize {
        config_words(&self.0).len()
    }

    /// The text without leading or trailing blanks.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its words, split at blanks; quotes and escapes are left as they stand.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split_ascii_whitespace()
    }
}

/// `text` without the blanks around it.
fn checked(text: &str) -> Result<&str, OptionLineError> {
    let text = text.trim_matches(' ');
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(OptionLineError::ControlCharacter(control.escape_default().to_string()));
    }
    if text.len() > OptionLine::MAX_BYTES {
        return Err(OptionLineError::TooLong(text.len()));
    }
    if text.is_empty() {
        return Err(OptionLineError::Empty);
    }
    if config_words(text).iter().any(|word| word.text.contains('\0')) {
        return Err(OptionLineError::ControlCharacter("\\x00".to_owned()));
    }
    Ok(text)
}

impl fmt::Debug for OptionLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for OptionLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LineEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for LineEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_around_a_line_are_dropped() {
        assert_eq!(OptionLine::parse("  mode http ").unwrap().as_str(), "mode http");
    }

    #[test]
    fn a_line_that_would_leave_its_section_is_refused() {
        for (text, refusal) in [
            ("", OptionLineError::Empty),
            ("   ", OptionLineError::Empty),
            ("mode http\nlisten evil", OptionLineError::ControlCharacter("\\n".into())),
            ("mode\thttp", OptionLineError::ControlCharacter("\\t".into())),
            ("mode\u{85}http", OptionLineError::ControlCharacter("\\u{85}".into())),
            ("listen evil", OptionLineError::SectionKeyword("listen".into())),
            ("\"listen\" evil", OptionLineError::SectionKeyword("listen".into())),
            ("glo\\bal", OptionLineError::SectionKeyword("global".into())),
            ("\\x6cisten evil", OptionLineError::SectionKeyword("listen".into())),
            ("global# x", OptionLineError::SectionKeyword("global".into())),
            ("'defaults'#", OptionLineError::SectionKeyword("defaults".into())),
            ("healthcheck h", OptionLineError::SectionKeyword("healthcheck".into())),
            ("no 'userlist' x", OptionLineError::SectionKeyword("userlist".into())),
            (".if true", OptionLineError::Preprocessor(".if".into())),
            ("\\x2eif true", OptionLineError::Preprocessor(".if".into())),
            ("listen\\x00x evil", OptionLineError::ControlCharacter("\\x00".into())),
            ("errorfile 503 \"/etc/\\x00\"", OptionLineError::ControlCharacter("\\x00".into())),
        ] {
            assert_eq!(OptionLine::parse(text), Err(refusal), "{text:?}");
        }
        let words = |count| OptionLine::parse(&vec!["x"; count].join(" "));
        assert!(words(64).is_ok());
        assert_eq!(words(65), Err(OptionLineError::TooManyWords(65)));
        assert_eq!(OptionLine::parse(&"x".repeat(2001)), Err(OptionLineError::TooLong(2001)));
    }
    #[test]
    fn the_end_of_a_line_may_begin_with_any_word() {
        for text in ["resolvers dns check", "global", ".if", "check", "no-check # x"] {
            assert_eq!(LineEnd::parse(text).unwrap().as_str(), text);
        }
        for text in ["", " ", "check\nlisten evil", "check \\x00", &"x".repeat(2001)] {
            assert!(LineEnd::parse(text).is_err(), "{text:?}");
        }
    }
}

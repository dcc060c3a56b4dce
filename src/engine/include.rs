//! Hand-written sections that are appended to haproxy.cfg.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::option_line::SECTION_KEYWORDS;
use super::printable::printable;

/// The included files in the order in which they stand in haproxy.cfg.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Includes(Vec<IncludedFile>);

impl Includes {
    /// These files, in this order.
    pub fn new(files: Vec<IncludedFile>) -> Self {
        Self(files)
    }

    /// The files.
    pub fn files(&self) -> &[IncludedFile] {
        &self.0
    }

    /// Whether there is no file.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All but the file at `path`.
    #[must_use]
    pub fn without(&self, path: &str) -> Self {
        Self(self.0.iter().filter(|file| file.path() != path).cloned().collect())
    }

    /// The file with a `listen`, `frontend` or `backend` section of that name.
    pub fn with_section(&self, name: &str) -> Option<&IncludedFile> {
        self.0.iter().find(|file| file.sections.contains(name))
    }
}

/// One included file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncludedFile {
    path: Arc<str>,
    text: Arc<str>,
    sections: Arc<BTreeSet<String>>,
}

/// Why a file can't be included.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IncludeError {
    /// It isn't UTF-8.
    #[error("it is no UTF-8 text; save it as UTF-8")]
    NotText,
    /// `HAProxy` reads up to it.
    #[error("line {0} holds a NUL character; remove it")]
    Nul(usize),
    /// What stands before the first section would belong to whatever section is above.
    #[error(
        "line {line}: '{word}' stands in no section; begin the file with a section (frontend, backend, listen...)"
    )]
    NoSection {
        /// The line, from 1.
        line: usize,
        /// Its first word.
        word: String,
    },
}

impl IncludedFile {
    /// The file at `path` with these bytes. A byte order mark is dropped, a missing line feed at the end added.
    ///
    /// # Errors
    /// When the bytes are no text of whole sections.
    pub fn new(path: &Path, bytes: &[u8]) -> Result<Self, IncludeError> {
        let text = std::str::from_utf8(bytes).map_err(|_| IncludeError::NotText)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some(line) = text.lines().position(|line| line.contains('\0')) {
            return Err(IncludeError::Nul(line + 1));
        }
        let mut sections = BTreeSet::new();
        let mut in_section = false;
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_ascii_whitespace().map(bare);
            let Some(first) = words.next().filter(|first| !first.starts_with(['#', '.'])) else { continue };
            in_section |= SECTION_KEYWORDS.contains(&first.as_str());
            if !in_section {
                return Err(IncludeError::NoSection { line: index + 1, word: printable(&first) });
            }
            if matches!(first.as_str(), "listen" | "frontend" | "backend") {
                sections.extend(words.next());
            }
        }
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        Ok(Self {
            path: printable(&path.to_string_lossy()).into(),
            text: format!("{text}{end}").into(),
            sections: Arc::new(sections),
        })
    }

    /// Where it was read, fit for a comment.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its text; empty, or ending in a line feed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The names of its `listen`, `frontend` and `backend` sections.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(String::as_str)
    }
}

/// `HAProxy` takes `"listen"` and `lis\ten` for the bare word.
fn bare(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '"' | '\'' | '\\')).collect()
}

/// An absolute path whose last part may hold `*` and `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncludePattern {
    directory: PathBuf,
    name: String,
}

impl IncludePattern {
    /// Reads `/etc/haproxy/conf.d/*.cfg` or a plain path.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the text.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.chars().any(char::is_control) {
            return Err("holds a control character; write a plain path");
        }
        let Some((directory, name)) = text.rsplit_once('/').filter(|_| text.starts_with('/')) else {
            return Err("is no absolute path; begin it with /");
        };
        if matches!(name, "" | "." | "..") {
            return Err("names a directory; write DIRECTORY/*.cfg");
        }
        if directory.contains(['*', '?', '[']) || name.contains('[') {
            return Err("can't be followed; only * and ? are known, and only in a file's name");
        }
        let directory = if directory.is_empty() { "/" } else { directory };
        Ok(Self { directory: PathBuf::from(directory), name: name.to_owned() })
    }

    /// The directory that holds the files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether a file of that name is meant. As in a shell, `*` and `?` match no dot at the start of a name.
    pub fn matches(&self, name: &str) -> bool {
        (!name.starts_with('.') || self.name.starts_with('.')) && wildcard(&self.name, name)
    }
}

impl fmt::Display for IncludePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.directory.join(&self.name).to_string_lossy())
    }
}

/// Whether `name` is what `pattern` stands for. On a mismatch the last `*` takes one character more: at most
/// `pattern` times `name` steps.
fn wildcard(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.chars(), name.chars());
    let mut star = None;
    loop {
        let rest = name.clone();
        match (pattern.next(), name.next()) {
            (Some('*'), _) => {
                name = rest.clone();
                star = Some((pattern.clone(), rest));
            }
            (None, None) => return true,
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {}
            (_, _) => {
                let Some((after_star, mut taken)) = star.take() else { return false };
                if taken.next().is_none() {
                    return false;
                }
                pattern = after_star.clone();
                name = taken.clone();
                star = Some((after_star, taken));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<IncludedFile, IncludeError> {
        IncludedFile::new(Path::new("/c/a.cfg"), text.as_bytes())
    }

    #[test]
    fn a_file_is_whole_sections_and_its_proxies_are_known() {
        let good =
            file("# x\n\n.if defined(A)\nfrontend \"f\"\n  bind :1\n.endif\nlisten l\nbackend b").unwrap();
        assert_eq!(good.sections().collect::<Vec<_>>(), ["b", "f", "l"]);
        assert!(good.text().ends_with("backend b\n"));
        assert_eq!(file("").unwrap().text(), "");
        let stray = file("# x\n  server s 1.2.3.4:5\nlisten l\n").unwrap_err();
        assert_eq!(stray, IncludeError::NoSection { line: 2, word: "server".into() });
        assert_eq!(file("listen a\n\0\n").unwrap_err(), IncludeError::Nul(2));
        assert_eq!(IncludedFile::new(Path::new("/a"), b"\xff"), Err(IncludeError::NotText));
    }

    #[test]
    fn patterns_are_absolute_and_have_their_wildcards_in_the_name() {
        for (text, problem) in [
            ("conf.d/*.cfg", "no absolute path"),
            ("*.cfg", "no absolute path"),
            ("/etc/conf.d/", "names a directory"),
            ("/etc/*/a.cfg", "only * and ?"),
            ("/etc/[ab].cfg", "only * and ?"),
            ("/etc/a\n.cfg", "control character"),
        ] {
            assert!(IncludePattern::parse(text).unwrap_err().contains(problem), "{text}");
        }
        let pattern = IncludePattern::parse("/etc/haproxy/conf.d/*.cfg").unwrap();
        assert_eq!(pattern.directory(), Path::new("/etc/haproxy/conf.d"));
        assert_eq!(pattern.to_string(), "/etc/haproxy/conf.d/*.cfg");
        assert_eq!(IncludePattern::parse("/a.cfg").unwrap().directory(), Path::new("/"));
    }

    #[test]
    fn wildcards_match_as_in_a_shell() {
        let matches =
            |pattern: &str, name: &str| IncludePattern::parse(&format!("/{pattern}")).unwrap().matches(name);
        for (pattern, name) in [
            ("*.cfg", "a.cfg"),
            ("*", "a"),
            ("a*b*c", "aXbbYc"),
            ("a?", "aé"),
            ("a.cfg", "a.cfg"),
            ("**", "x"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("*.cfg", ".a.cfg"),
            ("*.cfg", "a.cfg~"),
            ("*.cfg", "a.cfg.bak"),
            ("a?", "a"),
            ("a*b", "ac"),
            ("?", "."),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}

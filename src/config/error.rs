//! What is wrong with proxymgr.yml, all of it at once.

use std::fmt;
use std::path::PathBuf;

/// A place in the file, both counted from 1; the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it stands; `None` for what is missing from the file as a whole.
    pub position: Option<Position>,
    /// The key, such as `reload.min_interval`; empty when the file as a whole is meant.
    pub path: String,
    /// What is wrong and what to write instead. It never holds credentials.
    pub message: String,
}

/// Why there is no [`Config`](super::Config).
#[derive(Debug, thiserror::Error)]
pub enum ConfigErrors {
    /// The file can't be read.
    #[error("{}: can't be read: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// Every mistake in it, in the order of the file. Printed as one `FILE:LINE:COLUMN: KEY: MESSAGE` a line.
    #[error("{}", one_a_line(file, errors))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// At least one.
        errors: Vec<ConfigError>,
    },
}

fn one_a_line(file: &std::path::Path, errors: &[ConfigError]) -> String {
    let lines: Vec<String> = errors.iter().map(|error| format!("{}{error}", file.display())).collect();
    lines.join("\n")
}

impl fmt::Display for ConfigError {
    /// `:LINE:COLUMN: KEY: MESSAGE`, to follow the file's name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

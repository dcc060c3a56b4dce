//! Templates of haproxy.cfg, in the language of Jinja: read, filled and followed. The engine decides which one goes ahead.
//!
//! A template sees its model and nothing else: it reads no file, no variable of the environment and no clock.

mod follow;
mod layout;
mod values;

use std::path::Path;

pub use follow::{TemplateFollower, Told};

use crate::directory_watch::bounded_read;
use crate::engine::printable::printable;
use crate::engine::template::Template;
use layout::Jinja;

/// More than any template needs, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Why a file is no template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateFileError {
    /// It can't be read.
    #[error("'{0}' can't be read: {1}")]
    Unreadable(String, String),
    /// It isn't UTF-8.
    #[error("'{0}' is no UTF-8 text; save it as UTF-8")]
    NotText(String),
    /// It can't be understood.
    #[error("{0}")]
    Syntax(String),
}

/// Reads the template at `path`.
///
/// # Errors
/// When it can't be read or understood.
pub fn read(path: &Path) -> Result<Template, TemplateFileError> {
    let shown = printable(&path.to_string_lossy());
    let bytes = bounded_read(path, MAX_BYTES)
        .map_err(|error| TemplateFileError::Unreadable(shown.clone(), error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| TemplateFileError::NotText(shown.clone()))?;
    parse(&shown, text.strip_prefix('\u{feff}').unwrap_or(&text))
}

/// The template of this text, which stands at `path`.
///
/// # Errors
/// When it can't be understood.
pub fn parse(path: &str, text: &str) -> Result<Template, TemplateFileError> {
    let layout = Jinja::new(path, text).map_err(TemplateFileError::Syntax)?;
    Ok(Template::new(path, text, Box::new(layout)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_template_is_told_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("haproxy.cfg.j2");
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("can't be read"), "{error}");
        std::fs::write(&path, b"\xff").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("save it as UTF-8"), "{error}");
        std::fs::write(&path, "global\n{% for x in y %}\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("haproxy.cfg.j2:2: ") || error.contains("haproxy.cfg.j2:3: "), "{error}");
        std::fs::write(&path, "\u{feff}global\n").unwrap();
        assert_eq!(read(&path).unwrap().source(), "global\n");
    }
}

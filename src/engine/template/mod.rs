//! A layout of haproxy.cfg that the user wrote.
//!
//! What reads and fills it is no part of the engine; what it is filled with ([`Model`]) and what its output must hold
//! ([`output`]) is. The output follows from the template and the model alone, so that it is the same in each process.

mod model;
mod output;

use std::fmt;
use std::sync::Arc;

pub use model::Model;
pub use output::Shape;
pub(super) use output::{Output, read};

/// A template that was read. Equal ones write equal texts.
#[derive(Clone)]
pub struct Template(Arc<Read>);

struct Read {
    path: String,
    source: String,
    layout: Box<dyn Layout>,
}

/// Writes haproxy.cfg from a model: always the same from the same one, in bounded time and space.
pub trait Layout: fmt::Debug + Send + Sync {
    /// The text.
    ///
    /// # Errors
    /// Where and why there is none, fit to be told.
    fn write(&self, model: &Model) -> Result<String, String>;
}

/// Why there is no haproxy.cfg: the template's text as it is to be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub(super) String);

impl Template {
    /// The template at `path` with this text, which `layout` was made of.
    pub fn new(path: &str, source: &str, layout: Box<dyn Layout>) -> Self {
        Self(Arc::new(Read { path: path.to_owned(), source: source.to_owned(), layout }))
    }

    /// Where it was read.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Its text.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether sections of its own listen: it has `bind` lines, and those of services come ready.
    pub fn has_listeners(&self) -> bool {
        self.source().lines().any(|line| line.split_ascii_whitespace().next() == Some("bind"))
    }

    /// Its output, which holds all that is needed.
    pub(super) fn write(&self, model: &Model) -> Result<(String, Output), TemplateError> {
        let mut text = self.0.layout.write(model).map_err(TemplateError)?;
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let lacks = |what: String| TemplateError(format!("{}: its output {what}", self.path()));
        let output = read(&text, model).map_err(lacks)?;
        Ok((text, output))
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.path() == other.path() && self.source() == other.source()
    }
}

impl Eq for Template {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({}, {} bytes)", self.path(), self.source().len())
    }
}

//! The log: lines for people or JSON for programs, on stderr.
//!
//! What comes from outside (names of services, data of nodes, `HAProxy`'s words) goes into the log escaped: no value
//! can end its line, colour a terminal or pretend to be another field.

mod json;
mod text;

use std::io::IsTerminal;

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogConfig, LogFormat, LogLevel};

/// The environment variable that overrides the level, in the form `info,zookeeper_client=debug`.
pub const FILTER_VARIABLE: &str = "PROXYMGR_LOG";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The override can't be read.
    #[error(
        "{FILTER_VARIABLE} is no log filter ({0}); write a level such as debug, or info,zookeeper_client=debug"
    )]
    Filter(#[source] ParseError),
    /// The process logs already.
    #[error("the log can't be set up twice: {0}")]
    Twice(#[source] TryInitError),
}

/// Starts logging to stderr. `filter` is the value of [`FILTER_VARIABLE`]; when set, it wins over `config.level`.
///
/// # Errors
/// When `filter` can't be read, or logging was started before.
pub fn start(config: &LogConfig, filter: Option<&str>) -> Result<(), LoggingError> {
    let colour = config.format == LogFormat::Text && std::io::stderr().is_terminal();
    let filter = filter_of(config.level, filter).map_err(LoggingError::Filter)?;
    match config.format {
        LogFormat::Text => text_log(filter, colour, std::io::stderr).try_init(),
        LogFormat::Json => json_log(filter, std::io::stderr).try_init(),
    }
    .map_err(LoggingError::Twice)
}

/// The `ZooKeeper` client tells every packet, and its TLS every step; only what goes wrong is news.
fn filter_of(level: LogLevel, filter: Option<&str>) -> Result<EnvFilter, ParseError> {
    let (level, client_level) = match level {
        LogLevel::Error => ("error", "error"),
        LogLevel::Warn => ("warn", "warn"),
        LogLevel::Info => ("info", "warn"),
        LogLevel::Debug => ("debug", "warn"),
        LogLevel::Trace => ("trace", "warn"),
    };
    match filter.filter(|filter| !filter.is_empty()) {
        Some(filter) => EnvFilter::try_new(filter),
        None => EnvFilter::try_new(format!("{level},zookeeper_client={client_level},rustls={client_level}")),
    }
}

/// The Docker client tells each answer whole, and in those stands the environment of each container, passwords and all: whatever
/// is asked for, of its words only warnings are heard.
fn holds_no_secret(of: &Metadata<'_>) -> bool {
    *of.level() <= Level::WARN || of.target().split("::").next() != Some("bollard")
}

/// A full or closed stderr must not end an init process: errors of writing are dropped, not printed.
fn text_log<W>(filter: EnvFilter, colour: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(text::EscapedFields)
        .event_format(text::TextLines)
        .with_ansi(colour)
        .log_internal_errors(false)
        .with_writer(writer);
    tracing_subscriber::registry().with(filter).with(filter_fn(holds_no_secret)).with(lines)
}

fn json_log<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields::new())
        .event_format(json::JsonLines)
        .log_internal_errors(false)
        .with_writer(writer);
    tracing_subscriber::registry().with(filter).with(filter_fn(holds_no_secret)).with(lines)
}

#[cfg(test)]
mod tests;

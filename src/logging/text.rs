//! `2026-11-21T00:40:11.123456Z  INFO message key=value` for people; `haproxy: ` before what `HAProxy` says.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// One event, one line.
pub(super) struct TextLines;

/// The message as it is, other fields as `key=value`, all escaped.
pub(super) struct EscapedFields;

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut line)?;
        let level = *event.metadata().level();
        if line.has_ansi_escapes() {
            write!(line, " \x1b[{}m{level:>5}\x1b[0m ", colour(level))?;
        } else {
            write!(line, " {level:>5} ")?;
        }
        // Said by another: HAProxy, or a library.
        let target = event.metadata().target();
        if !target.starts_with("proxymgr") {
            write!(line, "{target}: ")?;
        }
        context.field_format().format_fields(line.by_ref(), event)?;
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(fields) =
                span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty())
            {
                write!(line, " {fields}")?;
            }
        }
        writeln!(line)
    }
}

/// ECMA-48's numbers of colours.
fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

impl<'w> FormatFields<'w> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = TextVisitor { writer, first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct TextVisitor<'w> {
    writer: Writer<'w>,
    first: bool,
    result: fmt::Result,
}

impl TextVisitor<'_> {
    fn put(&mut self, field: &Field, value: &str) {
        // `log.target` and its like: what the bridge from the `log` crate adds.
        if self.result.is_err() || field.name().starts_with("log.") {
            return;
        }
        let space = if std::mem::take(&mut self.first) { "" } else { " " };
        self.result = match field.name() {
            "message" => write!(self.writer, "{space}{}", escape(value)),
            name => write!(self.writer, "{space}{name}={}", quote(value)),
        };
    }
}

impl Visit for TextVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

/// Control characters, and those that turn the direction of text or end a line to some readers.
pub(super) fn is_unsafe_to_show(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What is unsafe to show as `\u{1b}` or `\n`.
fn escape(text: &str) -> String {
    text.chars()
        .map(|c| if is_unsafe_to_show(c) { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// The value as one word: as it is, or in quotes when it could be taken for more.
fn quote(text: &str) -> String {
    if is_quoted(text) {
        return escape(text);
    }
    let plain = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '='));
    if plain {
        escape(text)
    } else {
        format!("\"{}\"", escape(&text.replace('\\', "\\\\").replace('"', "\\\"")))
    }
}

/// Whether it is what Debug makes of a text.
fn is_quoted(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut escaped = false;
    for c in inside.chars() {
        match c {
            '"' if !escaped => return false,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    !escaped
}

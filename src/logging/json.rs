//! One JSON object a line for programs: `timestamp`, `level`, `target`, `message`, `fields`.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::text::is_unsafe_to_show;

/// One event, one line.
pub(super) struct JsonLines;

#[derive(Serialize)]
struct Line<'a> {
    /// RFC 3339, UTC, microseconds.
    timestamp: String,
    level: &'a str,
    target: &'a str,
    message: &'a str,
    /// The event's own and those of the spans around it.
    fields: Map<String, Value>,
}

impl<S, N> FormatEvent<S, N> for JsonLines
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
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Map::new();
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            if let Some(formatted) = span.extensions().get::<FormattedFields<N>>() {
                let formatted: Map<String, Value> =
                    serde_json::from_str(formatted).map_err(|_| fmt::Error)?;
                fields.extend(formatted);
            }
        }
        let mut visitor = JsonVisitor { message: String::new(), fields };
        event.record(&mut visitor);
        let metadata = event.metadata();
        let text = serde_json::to_string(&Line {
            timestamp,
            level: metadata.level().as_str(),
            target: metadata.target(),
            message: &visitor.message,
            fields: visitor.fields,
        })
        .map_err(|_| fmt::Error)?;
        // JSON escapes what is below U+0020 only. All others that are unsafe are below U+FFFF and stand in strings.
        for c in text.chars() {
            if is_unsafe_to_show(c) {
                write!(line, "\\u{:04x}", u32::from(c))?;
            } else {
                line.write_char(c)?;
            }
        }
        writeln!(line)
    }
}

struct JsonVisitor {
    message: String,
    fields: Map<String, Value>,
}

impl JsonVisitor {
    fn put(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }

    fn put_text(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, Value::String(text));
        }
    }
}

impl Visit for JsonVisitor {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put_text(field, format!("{value:?}"));
    }
}

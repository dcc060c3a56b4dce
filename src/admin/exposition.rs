//! Metrics as text: `OpenMetrics` 1.0, and Prometheus' older text format 0.0.4 for who does not ask for it.

use std::fmt::Write as _;

/// All samples of one name.
#[derive(Clone, Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Vec<Sample>,
}

/// What the numbers of a family are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

#[derive(Clone, Debug)]
struct Sample {
    suffix: &'static str,
    labels: Vec<(&'static str, String)>,
    value: f64,
}

/// How they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// <https://github.com/OpenObservability/OpenMetrics>, version 1.0.0.
    OpenMetrics,
    /// <https://prometheus.io/docs/instrumenting/exposition_formats>, version 0.0.4.
    Text,
}

impl Format {
    /// The `Content-Type` of it.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// The unit that a name ends with.
fn unit(name: &str) -> Option<&'static str> {
    ["seconds", "bytes"]
        .into_iter()
        .find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
}

impl Family {
    fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind, samples: Vec::new() }
    }

    /// What only grows; `name` is without `_total`.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Counter, name, help)
    }

    /// What goes up and down.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(Kind::Gauge, name, help)
    }

    /// Words that don't change while the program runs; `name` is without `_info`.
    pub fn info(name: &'static str, help: &'static str, labels: &[(&'static str, &str)]) -> Self {
        Self::new(Kind::Info, name, help).with(labels, 1.0)
    }

    /// How often a value was at most each of the bounds, which go up; `sum` is that of all values, `count` how many there are.
    pub fn histogram(
        name: &'static str,
        help: &'static str,
        buckets: impl Iterator<Item = (f64, u64)>,
        sum: f64,
        count: u64,
    ) -> Self {
        let mut family = Self::new(Kind::Histogram, name, help);
        for (bound, at_most) in buckets {
            family.push("_bucket", vec![("le", format!("{bound:?}"))], whole(at_most));
        }
        family.push("_bucket", vec![("le", "+Inf".to_owned())], whole(count));
        family.push("_sum", Vec::new(), sum);
        family.push("_count", Vec::new(), whole(count));
        family
    }

    fn push(&mut self, suffix: &'static str, labels: Vec<(&'static str, String)>, value: f64) {
        self.samples.push(Sample { suffix, labels, value });
    }

    /// Adds a sample.
    pub fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.push(suffix, labels.iter().map(|(name, text)| (*name, (*text).to_owned())).collect(), value);
    }

    /// The same with a sample more.
    #[must_use]
    pub fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        self.add(labels, value);
        self
    }

    fn write(&self, text: &mut String, format: Format) {
        let (name, kind) = match (format, self.kind) {
            (Format::Text, Kind::Counter) => (format!("{}_total", self.name), "counter"),
            (Format::Text, Kind::Info) => (format!("{}_info", self.name), "gauge"),
            (Format::Text, Kind::Gauge | Kind::Histogram) | (Format::OpenMetrics, _) => {
                (self.name.to_owned(), self.kind.word())
            }
        };
        let _ = writeln!(text, "# TYPE {name} {kind}");
        if let Some(unit) = unit(self.name).filter(|_| format == Format::OpenMetrics) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {}", escaped(self.help));
        for Sample { suffix, labels, value } in &self.samples {
            let _ = write!(text, "{}{suffix}", self.name);
            for (index, (label, of)) in labels.iter().enumerate() {
                let before = if index == 0 { '{' } else { ',' };
                let _ = write!(text, "{before}{label}=\"{}\"", escaped(of));
            }
            let end = if labels.is_empty() { "" } else { "}" };
            let _ = writeln!(text, "{end} {value}");
        }
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// All of them.
pub fn encode(families: &[Family], format: Format) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        family.write(&mut text, format);
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A count; beyond 2^53 it is no more exact.
#[expect(clippy::cast_precision_loss, reason = "a sample is a float")]
pub fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> [Family; 5] {
        [
            Family::counter("x_changes", "Changes.")
                .with(&[("kind", "a\"b\\c\nd"), ("result", "done")], 7.0)
                .with(&[("kind", "other"), ("result", "done")], 0.0),
            Family::gauge("x_age_seconds", "Its age.").with(&[], 1.5),
            Family::histogram("x_wait_seconds", "Waits.", [(0.001, 2), (1.0, 3)].into_iter(), 1.25, 4),
            Family::info("x_build", "What runs.", &[("version", "1")]),
            Family::gauge("x_nothing", "Nothing is known of it."),
        ]
    }

    #[test]
    fn openmetrics_names_families_without_their_suffixes_and_has_an_end() {
        let expected = "# TYPE x_changes counter\n# HELP x_changes Changes.\n\
            x_changes_total{kind=\"a\\\"b\\\\c\\nd\",result=\"done\"} 7\nx_changes_total{kind=\"other\",result=\"done\"} 0\n\
            # TYPE x_age_seconds gauge\n# UNIT x_age_seconds seconds\n# HELP x_age_seconds Its age.\nx_age_seconds 1.5\n\
            # TYPE x_wait_seconds histogram\n# UNIT x_wait_seconds seconds\n# HELP x_wait_seconds Waits.\n\
            x_wait_seconds_bucket{le=\"0.001\"} 2\nx_wait_seconds_bucket{le=\"1.0\"} 3\nx_wait_seconds_bucket{le=\"+Inf\"} 4\n\
            x_wait_seconds_sum 1.25\nx_wait_seconds_count 4\n\
            # TYPE x_build info\n# HELP x_build What runs.\nx_build_info{version=\"1\"} 1\n# EOF\n";
        assert_eq!(encode(&families(), Format::OpenMetrics), expected);
    }

    #[test]
    fn the_older_format_names_each_sample() {
        let text = encode(&families(), Format::Text);
        assert!(
            text.contains(
                "# TYPE x_changes_total counter\n# HELP x_changes_total Changes.\nx_changes_total{"
            )
        );
        assert!(
            text.contains("# TYPE x_build_info gauge\n") && !text.contains("# UNIT") && !text.contains("EOF")
        );
    }
}

//! How long things took, counted by bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::admin::exposition::Family;

/// In seconds: from what a command takes to the longest wait for a reload under churn.
const BOUNDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Durations, counted. It is handed over with its bounds: counts by others than those of this version can't be gone on with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Saved")]
pub(super) struct Histogram {
    bounds: Vec<f64>,
    /// Of each bound those above the one before and not above it, and then the rest.
    counts: Vec<u64>,
    sum: f64,
}

#[derive(Deserialize)]
struct Saved {
    bounds: Vec<f64>,
    counts: Vec<u64>,
    sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bounds: BOUNDS.to_vec(), counts: vec![0; BOUNDS.len() + 1], sum: 0.0 }
    }
}

impl From<Saved> for Histogram {
    fn from(saved: Saved) -> Self {
        let new = Self::default();
        let Saved { bounds, counts, sum } = saved;
        if bounds == new.bounds && counts.len() == new.counts.len() && sum.is_finite() {
            Self { bounds, counts, sum }
        } else {
            new
        }
    }
}

impl Histogram {
    pub(super) fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get_mut(place) {
            *count = count.saturating_add(1);
            self.sum += seconds;
        }
    }

    pub(super) fn family(&self, name: &'static str, help: &'static str) -> Family {
        let mut count = 0;
        let mut at_most = Vec::with_capacity(BOUNDS.len());
        for (bound, more) in BOUNDS.iter().zip(&self.counts) {
            count += more;
            at_most.push((*bound, count));
        }
        count += self.counts.last().copied().unwrap_or_default();
        Family::histogram(name, help, at_most.into_iter(), self.sum, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::exposition::{Format, encode};

    #[test]
    fn each_duration_is_counted_once_and_what_was_handed_over_goes_on() {
        let mut histogram = Histogram::default();
        for millis in [1, 7, 8, 100_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let json = serde_json::to_string(&histogram).unwrap();
        let again: Histogram = serde_json::from_str(&json).unwrap();
        assert_eq!(again, histogram);
        let text = encode(&[again.family("x", "X.")], Format::Text);
        for line in [
            "x_bucket{le=\"0.0005\"} 0",
            "x_bucket{le=\"0.001\"} 1",
            "x_bucket{le=\"0.01\"} 3",
            "x_bucket{le=\"60.0\"} 3",
            "x_bucket{le=\"+Inf\"} 4",
            "x_count 4",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line} in {text}");
        }
        let of_others = json.replace("0.0005", "0.0006");
        assert_eq!(serde_json::from_str::<Histogram>(&of_others).unwrap(), Histogram::default());
    }
}

//! Figures and the lines that show them.

use std::time::Duration;

/// What was seen in many rounds.
#[derive(Debug, Default)]
pub struct Figures(Vec<Duration>);

impl Figures {
    pub fn add(&mut self, took: Duration) {
        self.0.push(took);
        self.0.sort_unstable();
    }

    /// The least figure that `percent` of all do not exceed.
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0[rank.saturating_sub(1)]
    }

    /// The median, as so many times that of `other`.
    pub fn times_median_of(&self, other: &Self) -> f64 {
        self.percentile(50).as_secs_f64() / other.percentile(50).as_secs_f64()
    }

    /// A line of the table; `goal` is for the reader.
    pub fn print(&self, what: &str, goal: &str) {
        let [median, p99, max] = [50, 99, 100].map(|percent| milliseconds(self.percentile(percent)));
        println!("{what:<64} {:>6} {median:>9} {p99:>9} {max:>9}  {goal}", self.0.len());
    }
}

pub fn print_head() {
    let [what, rounds, median, p99, max] = ["milliseconds", "rounds", "median", "p99", "max"];
    println!("\n{what:<64} {rounds:>6} {median:>9} {p99:>9} {max:>9}  goal");
}

/// A line for a single figure.
pub fn print_one(what: &str, figure: &str, goal: &str) {
    println!("{what:<64} {figure:>36}  {goal}");
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}

//! Percentiles of durations.

use std::time::Duration;

/// Durations in ascending order.
pub(crate) struct Spread(Vec<Duration>);

impl FromIterator<Duration> for Spread {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut durations: Vec<Duration> = durations.into_iter().collect();
        durations.sort_unstable();
        Self(durations)
    }
}

impl Spread {
    /// In milliseconds; 100 is the longest, and there is none of nothing.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0
            .get(last * percent / 100)
            .map_or(f64::NAN, |duration| duration.as_secs_f64() * 1000.0)
    }
}

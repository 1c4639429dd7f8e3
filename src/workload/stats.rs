//! Latencies, to a hundredth of their size.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// What takes longer counts as an hour.
const HOUR_US: u64 = 3_600_000_000;

/// The percentiles that we report, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Latencies {
    /// How many were measured.
    pub count: u64,
    /// Half were at most this.
    pub p50_ms: f64,
    /// 95 of 100 were at most this.
    pub p95_ms: f64,
    /// 99 of 100 were at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Latencies {
    /// Sorts `samples` into percentiles; all zero if there is none.
    pub fn of(samples: impl IntoIterator<Item = Duration>) -> Self {
        let mut histogram =
            Histogram::<u64>::new_with_max(HOUR_US, 3).expect("an hour to three digits is allowed");
        for sample in samples {
            histogram.saturating_record(u64::try_from(sample.as_micros()).unwrap_or(u64::MAX));
        }
        let ms = |micros: u64| micros as f64 / 1_000.0;
        Self {
            count: histogram.len(),
            p50_ms: ms(histogram.value_at_quantile(0.50)),
            p95_ms: ms(histogram.value_at_quantile(0.95)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_samples() {
        let latencies = Latencies::of((1..=1_000).map(Duration::from_millis));
        assert_eq!(latencies.count, 1_000);
        for (measured, expected) in [
            (latencies.p50_ms, 500.0),
            (latencies.p95_ms, 950.0),
            (latencies.p99_ms, 990.0),
            (latencies.max_ms, 1_000.0),
        ] {
            assert!((measured / expected - 1.0).abs() < 0.002, "{measured} is not {expected}");
        }
        assert_eq!(Latencies::of([]), Latencies::default());
    }
}

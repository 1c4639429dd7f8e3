//! From pairs of arms to an index: pure.

use serde::Serialize;

/// Below this nobody feels a difference: latencies count as this at least.
pub const FLOOR_MS: f64 = 5.0;
/// How sure the interval of a median is to be, where there are enough pairs.
const CONFIDENCE: f64 = 0.9;

/// How many times as long it takes beside somebody.
pub fn ratio(alone_ms: f64, beside_ms: f64) -> f64 {
    beside_ms.max(FLOOR_MS) / alone_ms.max(FLOOR_MS)
}

/// A median, and between which of what was measured the true one is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Median {
    /// The median.
    pub median: f64,
    /// The lower end of its interval.
    pub from: f64,
    /// The upper end.
    pub to: f64,
    /// How likely the true median is in it: 0.94 of five pairs from the least to the greatest.
    pub confidence: f64,
}

impl Median {
    /// Of these; all zero if there is none. The interval is from the k-th least to the k-th greatest with the greatest k of
    /// at least 90 % confidence, or from the least to the greatest.
    pub fn of(measured: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = measured.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return Self { median: 0.0, from: 0.0, to: 0.0, confidence: 0.0 };
        };
        let inner = (1..=last / 2).take_while(|cut| confidence(sorted.len(), *cut) >= CONFIDENCE);
        let cut = inner.last().unwrap_or(0);
        Self {
            median: f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]),
            from: sorted[cut],
            to: sorted[last - cut],
            confidence: confidence(sorted.len(), cut),
        }
    }
}

/// How likely the true median is between the (cut + 1)-th least and the (cut + 1)-th greatest of `n`: each is above it or
/// below with the same chance.
fn confidence(n: usize, cut: usize) -> f64 {
    let (mut chosen, mut outside) = (1.0, 0.0);
    for i in 0..=cut {
        outside += chosen;
        chosen *= (n - i) as f64 / (i + 1) as f64;
    }
    (1.0 - 2.0 * outside / 2.0_f64.powi(n as i32)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_floor_is_no_difference() {
        assert_eq!(ratio(1.0, 4.9), 1.0);
        assert_eq!(ratio(1.0, 10.0), 2.0);
        assert_eq!(ratio(10.0, 1.0), 0.5);
        assert_eq!(ratio(20.0, 30.0), 1.5);
    }

    #[test]
    fn the_interval_is_of_order_statistics() {
        let five = Median::of([3.0, 1.0, 5.0, 2.0, 4.0]);
        assert_eq!((five.median, five.from, five.to, five.confidence), (3.0, 1.0, 5.0, 0.9375));
        // Of ten: the second least and the second greatest, with 1 − 2 · (1 + 10) / 1024.
        let ten = Median::of((1..=10).map(f64::from));
        assert_eq!((ten.median, ten.from, ten.to), (5.5, 2.0, 9.0));
        assert!((ten.confidence - 0.978_515_625).abs() < 1e-12, "{}", ten.confidence);
        assert_eq!(Median::of([7.0]), Median { median: 7.0, from: 7.0, to: 7.0, confidence: 0.0 });
        assert_eq!(Median::of([]).median, 0.0);
    }
}

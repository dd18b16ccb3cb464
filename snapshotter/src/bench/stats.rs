//! Median and spread of a handful of samples.

use serde::Serialize;

/// Five figures of some samples, in their unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    /// Half of the samples lie below.
    pub median: f64,
    /// A quarter lies below.
    pub q1: f64,
    /// A quarter lies above.
    pub q3: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of `samples` in any order; `None` when there are none.
    pub(super) fn of(samples: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        Some(Spread {
            median: quantile(&sorted, 0.5),
            q1: quantile(&sorted, 0.25),
            q3: quantile(&sorted, 0.75),
            min,
            max,
        })
    }
}

/// The value below which `part` of the sorted samples lie, between two of them in proportion
/// (Hyndman and Fan's type 7, as spreadsheets and R do).
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a handful of samples")]
#[expect(clippy::cast_sign_loss, reason = "part is not negative")]
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * (sorted.len() - 1) as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_those_of_r() {
        // quantile(c(1, 2, 4, 8, 16, 32)) in R.
        let spread = Spread::of([32.0, 1.0, 16.0, 2.0, 8.0, 4.0]).expect("six samples");
        assert_eq!(spread, Spread { median: 6.0, q1: 2.5, q3: 14.0, min: 1.0, max: 32.0 });
    }

    #[test]
    fn one_sample_is_all_of_them_and_none_is_none() {
        let same = Spread { median: 3.5, q1: 3.5, q3: 3.5, min: 3.5, max: 3.5 };
        assert_eq!(Spread::of([3.5]), Some(same));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn an_outlier_moves_the_maximum_and_not_the_median() {
        let calm = Spread::of([10.0, 11.0, 12.0, 13.0, 14.0]).expect("five");
        let noisy = Spread::of([10.0, 11.0, 12.0, 13.0, 900.0]).expect("five");
        assert_eq!(calm.median, noisy.median);
        assert_eq!(noisy.max, 900.0);
    }
}

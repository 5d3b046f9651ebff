//! Summaries of many measurements.

/// The median: the middle value, or the mean of the two middle values.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// The smallest value of an ascending list that this percentage of the values does not exceed.
pub(super) fn percentile(ascending: &[f64], percentage: f64) -> Option<f64> {
    let rank = (ascending.len() as f64 * percentage / 100.0).ceil() as usize;
    ascending.get(rank.max(1) - 1).copied()
}

/// Fits the exponent `b` of `y = a x^b` by least squares of the logarithms. `None` if there are
/// fewer than two different `x`.
pub(super) fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let usable = |&&(x, y): &&(f64, f64)| x > 0.0 && y > 0.0;
    let logs: Vec<_> = points
        .iter()
        .filter(usable)
        .map(|(x, y)| (x.ln(), y.ln()))
        .collect();
    let count = logs.len() as f64;
    let mean_x = logs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = logs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let variance: f64 = logs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let covariance: f64 = logs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (variance > 0.0).then(|| covariance / variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn percentiles() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        for (percentage, expected) in [(0.0, 1.0), (50.0, 100.0), (99.0, 198.0), (100.0, 200.0)] {
            assert_eq!(percentile(&values, percentage), Some(expected));
        }
        assert_eq!(percentile(&[3.0], 99.0), Some(3.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn exponents_of_powers() {
        let power = |b: f64| -> Vec<_> {
            [1.0, 2.0, 4.0, 7.0]
                .map(|x: f64| (x, 3.0 * x.powf(b)))
                .to_vec()
        };
        for b in [-1.0, 0.0, 0.5, 2.0] {
            let found = exponent(&power(b)).unwrap();
            assert!((found - b).abs() < 1e-12, "{found} for {b}");
        }
        // Errors by the same factor, first up, then down, down and up, do not change the slope.
        let noisy = [(1.0, 1.1), (2.0, 2.0 / 1.1), (4.0, 4.0 / 1.1), (8.0, 8.8)];
        assert!((exponent(&noisy).unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn an_exponent_needs_two_points() {
        for points in [
            &[][..],
            &[(2.0, 1.0)],
            &[(2.0, 1.0), (2.0, 3.0)],
            &[(1.0, 1.0), (2.0, 0.0)],
        ] {
            assert_eq!(exponent(points), None, "{points:?}");
        }
    }
}

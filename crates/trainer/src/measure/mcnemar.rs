//! McNemar's test: whether two networks differ on the same images by more than chance.

use serde::{Deserialize, Serialize};

/// Fewer discordant images than this are tested exactly, since the approximation is poor for them.
const EXACT_BELOW: u64 = 25;

/// McNemar's test (1947) of two networks' answers for the same images.
///
/// Images that both networks get right, or both get wrong, say nothing about their difference. Of the others, networks
/// that are equally good get about half each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// The number of images that only the first network classifies correctly.
    pub only_first: u64,
    /// The number of images that only the second network classifies correctly.
    pub only_second: u64,
    /// The probability of a difference this large or larger between networks that are equally good.
    pub p_value: f64,
    /// Whether `p_value` comes from the binomial distribution, for fewer than 25 images. For more images it comes from
    /// the χ² distribution, with continuity correction (Edwards, 1948).
    pub is_exact: bool,
}

impl McNemar {
    /// The two-sided test of these numbers of images that only one of the networks classifies correctly.
    ///
    /// ```
    /// let test = trainer::McNemar::of(2, 12);
    /// assert!(test.is_exact && (test.p_value - 0.0129).abs() < 1e-4);
    /// ```
    #[must_use]
    pub fn of(only_first: u64, only_second: u64) -> Self {
        let is_exact = only_first.saturating_add(only_second) < EXACT_BELOW;
        let p_value = match is_exact {
            true => binomial(only_first.min(only_second), only_first + only_second),
            false => chi_squared(only_first as f64, only_second as f64),
        };
        Self {
            only_first,
            only_second,
            p_value,
            is_exact,
        }
    }
}

/// Twice the probability of at most `fewer` heads in `all` tosses, at most 1. `all` is below 25, so every count is exact.
fn binomial(fewer: u64, all: u64) -> f64 {
    // The number of ways to get `heads` heads.
    let mut ways: u64 = 1;
    let mut sum: u64 = 1;
    for heads in 1..=fewer {
        ways = ways * (all - heads + 1) / heads;
        sum += ways;
    }
    let sequences = (1_u64 << all) as f64;
    (2.0 * sum as f64 / sequences).min(1.0)
}

fn chi_squared(one: f64, other: f64) -> f64 {
    let statistic = ((one - other).abs() - 1.0).powi(2) / (one + other);
    // With one degree of freedom, the square root is half-normal.
    libm::erfc((statistic / 2.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Case {
        only_first: u64,
        only_second: u64,
        is_exact: bool,
        p_value: f64,
    }

    #[test]
    fn p_values_are_those_of_statsmodels() {
        let golden = include_str!("../../tests/golden/mcnemar.json");
        let cases: Vec<Case> = serde_json::from_str(golden).unwrap();
        assert!(cases.iter().any(|case| case.is_exact) && cases.iter().any(|case| !case.is_exact));
        for case in cases {
            let Case {
                only_first,
                only_second,
                ..
            } = case;
            let test = McNemar::of(only_first, only_second);
            let error = (test.p_value - case.p_value).abs();
            let name = format!(
                "{only_first} and {only_second}: {} instead of {}",
                test.p_value, case.p_value
            );
            assert!(error <= 1e-12 * case.p_value, "{name}");
            assert_eq!(test.is_exact, case.is_exact, "{name}");
            assert_eq!(McNemar::of(only_second, only_first).p_value, test.p_value);
        }
    }
}

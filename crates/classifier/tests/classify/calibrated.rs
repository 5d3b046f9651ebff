//! Probabilities calibrated by a temperature.

use std::sync::Arc;

use classifier::{Classifier, Error, WeightsMetadata};

use super::{network, noise};

/// A classifier whose weights have this temperature.
fn with_temperature(seed: u64, temperature: Option<f64>) -> Classifier {
    let (network, metadata) = network(seed);
    let metadata = WeightsMetadata {
        temperature,
        ..metadata
    };
    Classifier::new(Arc::new(network), metadata).unwrap()
}

#[test]
fn calibrated_probabilities_are_those_of_the_divided_logits() {
    let image = noise(5, 40, 24);
    let row = |classifier: &Classifier| classifier.probabilities([&image]).unwrap().remove(0);
    // The softmax of the logarithms of probabilities, each divided by the temperature.
    let tempered = |row: &[f32], temperature: f64| -> Vec<f64> {
        let powers = row
            .iter()
            .map(|&p| f64::from(p).ln() / temperature)
            .map(f64::exp);
        let sum: f64 = powers.clone().sum();
        powers.map(|power| power / sum).collect()
    };
    let close = |ours: &[f32], expected: &[f64]| {
        let pairs = ours.iter().zip(expected);
        let differs = pairs
            .filter(|(a, b)| (f64::from(**a) - **b).abs() > 1e-5)
            .count();
        assert_eq!(differs, 0, "{ours:?} {expected:?}");
    };
    let (one, two) = (
        with_temperature(1, Some(2.5)),
        with_temperature(2, Some(0.8)),
    );
    let expected = [tempered(&row(&one), 2.5), tempered(&row(&two), 0.8)];
    let calibrated = [&one, &two].map(|plain| plain.clone().calibrated().unwrap());
    assert_eq!(
        (one.temperature(), calibrated[0].temperature()),
        (None, Some(2.5))
    );
    close(&row(&calibrated[0]), &expected[0]);
    close(&row(&calibrated[1]), &expected[1]);
    // An ensemble averages the calibrated probabilities of its members.
    let both = one.clone().with(two).unwrap().calibrated().unwrap();
    assert_eq!(both.temperature(), None);
    let mean: Vec<f64> = (0..3)
        .map(|class| (expected[0][class] + expected[1][class]) / 2.0)
        .collect();
    close(&row(&both), &mean);
    let plain = row(&one);
    close(
        &row(&one.clone().with_temperature(4.0).unwrap()),
        &tempered(&plain, 4.0),
    );
    for refused in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = one.clone().with_temperature(refused).unwrap_err();
        assert!(
            matches!(error, Error::Temperature(_)) && error.is_usage(),
            "{error}"
        );
    }
    let without = one.with(with_temperature(3, None)).unwrap().calibrated();
    assert!(matches!(without, Err(Error::NoTemperature)), "{without:?}");
    let (network, metadata) = network(1);
    let metadata = WeightsMetadata {
        temperature: Some(0.0),
        ..metadata
    };
    let error = Classifier::new(Arc::new(network), metadata).unwrap_err();
    assert!(matches!(error, Error::Network(_)), "{error}");
}

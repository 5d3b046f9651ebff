//! Logits of images that are fitted already, and of normalised values.

use std::sync::Arc;

use classifier::{Classifier, Error, Image, TtaConfig, softmax};
use mobilenet::{Images, Model};

use super::{SIZE, bits, classifier, golden, network, noise};

/// Images as the networks see them: decoded, resized and at their size already.
fn fitted(classifier: &Classifier) -> Vec<Image> {
    let mut images = vec![classifier.fit(&golden("jpeg.jpeg")).unwrap()];
    images.push(classifier.fit(&noise(7, 90, 40)).unwrap());
    images.extend((0..5).map(|seed| noise(seed, SIZE as u32, SIZE as u32)));
    images
}

#[test]
fn an_image_fitted_alone_is_the_one_among_others() {
    let classifier = classifier(3);
    let (photo, noise) = (golden("jpeg.jpeg"), noise(1, 50, 60));
    let alone = [
        classifier.fit(&photo).unwrap(),
        classifier.fit(&noise).unwrap(),
    ];
    let together = classifier.fitted(&[(&photo).into(), (&noise).into()]);
    assert_eq!(together.unwrap(), alone);
    let error = classifier.fit(b"no image").unwrap_err();
    assert!(matches!(error, Error::Image { count: 1, .. }), "{error}");
}

#[test]
fn logits_of_fitted_images_are_those_of_the_network_bit_for_bit() {
    let (network, metadata) = network(3);
    let table = Arc::new(metadata.normalisation.table());
    let network = Arc::new(network);
    let classifier = Classifier::new(Arc::clone(&network) as Arc<dyn Model>, metadata).unwrap();
    let images = fitted(&classifier);
    let rows = classifier.logits_fitted(&images).unwrap();
    let pixels: Vec<u8> = images.iter().flat_map(Image::to_rgb).collect();
    let shape = (images.len(), SIZE, SIZE, 3);
    let pixels = candle_core::Tensor::from_vec(pixels, shape, &classifier::Device::Cpu).unwrap();
    let images_of_network = Images::bytes(&pixels, table).unwrap();
    let expected = network.infer(&images_of_network).unwrap();
    assert_eq!(bits(&rows), bits(&expected.to_vec2().unwrap()));
    // The same values, normalised outside.
    let values = images_of_network.values().unwrap();
    let values = values.permute((0, 3, 1, 2)).unwrap();
    let values: Vec<f32> = values.flatten_all().unwrap().to_vec1().unwrap();
    let of_values = classifier.logits_of_values(&values, images.len()).unwrap();
    assert_eq!(bits(&of_values), bits(&rows));
    // Each image alone.
    for (index, image) in images.iter().enumerate() {
        let alone = classifier.logits_fitted(std::slice::from_ref(image));
        assert_eq!(bits(&alone.unwrap())[0], bits(&rows)[index]);
        let one = values.len() / images.len();
        let alone = classifier.logits_of_values(&values[index * one..][..one], 1);
        assert_eq!(bits(&alone.unwrap())[0], bits(&rows)[index]);
    }
}

#[test]
fn softmax_of_the_logits_gives_the_probabilities_bit_for_bit() {
    let both = classifier(1)
        .with(classifier(2))
        .unwrap()
        .with_views(TtaConfig::Flip);
    for classifier in [classifier(1), both] {
        let images = fitted(&classifier);
        let rows = classifier.logits_fitted(&images).unwrap();
        let rows: Vec<Vec<f32>> = rows.iter().map(|row| softmax(row)).collect();
        assert_eq!(
            bits(&rows),
            bits(&classifier.probabilities(&images).unwrap())
        );
    }
}

#[test]
fn softmax_of_large_logits_is_finite() {
    assert_eq!(softmax(&[1000.0, 1000.0]), [0.5, 0.5]);
    assert_eq!(softmax(&[0.0, -1000.0]), [1.0, 0.0]);
    let thirds = softmax(&[0.0, 2_f32.ln()]);
    assert!((thirds[1] - 2.0 / 3.0).abs() < 1e-6, "{thirds:?}");
    assert!(softmax(&[]).is_empty());
}

#[test]
fn wrong_sizes_and_lengths_are_refused() {
    let classifier = classifier(1);
    let error = classifier.logits_fitted(&[noise(1, 31, 32)]).unwrap_err();
    assert!(matches!(error, Error::Image { .. }) && error.is_usage());
    let error = classifier.logits_of_values(&[0.0; 7], 1).unwrap_err();
    assert!(matches!(error, Error::Values { found: 7, .. }) && error.is_usage());
    assert!(classifier.logits_fitted(&[]).unwrap().is_empty());
    assert!(classifier.logits_of_values(&[], 0).unwrap().is_empty());
}

#[test]
fn equal_weights_have_equal_fingerprints() {
    let one = classifier(1).fingerprint().unwrap();
    assert_eq!(one, classifier(1).fingerprint().unwrap());
    assert_eq!(one.len(), 64);
    let others = [
        classifier(2),
        classifier(1).with_temperature(2.0).unwrap(),
        classifier(1).with(classifier(2)).unwrap(),
        classifier(1).with_views(TtaConfig::Flip),
    ];
    for other in others {
        assert_ne!(other.fingerprint().unwrap(), one);
    }
}

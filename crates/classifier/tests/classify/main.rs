//! Tests classification of every kind of input, with networks in memory and on disk.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod calibrated;
mod logits;

use std::path::PathBuf;
use std::sync::Arc;

use classifier::{
    Classifier, DecodeOptions, Device, Error, Image, Overrides, TtaConfig, WeightsMetadata,
};
use mnist_data::ImageSize;
use mobilenet::weights::{self, Normalisation};
use mobilenet::{ModelConfig, Network, Variant};
use proptest::prelude::*;

const SIZE: usize = 32;

fn network(seed: u64) -> (Network, WeightsMetadata) {
    let config = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 3)
    };
    let network = Network::new(&config, seed, &Device::Cpu).unwrap();
    // An untrained head would give each class a probability of a third.
    let head = network.parameters().head();
    let enlarge = |values: &mut [f32]| {
        values[head.clone()]
            .iter_mut()
            .for_each(|value| *value *= 2000.0)
    };
    network.parameters().change(enlarge).unwrap();
    let metadata = WeightsMetadata::new(
        config.into(),
        ["cat", "dog", "emu"].map(str::to_owned).to_vec(),
        ImageSize::square(SIZE as u32),
    );
    (network, metadata)
}

fn classifier(seed: u64) -> Classifier {
    let (network, metadata) = network(seed);
    Classifier::new(Arc::new(network), metadata).unwrap()
}

/// The path of one of the committed images.
fn golden(name: &str) -> Vec<u8> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../mnist-data/tests/golden/decode"
    );
    std::fs::read(PathBuf::from(folder).join(name)).unwrap()
}

/// A decoded image of noise with this size.
fn noise(seed: u64, width: u32, height: u32) -> Image {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    let pixels = (0..width * height * 3).map(next).collect();
    Image::from_rgb(width, height, pixels).unwrap()
}

/// The bits of probabilities, so that a comparison distinguishes NaN and the signs of zeros.
fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let bits = |row: &Vec<f32>| row.iter().map(|value| value.to_bits()).collect();
    rows.iter().map(bits).collect()
}

#[test]
fn a_classifier_goes_to_other_threads() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Classifier>();
    is_shared::<Error>();
}

#[test]
fn a_file_answers_as_the_network_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("weights.safetensors");
    let (network, metadata) = network(1);
    weights::save(&path, &network, &metadata).unwrap();
    let opened = Classifier::open(&path).unwrap();
    assert_eq!(opened.metadata(), &metadata);
    assert_eq!(opened.assumed().count(), 0);
    let photo = golden("jpeg.jpeg");
    let ranked = opened.classify(&photo).unwrap();
    let mut names: Vec<&str> = ranked.iter().map(|(class, _)| *class).collect();
    assert!(ranked.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    assert!((ranked.iter().map(|(_, p)| p).sum::<f32>() - 1.0).abs() < 1e-6);
    names.sort_unstable();
    assert_eq!(names, ["cat", "dog", "emu"]);
    assert_eq!(
        ranked,
        Classifier::new(Arc::new(network), metadata)
            .unwrap()
            .classify(&photo)
            .unwrap()
    );
    // Each class has the probability of its own output.
    let row = &opened.probabilities([&photo]).unwrap()[0];
    for (class, probability) in ranked {
        let output = opened.class_names().iter().position(|name| name == class);
        assert_eq!(row[output.unwrap()], probability);
    }
}

#[test]
fn a_file_that_says_nothing_of_itself_says_what_is_assumed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bare.safetensors");
    let (network, _) = network(1);
    let tensors = network.parameters().named().unwrap().into_iter().collect();
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let bare = Classifier::open(&path).unwrap();
    assert_eq!(bare.class_names(), ["0", "1", "2"]);
    assert!(!bare.metadata().class_order.is_named());
    assert!(bare.assumed().any(|assumed| assumed.contains("224")));
    let overrides = Overrides {
        image_size: Some(ImageSize::square(SIZE as u32)),
        class_names: Some(["cat", "dog", "emu"].map(str::to_owned).to_vec()),
        ..Overrides::default()
    };
    let told = Classifier::open_on(&path, overrides, &Device::Cpu).unwrap();
    let photo = golden("rgb.png");
    // The file has no framing, so the classifier's assumed framing is used.
    let metadata = WeightsMetadata {
        framing: told.metadata().framing,
        ..classifier(1).metadata().clone()
    };
    let expected = Classifier::new(Arc::new(network), metadata).unwrap();
    assert_eq!(
        told.classify(&photo).unwrap(),
        expected.classify(&photo).unwrap()
    );
    let missing = Classifier::open(dir.path().join("none.safetensors")).unwrap_err();
    assert!(
        matches!(missing, Error::Network(_)) && !missing.is_usage(),
        "{missing}"
    );
}

#[test]
fn bytes_images_and_pixels_give_the_same_answers() {
    let classifier = classifier(2);
    let files = [
        "jpeg.jpeg",
        "rgb.png",
        "gray.png",
        "jpeg_gray.jpg",
        "tiff.tiff",
    ];
    let bytes = files.map(golden);
    let images = bytes
        .each_ref()
        .map(|bytes| Image::decode(bytes, "".as_ref()).unwrap());
    assert!(images.iter().any(|image| image.channels() == 1));
    let expected = classifier.classify_all(&bytes).unwrap();
    // All neighbouring images differ, so a result for the wrong image would be noticed.
    assert!(expected.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(classifier.classify_all(&images).unwrap(), expected);
    let borrowed = bytes.each_ref().map(|bytes| &bytes[..]);
    assert_eq!(classifier.classify_all(borrowed).unwrap(), expected);
    for (image, expected) in images.iter().zip(expected) {
        let (height, width) = (image.height() as usize, image.width() as usize);
        let pixels = image.to_rgb().repeat(2);
        let answers = classifier
            .classify_pixels(&pixels, [2, height, width, 3])
            .unwrap();
        assert_eq!(answers, [expected.clone(), expected]);
    }
    assert!(
        classifier
            .classify_all::<[&Image; 0]>([])
            .unwrap()
            .is_empty()
    );
    assert!(
        classifier
            .classify_pixels(&[], [0, 4, 4, 3])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn the_network_sees_the_bytes_through_the_files_own_figures() {
    let (first, mut metadata) = network(3);
    metadata.normalisation = Normalisation {
        mean: [0.5; 3],
        std: [0.25; 3],
    };
    let ours = Classifier::new(Arc::new(first), metadata.clone()).unwrap();
    let image = noise(1, SIZE as u32, SIZE as u32);
    let values = image
        .to_rgb()
        .iter()
        .map(|&byte| (f32::from(byte) / 255.0 - 0.5) / 0.25)
        .collect();
    let pixels = candle_core::Tensor::from_vec(values, (1, SIZE, SIZE, 3), &Device::Cpu).unwrap();
    let images = mobilenet::Images::normalised(&pixels).unwrap();
    let (second, _) = network(3);
    let logits = mobilenet::Model::infer(&second, &images)
        .unwrap()
        .to_vec2::<f32>()
        .unwrap();
    // The plain formula of the softmax, in f64.
    let exp: Vec<f64> = logits[0]
        .iter()
        .map(|&logit| f64::from(logit).exp())
        .collect();
    let sum: f64 = exp.iter().sum();
    for (ours, exp) in ours.probabilities([&image]).unwrap()[0].iter().zip(exp) {
        assert!((f64::from(*ours) - exp / sum).abs() < 1e-6);
    }
}

#[test]
fn a_bad_image_is_named_by_its_place() {
    let classifier = classifier(1);
    let good = golden("rgb.png");
    let cut = golden("jpeg.jpeg")[..700].to_vec();
    let text = b"no image at all".to_vec();
    // A PNG of 100,000 × 100,000 pixels.
    let mut huge = good.clone();
    huge[16..24].copy_from_slice(&[0, 1, 0x86, 0xA0, 0, 1, 0x86, 0xA0]);
    for bad in [Vec::new(), cut.clone(), text, huge] {
        let mut images = vec![good.clone(); 70];
        images[66] = bad.clone();
        images[68] = Vec::new();
        let error = classifier.classify_all(&images).unwrap_err();
        let Error::Image { index, count, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((*index, *count), (66, 70));
        assert!(error.is_usage());
        let text = error.to_string();
        assert!(
            text.starts_with("image 67 of 70: ") && !text.contains("file"),
            "{text}"
        );
        let alone = classifier.classify(&bad).unwrap_err();
        let Error::Image {
            index: 0,
            count: 1,
            problem,
        } = &alone
        else {
            panic!("{alone:?}")
        };
        assert_eq!(alone.to_string(), format!("the image: {problem}"));
    }
    let accepting = classifier.with_decoding(DecodeOptions {
        truncated: mnist_data::TruncatedImages::Accept,
        ..DecodeOptions::default()
    });
    accepting.classify(&cut).unwrap();
}

#[test]
fn pixels_fill_their_shape() {
    let classifier = classifier(1);
    let pixels = [0; 96];
    classifier.classify_pixels(&pixels, [2, 4, 4, 3]).unwrap();
    for shape in [
        [1, 4, 4, 3],
        [3, 4, 4, 3],
        [2, 4, 12, 1],
        [6, 4, 4, 1],
        [0, 4, 4, 3],
        [usize::MAX, usize::MAX, usize::MAX, 3],
    ] {
        let error = classifier.classify_pixels(&pixels, shape).unwrap_err();
        assert!(
            matches!(error, Error::Pixels { found: 96, .. }),
            "{error:?}"
        );
        assert!(error.is_usage());
    }
    for shape in [[2, 0, 4, 3], [2, 4, 0, 3]] {
        let error = classifier.classify_pixels(&[], shape).unwrap_err();
        assert!(matches!(error, Error::Pixels { found: 0, .. }), "{error:?}");
    }
}

#[test]
fn networks_and_views_answer_with_their_mean() {
    let (one, other) = (classifier(1), classifier(2));
    let both = one.clone().with(other.clone()).unwrap();
    let image = noise(5, 40, 24);
    let row = |classifier: &Classifier, image: &Image| {
        classifier.probabilities([image]).unwrap().remove(0)
    };
    let means = |a: Vec<f32>, b: Vec<f32>, mean: Vec<f32>| {
        for ((a, b), mean) in a.iter().zip(&b).zip(mean) {
            assert!(((a + b) / 2.0 - mean).abs() < 1e-6);
        }
        assert!(
            a.iter().zip(&b).any(|(a, b)| (a - b).abs() > 1e-3),
            "{a:?} {b:?}"
        );
    };
    means(row(&one, &image), row(&other, &image), row(&both, &image));
    let small = image.resized(SIZE as u32).unwrap();
    let [_, flip] = TtaConfig::Flip.views() else {
        panic!("two views")
    };
    let flipping = one.clone().with_views(TtaConfig::Flip);
    means(
        row(&one, &small),
        row(&one, &flip.of(&small)),
        row(&flipping, &image),
    );
    let (network, mut metadata) = network(1);
    metadata.image_size = ImageSize::square(64);
    let larger = Classifier::new(Arc::new(network), metadata).unwrap();
    let error = one.with(larger).unwrap_err();
    assert!(matches!(error, Error::Ensemble(_)) && !error.is_usage());
}

#[test]
fn metadata_of_another_network_is_refused() {
    let (network, mut metadata) = network(1);
    let network: Arc<dyn classifier::Model> = Arc::new(network);
    metadata.class_names.pop();
    let error = Classifier::new(Arc::clone(&network), metadata.clone()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::ClassNames {
                names: 2,
                outputs: 3
            }
        ),
        "{error}"
    );
    metadata.class_names.push("emu".to_owned());
    metadata.image_size = ImageSize::square(0);
    let error = Classifier::new(network, metadata).unwrap_err();
    assert!(matches!(error, Error::Network(_)), "{error}");
}

#[test]
fn weights_that_diverged_give_an_error_that_names_the_image() {
    let (network, metadata) = network(1);
    let enlarge = |values: &mut [f32]| values.iter_mut().for_each(|value| *value *= 1e30);
    network.parameters().change(enlarge).unwrap();
    let classifier = Classifier::new(Arc::new(network), metadata).unwrap();
    let error = classifier.classify(&noise(1, 8, 8)).unwrap_err();
    let Error::NonFiniteAnswer { image, logit } = error else {
        panic!("{error}")
    };
    assert!(image == "the image" && !logit.is_finite());
}

#[test]
fn threads_that_ask_at_once_get_the_same_bits() {
    let images: Vec<Image> = (0..6).map(|i| noise(i, 20 + i as u32, 33)).collect();
    let expected = bits(&classifier(4).probabilities(&images).unwrap());
    // The first calls prepare the network, and they are concurrent too.
    let shared = classifier(4);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (shared, images, expected) = (&shared, &images, &expected);
            scope.spawn(move || {
                for round in 0..4 {
                    let start = (thread + round) % images.len();
                    let rows = shared.probabilities(&images[start..]).unwrap();
                    assert_eq!(bits(&rows), expected[start..]);
                }
            });
        }
    });
    // The results are also the same in a pool of another size, and from inside a pool.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let inside = pool
        .install(|| classifier(4).probabilities(&images))
        .unwrap();
    assert_eq!(bits(&inside), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn permuted_images_have_permuted_answers(
        order in Just((0..9_usize).collect::<Vec<_>>()).prop_shuffle(),
        seed in any::<u64>(),
    ) {
        static SHARED: std::sync::OnceLock<Classifier> = std::sync::OnceLock::new();
        let shared = SHARED.get_or_init(|| classifier(6).with_views(TtaConfig::Shifts));
        let images: Vec<Image> = (0..9)
            .map(|i| noise(seed.wrapping_add(i), 5 + i as u32 * 4, 30))
            .collect();
        let rows = bits(&shared.probabilities(&images).unwrap());
        let permuted = bits(&shared.probabilities(order.iter().map(|&i| &images[i])).unwrap());
        prop_assert!((1..9).all(|i| rows[i] != rows[0]));
        prop_assert_eq!(permuted, order.iter().map(|&i| rows[i].clone()).collect::<Vec<_>>());
    }
}

//! Tests that a classifier gives the same results for bytes as for images from a folder.

use classifier::Classifier;
use mnist_data::{NoProgress, Sample, TtaConfig};
use trainer::InferenceOptions;

use crate::scene::{Scene, predictions};

fn options(tta: TtaConfig) -> InferenceOptions {
    InferenceOptions {
        // The last batch is not full.
        batch_size: 7,
        tta,
        ..InferenceOptions::default()
    }
}

/// The probabilities for images on disk, from a loader and from their bytes.
fn both_ways(classifier: &Classifier, images: &[Sample], tta: TtaConfig) -> [Vec<Vec<u32>>; 2] {
    let bits = |row: Vec<f32>| row.into_iter().map(f32::to_bits).collect();
    let loaded = predictions(classifier, images.to_vec(), options(tta)).into_iter();
    let bytes: Vec<Vec<u8>> = images
        .iter()
        .map(|image| std::fs::read(image.path()).unwrap())
        .collect();
    let asked = classifier
        .clone()
        .with_views(tta)
        .probabilities(&bytes)
        .unwrap();
    [
        loaded
            .map(|prediction| bits(prediction.probabilities))
            .collect(),
        asked.into_iter().map(bits).collect(),
    ]
}

#[test]
fn bytes_give_the_bits_that_a_folder_gives() {
    // Images of 28 pixels, so that they are resized.
    let mut scene = Scene::digits();
    scene.config.train.epochs = 2;
    let (first, _) = scene.run();
    scene.config.train.epochs = 1;
    scene.config.train.seed = 3;
    let (second, _) = scene.run();
    let (one, other) = (first.classifier().unwrap(), second.classifier().unwrap());
    let ensemble = one.clone().with(other).unwrap();
    let test = scene.root().join("test");
    let images = mnist_data::list_images(&test).unwrap();
    let few = &images[..48];
    let [expected, _] = both_ways(&one, few, TtaConfig::None);
    for classifier in [&one, &ensemble] {
        for tta in [TtaConfig::None, TtaConfig::Flip, TtaConfig::Shifts] {
            let [loaded, asked] = both_ways(classifier, few, tta);
            assert_eq!(asked, loaded, "{tta:?}");
            // This checks the test itself: another network or view gives other bits.
            assert_eq!(
                asked == expected,
                std::ptr::eq(classifier, &one) && tta == TtaConfig::None
            );
        }
    }
    // The weights are read from their file. Single answers give the same confusion matrix as an evaluation.
    let read = Classifier::open(&first.best.unwrap().weights).unwrap();
    assert_eq!(
        both_ways(&read, few, TtaConfig::None),
        [expected.clone(), expected]
    );
    let evaluation =
        trainer::evaluate(&read, &test, options(TtaConfig::None), &NoProgress).unwrap();
    let mut confusion = vec![vec![0; 10]; 10];
    for image in &images {
        let (class, _) = read
            .classify(&std::fs::read(image.path()).unwrap())
            .unwrap()[0];
        let place = |name: &str| {
            read.class_names()
                .iter()
                .position(|class| class == name)
                .unwrap()
        };
        confusion[place(image.id().split('/').next().unwrap())][place(class)] += 1;
    }
    assert_eq!(evaluation.confusion, confusion);
}

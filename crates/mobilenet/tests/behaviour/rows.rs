//! Tests that classifier rows are loaded by class name.

use std::path::PathBuf;

use candle_core::Device;
use mobilenet::weights::{Overrides, Source, WeightsMetadata, save_as};
use mobilenet::{
    ClassOrder, ClassRows, Error, HeadKind, ImageSize, LoadReport, ModelConfig, Network, Scheme,
    Variant,
};
use tempfile::TempDir;

use crate::network;

const PETS: [&str; 3] = ["bear", "cat", "dog"];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A network for bears, cats and dogs, and its file.
struct Trained {
    _folder: TempDir,
    path: PathBuf,
    network: Network,
}

impl Trained {
    fn new(config: &ModelConfig, scheme: Scheme, order: ClassOrder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pets.safetensors");
        let network = Network::new(config, 8, &Device::Cpu).unwrap();
        // Initial biases are all equal, so they are replaced by different values.
        let ordinals = |values: &mut [f32]| {
            let first = values.len() - 3;
            values[first..].copy_from_slice(&[1.0, 2.0, 3.0]);
        };
        network.parameters().change(ordinals).unwrap();
        let metadata = WeightsMetadata {
            class_order: order,
            ..WeightsMetadata::new(
                config.clone().into(),
                match order {
                    ClassOrder::Named => names(&PETS),
                    _ => names(&["0", "1", "2"]),
                },
                ImageSize::square(64),
            )
        };
        save_as(&path, &network, &metadata, scheme).unwrap();
        Self {
            _folder: folder,
            path,
            network,
        }
    }

    fn load(&self, given: Overrides, classes: &[&str]) -> (Network, LoadReport) {
        let mut network = self.fresh(classes.len());
        let mut source = Source::open(&self.path, given).unwrap();
        let report = source.load_classes(&mut network, &names(classes));
        (network, report.unwrap())
    }

    /// A new network with this many classes.
    fn fresh(&self, classes: usize) -> Network {
        network(&ModelConfig {
            classes,
            ..self.network.config().clone()
        })
    }
}

/// For each class, the row of the classifier followed by the bias.
fn rows(network: &Network) -> Vec<Vec<f32>> {
    let named = network.parameters().named().unwrap();
    let tensor = |leaf: &str| {
        let mut all = named.iter().rev();
        let found = all.find(|(name, _)| name.starts_with("classifier.") && name.ends_with(leaf));
        found.unwrap().1
    };
    let weight = tensor(".weight").to_vec2::<f32>().unwrap().into_iter();
    let bias = tensor(".bias").to_vec1::<f32>().unwrap();
    weight
        .zip(bias)
        .map(|(row, bias)| [row, vec![bias]].concat())
        .collect()
}

/// Checks each class's row. It must be the trained network's row with the index in `sources`, or
/// the initial row for `None`.
fn expect(trained: &Trained, network: &Network, sources: &[Option<usize>]) {
    let (theirs, fresh) = (rows(&trained.network), rows(&trained.fresh(sources.len())));
    for (class, source) in sources.iter().enumerate() {
        let expected = source.map_or(&fresh[class], |row| &theirs[row]);
        assert!(
            rows(network)[class] == *expected,
            "class {class} of {sources:?}"
        );
    }
    let backbone = network.parameters().backbone();
    let values = [network, &trained.network].map(crate::arena);
    assert!(values[0][backbone.clone()] == values[1][backbone]);
}

#[test]
fn classes_keep_their_rows_in_any_order_and_number() {
    let linear = ModelConfig {
        head: HeadKind::Linear,
        ..crate::config()
    };
    let v2 = ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::V2, 3)
    };
    for (config, scheme) in [
        (crate::config(), Scheme::Torchvision),
        (linear, Scheme::EasyClassification),
        (v2, Scheme::Torchvision),
    ] {
        let trained = Trained::new(&config, scheme, ClassOrder::Named);
        for (classes, sources, kept, fresh, dropped) in [
            (
                &["bear", "cat", "dog"][..],
                &[Some(0), Some(1), Some(2)][..],
                "bear cat dog",
                "",
                "",
            ),
            (
                &["dog", "bear", "cat"],
                &[Some(2), Some(0), Some(1)],
                "dog bear cat",
                "",
                "",
            ),
            (
                &["cat", "dog", "fox"],
                &[Some(1), Some(2), None],
                "cat dog",
                "fox",
                "bear",
            ),
            (
                &["fox", "dog", "cat", "ape"],
                &[None, Some(2), Some(1), None],
                "dog cat",
                "fox ape",
                "bear",
            ),
            (&["dog", "cat"], &[Some(2), Some(1)], "dog cat", "", "bear"),
        ] {
            let (network, report) = trained.load(Overrides::default(), classes);
            expect(&trained, &network, sources);
            let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
            let rows = ClassRows {
                kept: list(kept),
                fresh: list(fresh),
                dropped: list(dropped),
            };
            assert_eq!(report.classes, Some(rows), "{report}");
            assert!(
                !report.new_classifier && report.assumed.is_empty(),
                "{report}"
            );
            assert_eq!(report.is_complete(), classes.len() == 3, "{report}");
        }
        let (network, report) = trained.load(Overrides::default(), &["ape", "fox", "hen"]);
        expect(&trained, &network, &[None; 3]);
        assert!(report.new_classifier, "{report}");
        let last = &network.parameters().segments().last().unwrap().name;
        assert!(!report.matched.contains(last), "{report}");
    }
}

#[test]
fn the_report_lists_classes_with_initial_values() {
    let trained = Trained::new(&crate::config(), Scheme::Torchvision, ClassOrder::Named);
    let (_, report) = trained.load(Overrides::default(), &["cat", "dog", "fox"]);
    let line = "classifier: 2 of 3 classes keep their weights: cat, dog; fox starts from initial values; bear is dropped";
    assert!(
        report.to_string().lines().any(|own| own == line),
        "{report}"
    );
}

/// The order of the file's rows then comes from the overrides, or is an assumption that the report
/// lists.
#[test]
fn a_file_without_names_keeps_its_rows_where_their_number_fits() {
    let config = crate::config();
    let trained = Trained::new(&config, Scheme::Torchvision, ClassOrder::Numbered);
    let (network, report) = trained.load(Overrides::default(), &["dog", "cat", "bear"]);
    expect(&trained, &network, &[Some(0), Some(1), Some(2)]);
    assert_eq!(report.classes, None);
    let [assumed] = &report.assumed[..] else {
        panic!("{report}");
    };
    assert!(assumed.contains("dog, cat, bear"), "{assumed}");
    let (network, report) = trained.load(Overrides::default(), &["dog", "cat"]);
    expect(&trained, &network, &[None; 2]);
    assert!(
        report.new_classifier && report.assumed.is_empty(),
        "{report}"
    );
    let given = |classes: &[&str]| Overrides {
        class_names: Some(names(classes)),
        ..Overrides::default()
    };
    let (network, report) = trained.load(given(&PETS), &["dog", "cat"]);
    expect(&trained, &network, &[Some(2), Some(1)]);
    assert!(
        !report.new_classifier && report.assumed.is_empty(),
        "{report}"
    );

    let mut source = Source::open(&trained.path, given(&PETS[..2])).unwrap();
    let error = source.load_classes(&mut trained.fresh(2), &names(&PETS[..2]));
    assert!(matches!(error, Err(Error::Format { .. })));
    let error = source.load_classes(&mut trained.fresh(2), &names(&PETS));
    assert!(matches!(error, Err(Error::Length { .. })));
}

//! Tests the class order of outputs, for weights without class names and for heads with other classes.

use classifier::Classifier;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use mnist_data::{
    Compression, IdxImages, IdxLabels, NoProgress, UnpackOptions, Validation, list_images,
};
use mobilenet::weights::{self, Loaded, Normalisation, Overrides};
use mobilenet::{ClassOrder, HeadKind, Images, Model, ModelConfig, Network, Variant};
use trainer::config::DistillationConfig;
use trainer::{Error, Evaluation, Event, InferenceOptions};

use crate::scene::{SIDE, Scene, arena};

/// The names `0` to `11`, sorted as numbers and as text.
const BY_VALUE: [&str; 12] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"];
const AS_TEXT: [&str; 12] = ["0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"];

/// Class folders of one image each, and a weights file without class names. Its network recognises the images.
struct Known {
    dir: tempfile::TempDir,
}

impl Known {
    /// The name of the class folder for each output.
    fn new(folders: &[&str]) -> Self {
        let known = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let count = folders.len();
        let pixels: Vec<u8> = noise(count * SIDE * SIDE);
        for split in ["train", "t10k"] {
            let path = |what: &str| known.dir.path().join(format!("{split}-{what}-ubyte"));
            let images = IdxImages::new(SIDE, SIDE, pixels.repeat(2)).unwrap();
            let labels = (0..count as u8).collect::<Vec<_>>().repeat(2);
            let plain = Compression::None;
            images.write(&path("images-idx3"), plain).unwrap();
            let labels = IdxLabels::new(labels);
            labels.write(&path("labels-idx1"), plain).unwrap();
        }
        let options = UnpackOptions {
            validation: Validation {
                count,
                ..Validation::default()
            },
            class_names: Some(folders.iter().map(|&name| name.to_owned()).collect()),
        };
        let images = known.dir.path().join("images");
        mnist_data::unpack(known.dir.path(), &images, &options, &NoProgress).unwrap();
        let network = knowing(&pixels, count);
        let tensors = network.parameters().named().unwrap().into_iter().collect();
        candle_core::safetensors::save(&tensors, known.file()).unwrap();
        known
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("bare.safetensors")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("images/test")
    }

    fn load(&self, names: Option<&[&str]>) -> Loaded<Box<dyn Model>> {
        let given = Overrides {
            image_size: Some(mobilenet::ImageSize::square(SIDE as u32)),
            // The images are noise, so a crop would change the result.
            fit: Some(mobilenet::Fit::Squash),
            class_names: names.map(|names| names.iter().map(|&name| name.to_owned()).collect()),
            ..Overrides::default()
        };
        weights::load_model(&self.file(), given, &Device::Cpu).unwrap()
    }

    fn evaluate(&self, names: Option<&[&str]>) -> trainer::Result<Evaluation> {
        let loaded = self.load(names);
        evaluate(&classifier(loaded), &self.data())
    }
}

fn classifier(loaded: Loaded<Box<dyn Model>>) -> Classifier {
    Classifier::new(Arc::from(loaded.network), loaded.metadata).unwrap()
}

fn evaluate(classifier: &Classifier, data: &Path) -> trainer::Result<Evaluation> {
    trainer::evaluate(classifier, data, InferenceOptions::default(), &NoProgress)
}

fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(next).collect()
}

/// A network that finds the nearest of `count` images by features.
fn knowing(images: &[u8], count: usize) -> Network {
    let config = ModelConfig {
        width: 0.25,
        head: HeadKind::Linear,
        ..ModelConfig::new(Variant::SMALL, count)
    };
    let network = Network::new(&config, 3, &Device::Cpu).unwrap();
    let pixels: Vec<u8> = images.iter().flat_map(|&grey| [grey; 3]).collect();
    let pixels = Tensor::from_vec(pixels, (count, SIDE, SIDE, 3), &Device::Cpu).unwrap();
    let table = Arc::new(Normalisation::IMAGENET.table());
    let features = network.features(&Images::bytes(&pixels, table).unwrap());
    let features = features.unwrap().to_vec2::<f32>().unwrap();
    let mean: Vec<f32> = (0..features[0].len())
        .map(|at| features.iter().map(|own| own[at]).sum::<f32>() / count as f32)
        .collect();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let centred: Vec<Vec<f32>> = features
        .iter()
        .map(|own| {
            own.iter()
                .zip(&mean)
                .map(|(own, mean)| own - mean)
                .collect()
        })
        .collect();
    let scale = 40.0 * count as f32 / centred.iter().map(|own| dot(own, own)).sum::<f32>();
    let weight = centred.iter().flatten().map(|value| scale * value);
    let bias = (centred.iter()).map(|own| -scale * (dot(own, &mean) + dot(own, own) / 2.0));
    let head: Vec<f32> = weight.chain(bias).collect();
    let parameters = network.parameters();
    let place = parameters.head();
    assert_eq!(place.len(), head.len());
    parameters
        .change(|values| values[place.clone()].copy_from_slice(&head))
        .unwrap();
    network
}

#[test]
fn outputs_without_names_are_the_classes_sorted_as_text() {
    for folders in [&AS_TEXT[..], &["cat", "dog", "emu"], &["1", "2", "3"]] {
        let known = Known::new(folders);
        let result = known.evaluate(None).unwrap();
        assert_eq!(
            (result.accuracy, result.images),
            (1.0, 2 * folders.len() as u64)
        );
        assert_eq!(result.class_order, ClassOrder::SortedNames);
        let names: Vec<&str> = result.classes.iter().map(|class| &class.name[..]).collect();
        assert_eq!(names, folders);
    }
    // Evaluation gives the same for a CSV file, and for a rewritten weights file.
    let known = Known::new(&AS_TEXT);
    let rows = list_images(&known.data())
        .unwrap()
        .into_iter()
        .map(|image| {
            let id = image.id();
            let class = id.split('/').next().unwrap().to_owned();
            format!("test/{id},{class}\n")
        });
    let csv = known.dir.path().join("images/test.csv");
    fs::write(&csv, "path,label\n".to_owned() + &rows.collect::<String>()).unwrap();
    let Loaded {
        network, metadata, ..
    } = known.load(None);
    assert_eq!(metadata.class_order, ClassOrder::Numbered);
    weights::save(&known.file(), network.as_ref(), &metadata).unwrap();
    let again = known.load(None);
    assert_eq!(again.metadata, metadata);
    let result = evaluate(&classifier(again), &csv).unwrap();
    assert_eq!(result, known.evaluate(None).unwrap());
}

#[test]
fn labels_may_refute_that_order_and_names_settle_it() {
    let known = Known::new(&BY_VALUE);
    let Err(Error::ClassOrder { as_text, other, .. }) = known.evaluate(None) else {
        panic!("it is taken for the order as text");
    };
    assert!((as_text - 2.0 / 12.0).abs() < 1e-12, "{as_text}");
    assert!((other - 1.0).abs() < 1e-12, "{other}");
    let result = known.evaluate(Some(&BY_VALUE)).unwrap();
    assert_eq!(
        (result.accuracy, result.class_order),
        (1.0, ClassOrder::Named)
    );
}

#[test]
fn nothing_is_guessed_where_the_numbers_of_classes_differ() {
    let known = Known::new(&AS_TEXT);
    fs::remove_dir_all(known.data().join("11")).unwrap();
    let error = known.evaluate(None).unwrap_err();
    assert!(
        matches!(
            error,
            Error::UnnamedClasses {
                found: 11,
                outputs: 12,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(known.evaluate(Some(&AS_TEXT)).unwrap().accuracy, 1.0);
    // Single digits have the same order as numbers and as text.
    let known = Known::new(&BY_VALUE[..10]);
    fs::remove_dir_all(known.data().join("3")).unwrap();
    let result = known.evaluate(None).unwrap();
    assert_eq!(
        (result.accuracy, result.class_order),
        (1.0, ClassOrder::Numbered)
    );
}

#[test]
fn averages_leave_out_a_class_that_does_not_occur() {
    let names = ["cat", "dog", "emu"];
    let known = Known::new(&names);
    fs::remove_dir_all(known.data().join("emu")).unwrap();
    let result = known.evaluate(Some(&names)).unwrap();
    let averages = [result.macro_precision, result.macro_recall, result.macro_f1];
    assert_eq!(averages, [1.0; 3]);
    assert_eq!(result.classes_left_out, ["emu"]);
    assert_eq!((result.classes.len(), result.classes[2].support), (3, 0));
}

#[test]
fn a_network_without_names_answers_only_with_its_like() {
    let known = Known::new(&BY_VALUE[..10]);
    let [bare, named] = [None, Some(&BY_VALUE[..10])].map(|names| classifier(known.load(names)));
    assert!(bare.clone().with(bare.clone()).is_ok());
    let mixed = bare.with(named);
    assert!(matches!(mixed, Err(classifier::Error::Ensemble(_))));
}

#[test]
fn a_run_goes_on_with_each_class_under_its_name() {
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    let (first, _) = scene.run();
    let file = first.best.as_ref().unwrap().weights.clone();
    let rows = |network: &dyn Model| -> Vec<Vec<f32>> {
        let named = network.parameters().named().unwrap();
        named["classifier.3.weight"].to_vec2().unwrap()
    };
    let theirs = rows(first.network.as_ref());
    let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    scene.config.model.pretrained = Some(file.clone());
    scene.config.train.learning_rate = 1e-12;
    scene.config.train.seed = 9;
    // The classes are in the other order,
    let names = scene.root().join("names.txt");
    fs::write(&names, "1\n0\n").unwrap();
    scene.config.data.class_names = Some(names);
    let (second, _) = scene.run();
    let ours = rows(second.network.as_ref());
    assert!(same(&ours[0], &theirs[1]) && same(&ours[1], &theirs[0]));
    // and one has a different name.
    scene.config.data.class_names = None;
    for split in ["train", "val", "test"] {
        let folder = scene.root().join(split);
        fs::rename(folder.join("0"), folder.join("zero")).unwrap();
    }
    let (third, recorder) = scene.run();
    let ours = rows(third.network.as_ref());
    assert!(same(&ours[0], &theirs[1]) && !same(&ours[1], &theirs[0]));
    let loaded = recorder.events.iter().find_map(|event| match event {
        Event::PretrainedLoaded(report) => report.classes.clone(),
        _ => None,
    });
    let loaded = loaded.unwrap();
    assert_eq!(loaded.kept, ["1"]);
    assert_eq!(loaded.fresh, ["zero"]);
    assert_eq!(loaded.dropped, ["0"]);
}

/// The classes of a teacher without names are assumed in the student's order.
#[test]
fn a_teacher_without_names_knows_the_classes_in_their_order() {
    let known = Known::new(&["cat", "dog"]);
    let mut scene = Scene::new();
    scene.config.train.epochs = 1;
    let alone = arena(scene.run().0.network.as_ref());
    let teach = |scene: &mut Scene| {
        scene.config.distillation = Some(DistillationConfig::new(known.file()));
        arena(scene.run().0.network.as_ref())
    };
    let taught = teach(&mut scene);
    assert!(taught != alone);
    // The order is also assumed if the file has metadata without class names.
    let bare = known.load(None);
    weights::save(&known.file(), bare.network.as_ref(), &bare.metadata).unwrap();
    teach(&mut scene);
    let named = known.load(Some(&["cat", "dog"]));
    weights::save(&known.file(), named.network.as_ref(), &named.metadata).unwrap();
    assert!(scene.error().to_string().contains("distillation.teacher"));
}

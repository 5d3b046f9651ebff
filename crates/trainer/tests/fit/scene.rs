//! A folder and settings for test runs that take seconds.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use classifier::Classifier;
use mnist_data::{
    Compression, IdxImages, IdxLabels, NoProgress, Sample, UnpackOptions, Validation,
};
use trainer::{
    Error, EventSink, InferenceOptions, Outcome, Prediction, Recorder, RunConfig, RunDir, Splits,
};

pub(crate) const SIDE: usize = 16;

/// A folder with `images/{train,val,test}`: horizontal stripes are class 0, vertical stripes are class 1.
pub(crate) struct Scene {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: RunConfig,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("images");
        unpack(dir.path(), &root, stripes);
        let text = "
            data = { source = 'folder', root = 'set below', batch_size = 8, image_size = 16, normalisation = { mean = [0.1307, 0.1307, 0.1307], std = [0.3081, 0.3081, 0.3081] } }
            model = { width = 0.25, batch_norm_momentum = 0.3 }
            train.epochs = 3
            train.learning_rate = 0.003
            schedule.type = 'constant'
        ";
        let mut config = RunConfig::from_toml(text, "test").unwrap();
        config.data.root = Some(root);
        Self { dir, config }
    }

    /// A scene with 96 real digits of the bundled sample.
    pub(crate) fn digits() -> Self {
        let mut scene = Self::new();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/sample");
        let root = scene.dir.path().join("digits");
        to_folders(&sample, &root, 64);
        scene.config.data.root = Some(root);
        scene.config.data.limit = Some(96);
        scene.config.data.batch_size = 16;
        scene
    }

    /// Settings for one step of plain gradient descent over all images: weights move by the rate times the gradient.
    pub(crate) fn one_step(learning_rate: f64) -> Self {
        let mut scene = Self::new();
        scene.config.train.epochs = 1;
        scene.config.data.batch_size = 40;
        scene.config.optimizer = named(r#"{ "type": "sgd" }"#);
        scene.config.train.learning_rate = learning_rate;
        scene
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.config.data.root()
    }

    /// Swaps the validation images of the two classes.
    pub(crate) fn swap_validation(&self) {
        let val = |folder: &str| self.root().join("val").join(folder);
        for (from, to) in [("0", "aside"), ("1", "0"), ("aside", "1")] {
            std::fs::rename(val(from), val(to)).unwrap();
        }
    }

    pub(crate) fn run_with(
        &self,
        sink: &mut dyn EventSink,
        interrupt: &AtomicBool,
    ) -> Result<Outcome, Error> {
        let splits = Splits::open(&self.config)?;
        let run = RunDir::next(self.dir.path(), "run")?;
        trainer::fit(&self.config, &splits, &run, sink, interrupt)
    }

    pub(crate) fn run(&self) -> (Outcome, Recorder) {
        let mut recorder = Recorder::default();
        let outcome = self
            .run_with(&mut recorder, &AtomicBool::new(false))
            .unwrap();
        (outcome, recorder)
    }

    pub(crate) fn error(&self) -> Error {
        self.run_with(&mut (), &AtomicBool::new(false))
            .err()
            .unwrap()
    }

    pub(crate) fn weights_in(&self, run: &str) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.dir.path().join(run))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
            .collect();
        files.sort();
        files
    }
}

/// Images `0..56` and `0..16` from `shown`, alternately of class 0 and 1, via IDX files in `dir`.
pub(crate) fn unpack(dir: &Path, root: &Path, shown: impl Fn(usize) -> Vec<u8>) {
    for (split, count) in [("train", 56), ("t10k", 16)] {
        let labels: Vec<u8> = (0..count).map(|i| (i % 2) as u8).collect();
        let pixels = (0..count).flat_map(&shown).collect();
        let path = |what: &str| dir.join(format!("{split}-{what}-ubyte"));
        let images = IdxImages::new(SIDE, SIDE, pixels).unwrap();
        images
            .write(&path("images-idx3"), Compression::None)
            .unwrap();
        IdxLabels::new(labels)
            .write(&path("labels-idx1"), Compression::None)
            .unwrap();
    }
    to_folders(dir, root, 16);
}

/// Unpacks IDX files into class folders, with this many validation images.
fn to_folders(idx: &Path, root: &Path, count: usize) {
    let validation = Validation {
        count,
        ..Validation::default()
    };
    let options = UnpackOptions {
        validation,
        class_names: None,
    };
    mnist_data::unpack(idx, root, &options, &NoProgress).unwrap();
}

pub(crate) fn stripes(image: usize) -> Vec<u8> {
    (0..SIDE * SIDE)
        .map(|i| {
            let (row, column) = (i / SIDE, i % SIDE);
            let across = if image.is_multiple_of(2) { row } else { column } + image;
            if across % 4 < 2 { 200 } else { 30 }
        })
        .collect()
}

pub(crate) fn arena(network: &dyn mobilenet::Model) -> Vec<f32> {
    network.parameters().arena().unwrap().to_vec1().unwrap()
}

pub(crate) fn statistics(network: &dyn mobilenet::Model) -> Vec<f32> {
    let statistics = network.parameters().statistics().unwrap();
    statistics.to_vec1().unwrap()
}

/// All predictions of a classifier for images.
pub(crate) fn predictions(
    classifier: &Classifier,
    images: Vec<Sample>,
    options: InferenceOptions,
) -> Vec<Prediction> {
    let predictions = trainer::predict(classifier, images, options, &NoProgress).unwrap();
    predictions.collect::<Result<_, _>>().unwrap()
}

/// A setting as JSON.
pub(crate) fn named<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

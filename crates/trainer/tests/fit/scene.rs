//! A run's folder and settings, small enough for seconds.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use mnist_data::{Compression, IdxImages, IdxLabels, NoProgress, UnpackOptions, Validation};
use trainer::{Error, EventSink, Outcome, Recorder, RunConfig, RunDir, Splits};

const SIDE: usize = 16;

/// A run's folder with `images/{train,val,test}`: stripes that lie (class 0) or stand (class 1).
pub(crate) struct Scene {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: RunConfig,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (split, count) in [("train", 56), ("t10k", 16)] {
            let labels: Vec<u8> = (0..count).map(|i| (i % 2) as u8).collect();
            let pixels = (0..count).flat_map(stripes).collect();
            let path = |what: &str| dir.path().join(format!("{split}-{what}-ubyte"));
            let images = IdxImages::new(SIDE, SIDE, pixels).unwrap();
            images
                .write(&path("images-idx3"), Compression::None)
                .unwrap();
            IdxLabels::new(labels)
                .write(&path("labels-idx1"), Compression::None)
                .unwrap();
        }
        let root = dir.path().join("images");
        let validation = Validation {
            count: 16,
            ..Validation::default()
        };
        let options = UnpackOptions {
            validation,
            class_names: None,
        };
        mnist_data::unpack(dir.path(), &root, &options, &NoProgress).unwrap();
        let text = "
            data = { source = 'folder', root = 'set below', batch_size = 8, image_size = 16 }
            model = { width = 0.25, batch_norm_momentum = 0.3 }
            train.epochs = 3
            train.learning_rate = 0.003
            schedule.type = 'constant'
        ";
        let mut config = RunConfig::from_toml(text, "test").unwrap();
        config.data.root = Some(root);
        Self { dir, config }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.config.data.root()
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

fn stripes(image: usize) -> Vec<u8> {
    (0..SIDE * SIDE)
        .map(|i| {
            let (row, column) = (i / SIDE, i % SIDE);
            let across = if image.is_multiple_of(2) { row } else { column } + image;
            if across % 4 < 2 { 200 } else { 30 }
        })
        .collect()
}

pub(crate) fn arena(network: &dyn mobilenet::Model) -> Vec<f32> {
    network.parameters().arena().to_vec1().unwrap()
}

//! The smallest network of each family through everything that a run can do, on a few drawn photos.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use candle_core::Device;
use mnist_data::{Image, NoProgress};
use mobilenet::{ModelConfig, Network, Variant};
use trainer::config::{DistillationConfig, Layer};
use trainer::{Ending, Event, InferenceOptions, Outcome, Recorder, RunConfig, RunDir, Splits};

use crate::resume;
use crate::scene::{arena, predictions};

/// Photos for training and for validation, of each class.
const PHOTOS: [(&str, usize); 2] = [("train", 6), ("val", 2)];
const SIDE: u32 = 48;

/// A photo of a disc (class 0) or a square (class 1), each at its own place and in its own colour.
fn photo(class: usize, number: usize) -> Image {
    let (x, y) = (16 + 5 * (number % 4) as i32, 20 + 3 * (number % 3) as i32);
    let colour = [200 - 20 * number as i32, 90 + 15 * number as i32, 60];
    let side = SIDE as i32;
    let pixels = (0..side * side).flat_map(|place| {
        let (down, across) = (place / side - y, place % side - x);
        let inside = match class {
            0 => down * down + across * across < 120,
            _ => down.abs() < 10 && across.abs() < 10,
        };
        let noise = (place * 37 + number as i32 * 11) % 23;
        let drawn = if inside { colour } else { [30, 40, 110] };
        drawn.map(|value| (value + noise) as u8)
    });
    Image::from_rgb(SIDE, SIDE, pixels.collect()).unwrap()
}

fn draw(root: &Path) {
    for (split, count) in PHOTOS {
        for (class, name) in ["disc", "square"].iter().enumerate() {
            let folder = root.join(split).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            for number in 0..count {
                let number = number + if split == "val" { 7 } else { 0 };
                let png = photo(class, number).to_png().unwrap();
                std::fs::write(folder.join(format!("{number}.png")), png).unwrap();
            }
        }
    }
}

struct Family {
    dir: tempfile::TempDir,
    name: &'static str,
    image_size: u32,
}

impl Family {
    fn new(variant: Variant) -> Self {
        let dir = tempfile::tempdir().unwrap();
        draw(&dir.path().join("photos"));
        Self {
            dir,
            name: variant.name(),
            // 32 for most networks.
            image_size: variant.image_size() / 7,
        }
    }

    fn config(&self, settings: &str) -> RunConfig {
        let Self {
            name, image_size, ..
        } = self;
        let base = format!(
            "data = {{ source = 'folder', root = 'set below', batch_size = 4, image_size = {image_size} }}
             model = {{ name = '{name}', head = 'linear', batch_norm_momentum = 0.3 }}
             schedule.type = 'constant'
             train = {{ epochs = 1, learning_rate = 0.001 }}"
        );
        let layers = [("base", base.as_str()), ("test", settings)]
            .map(|(origin, text)| Layer::from_toml(text, origin).unwrap());
        let mut config = RunConfig::from_layers(&layers).unwrap();
        config.data.root = Some(self.dir.path().join("photos"));
        config
    }

    fn run(&self, config: &RunConfig) -> (Outcome, Recorder) {
        let splits = Splits::open(config).unwrap();
        let run = RunDir::next(self.dir.path(), "run").unwrap();
        let mut recorder = Recorder::default();
        let never = Default::default();
        let outcome = trainer::fit(config, &splits, &run, &mut recorder, &never).unwrap();
        (outcome, recorder)
    }

    /// The network at the beginning of a run.
    fn fresh(&self, config: &RunConfig) -> Network {
        let mobilenet::ModelDescription::MobileNet(model) = config.model(2) else {
            panic!("{} is not of a family", self.name)
        };
        Network::new(&model, config.train.seed, &Device::Cpu).unwrap()
    }

    /// With a frozen backbone its features are computed once, and only the head learns.
    fn freezes(&self) {
        let config = self.config("train = { epochs = 2, freeze_epochs = 2 }");
        let (outcome, recorder) = self.run(&config);
        let images = recorder.events.iter().find_map(|event| match event {
            Event::FeaturesReady { images, computed } => Some((*images, *computed)),
            _ => None,
        });
        assert_eq!(images, Some((16, 16)), "{}", self.name);
        let fresh = self.fresh(&config);
        let backbone = fresh.parameters().backbone();
        let [before, after] = [arena(&fresh), arena(outcome.network.as_ref())];
        assert_eq!(
            before[backbone.clone()],
            after[backbone.clone()],
            "{}",
            self.name
        );
        assert!(
            before[backbone.end..] != after[backbone.end..],
            "{}",
            self.name
        );
    }

    /// One step of Adam moves each weight by its learning rate, which falls from block to block towards the image.
    fn decays_by_layer(&self) {
        let config = self.config(
            "data.batch_size = 12
             train = { layer_decay = 0.9, learning_rate = 0.01 }
             optimizer = { type = 'adam', weight_decay = 0.0 }
             model = { dropout = 0.0, drop_path = 0.0 }",
        );
        let (outcome, _) = self.run(&config);
        let fresh = self.fresh(&config);
        let [before, after] = [arena(&fresh), arena(outcome.network.as_ref())];
        let moved = |range: std::ops::Range<usize>| {
            let pairs = before[range.clone()].iter().zip(&after[range]);
            pairs
                .map(|(a, b)| f64::from((a - b).abs()))
                .fold(0.0, f64::max)
        };
        let plan = fresh.plan();
        let blocks = plan.blocks.len() as i32 - 1;
        let first = plan.parameters.segments()[0].range.clone();
        let (head, stem) = (moved(plan.head.clone()), moved(first));
        assert!((head / 0.01 - 1.0).abs() < 0.01, "{}: {head}", self.name);
        let expected = 0.01 * 0.9f64.powi(blocks);
        assert!(
            (stem / expected - 1.0).abs() < 0.02,
            "{}: {stem} instead of {expected} with {blocks} blocks",
            self.name
        );
    }

    /// A run that freezes, thaws and averages ends with the same bits if it is interrupted. Its weights can be
    /// evaluated and used.
    fn goes_on(&self) -> PathBuf {
        let config = self.config(
            "train = { epochs = 2, freeze_epochs = 1, layer_decay = 0.8, monitor = 'val_loss' }
             ema = { decay = 0.5 }",
        );
        let [whole, cut] = ["whole", "cut"].map(|name| self.dir.path().join(name));
        let expected = resume::run(&config, &whole, usize::MAX).unwrap();
        let mut parts = 0;
        let found = loop {
            parts += 1;
            let outcome = resume::run(&config, &cut, 4).unwrap();
            if outcome.ending != Ending::Interrupted {
                break outcome;
            }
        };
        assert!(parts > 1, "{}", self.name);
        let [expected_arena, found_arena] = [&expected, &found].map(|o| arena(o.network.as_ref()));
        assert!(expected_arena == found_arena, "{}", self.name);
        assert!(expected_arena.iter().all(|value| value.is_finite()));
        assert!(
            resume::files(&whole) == resume::files(&cut),
            "{}",
            self.name
        );
        let averages = resume::files(&whole);
        assert!(averages.keys().any(|name| name.contains("_ema_")));

        let classifier = expected.classifier().unwrap();
        let val = self.dir.path().join("photos/val");
        let options = InferenceOptions::default;
        let evaluation = trainer::evaluate(&classifier, &val, options(), &NoProgress).unwrap();
        assert_eq!(evaluation.images, 4);
        let images = mnist_data::list_images(&val).unwrap();
        let answers = predictions(&classifier, images, options());
        let sums = answers.iter().map(|a| a.probabilities.iter().sum::<f32>());
        assert!(sums.clone().count() == 4 && sums.clone().all(|sum| (sum - 1.0).abs() < 1e-5));
        expected.best.unwrap().weights
    }

    /// The network teaches a small MobileNetV3.
    fn teaches(&self, teacher: &Path) {
        let mut config = self.config("model.drop_path = 'auto'");
        config.model.name = mobilenet::ModelName::MobileNet(Variant::SMALL);
        config.model.width = 0.25;
        let (alone, _) = self.run(&config);
        config.distillation = Some(DistillationConfig::new(teacher));
        let (taught, _) = self.run(&config);
        let [alone, taught] = [alone, taught].map(|outcome| arena(outcome.network.as_ref()));
        assert!(alone != taught, "{}", self.name);
        assert!(taught.iter().all(|value| value.is_finite()));
    }

    fn everything(&self) {
        self.freezes();
        self.decays_by_layer();
        let weights = self.goes_on();
        self.teaches(&weights);
    }
}

/// The smallest network of each family, by parameters. Other tests train MobileNetV2 and V3.
fn smallest() -> Vec<Variant> {
    let size = |variant: &Variant| {
        let plan = ModelConfig::new(*variant, 2).plan().unwrap();
        plan.parameters.len()
    };
    let mut networks: Vec<Variant> = Variant::all().collect();
    networks.sort_by_cached_key(size);
    let mut families = HashSet::from(["MobileNetV2", "MobileNetV3"]);
    networks.retain(|variant| families.insert(variant.family()));
    networks
}

/// A network runs in a thread of its name, so that a failure has it.
#[test]
fn the_smallest_network_of_every_family_does_everything() {
    // Two networks of about the same size at a time.
    for pair in smallest().chunks(2) {
        std::thread::scope(|scope| {
            for variant in pair {
                let thread = std::thread::Builder::new().name(variant.to_string());
                let everything = move || Family::new(*variant).everything();
                thread.spawn_scoped(scope, everything).unwrap();
            }
        });
    }
}

//! The section `[data]`.

use std::path::{Path, PathBuf};

use mnist_data::{
    BadImage, Decoding, Fit, ImageSize, Interpolation, Orientation, TruncatedImages, Validation,
    WeightsConfig,
};
use serde::{Deserialize, Serialize};

use super::{DataSource, NormalisationChoice, SplitConfig, framing, optional};

/// The default for the share of a split's images that may be left out.
pub const BAD_IMAGE_LIMIT: f64 = 0.05;

/// `[data]`: which images are used and how they are loaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The source of the images.
    pub source: DataSource,
    /// The folder with `train`, `val` and `test` (after unpacking), or with `train.csv` and so on; auto:
    /// `data/<source>`.
    #[serde(with = "optional::auto")]
    pub root: Option<PathBuf>,
    /// Folder of the IDX files; auto: `<root>/idx`.
    #[serde(with = "optional::auto")]
    pub idx_dir: Option<PathBuf>,
    /// The training split, if it has no usual name in `root`: a folder with one sub-folder per class, or a CSV
    /// file.
    #[serde(with = "optional::auto")]
    pub train: Option<PathBuf>,
    /// The validation split, as a folder or a CSV file.
    #[serde(with = "optional::auto")]
    pub val: Option<PathBuf>,
    /// The test split, as a folder or a CSV file.
    #[serde(with = "optional::auto")]
    pub test: Option<PathBuf>,
    /// The division of class folders into splits, if there are no split folders.
    pub split: SplitConfig,
    /// File with one class name per line, in label order; none: the sorted class names of the
    /// training images.
    #[serde(with = "optional::none")]
    pub class_names: Option<PathBuf>,
    /// The training images that become the validation split when IDX files are unpacked.
    pub validation: Validation,
    /// Weights of single training images in the loss.
    pub sample_weights: WeightsConfig,
    /// The image size of the network: the pixels on each side, or `[height, width]`.
    pub image_size: ImageSize,
    /// The fit to the image size; auto: as in the weights file of `model.pretrained`, otherwise squash.
    #[serde(with = "optional::auto")]
    pub fit: Option<Fit>,
    /// With `fit = "crop"`: the share of the shorter side that is kept; auto: as in the weights file of
    /// `model.pretrained`, otherwise 0.875.
    #[serde(with = "optional::auto")]
    pub crop_pct: Option<f64>,
    /// The filter of the resize; auto: as in the weights file of `model.pretrained`, otherwise bilinear.
    #[serde(with = "optional::auto")]
    pub interpolation: Option<Interpolation>,
    /// Whether the EXIF orientation is applied.
    pub orientation: Orientation,
    /// Train on this many images only, drawn once by the seed.
    #[serde(with = "optional::none")]
    pub limit: Option<usize>,
    /// Validate on this many images only, drawn once by the seed.
    #[serde(with = "optional::none")]
    pub val_limit: Option<usize>,
    /// Images per step.
    pub batch_size: usize,
    /// Decoding threads; auto: one per training thread, at most 8.
    #[serde(with = "optional::auto")]
    pub workers: Option<usize>,
    /// Batches decoded ahead of training.
    pub prefetch: usize,
    /// Memory for decoded images in MiB. Later epochs do not decode these again.
    pub cache_mb: usize,
    /// Disk space for decoded images in MiB; 0 for none. Later runs do not decode these again.
    pub disk_cache_mb: u64,
    /// What to do with images that cannot be decoded.
    pub on_bad_image: BadImage,
    /// The largest share of a split's images that `on_bad_image = "skip"` may leave out; more are an
    /// error. One image per split may always be left out, unless this is 0; no class may lose all its
    /// images.
    pub bad_image_limit: f64,
    /// How JPEG files are decoded.
    pub decode: Decoding,
    /// What to do with images that lack data at their end.
    pub truncated_images: TruncatedImages,
    /// Mean and standard deviation per channel of pixels scaled to 0..1. Auto with `model.pretrained`: the weights
    /// file's, or ImageNet's if it has none. Auto without `model.pretrained`: the data set's, or ImageNet's for a
    /// folder or CSV files.
    pub normalisation: NormalisationChoice,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            source: DataSource::Mnist,
            root: None,
            idx_dir: None,
            train: None,
            val: None,
            test: None,
            split: SplitConfig::default(),
            class_names: None,
            validation: Validation::default(),
            sample_weights: WeightsConfig::default(),
            image_size: ImageSize::square(32),
            fit: None,
            crop_pct: None,
            interpolation: None,
            orientation: framing::ORIENTATION,
            limit: None,
            val_limit: None,
            batch_size: 128,
            workers: None,
            prefetch: 4,
            cache_mb: 512,
            disk_cache_mb: 4096,
            on_bad_image: BadImage::Skip,
            bad_image_limit: BAD_IMAGE_LIMIT,
            decode: Decoding::Exact,
            truncated_images: TruncatedImages::Refuse,
            normalisation: NormalisationChoice::default(),
        }
    }
}

impl DataConfig {
    /// Folder with `train`, `val` and `test`.
    pub fn root(&self) -> PathBuf {
        let beside_train = || Some(self.train.as_deref()?.parent()?.to_owned());
        let default = || Path::new("data").join(self.source.name());
        self.root
            .clone()
            .or_else(beside_train)
            .unwrap_or_else(default)
    }

    /// Folder of the IDX files.
    pub fn idx_dir(&self) -> PathBuf {
        self.idx_dir
            .clone()
            .unwrap_or_else(|| self.root().join("idx"))
    }

    /// The folder of the splits: `root`, or if `root` is a CSV file, its folder.
    pub fn folder(&self) -> PathBuf {
        let root = self.root();
        match root.is_file() {
            true => root.parent().unwrap_or(Path::new("")).to_owned(),
            false => root,
        }
    }
}

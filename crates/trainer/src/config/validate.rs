//! What a configuration must satisfy before anything is built from it.

use mobilenet::weights::IMAGE_SIZES;
use optim::{EmaConfig, LrScheduleConfig, PlateauMode};

use super::{ConfigError, DataSource, DistillationConfig, RunConfig};

/// `Err` naming the key unless `valid`.
pub(super) fn require(
    valid: bool,
    key: &'static str,
    found: impl std::fmt::Debug,
    expected: impl Into<String>,
) -> Result<(), ConfigError> {
    if valid {
        return Ok(());
    }
    Err(ConfigError::Invalid {
        key,
        found: format!("{found:?}"),
        expected: expected.into(),
    })
}

impl RunConfig {
    /// Checks every range and combination that can be checked before the images are seen.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] for the first key that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_data()?;
        self.validate_model()?;
        self.validate_zoo()?;
        self.validate_train()?;
        self.validate_rules()
    }

    fn validate_data(&self) -> Result<(), ConfigError> {
        let data = &self.data;
        require(
            data.source != DataSource::Folder || data.root.is_some(),
            "data.root",
            "auto",
            "the folder that holds train, val and test, because data.source is \"folder\"",
        )?;
        require(
            data.source != DataSource::Csv || data.root.is_some(),
            "data.root",
            "auto",
            "the folder that holds train.csv, val.csv and test.csv, because data.source is \"csv\"",
        )?;
        let files = matches!(data.source, DataSource::Folder | DataSource::Csv);
        require(
            files || data.class_names.is_none(),
            "data.class_names",
            data.class_names.as_deref(),
            "\"none\", because only data.source \"folder\" and \"csv\" take names from a file",
        )?;
        require(
            data.source != DataSource::Idx || data.idx_dir.is_some(),
            "data.idx_dir",
            "auto",
            "the folder that holds the four IDX files, because data.source is \"idx\"",
        )?;
        require(
            IMAGE_SIZES.contains(&data.image_size),
            "data.image_size",
            data.image_size,
            "8 to 2048 pixels",
        )?;
        // Batch normalisation of 1x1 maps has no variance over a single image.
        require(
            data.batch_size >= 2,
            "data.batch_size",
            data.batch_size,
            "at least 2 images",
        )?;
        require(
            data.limit != Some(0),
            "data.limit",
            0,
            "at least 1 image, or \"none\" for all",
        )?;
        require(
            data.workers != Some(0),
            "data.workers",
            0,
            "at least 1 thread, or \"auto\"",
        )?;
        require(
            (1..=1024).contains(&data.prefetch),
            "data.prefetch",
            data.prefetch,
            "1 to 1024 batches",
        )?;
        require(
            data.limit
                .is_none_or(|limit| !self.train.drop_last || limit >= data.batch_size),
            "data.limit",
            data.limit.unwrap_or_default(),
            format!(
                "at least data.batch_size ({}), because train.drop_last leaves out a batch that is not full",
                data.batch_size
            ),
        )?;
        require(
            data.validation.count >= 1,
            "data.validation.count",
            data.validation.count,
            "at least 1 image",
        )?;
        require(
            (0.0..=1.0).contains(&data.bad_image_limit),
            "data.bad_image_limit",
            data.bad_image_limit,
            "a share of the images from 0 to 1",
        )?;
        let normalisation = &data.normalisation;
        require(
            normalisation.mean.iter().all(|mean| mean.is_finite()),
            "data.normalisation.mean",
            normalisation.mean,
            "three finite numbers",
        )?;
        require(
            normalisation
                .std
                .iter()
                .all(|std| std.is_finite() && *std > 0.0),
            "data.normalisation.std",
            normalisation.std,
            "three numbers above 0",
        )
    }

    fn validate_model(&self) -> Result<(), ConfigError> {
        let model = &self.model;
        require(
            model.classes.is_none_or(|classes| classes >= 2),
            "model.classes",
            model.classes.unwrap_or_default(),
            "at least 2, or \"auto\"",
        )?;
        require(
            model.width > 0.0 && model.width <= 8.0,
            "model.width",
            model.width,
            "a multiplier above 0 and at most 8",
        )?;
        require(
            (0.0..1.0).contains(&model.dropout),
            "model.dropout",
            model.dropout,
            "a probability from 0 to below 1",
        )?;
        require(
            model
                .batch_norm_momentum
                .is_none_or(|momentum| momentum > 0.0 && momentum <= 1.0),
            "model.batch_norm_momentum",
            model.batch_norm_momentum.unwrap_or_default(),
            "a share above 0 and at most 1, or \"auto\"",
        )?;
        require(
            model
                .batch_norm_epsilon
                .is_none_or(|epsilon| epsilon > 0.0 && epsilon < 1.0),
            "model.batch_norm_epsilon",
            model.batch_norm_epsilon.unwrap_or_default(),
            "a number between 0 and 1, or \"auto\"",
        )?;
        require(
            matches!(model.stem_stride, 1 | 2),
            "model.stem_stride",
            model.stem_stride,
            "1 or 2",
        )
    }

    fn validate_train(&self) -> Result<(), ConfigError> {
        let train = &self.train;
        require(
            train.epochs >= 1,
            "train.epochs",
            train.epochs,
            "at least 1",
        )?;
        require(
            train.learning_rate.is_finite() && train.learning_rate > 0.0,
            "train.learning_rate",
            train.learning_rate,
            "a number above 0",
        )?;
        require(
            train.freeze_epochs <= train.epochs,
            "train.freeze_epochs",
            train.freeze_epochs,
            format!("at most train.epochs ({})", train.epochs),
        )?;
        require(
            train.patience != Some(0),
            "train.patience",
            0,
            "at least 1 epoch, or \"none\"",
        )?;
        require(
            (1..=65_536).contains(&train.accumulate_batches),
            "train.accumulate_batches",
            train.accumulate_batches,
            "1 to 65536",
        )?;
        require(
            (0.0..=1.0).contains(&train.backbone_learning_rate),
            "train.backbone_learning_rate",
            train.backbone_learning_rate,
            "a share from 0 to 1 (to hold the backbone still, set train.freeze_epochs)",
        )?;
        require(
            train.layer_decay > 0.0 && train.layer_decay <= 1.0,
            "train.layer_decay",
            train.layer_decay,
            "a share above 0 and at most 1",
        )?;
        require(
            train
                .clip_gradient_value
                .is_none_or(|value| value.is_finite() && value > 0.0),
            "train.clip_gradient_value",
            train.clip_gradient_value.unwrap_or_default(),
            "a number above 0, or \"none\"",
        )?;
        require(
            train
                .clip_gradient_norm
                .is_none_or(|norm| norm.is_finite() && norm > 0.0),
            "train.clip_gradient_norm",
            train.clip_gradient_norm.unwrap_or_default(),
            "a number above 0, or \"none\"",
        )?;
        self.loss.validate(self.model.classes)?;
        self.distillation
            .as_ref()
            .map_or(Ok(()), DistillationConfig::validate)
    }

    fn validate_rules(&self) -> Result<(), ConfigError> {
        self.augment.validate().map_err(ConfigError::Images)?;
        self.mix.validate().map_err(ConfigError::Images)?;
        self.ema.as_ref().map_or(Ok(()), EmaConfig::validate)?;
        self.optimizer.validate()?;
        self.schedule.validate_beside(self.train.learning_rate)?;
        if let Some(warmup) = &self.warmup {
            warmup.validate()?;
            let epochs = self.train.epochs;
            require(
                warmup.epochs.is_none_or(|ramp| ramp <= epochs as f64),
                "warmup.epochs",
                warmup.epochs.unwrap_or_default(),
                format!("at most train.epochs ({epochs})"),
            )?;
        }
        if let LrScheduleConfig::Plateau(plateau) = &self.schedule {
            // The schedule watches the monitored figure, so both must improve in the same direction.
            let monitor = self.train.monitor;
            let mode = monitor.plateau_mode();
            let (word, expected) = match mode {
                PlateauMode::Max => (
                    "min",
                    "\"max\" or left out, because train.monitor improves upwards",
                ),
                PlateauMode::Min => (
                    "max",
                    "\"min\" or left out, because train.monitor is \"val_loss\"",
                ),
            };
            require(
                plateau.mode.is_none_or(|own| own == mode),
                "schedule.mode",
                word,
                expected,
            )?;
        }
        Ok(())
    }
}

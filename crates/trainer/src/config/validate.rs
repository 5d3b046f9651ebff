//! Checks of a configuration before anything is built from it.

use mnist_data::ImageSize;
use optim::{EmaConfig, LrScheduleConfig, PlateauMode};
use toml::Table;

use super::keys::check;
use super::{ConfigError, DataSource, RunConfig};

/// Returns an error that names the key, unless `valid` is true.
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

/// The most bytes for the images of a batch.
const MAX_BATCH_BYTES: u64 = 4 << 30;

/// Refuses a batch size with which the images of a batch take more than 4 GiB.
///
/// # Errors
///
/// [`ConfigError::Invalid`] for `data.batch_size`, with the largest valid value.
pub fn check_batch(batch_size: usize, image_size: ImageSize) -> Result<(), ConfigError> {
    let image = image_size.pixels().saturating_mul(3);
    let most = MAX_BATCH_BYTES / image.max(1);
    require(
        batch_size as u64 <= most,
        "data.batch_size",
        batch_size,
        format!("at most {most} images of {image_size} pixels, which are 4 GiB"),
    )
}

impl RunConfig {
    /// Checks every range and combination that does not depend on the images.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] for the first invalid key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let table = Table::try_from(self);
        let table = table.map_err(|error| ConfigError::parse("the configuration", &error))?;
        check(&table, &Table::new())?;
        self.validate_data()?;
        self.validate_zoo()?;
        self.validate_train()?;
        self.validate_rules()
    }

    fn validate_data(&self) -> Result<(), ConfigError> {
        let data = &self.data;
        let set = data.root.is_some() || data.train.is_some();
        require(
            data.source != DataSource::Folder || set,
            "data.root",
            "auto",
            "the folder that holds train, val and test or the class folders, because data.source is \"folder\"",
        )?;
        require(
            data.source != DataSource::Csv || set,
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
        for (key, path) in [
            ("data.train", &data.train),
            ("data.val", &data.val),
            ("data.test", &data.test),
        ] {
            require(
                files || path.is_none(),
                key,
                path.as_deref(),
                "\"auto\", because only data.source \"folder\" and \"csv\" take splits from elsewhere",
            )?;
        }
        let held_out = data.split.val + data.split.test;
        require(
            held_out < 1.0,
            "data.split.test",
            data.split.test,
            "a share that together with data.split.val is below 1, so that images are left to train on",
        )?;
        require(
            data.source != DataSource::Idx || data.idx_dir.is_some(),
            "data.idx_dir",
            "auto",
            "the folder that holds the four IDX files, because data.source is \"idx\"",
        )?;
        check_batch(data.batch_size, data.image_size)?;
        require(
            data.limit
                .is_none_or(|limit| !self.train.drop_last || limit >= data.batch_size),
            "data.limit",
            data.limit.unwrap_or_default(),
            format!(
                "at least data.batch_size ({}), because train.drop_last leaves out partial batches",
                data.batch_size
            ),
        )
    }

    fn validate_train(&self) -> Result<(), ConfigError> {
        let train = &self.train;
        require(
            train.freeze_epochs <= train.epochs,
            "train.freeze_epochs",
            train.freeze_epochs,
            format!("at most train.epochs ({})", train.epochs),
        )?;
        self.loss.validate(self.model.classes)
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
            // A plateau schedule receives the monitored score, so its direction must match.
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

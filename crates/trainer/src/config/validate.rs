//! What a configuration must satisfy before anything is built from it.

use optim::{LrScheduleConfig, PlateauMode};

use super::{ClassWeights, ConfigError, DataSource, RunConfig};

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
            data.source != DataSource::Idx || data.idx_dir.is_some(),
            "data.idx_dir",
            "auto",
            "the folder that holds the four IDX files, because data.source is \"idx\"",
        )?;
        require(
            (8..=2048).contains(&data.image_size),
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
            data.prefetch >= 1,
            "data.prefetch",
            data.prefetch,
            "at least 1 batch",
        )?;
        require(
            data.limit
                .is_none_or(|limit| !self.train.drop_last || limit >= data.batch_size),
            "data.limit",
            data.limit,
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
            model.classes,
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
            model.batch_norm_momentum,
            "a share above 0 and at most 1, or \"auto\"",
        )?;
        require(
            model
                .batch_norm_epsilon
                .is_none_or(|epsilon| epsilon > 0.0 && epsilon < 1.0),
            "model.batch_norm_epsilon",
            model.batch_norm_epsilon,
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
            (0.0..1.0).contains(&train.label_smoothing),
            "train.label_smoothing",
            train.label_smoothing,
            "a share from 0 to below 1",
        )?;
        require(
            train
                .clip_gradient_norm
                .is_none_or(|norm| norm.is_finite() && norm > 0.0),
            "train.clip_gradient_norm",
            train.clip_gradient_norm,
            "a number above 0, or \"none\"",
        )?;
        if let ClassWeights::Given(weights) = &train.class_weights {
            require(
                weights.iter().all(|w| w.is_finite() && *w >= 0.0)
                    && weights.iter().any(|w| *w > 0.0),
                "train.class_weights",
                weights,
                "finite numbers from 0 on, not all of them 0",
            )?;
            require(
                self.model
                    .classes
                    .is_none_or(|classes| classes == weights.len()),
                "train.class_weights",
                weights,
                "as many numbers as model.classes",
            )?;
        }
        Ok(())
    }

    fn validate_rules(&self) -> Result<(), ConfigError> {
        self.optimizer.validate()?;
        self.schedule.validate()?;
        if let LrScheduleConfig::Plateau(plateau) = &self.schedule {
            // The schedule watches the monitored figure, so both must improve in the same direction.
            let (mode, expected) = match self.train.monitor.higher_is_better() {
                true => (
                    PlateauMode::Max,
                    "\"max\", because train.monitor improves upwards",
                ),
                false => (
                    PlateauMode::Min,
                    "\"min\", because train.monitor is \"val_loss\"",
                ),
            };
            require(
                plateau.mode == mode,
                "schedule.mode",
                plateau.mode,
                expected,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Policies as a table: a line of TOML and what the error must say.
    #[test]
    fn values_out_of_range_are_named() {
        for (text, key, expected) in [
            ("data.batch_size = 1", "data.batch_size", "at least 2"),
            ("data.image_size = 0", "data.image_size", "8 to 2048"),
            ("data.limit = 0", "data.limit", "none"),
            (
                "data.limit = 100\ntrain.drop_last = true",
                "data.limit",
                "data.batch_size (128)",
            ),
            (
                "data.source = \"folder\"",
                "data.root",
                "folder that holds train",
            ),
            ("data.source = \"idx\"", "data.idx_dir", "IDX"),
            ("data.workers = 0", "data.workers", "auto"),
            ("data.prefetch = 0", "data.prefetch", "at least 1"),
            (
                "data.validation.count = 0",
                "data.validation.count",
                "at least 1",
            ),
            (
                "data.normalisation = { mean = [0, 0, 0], std = [1, 0, 1] }",
                "data.normalisation.std",
                "above 0",
            ),
            (
                "data.normalisation = { mean = [nan, 0, 1], std = [1, 1, 1] }",
                "data.normalisation.mean",
                "finite",
            ),
            ("model.classes = 1", "model.classes", "at least 2"),
            ("model.width = 0.0", "model.width", "above 0"),
            ("model.dropout = 1.0", "model.dropout", "below 1"),
            (
                "model.batch_norm_momentum = 0.0",
                "model.batch_norm_momentum",
                "above 0",
            ),
            ("model.stem_stride = 3", "model.stem_stride", "1 or 2"),
            ("train.epochs = 0", "train.epochs", "at least 1"),
            (
                "train.learning_rate = 0.0",
                "train.learning_rate",
                "above 0",
            ),
            (
                "train.learning_rate = inf",
                "train.learning_rate",
                "above 0",
            ),
            (
                "train.freeze_epochs = 7",
                "train.freeze_epochs",
                "train.epochs (6)",
            ),
            ("train.patience = 0", "train.patience", "none"),
            (
                "train.label_smoothing = 1.0",
                "train.label_smoothing",
                "below 1",
            ),
            (
                "train.class_weights = [0, 0]",
                "train.class_weights",
                "not all",
            ),
            (
                "train.class_weights = [1, 1]\nmodel.classes = 3",
                "train.class_weights",
                "model.classes",
            ),
            (
                "train.clip_gradient_norm = -1.0",
                "train.clip_gradient_norm",
                "none",
            ),
            ("schedule.type = \"plateau\"", "schedule.mode", "max"),
            (
                "schedule = { type = \"step\", step_size = 1, gamma = 0 }",
                "gamma",
                "> 0",
            ),
            (
                "optimizer = { type = \"adam\", betas = [1, 0] }",
                "betas",
                "beta < 1",
            ),
        ] {
            let message = RunConfig::from_toml(text, "a.toml")
                .unwrap_err()
                .to_string();
            assert!(
                message.contains(key) && message.contains(expected),
                "{text}: {message}"
            );
        }
    }

    #[test]
    fn values_of_the_wrong_type_are_named() {
        for (text, key) in [
            ("train.epochs = \"six\"", "train.epochs"),
            ("data.limit = \"nothing\"", "data.limit"),
            ("train.device = \"gpu\"", "train.device"),
            ("train.class_weights = \"even\"", "train.class_weights"),
            ("model.name = \"resnet\"", "model.name"),
            ("optimizer.type = \"adamm\"", "optimizer"),
        ] {
            let error = RunConfig::from_toml(text, "a.toml").unwrap_err();
            let message = error.to_string();
            assert!(
                matches!(error, ConfigError::Parse { .. }),
                "{text}: {message}"
            );
            assert!(
                message.contains(key) && message.contains("a.toml"),
                "{text}: {message}"
            );
        }
        assert!(
            RunConfig::from_toml("[train", "a.toml")
                .unwrap_err()
                .to_string()
                .contains("a.toml")
        );
    }

    fn momentum(config: &RunConfig) -> f64 {
        match config.model(10) {
            mobilenet::ModelDescription::MobileNet(model) => model.batch_norm_momentum,
            mobilenet::ModelDescription::Zoo(model) => panic!("{model:?}"),
        }
    }

    #[test]
    fn words_stand_for_absent_values() {
        let text = "data.limit = 640\nmodel.pretrained = \"w.safetensors\"\ntrain.class_weights = \"balanced\"\nwarmup = { epochs = 0.5 }";
        let config = RunConfig::from_toml(text, "a.toml").unwrap();
        assert_eq!(config.data.limit, Some(640));
        assert_eq!(config.train.class_weights, ClassWeights::Balanced);
        assert_eq!(config.warmup, Some(optim::Warmup::epochs(0.5)));
        // torchvision's momentum once somebody else's statistics are the start.
        assert_eq!(momentum(&config), 0.01);
        let text = "data.limit = \"none\"\nmodel.pretrained = \"none\"\nwarmup = \"none\"";
        assert_eq!(
            RunConfig::from_toml(text, "a.toml").unwrap(),
            RunConfig::default()
        );
        assert_eq!(momentum(&RunConfig::default()), 0.1);
    }

    #[test]
    fn a_missing_file_is_named() {
        let message = RunConfig::read(Path::new("no/such.toml"))
            .unwrap_err()
            .to_string();
        assert!(message.contains("no/such.toml"), "{message}");
    }
}

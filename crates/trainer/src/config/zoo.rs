//! Additional checks for a backbone of the zoo.

use mobilenet::weights::Normalisation;
use mobilenet::zoo::Backbone;
use mobilenet::{HeadKind, ModelName, Precision};

use super::validate::require;
use super::{ConfigError, MNIST, RunConfig};

/// The shortest valid side of images. The networks halve it five times; a shorter side would become less than 2 pixels.
const LEAST_SIDE: u32 = 64;

impl RunConfig {
    /// Refuses settings that make no sense with a frozen backbone. The defaults for MNIST are refused too, since the
    /// published weights expect larger colour images.
    pub(super) fn validate_zoo(&self) -> Result<(), ConfigError> {
        let ModelName::Zoo(backbone) = self.model.name else {
            return Ok(());
        };
        let (data, model, train) = (&self.data, &self.model, &self.train);
        require(
            backbone.is_built(),
            "model.name",
            backbone.name(),
            "another network: this build leaves out the backbones of the zoo; build with --features zoo",
        )?;
        require(
            model.pretrained.is_some(),
            "model.pretrained",
            "none",
            format!("a file with the weights of {backbone}, since its backbone stays frozen"),
        )?;
        require(
            model.head == HeadKind::Linear,
            "model.head",
            model.head.to_string(),
            format!("\"linear\", the head of {backbone}"),
        )?;
        require(
            model.width == 1.0,
            "model.width",
            model.width,
            format!("1.0, because {backbone} has one width"),
        )?;
        require(
            model.stem_stride == 2,
            "model.stem_stride",
            model.stem_stride,
            format!("2, the published stride of {backbone}"),
        )?;
        require(
            model.batch_norm_momentum.is_none(),
            "model.batch_norm_momentum",
            model.batch_norm_momentum,
            format!("\"auto\", because the statistics of {backbone} are frozen"),
        )?;
        require(
            train.freeze_epochs == 0,
            "train.freeze_epochs",
            train.freeze_epochs,
            format!("0, because the backbone of {backbone} is always frozen"),
        )?;
        require(
            matches!(train.precision.fixed(), None | Some(Precision::F32)),
            "train.precision",
            train.precision.to_string(),
            format!("\"f32\", the precision of {backbone}"),
        )?;
        require(
            data.image_size
                .sides()
                .iter()
                .all(|&side| side >= LEAST_SIDE),
            "data.image_size",
            format_args!("{}", data.image_size),
            format!(
                "at least {LEAST_SIDE} pixels; the published weights of {backbone} are for {}",
                backbone.image_size()
            ),
        )?;
        self.validate_zoo_pixels(backbone)
    }

    fn validate_zoo_pixels(&self, backbone: Backbone) -> Result<(), ConfigError> {
        let Normalisation { mean, std } = Normalisation::IMAGENET;
        require(
            self.data.normalisation != MNIST.into(),
            "data.normalisation",
            "MNIST's",
            format!(
                "\"auto\" or ImageNet's, with which the published weights of {backbone} were trained: \
                 mean = {mean:?} and std = {std:?}"
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FITTING: &str = "
        data = { image_size = 224, normalisation = { mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] } }
        model = { name = 'repvgg_a0', pretrained = 'a0.safetensors', head = 'linear' }
    ";

    fn refusal(line: &str) -> String {
        let mut table: toml::Table = FITTING.parse().unwrap();
        for (section, keys) in line.parse::<toml::Table>().unwrap() {
            let section = table.entry(section).or_insert(toml::Table::new().into());
            let section = section.as_table_mut().unwrap();
            section.extend(keys.as_table().unwrap().clone());
        }
        let text = toml::to_string(&table).unwrap();
        RunConfig::from_toml(&text, "a.toml")
            .unwrap_err()
            .to_string()
    }

    #[cfg(not(feature = "zoo"))]
    #[test]
    fn a_build_without_the_zoo_says_how_to_have_it() {
        let error = refusal("model.name = 'repvgg_a1'");
        assert!(error.contains("`model.name` is \"repvgg_a1\""), "{error}");
        assert!(error.contains("--features zoo"), "{error}");
    }

    #[cfg(feature = "zoo")]
    #[test]
    fn settings_without_sense_for_a_frozen_backbone_are_refused() {
        let config = RunConfig::from_toml(FITTING, "a.toml").unwrap();
        // The configuration that a run writes is valid again.
        let text = toml::to_string(&config.resolved(&config.model(3))).unwrap();
        RunConfig::from_toml(&text, "config.toml").unwrap();
        for (line, key, expected) in [
            (
                "model.pretrained = 'none'",
                "model.pretrained",
                "weights of repvgg_a0",
            ),
            ("model.head = 'torchvision'", "model.head", "linear"),
            ("model.width = 0.5", "model.width", "one width"),
            ("model.stem_stride = 1", "model.stem_stride", "published"),
            (
                "model.batch_norm_momentum = 0.1",
                "model.batch_norm_momentum",
                "auto",
            ),
            (
                "train.freeze_epochs = 2",
                "train.freeze_epochs",
                "always frozen",
            ),
            ("train.precision = 'bf16'", "train.precision", "f32"),
            ("data.image_size = 32", "data.image_size", "for 224"),
            (
                "data.normalisation = { mean = [0.1307, 0.1307, 0.1307], std = [0.3081, 0.3081, 0.3081] }",
                "data.normalisation",
                "0.485",
            ),
        ] {
            let message = refusal(line);
            assert!(
                message.contains(&format!("`{key}`")) && message.contains(expected),
                "{line}: {message}"
            );
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_names() {
        for (name, nearest) in [("resnet17", "resnet18"), ("repvgg_a7", "repvgg_a0")] {
            let message = refusal(&format!("model.name = '{name}'"));
            assert!(message.contains(nearest), "{message}");
            assert!(message.chars().count() < 300, "{message}");
        }
    }
}

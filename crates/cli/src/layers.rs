//! Defaults, file, environment and `--set` become one validated configuration.

use std::ffi::OsString;
use std::path::Path;

use config::{
    Config, ConfigError as LayerError, Environment, File, FileFormat, Map, Source, Value,
};
use trainer::RunConfig;
use trainer::config::{ConfigError, check_keys, is_tagged_section};

/// The file that is read where it exists and none is named.
const DEFAULT_FILE: &str = "configs/mnist.toml";
/// `CLASSIFY_TRAIN__EPOCHS` is `train.epochs`.
const ENVIRONMENT_PREFIX: &str = "CLASSIFY";

/// Reads every layer and validates what they make together.
pub(crate) fn load(file: Option<&Path>, sets: &[String]) -> Result<RunConfig, ConfigError> {
    let environment = ours(std::env::vars_os())?;
    let default = Path::new(DEFAULT_FILE);
    load_from(
        file.or_else(|| default.exists().then_some(default)),
        environment,
        sets,
    )
}

/// The `CLASSIFY_*` variables. Those of others may hold whatever they like.
fn ours(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Map<String, String>, ConfigError> {
    let prefix = format!("{ENVIRONMENT_PREFIX}_").to_lowercase();
    let ours = variables.filter_map(|(name, value)| {
        let name = name.to_string_lossy().into_owned();
        // The layer of variables does not mind letter case either.
        name.to_lowercase()
            .starts_with(&prefix)
            .then_some((name, value))
    });
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(value) => Err(ConfigError::Parse {
            origin: format!("the variable {name}"),
            message: format!("{value:?} is not UTF-8; expected text, so set it anew or unset it"),
        }),
    })
    .collect()
}

fn load_from(
    file: Option<&Path>,
    environment: Map<String, String>,
    sets: &[String],
) -> Result<RunConfig, ConfigError> {
    let mut layers = Layers::defaults()?;
    if let Some(path) = file {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            origin: origin.clone(),
            source,
        })?;
        layers.add(&origin, vec![text])?;
    }
    let variables = Environment::with_prefix(ENVIRONMENT_PREFIX)
        .prefix_separator("_")
        .separator("__")
        .source(Some(environment))
        .collect()
        .map_err(|e| wrong(ENVIRONMENT_PREFIX, e))?;
    let assignments = variables
        .into_iter()
        .map(|(key, value)| assignment(&key, &value.to_string()));
    layers.add("the CLASSIFY_* variables", assignments.collect())?;
    let assignments = sets.iter().map(|set| match set.split_once('=') {
        Some((key, value)) => Ok(assignment(key.trim(), value.trim())),
        None => Err(ConfigError::Parse {
            origin: "--set".to_owned(),
            message: format!(
                "{set:?} is no assignment; expected KEY=VALUE, such as train.epochs=1"
            ),
        }),
    });
    layers.add("--set", assignments.collect::<Result<_, _>>()?)?;
    let config = layers.typed("the configuration")?;
    config.validate()?;
    Ok(config)
}

/// `key = value` in TOML; a value that is no TOML is a string.
fn assignment(key: &str, value: &str) -> String {
    let line = format!("{key} = {value}");
    // A line break would let a value smuggle in another key.
    if !value.contains('\n') && line.parse::<toml::Table>().is_ok() {
        return line;
    }
    format!("{key} = {}", toml::Value::String(value.to_owned()))
}

/// Layers merged so far.
struct Layers(Map<String, Value>);

impl Layers {
    fn defaults() -> Result<Self, ConfigError> {
        let origin = "the defaults";
        let text = toml::to_string(&RunConfig::default()).map_err(|e| ConfigError::Parse {
            origin: origin.to_owned(),
            message: e.to_string(),
        })?;
        Ok(Self(collect(origin, vec![text])?))
    }

    /// Puts a layer, given as pieces of TOML, on top.
    fn add(&mut self, origin: &str, pieces: Vec<String>) -> Result<(), ConfigError> {
        let layer = collect(origin, pieces)?;
        let table: toml::Table = merge(vec![layer.clone()])
            .and_then(Config::try_deserialize)
            .map_err(|e| wrong(origin, e))?;
        check_keys(&table, origin)?;
        for (section, value) in &table {
            if is_tagged_section(section) && value.get("type").is_some() {
                self.0.remove(section);
            }
        }
        let lower = std::mem::take(&mut self.0);
        let merged = merge(vec![lower, layer]).and_then(|config| config.collect());
        self.0 = merged.map_err(|e| wrong(origin, e))?;
        // Checked layer by layer, so that a wrong type is blamed on the layer it is in.
        self.typed(origin).map(drop)
    }

    fn typed(&self, origin: &str) -> Result<RunConfig, ConfigError> {
        merge(vec![self.0.clone()])
            .and_then(Config::try_deserialize)
            .map_err(|e| wrong(origin, e))
    }
}

fn collect(origin: &str, pieces: Vec<String>) -> Result<Map<String, Value>, ConfigError> {
    let builder = pieces.iter().fold(Config::builder(), |builder, piece| {
        builder.add_source(File::from_str(piece, FileFormat::Toml))
    });
    builder
        .build()
        .and_then(|config| config.collect())
        .map_err(|e| wrong(origin, e))
}

fn merge(layers: Vec<Map<String, Value>>) -> Result<Config, LayerError> {
    let layers = layers.into_iter().map(Layer);
    layers
        .fold(Config::builder(), |builder, layer| {
            builder.add_source(layer)
        })
        .build()
}

fn wrong(origin: &str, error: LayerError) -> ConfigError {
    ConfigError::Parse {
        origin: origin.to_owned(),
        message: error.to_string(),
    }
}

#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, LayerError> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::config::{DataSource, DeviceChoice};

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn with_sets(sets: &[&str]) -> Result<RunConfig, ConfigError> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        load_from(None, Map::new(), &sets)
    }

    #[test]
    fn no_layer_at_all_is_the_default() {
        assert_eq!(with_sets(&[]).unwrap(), RunConfig::default());
    }

    #[test]
    fn each_layer_covers_the_one_below() {
        let file = file("[train]\nepochs = 2\nseed = 2\npatience = 2\n[data]\nbatch_size = 16\n");
        let environment = Map::from_iter([
            ("CLASSIFY_TRAIN__SEED".to_owned(), "3".to_owned()),
            ("CLASSIFY_TRAIN__PATIENCE".to_owned(), "none".to_owned()),
            ("CLASSIFY_TRAIN__DEVICE".to_owned(), "cpu".to_owned()),
            ("UNRELATED".to_owned(), "3".to_owned()),
        ]);
        let sets = [
            "train.seed=4".to_owned(),
            "data.source = fashion-mnist".to_owned(),
        ];
        let config = load_from(Some(file.path()), environment, &sets).unwrap();
        assert_eq!((config.train.epochs, config.train.seed), (2, 4));
        assert_eq!((config.train.patience, config.data.batch_size), (None, 16));
        assert_eq!(config.train.device, DeviceChoice::Cpu);
        assert_eq!(config.data.source, DataSource::FashionMnist);
        assert_eq!(
            config.train.learning_rate,
            RunConfig::default().train.learning_rate
        );
    }

    #[test]
    fn a_type_starts_its_section_afresh_and_a_lone_key_adds_to_it() {
        let config = with_sets(&["optimizer.type=sgd", "optimizer.momentum=0.9"]).unwrap();
        let text = toml::to_string(&config.optimizer).unwrap();
        assert!(
            text.contains("momentum = 0.9") && !text.contains("betas"),
            "{text}"
        );
        let config = with_sets(&["optimizer.betas=[0.8, 0.9]"]).unwrap();
        let text = toml::to_string(&config.optimizer).unwrap();
        assert!(
            text.contains("adamw") && text.contains("betas = [0.8, 0.9]"),
            "{text}"
        );
        let config = with_sets(&["warmup.epochs=0.5"]).unwrap();
        assert_eq!(config.warmup.unwrap().epochs, Some(0.5));
    }

    #[test]
    fn a_short_text_takes_a_sections_place_and_operations_are_switched() {
        let config = with_sets(&["schedule=step-4-0.8", "loss.type=focal"]).unwrap();
        assert_eq!(config.schedule, "step-4-0.8".parse().unwrap());
        let text = toml::to_string(&config.loss).unwrap();
        assert!(
            text.contains("gamma") && !text.contains("smoothing"),
            "{text}"
        );
        let file = file("[augment]\npreset = \"photos\"\naffine = { degrees = 5.0 }\n");
        let load = |sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            load_from(Some(file.path()), Map::new(), &sets)
                .unwrap()
                .augment
        };
        let augment = load(&["augment.affine.fill=9", "augment.color_jitter=false"]);
        let affine = augment.affine.unwrap();
        assert_eq!((affine.degrees, affine.fill), (5.0, 9));
        assert!(augment.color_jitter.is_none() && augment.horizontal_flip.is_some());
        assert!(load(&["augment.affine=false"]).affine.is_none());
    }

    #[test]
    fn an_error_names_the_layer_and_the_key() {
        let message = |result: Result<RunConfig, ConfigError>| result.unwrap_err().to_string();
        let text = message(with_sets(&["train.epoch=3"]));
        assert!(
            text.contains("--set") && text.contains("`train.epochs`"),
            "{text}"
        );
        let text = message(with_sets(&["train.epochs=many"]));
        assert!(
            text.contains("--set") && text.contains("train.epochs"),
            "{text}"
        );
        let text = message(with_sets(&["train.epochs"]));
        assert!(text.contains("KEY=VALUE"), "{text}");
        let bad = file("[data]\nbatch_sise = 3\n");
        let text = message(load_from(Some(bad.path()), Map::new(), &[]));
        let name = bad.path().display().to_string();
        assert!(
            text.contains(&name) && text.contains("`data.batch_size`"),
            "{text}"
        );
        let environment = Map::from_iter([("CLASSIFY_EPOCHS".to_owned(), "3".to_owned())]);
        let text = message(load_from(None, environment, &[]));
        assert!(
            text.contains("CLASSIFY_*") && text.contains("`train.epochs`"),
            "{text}"
        );
        let broken = file("[data\n");
        let text = message(load_from(Some(broken.path()), Map::new(), &[]));
        assert!(
            text.contains(&broken.path().display().to_string()),
            "{text}"
        );
        let text = message(load_from(Some(Path::new("no/such.toml")), Map::new(), &[]));
        assert!(text.contains("no/such.toml"), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_no_text_matters_only_where_it_is_ours() {
        use std::os::unix::ffi::OsStringExt;
        let of = |name: &str, value: &[u8]| {
            let variable = (name.into(), OsString::from_vec(value.to_vec()));
            let own = ("CLASSIFY_TRAIN__SEED".into(), "3".into());
            ours([variable, own].into_iter())
        };
        let foreign = of("OTHER", b"\xff").unwrap();
        assert_eq!(foreign.len(), 1);
        assert_eq!(foreign["CLASSIFY_TRAIN__SEED"], "3");
        let text = of("CLASSIFY_DATA__ROOT", b"\xff").unwrap_err().to_string();
        assert!(text.contains("CLASSIFY_DATA__ROOT"), "{text}");
    }

    #[test]
    fn text_that_is_no_toml_is_a_string() {
        assert_eq!(assignment("a.b", "12"), "a.b = 12");
        assert_eq!(assignment("a.b", "cuda:1"), "a.b = \"cuda:1\"");
        assert_eq!(assignment("a.b", "\"12\""), "a.b = \"12\"");
        let smuggled: toml::Table = assignment("a", "1\nb = 2").parse().unwrap();
        assert_eq!(smuggled.len(), 1);
    }
}

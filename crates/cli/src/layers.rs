//! Collects the layers of a configuration: file, environment and `--set`.

use std::ffi::OsString;
use std::path::Path;

use config::{Environment, Map, Source};
use trainer::RunConfig;
use trainer::config::{ConfigError, Layer};

/// The default configuration file, read if it exists.
const DEFAULT_FILE: &str = "configs/mnist.toml";
/// The prefix of variables: `CLASSIFY_TRAIN__EPOCHS` sets `train.epochs`.
const ENVIRONMENT_PREFIX: &str = "CLASSIFY";
/// The name of the environment's layer in errors.
const ENVIRONMENT: &str = "the CLASSIFY_* variables";

/// Reads every layer and validates the result.
pub(crate) fn load(file: Option<&Path>, sets: &[String]) -> Result<RunConfig, ConfigError> {
    let default = Path::new(DEFAULT_FILE);
    let file = file.or_else(|| default.exists().then_some(default));
    RunConfig::from_layers(&user_layers(file, sets)?)
}

/// Whether the default file exists.
pub(crate) fn has_default_file() -> bool {
    Path::new(DEFAULT_FILE).exists()
}

/// The user's layers, lowest first: a file, the environment and `--set`.
pub(crate) fn user_layers(file: Option<&Path>, sets: &[String]) -> Result<Vec<Layer>, ConfigError> {
    layers_of(file, ours(std::env::vars_os())?, sets)
}

/// The `CLASSIFY_*` variables. Other variables are not read, so they may have any contents.
fn ours(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Map<String, String>, ConfigError> {
    let prefix = format!("{ENVIRONMENT_PREFIX}_").to_lowercase();
    let mut ours = Map::new();
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        // Letter case is ignored, as for variables.
        let key = name.to_lowercase();
        if !key.starts_with(&prefix) {
            continue;
        }
        let value = value.into_string().map_err(|value| {
            refused(
                format!("the variable {name}"),
                format!("{value:?} is not UTF-8; expected text; change or unset it"),
            )
        })?;
        if ours.insert(key, value).is_some() {
            return Err(refused(
                format!("the variable {name}"),
                "it is set in another letter case too; unset one of the two".to_owned(),
            ));
        }
    }
    Ok(ours)
}

fn layers_of(
    file: Option<&Path>,
    environment: Map<String, String>,
    sets: &[String],
) -> Result<Vec<Layer>, ConfigError> {
    let mut layers = Vec::new();
    if let Some(path) = file {
        layers.push(Layer::read(path)?);
    }
    let variables = Environment::with_prefix(ENVIRONMENT_PREFIX)
        .prefix_separator("_")
        .separator("__")
        .source(Some(environment))
        .collect()
        .map_err(|error| refused(ENVIRONMENT.to_owned(), error.to_string()))?;
    let variables: Vec<(String, String)> = variables
        .into_iter()
        .map(|(key, value)| (key, value.to_string()))
        .collect();
    let pairs = variables.iter();
    let pairs = pairs.map(|(key, value)| (key.as_str(), value.trim()));
    layers.push(Layer::from_assignments(pairs, ENVIRONMENT)?);
    let sets = sets.iter().map(|set| match set.split_once('=') {
        Some((key, value)) => Ok((key.trim(), value.trim())),
        None => Err(refused(
            "--set".to_owned(),
            format!("{set:?} is not an assignment; expected KEY=VALUE, such as train.epochs=1"),
        )),
    });
    let sets: Vec<(&str, &str)> = sets.collect::<Result<_, _>>()?;
    layers.push(Layer::from_assignments(sets, "--set")?);
    Ok(layers)
}

fn refused(origin: String, message: String) -> ConfigError {
    ConfigError::Parse { origin, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_from(
        file: Option<&Path>,
        environment: Map<String, String>,
        sets: &[String],
    ) -> Result<RunConfig, ConfigError> {
        RunConfig::from_layers(&layers_of(file, environment, sets)?)
    }

    fn of(variables: &[(&str, &str)], sets: &[&str]) -> Result<RunConfig, ConfigError> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        load_from(None, ours(variables)?, &sets)
    }

    #[test]
    fn each_layer_covers_the_one_below() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "[train]\nepochs = 2\nseed = 2\npatience = 2\n[data]\nbatch_size = 16\n";
        std::fs::write(file.path(), text).unwrap();
        let environment = Map::from_iter([
            ("CLASSIFY_TRAIN__SEED".to_owned(), "3".to_owned()),
            ("CLASSIFY_TRAIN__PATIENCE".to_owned(), "none".to_owned()),
            ("CLASSIFY_TRAIN__DEVICE".to_owned(), "cpu".to_owned()),
            ("UNRELATED".to_owned(), "3".to_owned()),
        ]);
        let sets = ["train.seed=4", "data.source = fashion-mnist"].map(str::to_owned);
        let config = load_from(Some(file.path()), environment, &sets).unwrap();
        assert_eq!((config.train.epochs, config.train.seed), (2, 4));
        assert_eq!((config.train.patience, config.data.batch_size), (None, 16));
        assert_eq!(config.train.device.to_string(), "cpu");
        assert_eq!(config.data.source.name(), "fashion-mnist");
        assert_eq!(of(&[], &[]).unwrap(), RunConfig::default());
    }

    #[test]
    fn an_error_names_the_layer_and_the_key() {
        for (variables, sets, said) in [
            (vec![], vec!["train.epoch=3"], ["--set", "`train.epochs`"]),
            (
                vec![],
                vec!["train.epochs=many"],
                ["--set", "`train.epochs`"],
            ),
            (
                vec![],
                vec!["train.epochs=1.9"],
                ["--set", "1.9; expected a whole number"],
            ),
            (vec![], vec!["train.epochs"], ["--set", "KEY=VALUE"]),
            (vec![], vec!["#train.epochs=1"], ["--set", "#train.epochs"]),
            (
                vec![],
                vec!["\"train.epochs\"=1"],
                ["--set", "train.epochs"],
            ),
            (
                vec![],
                vec!["train.epochs ="],
                ["--set", "`train.epochs` is \"\""],
            ),
            (
                vec![("CLASSIFY_EPOCHS", "3")],
                vec![],
                ["CLASSIFY_*", "`train.epochs`"],
            ),
            (
                vec![("CLASSIFY_TRAIN__EPOCHS", "true")],
                vec![],
                ["CLASSIFY_*", "`train.epochs` is true"],
            ),
            (
                vec![("CLASSIFY_TRAIN__EPOCHS", "")],
                vec![],
                ["CLASSIFY_*", "`train.epochs` is \"\""],
            ),
            (
                vec![("CLASSIFY__TRAIN__EPOCHS", "3")],
                vec![],
                ["CLASSIFY_*", "`_train`"],
            ),
            (
                vec![("CLASSIFY_", "3")],
                vec![],
                ["CLASSIFY_*", "is not a key"],
            ),
            (
                vec![("CLASSIFY_TRAIN__SEED", "3"), ("classify_train__seed", "4")],
                vec![],
                ["classify_train__seed", "another letter case"],
            ),
        ] {
            let text = of(&variables, &sets).unwrap_err().to_string();
            for part in said {
                assert!(text.contains(part), "{variables:?} {sets:?}: {text}");
            }
        }
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
        assert_eq!(foreign["classify_train__seed"], "3");
        let text = of("CLASSIFY_DATA__ROOT", b"\xff").unwrap_err().to_string();
        assert!(text.contains("CLASSIFY_DATA__ROOT"), "{text}");
    }
}

//! Configurations, and the Python dictionaries that `import-config` translates.

use trainer::RunConfig;
use trainer::config::{ConfigError, Layer, MAX_FILE_BYTES};

/// Reads a configuration file.
pub(crate) fn file(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).is_ok_and(|text| is_valid(RunConfig::from_toml(text, "file")))
}

/// Takes each line as an assignment of the command line.
pub(crate) fn assignments(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    let lines = text.lines().filter_map(|line| line.split_once('='));
    let layer = Layer::from_assignments(lines, "--set");
    is_valid(layer.and_then(|layer| RunConfig::from_layers(&[layer])))
}

/// Whether a configuration was accepted. A run stores it, so it must survive that.
fn is_valid(config: Result<RunConfig, ConfigError>) -> bool {
    if let Ok(config) = &config {
        let stored = toml::to_string(config).expect("a configuration can be written");
        // A run's copy may be longer than a file may be.
        if stored.len() as u64 <= MAX_FILE_BYTES {
            let again = RunConfig::from_toml(&stored, "config.toml").expect("it is valid");
            assert_eq!(*config, again);
        }
    }
    config.is_ok()
}

/// Translates a Python file. The translation must be valid.
pub(crate) fn import(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    let imported = trainer::import_config(text, "config.py");
    if let Ok(imported) = &imported {
        RunConfig::from_toml(&imported.toml, "config.toml").expect("the translation is valid");
    }
    imported.is_ok()
}

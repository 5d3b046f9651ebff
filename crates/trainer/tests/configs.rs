//! Every file in `configs/` is valid, and mnist.toml equals the built-in default.

use std::path::PathBuf;

use trainer::RunConfig;

fn configs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

#[test]
fn every_file_is_valid() {
    let mut count = 0;
    for entry in std::fs::read_dir(configs()).unwrap() {
        let path = entry.unwrap().path();
        RunConfig::read(&path).unwrap();
        count += 1;
    }
    assert!(count >= 5, "only {count} files in configs/");
}

#[test]
fn the_default_file_is_the_built_in_default_and_shows_every_key() {
    let path = configs().join("mnist.toml");
    assert_eq!(RunConfig::read(&path).unwrap(), RunConfig::default());
    let file: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
    let built_in = toml::Table::try_from(RunConfig::default()).unwrap();
    assert_eq!(keys(&file, ""), keys(&built_in, ""));
}

fn keys(table: &toml::Table, path: &str) -> Vec<String> {
    let mut keys: Vec<String> = table
        .iter()
        .flat_map(|(name, value)| match value.as_table() {
            Some(inner) => keys(inner, &format!("{path}{name}.")),
            None => vec![format!("{path}{name}")],
        })
        .collect();
    keys.sort();
    keys
}

//! Writes the reference page: each section with its keys, defaults and valid values.

use mnist_data::AugmentConfig;
use optim::{EmaConfig, LrScheduleConfig, OptimizerConfig, PlateauMode, Warmup};
use toml::{Table, Value};
use trainer::RunConfig;
use trainer::config::{DistillationConfig, KEYS, Key, Kind, LossConfig, SECTIONS};

use super::{at, written};

const HEAD: &str = "\
# Settings

Every key of a configuration, with its default. Keys go into a file (`--config my.toml`), or after `--set` with their
section: `--set train.epochs=3`. [configs/mnist.toml](../configs/mnist.toml) is the same list as a file.
Where a section has a `type` (or an operation is switched on), the defaults are those of the type. Without the section,
those of the file hold. An error message names the exact range, where it is narrower than here.

This page is generated; see [adding.md](adding.md).
";

pub(super) fn page() -> String {
    let mut page = HEAD.to_owned();
    let samples = samples();
    for (section, text) in SECTIONS {
        page.push_str(&format!("\n## `[{section}]`\n\n{text}\n\n"));
        page.push_str("| key | default | values | purpose |\n|---|---|---|---|\n");
        for key in KEYS.iter().filter(|key| section_of(key) == *section) {
            let name = key.path.strip_prefix(&format!("{section}."));
            let of = match key.types {
                [] => String::new(),
                types => format!("({}) ", types.join(", ")),
            };
            page.push_str(&format!(
                "| `{}` | {} | {} | {of}{} |\n",
                name.unwrap_or(key.path),
                default(key, &samples),
                cell(&key.kind.to_string()),
                cell(key.text),
            ));
        }
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('<', "&lt;")
        .replace("\n  ", "<br>")
        .replace('\n', "<br>")
}

/// The innermost section that describes the key.
fn section_of(key: &Key) -> &'static str {
    let sections = SECTIONS.iter().map(|(section, _)| *section);
    let holds = |section: &&str| {
        let rest = key.path.strip_prefix(section);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let innermost = sections.filter(holds).max_by_key(|section| section.len());
    innermost.unwrap()
}

/// One configuration for each `type` of each section. Together they give every key a value.
fn samples() -> Vec<Table> {
    let mut config = RunConfig {
        warmup: Some(Warmup::steps(1)),
        ema: Some(EmaConfig::default()),
        distillation: Some(DistillationConfig::new("t")),
        ..RunConfig::default()
    };
    config.data.sample_weights.file = Some("w.csv".into());
    config.data.normalisation = config.data.normalisation().into();
    let operations = AugmentConfig::OPERATIONS.iter();
    let on = operations.map(|operation| (operation.name.to_owned(), true.into()));
    config.augment = on.collect::<Table>().try_into().unwrap();
    let mut samples = Vec::new();
    for loss in LossConfig::all() {
        samples.push(with(&config, |config| config.loss = loss));
    }
    for optimizer in OptimizerConfig::all() {
        samples.push(with(&config, |config| config.optimizer = optimizer));
    }
    for mut schedule in LrScheduleConfig::all() {
        schedule.resolve_mode(PlateauMode::Max);
        samples.push(with(&config, |config| config.schedule = schedule));
    }
    samples
}

fn with(config: &RunConfig, change: impl FnOnce(&mut RunConfig)) -> Table {
    let mut config = config.clone();
    change(&mut config);
    Table::try_from(config).unwrap()
}

/// The defaults of a key: one for each `type` with the key, or a single one if these are equal.
fn default(key: &Key, samples: &[Table]) -> String {
    if key.path.ends_with(".type") {
        let built_in = Table::try_from(RunConfig::default()).unwrap();
        return code(at(&built_in, key.path).unwrap());
    }
    let (section, _) = key.path.split_once('.').unwrap_or((key.path, ""));
    let type_path = format!("{section}.type");
    let is_of = |sample: &&Table, of: &str| {
        at(sample, &type_path).is_some_and(|found| found.as_str() == Some(of))
    };
    // The defaults in the order of the types, each with the types that have this default.
    let mut defaults: Vec<(String, Vec<&str>)> = Vec::new();
    for of in key.types {
        let sample = samples.iter().find(|sample| is_of(sample, of)).unwrap();
        let default = without(sample, key);
        match defaults.iter_mut().find(|(known, _)| *known == default) {
            Some((_, types)) => types.push(of),
            None => defaults.push((default, vec![of])),
        }
    }
    match &defaults[..] {
        [] => without(&samples[0], key),
        [(default, _)] => default.clone(),
        several => {
            let each = several.iter();
            let each = each.map(|(default, types)| format!("{default} ({})", types.join(", ")));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// The value of a key that the configuration file does not set.
fn without(sample: &Table, key: &Key) -> String {
    let mut left_out = sample.clone();
    remove(&mut left_out, key.path);
    let Ok(config) = left_out.try_into::<RunConfig>() else {
        return "required".to_owned();
    };
    let written = Table::try_from(config).unwrap();
    match (at(&written, key.path), key.kind) {
        (Some(value), _) if !value.is_table() => code(value),
        (_, Kind::Switch) => "`false`".to_owned(),
        (_, Kind::Or(word, _)) => format!("`\"{word}\"`"),
        _ => "–".to_owned(),
    }
}

fn remove(table: &mut Table, path: &str) {
    match path.split_once('.') {
        None => drop(table.remove(path)),
        Some((section, rest)) => {
            if let Some(Value::Table(section)) = table.get_mut(section) {
                remove(section, rest);
            }
        }
    }
}

fn code(value: &Value) -> String {
    format!("`{}`", written(value))
}

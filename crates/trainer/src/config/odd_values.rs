//! Tries values of every kind for every key. Each value is either accepted unchanged, or refused by an error with key
//! and layer.

use std::collections::{BTreeMap, BTreeSet};

use mnist_data::AugmentConfig;
use optim::{LrScheduleConfig, OptimizerConfig};
use serde::Serialize;
use toml::{Table, Value};

use super::keys::{Key, Kind};
use super::list::KEYS;
use super::{DistillationConfig, LossConfig, RunConfig};

/// A value in TOML, as in a configuration file.
const VALUES: [&str; 25] = [
    "0",
    "1",
    "-1",
    "2",
    "300",
    "9223372036854775807",
    "9007199254740993",
    "0.3",
    "1.0",
    "1.9",
    "-0.5",
    "1e308",
    "nan",
    "inf",
    "true",
    "false",
    "\"\"",
    "\"1\"",
    "\"true\"",
    "\"odd\"",
    "2024-01-01",
    "[]",
    "[0.5, 0.75, 1.0, 1.25]",
    "[true, false]",
    "{ odd = 1 }",
];

/// A layer that sets a key, and the section's `type` if the key needs one.
fn layer(key: &Key, value: &str) -> String {
    let (section, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
    let of = key.types.first().map(|of| format!("type = \"{of}\"\n"));
    let needed = match key.path {
        "schedule.gamma" => "step_size = 1\n",
        "schedule.t_mult" | "schedule.eta_min" | "schedule.interval" => "t_0 = 1\n",
        "warmup.start_factor" => "steps = 1\n",
        "distillation.temperature" | "distillation.weight" => "teacher = \"t\"\n",
        _ => "",
    };
    let header = match section {
        "" => String::new(),
        section => format!("[{section}]\n"),
    };
    format!(
        "{header}{}{needed}{name} = {value}\n",
        of.unwrap_or_default()
    )
}

fn at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let sections = section.split('.').filter(|part| !part.is_empty());
    let table = sections
        .into_iter()
        .try_fold(table, |table, part| table.get(part)?.as_table())?;
    table.get(name)
}

/// Whether two values are equal. A whole number may equal a floating-point one, and f32 rounding is allowed.
fn same(given: &Value, taken: &Value) -> bool {
    match (given, taken) {
        (Value::Array(given), Value::Array(taken)) => {
            given.len() == taken.len() && given.iter().zip(taken).all(|(g, t)| same(g, t))
        }
        (Value::Integer(given), Value::Float(taken)) => *given as f64 == *taken,
        (Value::Float(given), Value::Float(taken)) => {
            given == taken || f64::from(*given as f32) == *taken
        }
        (given, taken) => given == taken,
    }
}

#[test]
fn an_odd_value_is_refused_by_name_or_taken_as_it_is() {
    let (mut refused, mut taken) = (0, 0);
    for key in KEYS.iter() {
        for value in VALUES {
            let text = layer(key, value);
            let given = format!("x = {value}").parse::<Table>().unwrap()["x"].clone();
            match RunConfig::from_toml(&text, "odd.toml") {
                Err(error) => {
                    refused += 1;
                    let message = error.to_string();
                    // An error inside a table names the key in the table.
                    let named = message.contains(&format!("`{}`", key.path))
                        || message.contains(&format!("{}: ", key.path))
                        || (given.is_table() && message.contains(&format!("`{}.odd`", key.path)));
                    assert!(
                        named && message.starts_with("odd.toml: "),
                        "{text}: {message}"
                    );
                    assert!(message.chars().count() < 800, "{text}: {message}");
                }
                Ok(config) => {
                    taken += 1;
                    let table = Table::try_from(&config).unwrap();
                    let found = at(&table, key.path);
                    let is_same = match (key.kind, &given, found) {
                        // With `true` an operation has its default settings.
                        (Kind::Switch, Value::Boolean(true), Some(Value::Table(_))) => true,
                        (Kind::Switch, Value::Boolean(false), None) => true,
                        // With `true` a section has its defaults.
                        (Kind::Or(..), Value::Boolean(true), Some(Value::Table(_))) => true,
                        (Kind::Or(word, _), Value::Boolean(false), Some(found)) => {
                            found.as_str() == Some(word)
                        }
                        (_, given, Some(found)) => same(given, found),
                        (_, _, None) => false,
                    };
                    assert!(is_same, "{text}: {found:?}");
                }
            }
        }
    }
    assert!(refused > 1500 && taken > 300, "{refused} and {taken}");
}

#[test]
fn nothing_is_converted() {
    for (text, said) in [
        (
            "train.epochs = 1.9",
            "`train.epochs` is 1.9; expected a whole number, at least 1",
        ),
        ("train.epochs = 2.0", "`train.epochs` is 2.0"),
        ("train.epochs = true", "`train.epochs` is true"),
        ("train.epochs = \"1\"", "`train.epochs` is \"1\""),
        (
            "train.drop_last = 0.3",
            "`train.drop_last` is 0.3; expected true or false",
        ),
        ("train.drop_last = 1", "`train.drop_last` is 1"),
        ("data.root = 1", "`data.root` is 1"),
        (
            "data.normalisation.mean = [1, 2, 3, 4]",
            "`data.normalisation.mean` is [1, 2, 3, 4]; expected a list of 3",
        ),
        (
            "data.normalisation.mean = [1, 2]",
            "`data.normalisation.mean`",
        ),
        (
            "data.normalisation.mean = [1e300, 0, 0]",
            "`data.normalisation.mean`",
        ),
        ("train.learning_rate = \"0.1\"", "`train.learning_rate`"),
        ("train.seed = -1", "`train.seed` is -1"),
        ("train.seed = 9223372036854775808", "line 1"),
        ("train.epochs = 1\ntrain.epochs = 2", "duplicate key"),
        ("[train]\nepochs = 1\n[train]\nseed = 2", "duplicate key"),
        ("\"train.epochs\" = 1", "did you mean `train.epochs`?"),
        ("train.\"#epochs\" = 1", "unknown key `train.#epochs`"),
        ("train = 3", "`train` is 3; expected a table"),
        ("data = { loss = { gamma = 1 } }", "unknown key `data.loss`"),
        (
            "optimizer.type = \"adamm\"",
            "`optimizer.type` is \"adamm\"; expected one of adam, adamw",
        ),
        ("optimizer.type = 3", "`optimizer.type` is 3"),
        (
            "optimizer.momentum = 0.9",
            "[optimizer] of type \"adamw\" has: type, betas",
        ),
        (
            "schedule = \"step-x\"",
            "`schedule` is \"step-x\"; expected \"constant\"",
        ),
        (
            "schedule = \"step-0-0.5\"",
            "step_size in it: a whole number >= 1, not 0",
        ),
        (
            "schedule = { type = \"step\" }",
            "`schedule.step_size` is missing",
        ),
        (
            "distillation = { weight = 0.5 }",
            "`distillation.teacher` is missing",
        ),
        (
            "train.monitor = \"accuracy\"",
            "`train.monitor` is \"accuracy\"; expected one of val_accuracy, val_macro_f1",
        ),
        (
            "loss = { type = \"focal\", alpha = \"even\" }",
            "`loss.alpha`",
        ),
        (
            "train.threads = 10000",
            "`train.threads` is 10000; expected a whole number, at least 1 and at most 1024",
        ),
        ("data.workers = 10000", "at most 1024"),
        ("data.batch_size = 70000", "at most 65536"),
        (
            "data.batch_size = 1000\ndata.image_size = 2048",
            "at most 341 images of 2048 pixels",
        ),
        ("train.epochs = 100000000", "at most 1000000"),
        ("data.image_size = 4096", "at most 2048"),
        ("model.width = 10.5", "at most 10"),
    ] {
        let message = RunConfig::from_toml(text, "odd.toml")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(said) && message.starts_with("odd.toml: "),
            "{text}: {message}"
        );
    }
    let widened = RunConfig::from_toml("train.learning_rate = 1\nmodel.width = 10", "a").unwrap();
    assert_eq!(
        (widened.train.learning_rate, widened.model.width),
        (1.0, mobilenet::MAX_WIDTH)
    );
}

/// Every key of the structs, including keys that only one `type` has.
fn keys_of_the_structs() -> BTreeMap<String, BTreeSet<String>> {
    let mut keys = BTreeMap::new();
    let mut config = RunConfig {
        warmup: Some(optim::Warmup::steps(1)),
        ema: Some(optim::EmaConfig::default()),
        distillation: Some(DistillationConfig::new("t")),
        ..RunConfig::default()
    };
    config.data.sample_weights.file = Some("w.csv".into());
    config.data.normalisation = config.data.normalisation().into();
    let operations = AugmentConfig::OPERATIONS.iter();
    let on: Table = operations
        .map(|operation| (operation.name.to_owned(), true.into()))
        .collect();
    config.augment = on.try_into().unwrap();
    let mut table = Table::try_from(&config).unwrap();
    table.insert(
        "warmup".to_owned(),
        Value::try_from(optim::Warmup::steps(1)).unwrap(),
    );
    at_section(&mut table, "warmup").insert("epochs".to_owned(), 1.0.into());
    for section in ["loss", "optimizer", "schedule"] {
        table.remove(section);
    }
    leaves(&table, "", "", &mut keys);
    let mut variants = |section: &str, variant: &dyn Fn() -> Table| {
        let table = variant();
        let of = table["type"].as_str().unwrap().to_owned();
        leaves(&table, &format!("{section}."), &of, &mut keys);
    };
    for loss in LossConfig::all() {
        variants("loss", &|| table_of(&loss));
    }
    for rule in OptimizerConfig::all() {
        variants("optimizer", &|| table_of(&rule));
    }
    for mut schedule in LrScheduleConfig::all() {
        schedule.resolve_mode(optim::PlateauMode::Max);
        variants("schedule", &|| table_of(&schedule));
    }
    keys
}

fn at_section<'a>(table: &'a mut Table, section: &str) -> &'a mut Table {
    table.get_mut(section).unwrap().as_table_mut().unwrap()
}

fn table_of(section: &impl Serialize) -> Table {
    Table::try_from(section).unwrap()
}

fn leaves(table: &Table, path: &str, of: &str, keys: &mut BTreeMap<String, BTreeSet<String>>) {
    for (name, value) in table {
        let full = format!("{path}{name}");
        match value.as_table() {
            Some(inner) => leaves(inner, &format!("{full}."), of, keys),
            None => {
                keys.entry(full).or_default().insert(of.to_owned());
            }
        }
    }
}

#[test]
fn the_list_has_the_keys_of_the_structs_and_no_others() {
    let structs = keys_of_the_structs();
    let types = |section: &str| structs[&format!("{section}.type")].clone();
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for key in KEYS.iter() {
        assert!(key.text.ends_with('.'), "{}", key.path);
        let (section, _) = key.path.split_once('.').unwrap_or((key.path, ""));
        let of = match (key.types, section) {
            ([], "loss" | "optimizer" | "schedule") if key.path != section => types(section),
            ([], _) => BTreeSet::from([String::new()]),
            (of, _) => of.iter().map(|of| (*of).to_owned()).collect(),
        };
        let is_section = KEYS
            .iter()
            .any(|other| other.path.starts_with(&format!("{}.", key.path)));
        if !is_section {
            listed.entry(key.path.to_owned()).or_default().extend(of);
        }
        if let Kind::OneOf(words) = key.kind {
            let words: BTreeSet<String> = words().into_iter().collect();
            if key.path == format!("{section}.type") {
                assert_eq!(words, types(section), "{}", key.path);
            }
            assert!(words.len() > 1, "{}", key.path);
        }
    }
    assert_eq!(listed, structs);
}

//! Translates the reference projects' keys to ours.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mobilenet::Variant;
use mobilenet::weights::Normalisation;
use toml::{Table, Value as Toml};

use super::data::{image_size, split};
use super::networks::{Found, network};
use super::python::Value;

/// How a key is translated.
pub(super) enum Meaning {
    /// The key has an equivalent here.
    Setting,
    /// The key has an equivalent here, but had no effect in its project, for this reason.
    Awake(&'static str),
    /// The key has an equivalent here, with a remark.
    Noted(String),
    /// The key has no equivalent here and had no effect in its project, for this reason.
    Dead(&'static str),
    /// The key is not part of a configuration here. The text names its replacement.
    Foreign(&'static str),
    /// No reference project has this key.
    Unknown,
}

pub(super) type Outcome = Result<Meaning, String>;

/// The translated settings so far, by section. Other fields hold values that are combined at the end.
pub(super) struct Settings {
    sections: Table,
    /// Mean and standard deviation of the network's pixels.
    normalisation: Normalisation,
    /// The folder of each split: train, val, test.
    pub(super) splits: BTreeMap<&'static str, PathBuf>,
    optimizer: Option<&'static str>,
    weight_decay: f64,
    label_smoothing: f64,
    class_weights: Option<Vec<f64>>,
    loss: Option<Toml>,
    best_only: Option<bool>,
    one_only: Option<bool>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            sections: Table::new(),
            normalisation: Normalisation::IMAGENET,
            splits: BTreeMap::new(),
            optimizer: None,
            weight_decay: 0.0,
            label_smoothing: 0.0,
            class_weights: None,
            loss: None,
            best_only: None,
            one_only: None,
        }
    }
}

impl Settings {
    pub(super) fn set(&mut self, section: &str, key: &str, value: impl Into<Toml>) {
        let section = self.sections.entry(section).or_insert(Table::new().into());
        if let Toml::Table(section) = section {
            section.insert(key.to_owned(), value.into());
        }
    }

    /// Whether label smoothing was set, but the loss does not support it here.
    pub(super) fn smooths_in_vain(&self) -> bool {
        self.loss.is_some() && self.label_smoothing != 0.0
    }

    /// All settings as TOML. Settings that are implicit in the reference projects are written out.
    pub(super) fn into_toml(mut self) -> Result<String, toml::ser::Error> {
        self.set("data", "source", "folder");
        self.set_splits();
        self.set("data", "fit", "squash");
        let Normalisation { mean, std } = self.normalisation;
        let figures = [("mean", mean), ("std", std)];
        // Written as text, an f32 has few digits.
        let exact = |figure: f32| figure.to_string().parse().unwrap_or_default();
        let figures = figures.map(|(key, figures)| (key.to_owned(), list(figures.map(exact))));
        self.set("data", "normalisation", Table::from_iter(figures));
        let optimizer = self.optimizer.unwrap_or("adam");
        self.set("optimizer", "type", optimizer);
        match optimizer {
            "sgd" => self.set("optimizer", "momentum", 0.9),
            "adabelief" => self.set("optimizer", "eps", 1e-12),
            _ => {}
        }
        if self.weight_decay != 0.0 || optimizer == "adamw" {
            self.set("optimizer", "weight_decay", self.weight_decay);
        }
        let focal = self.loss.take();
        self.set(
            "loss",
            "type",
            if focal.is_some() {
                "focal"
            } else {
                "cross_entropy"
            },
        );
        if let Some(gamma) = &focal {
            self.set("loss", "gamma", gamma.clone());
        } else {
            self.set("loss", "label_smoothing", self.label_smoothing);
        }
        if let Some(weights) = self.class_weights.take() {
            let key = if focal.is_some() {
                "alpha"
            } else {
                "class_weights"
            };
            self.set("loss", key, list(weights));
        }
        if self.sections.get("schedule").is_none() {
            self.set("schedule", "type", "constant");
        }
        let policy = match (self.best_only, self.one_only) {
            (Some(false), _) => "every_epoch",
            (_, Some(false)) => "best_all",
            _ => "best_one",
        };
        self.set("train", "checkpoints", policy);
        // torch's data loaders keep the last batch by default.
        self.set("train", "drop_last", false);
        toml::to_string(&self.sections)
    }
}

/// Whether a reference project has this key.
pub(super) fn is_known(key: &str) -> bool {
    let meaning = meaning(key, &Value::None, &mut Settings::default());
    !matches!(meaning, Ok(Meaning::Unknown))
}

fn list(numbers: impl IntoIterator<Item = f64>) -> Toml {
    Toml::Array(numbers.into_iter().map(Toml::Float).collect())
}

/// Translates one key.
///
/// The error describes the expected value.
pub(super) fn meaning(key: &str, value: &Value, to: &mut Settings) -> Outcome {
    if matches!(value, Value::Expression(_)) {
        return Ok(match without_effect(key, value, to)? {
            Meaning::Unknown => Meaning::Foreign(
                "its value is an expression that only Python can compute; the default stays",
            ),
            other => other,
        });
    }
    match key {
        "model_name" => model(text(value)?, to),
        "class_number" => set(to, "model", "classes", whole(value)?),
        "dropout" => set(to, "model", "dropout", number(value)?),
        "pretrained" => match value {
            Value::None => Ok(Meaning::Setting),
            _ => set_text(to, "model", "pretrained", text(value)?, ""),
        },
        "GPU_ID" => match text(value)? {
            "" | "-1" => set(to, "train", "device", "cpu"),
            "0" => Ok(Meaning::Setting), // "auto" uses an accelerator if there is one
            number if number.parse::<usize>().is_ok() => {
                set(to, "train", "device", format!("cuda:{number}"))
            }
            _ => Err("one GPU is used here: expected its number as text, or ''".to_owned()),
        },
        "random_seed" => set(to, "train", "seed", whole(value)?),
        "num_workers" => set_whole(to, "data", "workers", value),
        // The key limits both splits.
        "try_to_train_items" => {
            set_whole(to, "data", "limit", value)?;
            set_whole(to, "data", "val_limit", value)
        }
        "img_size" | "target_img_size" => image_size(value, to),
        "train_path" => split("train", text(value)?, to),
        "val_path" => split("val", text(value)?, to),
        "learning_rate" => set(to, "train", "learning_rate", number(value)?),
        "batch_size" => set(to, "data", "batch_size", whole(value)?),
        "epochs" => set(to, "train", "epochs", whole(value)?),
        "early_stop_patient" => set_whole(to, "train", "patience", value),
        "optimizer" => optimizer(text(value)?, to),
        "weight_decay" => {
            to.weight_decay = number(value)?;
            Ok(Meaning::Setting)
        }
        "scheduler" => schedule(text(value)?, to),
        "warmup_epoch" => match number(value)? {
            0.0 => Ok(Meaning::Setting),
            epochs => set(to, "warmup", "epochs", epochs),
        },
        "loss" => loss(text(value)?, to),
        "label_smooth" => {
            to.label_smoothing = number(value)?;
            Ok(Meaning::Setting)
        }
        "save_best_only" => {
            to.best_only = Some(switch(value)?);
            Ok(Meaning::Setting)
        }
        "save_one_only" => {
            to.one_only = Some(switch(value)?);
            Ok(Meaning::Setting)
        }
        _ => without_effect(key, value, to),
    }
}

/// Keys without effect, and keys of other programs.
fn without_effect(key: &str, value: &Value, to: &mut Settings) -> Outcome {
    const CLIPPING: &str = "gradients were clipped before there were any";
    const FREEZING: &str = "layers were frozen that the model does not have";
    const WEIGHTS: &str = "the cross-entropy ignored them";
    // The value of an expression is unknown.
    let off = matches!(
        value,
        Value::None | Value::Bool(false) | Value::Int(0) | Value::Expression(_)
    ) || *value == Value::Text(String::new());
    Ok(match key {
        "clip_gradient" if off => Meaning::Dead(CLIPPING),
        "clip_gradient" => {
            to.set("train", "clip_gradient_value", number(value)?);
            Meaning::Awake(CLIPPING)
        }
        "freeze_nonlinear_epoch" if off => Meaning::Dead(FREEZING),
        "freeze_nonlinear_epoch" => {
            to.set("train", "freeze_epochs", whole(value)?);
            Meaning::Awake(FREEZING)
        }
        "class_weight" if off => Meaning::Dead(WEIGHTS),
        "class_weight" => match value {
            Value::List(weights) => {
                to.class_weights = Some(weights.iter().map(number).collect::<Result<_, _>>()?);
                Meaning::Awake(WEIGHTS)
            }
            _ => return Err("expected a list with a number for each class".to_owned()),
        },
        "sample_weights" => {
            Meaning::Dead("the cross-entropy ignored them; see data.sample_weights")
        }
        "mixup" | "cutmix" => Meaning::Dead("nothing read it; see [mix]"),
        "use_distill" => Meaning::Dead("nothing read it; see [distillation]"),
        "k_flod" | "start_fold" | "val_fold" => {
            Meaning::Dead("nothing read it; see classify cross-validate")
        }
        "TTA" | "use_TTA" => Meaning::Dead("nothing read it; see predict --tta"),
        "merge" => Meaning::Dead("nothing read it; several --weights make an ensemble"),
        "checkpoint" | "show_data" | "cfg_verbose" | "pin_memory" | "log_interval" | "log_item"
        | "comment" => Meaning::Foreign("it has no counterpart here and needs none"),
        "show_heatmap" => Meaning::Foreign("it has no counterpart here"),
        "metrics" => Meaning::Foreign("accuracy and F1 are always measured; train.monitor chooses"),
        "save_dir" => Meaning::Foreign("the folder of a run is --run-dir"),
        "model_path" => Meaning::Foreign("weights to use are --weights of evaluate and predict"),
        "eval_path" if !off => return split("test", text(value)?, to),
        "eval_path" => Meaning::Foreign("labelled images to measure on are evaluate --data"),
        "test_path" | "test_img_dir" | "pre_img_dir" => {
            Meaning::Foreign("images to classify are arguments of predict")
        }
        "test_batch_size" => Meaning::Foreign("it is --batch-size of evaluate and predict"),
        _ => Meaning::Unknown,
    })
}

pub(super) fn set(to: &mut Settings, section: &str, key: &str, value: impl Into<Toml>) -> Outcome {
    to.set(section, key, value);
    Ok(Meaning::Setting)
}

/// A whole number; 0 means the default.
fn set_whole(to: &mut Settings, section: &str, key: &str, value: &Value) -> Outcome {
    match whole(value)? {
        0 => Ok(Meaning::Setting),
        number => set(to, section, key, number),
    }
}

fn set_text(to: &mut Settings, section: &str, key: &str, text: &str, absent: &str) -> Outcome {
    match text == absent {
        true => Ok(Meaning::Setting),
        false => set(to, section, key, text),
    }
}

fn model(name: &str, to: &mut Settings) -> Outcome {
    let Found { ours, remark } = network(name)?;
    to.set("model", "head", "linear");
    if let Ok(variant) = ours.parse::<Variant>() {
        to.normalisation = variant.normalisation();
    }
    to.set("model", "name", ours);
    Ok(remark.map_or(Meaning::Setting, Meaning::Noted))
}

fn optimizer(name: &str, to: &mut Settings) -> Outcome {
    to.optimizer = Some(match name {
        "Adam" => "adam",
        "AdamW" => "adamw",
        "SGD" => "sgd",
        "AdaBelief" => "adabelief",
        "Ranger" => "ranger",
        _ => return Err("expected Adam, AdamW, SGD, AdaBelief or Ranger".to_owned()),
    });
    Ok(Meaning::Setting)
}

fn schedule(text: &str, to: &mut Settings) -> Outcome {
    let schedule: optim::LrScheduleConfig =
        text.parse().map_err(|e: optim::Error| e.to_string())?;
    match Toml::try_from(schedule) {
        Ok(Toml::Table(keys)) => {
            for (key, value) in keys {
                to.set("schedule", &key, value);
            }
            Ok(Meaning::Setting)
        }
        _ => Err("expected a schedule".to_owned()),
    }
}

fn loss(name: &str, to: &mut Settings) -> Outcome {
    if let Some(gamma) = name.strip_prefix("Focalloss-") {
        let gamma: f64 = gamma
            .parse()
            .map_err(|_| "expected a number behind Focalloss-")?;
        to.loss = Some(gamma.into());
        return Ok(Meaning::Setting);
    }
    match name {
        "" | "CE" | "default" => Ok(Meaning::Setting),
        name if name.starts_with("CEV2") => {
            Ok(Meaning::Dead("its number was read and ignored; this is CE"))
        }
        _ => Err("expected CE or Focalloss-1 or the like".to_owned()),
    }
}

fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err("expected text".to_owned()),
    }
}

pub(super) fn whole(value: &Value) -> Result<i64, String> {
    match value {
        Value::Int(number) if *number >= 0 => Ok(*number),
        _ => Err("expected a whole number from 0 on".to_owned()),
    }
}

fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Int(number) => Ok(*number as f64),
        Value::Float(number) => Ok(*number),
        _ => Err("expected a number".to_owned()),
    }
}

fn switch(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(switch) => Ok(*switch),
        Value::Int(number) => Ok(*number != 0),
        _ => Err("expected True or False".to_owned()),
    }
}

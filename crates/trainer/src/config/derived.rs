//! Keys from other lists: those of the losses, the random operations and the optimizers.

use mnist_data::{AugmentConfig, AugmentValue, Preset};
use optim::{OptimizerConfig, OptimizerValue};

use super::keys::Key;
use super::keys::Kind::{self, List, Number, OneOf, Or, Switch, Whole};
use super::list::MOST;
use super::words::words_of;
use crate::loss::LossConfig;

/// Any number: the section checks its own ranges, so the list does not repeat them.
pub(crate) const ANY: Kind = Number("a finite number", |_| true);
pub(super) const PAIR: Kind = List(Some(2), &ANY);
pub(super) const COUNT: Kind = Whole(0, MOST);
/// Weights of the classes in a loss.
pub(crate) const CLASS_WEIGHTS: Kind = Or("none", &Or("balanced", &List(None, &ANY)));
const BYTE: Kind = Whole(0, 255);

/// The keys of `[loss]`.
pub(super) fn loss() -> Vec<Key> {
    let names = || names(LossConfig::NAMES.iter().map(|(name, _)| *name));
    let text = choices("One of these", LossConfig::NAMES.iter().copied());
    let mut keys = vec![Key::new("loss.type", OneOf(names), text)];
    for loss in LossConfig::all() {
        for (name, kind, text) in loss.formula().settings() {
            let path = format!("loss.{name}").leak();
            add_to(&mut keys, loss.name(), Key::new(path, *kind, text));
        }
    }
    keys
}

const PRESETS: &str = "The operations to start from: \"none\", \"digits\" (an affine map) or \
    \"photos\" (resized_crop, horizontal_flip, color_jitter). The operations are";

/// A purpose with one line for each choice.
fn choices(
    purpose: &str,
    choices: impl Iterator<Item = (&'static str, &'static str)>,
) -> &'static str {
    let lines = choices.map(|(name, text)| format!("\n  {name}: {text}"));
    format!("{purpose}:{}", lines.collect::<String>()).leak()
}

/// The keys of `[augment]`.
pub(super) fn augment() -> Vec<Key> {
    let preset = OneOf(words_of::<Preset>);
    let operations = AugmentConfig::OPERATIONS.iter();
    let text = choices(PRESETS, operations.map(|op| (op.name, op.text)));
    let mut keys = vec![Key::new("augment.preset", preset, text)];
    for operation in AugmentConfig::OPERATIONS {
        let path = format!("augment.{}", operation.name).leak();
        keys.push(Key::new(path, Switch, operation.text));
        for setting in operation.settings {
            let path = format!("{path}.{}", setting.name).leak();
            let kind = match setting.kind {
                AugmentValue::Number => ANY,
                AugmentValue::Pair => PAIR,
                AugmentValue::Whole => Whole(0, u32::MAX as u64),
                AugmentValue::Byte => BYTE,
                AugmentValue::ByteOrRandom => Or("random", &BYTE),
            };
            keys.push(Key::new(path, kind, setting.text));
        }
    }
    keys
}

/// The keys of `[optimizer]`. If several rules have a key with the same kind and purpose, it is one entry.
pub(super) fn optimizer() -> Vec<Key> {
    let names = || names(OptimizerConfig::RULES.iter().map(|rule| rule.name));
    let rules = OptimizerConfig::RULES.iter();
    let text = choices("One of these", rules.map(|rule| (rule.name, rule.text)));
    let mut keys = vec![Key::new("optimizer.type", OneOf(names), text)];
    for rule in OptimizerConfig::RULES {
        for setting in rule.settings {
            let kind = match setting.kind {
                OptimizerValue::Switch => Switch,
                OptimizerValue::Number => ANY,
                OptimizerValue::Pair => PAIR,
                OptimizerValue::Count => COUNT,
            };
            let path = format!("optimizer.{}", setting.name).leak();
            add_to(&mut keys, rule.name, Key::new(path, kind, setting.text));
        }
    }
    keys
}

/// Adds a key of the `type` named `of`.
fn add_to(keys: &mut Vec<Key>, of: &'static str, key: Key) {
    let values = key.kind.to_string();
    let same = keys.iter_mut().find(|other| {
        (other.path, other.text) == (key.path, key.text) && other.kind.to_string() == values
    });
    match same {
        Some(other) => other.types = [other.types, &[of]].concat().leak(),
        None => keys.push(Key {
            types: vec![of].leak(),
            ..key
        }),
    }
}

pub(super) fn names(names: impl Iterator<Item = &'static str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

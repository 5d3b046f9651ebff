//! Keys that other lists describe: those of the random operations.

use mnist_data::{AugmentConfig, AugmentValue, Preset};

use super::keys::Key;
use super::keys::Kind::{self, List, Number, OneOf, Or, Switch, Whole};
use super::words::words_of;

/// A section that checks its own ranges: they are not repeated in the list.
pub(super) const ANY: Kind = Number("a finite number", |_| true);
pub(super) const PAIR: Kind = List(Some(2), &ANY);
const BYTE: Kind = Whole(0, 255);

/// The keys of `[augment]`.
pub(super) fn augment() -> Vec<Key> {
    let preset = OneOf(words_of::<Preset>);
    let mut keys = vec![Key::new(
        "augment.preset",
        preset,
        "The operations to start from.",
    )];
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

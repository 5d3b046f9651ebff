//! The names of an enum's variants in a configuration: lists them, finds a given one, and suggests similar ones.

use mnist_data::plain_word;
use mobilenet::zoo::Backbone;
use mobilenet::{ModelName, Variant};
use serde::de::value::Error as Refused;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::forward_to_deserialize_any;

/// The most words in a suggestion.
const SUGGESTED: usize = 3;

/// The length in bytes from which a text suggests the words that contain it.
const PART: usize = 3;

/// The names of an enum's variants, from serde's derive.
pub(super) fn words_of<T: for<'de> Deserialize<'de>>() -> Vec<String> {
    let mut words = Vec::new();
    // `Asked` stores the names, then always returns an error.
    let _ = T::deserialize(Asked(&mut words));
    words
}

/// The names of all networks.
pub(super) fn networks() -> Vec<String> {
    let ours = Variant::all().map(ModelName::MobileNet);
    let zoo = Backbone::ALL.iter().copied().map(ModelName::Zoo);
    ours.chain(zoo).map(|name| name.to_string()).collect()
}

/// The word that equals `given`, regardless of letter case, `-`, `_` and spaces.
pub(super) fn meant(given: &str, words: &[String]) -> Option<String> {
    let given = plain_word(given);
    let mut words = words.iter();
    words.find(|word| plain_word(word) == given).cloned()
}

/// A suggestion for the end of a message: the words that contain `given`, or else the most similar ones.
pub(super) fn suggestion(given: &str, words: &[String]) -> String {
    let given = plain_word(given);
    let close = (given.chars().count() / 3).max(1);
    let holds = |word: &&String| given.len() >= PART && plain_word(word).contains(&given);
    let mut near: Vec<&String> = words.iter().filter(holds).collect();
    if near.is_empty() {
        // The edit distance is at least the difference in length, so very long texts need no comparison.
        let length = |word: &&String| word.len().abs_diff(given.len()) <= 2 * close;
        let distances = words.iter().filter(length);
        let distances = distances.map(|word| {
            let distance = strsim::damerau_levenshtein(&given, &plain_word(word));
            (distance, word)
        });
        let distances: Vec<_> = distances
            .filter(|(distance, _)| *distance <= close)
            .collect();
        let least = distances.iter().map(|(distance, _)| *distance).min();
        let nearest = distances
            .iter()
            .filter(|(distance, _)| Some(*distance) == least);
        near = nearest.map(|(_, word)| *word).collect();
    }
    let near: Vec<String> = near
        .iter()
        .take(SUGGESTED)
        .map(|word| format!("{word:?}"))
        .collect();
    match near.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", near.join(" or ")),
    }
}

/// A deserializer that stores the names of an enum's variants, then returns an error.
struct Asked<'a>(&'a mut Vec<String>);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Refused;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        words: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Refused> {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
        Err(Refused::custom("asked for the words alone"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Refused> {
        Err(Refused::custom("no enum"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_enum_are_those_it_is_written_with() {
        assert_eq!(
            words_of::<crate::config::Monitor>(),
            ["val_accuracy", "val_macro_f1", "val_loss"]
        );
        assert_eq!(
            words_of::<mobilenet::Precision>(),
            mobilenet::Precision::ALL.map(|precision| precision.to_string())
        );
        assert_eq!(words_of::<String>(), Vec::<String>::new());
    }

    #[test]
    fn a_word_is_known_by_its_letters_and_suggested_by_its_neighbours() {
        let words = networks();
        for given in [
            "MobileNetV2",
            "mobilenet-v2",
            "MOBILENET V2",
            "mobilenet_v2",
        ] {
            assert_eq!(meant(given, &words).as_deref(), Some("mobilenet_v2"));
        }
        assert_eq!(meant("mobilenetv3", &words), None);
        for (given, expected) in [
            (
                "mobilenetv3",
                "\"mobilenet_v3_large\" or \"mobilenet_v3_small\"",
            ),
            ("MobileNetV3Smal", "\"mobilenet_v3_small\""),
            ("moblenet_v2", "\"mobilenet_v2\""),
            ("resnet", "\"resnet18\" or \"resnet34\" or \"resnet50\""),
        ] {
            assert_eq!(
                suggestion(given, &words),
                format!("; did you mean {expected}?")
            );
        }
        let monitors = words_of::<crate::config::Monitor>();
        assert_eq!(
            suggestion("Accuracy", &monitors),
            "; did you mean \"val_accuracy\"?"
        );
        for given in ["", "squeeze", &"a".repeat(100_000)] {
            assert_eq!(suggestion(given, &words), "", "{given:.9}");
        }
    }
}

//! Serialises optional settings in TOML, which has no null.
//!
//! A higher layer must be able to switch off a setting of a lower one. So an absent value is written as a word:
//! `limit = "none"`, `threads = "auto"`.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! optional_as_word {
    ($module:ident) => {
        /// Serialises `None` as the module's name.
        pub(crate) mod $module {
            use super::*;

            const WORD: &str = stringify!($module);

            pub(crate) fn serialize<T: Serialize, S: Serializer>(
                value: &Option<T>,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                match value {
                    None => WORD.serialize(serializer),
                    Some(value) => value.serialize(serializer),
                }
            }

            pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<T>, D::Error> {
                deserializer.deserialize_any(WordOr(WORD, PhantomData))
            }
        }
    };
}

optional_as_word!(none);
optional_as_word!(auto);

/// Reads the word as `None`, and any other value as a `T`.
struct WordOr<T>(&'static str, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for WordOr<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of this setting's type or the word {:?}", self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
        match text == self.0 {
            true => Ok(None),
            false => T::deserialize(text.into_deserializer()).map(Some),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<T>, E> {
        T::deserialize(number.into_deserializer()).map(Some)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<T>, E> {
        T::deserialize(number.into_deserializer()).map(Some)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<T>, E> {
        T::deserialize(number.into_deserializer()).map(Some)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

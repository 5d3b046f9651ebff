//! Optional settings in a format without a null.
//!
//! TOML has no null, and a higher layer must be able to switch a setting off
//! that a lower one switched on. An absent value is therefore written as a
//! word: `limit = "none"`, `threads = "auto"`.

macro_rules! optional_as_word {
    ($module:ident, $variant:ident, $word:literal, $expecting:literal) => {
        /// An `Option` whose `None` is written as the word of the module's name.
        pub(crate) mod $module {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            #[derive(Deserialize)]
            enum Word {
                #[serde(rename = $word)]
                $variant,
            }

            #[derive(Deserialize)]
            #[serde(untagged, expecting = $expecting)]
            enum Either<T> {
                Absent(Word),
                Present(T),
            }

            pub(crate) fn serialize<T: Serialize, S: Serializer>(
                value: &Option<T>,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                match value {
                    None => $word.serialize(serializer),
                    Some(value) => value.serialize(serializer),
                }
            }

            pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Option<T>, D::Error> {
                Ok(match Either::deserialize(deserializer)? {
                    Either::Absent(Word::$variant) => None,
                    Either::Present(value) => Some(value),
                })
            }
        }
    };
}

optional_as_word!(
    none,
    None,
    "none",
    "a value of this setting's type or the word \"none\""
);
optional_as_word!(
    auto,
    Auto,
    "auto",
    "a value of this setting's type or the word \"auto\""
);

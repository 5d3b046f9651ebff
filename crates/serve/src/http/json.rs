//! Values of JSON that serde does not read as strictly as the protocols need.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// A struct from a JSON object. serde also takes a list of its members.
#[derive(Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Map<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(Map(PhantomData))
    }
}

/// The bytes of a file, in base64 (RFC 4648, section 4) with padding.
pub(super) struct Encoded(pub(super) Bytes);

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Encoded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, the bytes of an image file in base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Encoded, E> {
                decoded(text).map(Encoded).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The bytes of a string in base64, or the problem with it.
pub(super) fn decoded(text: &str) -> Result<Bytes, String> {
    let bytes = STANDARD.decode(text);
    let bytes = bytes.map_err(|error| {
        format!("a string is not base64 ({error}); expected the standard alphabet with padding and without line breaks")
    })?;
    Ok(bytes.into())
}

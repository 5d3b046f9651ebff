//! The names and properties of the zoo's backbones.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A row of the table below.
struct Row {
    name: &'static str,
    features: usize,
    image_size: usize,
}

macro_rules! backbones {
    ($($variant:ident: $name:literal, $features:literal, $image_size:literal;)*) => {
        /// A backbone of the zoo. The names are timm's.
        #[allow(missing_docs, reason = "each is its name")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum Backbone {
            $($variant,)*
        }

        impl Backbone {
            /// Every backbone.
            pub const ALL: &[Backbone] = &[$(Backbone::$variant,)*];

            fn row(self) -> Row {
                match self {
                    $(Backbone::$variant => Row {
                        name: $name,
                        features: $features,
                        image_size: $image_size,
                    },)*
                }
            }
        }
    };
}

// Models are left out if candle-transformers computes them differently from timm: MobileOne-S0,
// which lacks one of its identity branches there, and the FastViT models with attention.
//
// Each row: name, features, and image size of the published weights.
backbones! {
    MobileOneS1: "mobileone_s1", 1280, 224;
    MobileOneS2: "mobileone_s2", 2048, 224;
    MobileOneS3: "mobileone_s3", 2048, 224;
    MobileOneS4: "mobileone_s4", 2048, 224;
    RepVggA0: "repvgg_a0", 1280, 224;
    RepVggA1: "repvgg_a1", 1280, 224;
    RepVggA2: "repvgg_a2", 1408, 224;
    RepVggB0: "repvgg_b0", 1280, 224;
    RepVggB1: "repvgg_b1", 2048, 224;
    RepVggB1G4: "repvgg_b1g4", 2048, 224;
    RepVggB2: "repvgg_b2", 2560, 224;
    RepVggB2G4: "repvgg_b2g4", 2560, 224;
    RepVggB3: "repvgg_b3", 2560, 224;
    RepVggB3G4: "repvgg_b3g4", 2560, 224;
    FastVitT8: "fastvit_t8", 768, 256;
    FastVitT12: "fastvit_t12", 1024, 256;
    FastVitS12: "fastvit_s12", 1024, 256;
}

impl Backbone {
    /// Name of the backbone.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Number of features: the inputs of the original classifier.
    pub fn features(self) -> usize {
        self.row().features
    }

    /// Side in pixels of the square images that the published weights were trained for. All weights
    /// were trained with ImageNet's mean and standard deviation
    /// ([`Normalisation::IMAGENET`](crate::weights::Normalisation::IMAGENET)).
    pub fn image_size(self) -> usize {
        self.row().image_size
    }

    /// Whether this build includes the backbone: they need the cargo feature `zoo`.
    pub fn is_built(self) -> bool {
        cfg!(feature = "zoo")
    }

    /// The prefix of the original classifier's weight and bias.
    pub fn classifier(self) -> &'static str {
        "head.fc"
    }
}

impl fmt::Display for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Backbone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut all = Backbone::ALL.iter().copied();
        all.find(|backbone| backbone.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Backbone::ALL.iter().map(|b| b.name()).collect();
            format!("no backbone {name:?}; expected one of {}", names.join(", "))
        })
    }
}

impl TryFrom<String> for Backbone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Backbone> for String {
    fn from(backbone: Backbone) -> String {
        backbone.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_are_unique() {
        for (place, &backbone) in Backbone::ALL.iter().enumerate() {
            assert_eq!(backbone.to_string().parse(), Ok(backbone));
            assert_eq!(
                Backbone::ALL.iter().position(|&b| b == backbone),
                Some(place)
            );
        }
        let error = "repvgg_a7".parse::<Backbone>().unwrap_err();
        assert!(
            error.contains("repvgg_a7") && error.contains("repvgg_a0"),
            "{error}"
        );
    }
}

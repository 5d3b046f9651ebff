//! The names of the networks.

use std::fmt;
use std::str::FromStr;

use engine::Plan;
use serde::{Deserialize, Serialize};

use super::{Entry, FAMILIES, Family};
use crate::weights::Normalisation;
use crate::weights::nearest::nearest;
use crate::weights::schemes::{Scheme, TensorName};
use crate::{Design, HeadKind, ModelConfig};

/// A network that this crate builds, by its name.
///
/// ```
/// use mobilenet::Variant;
///
/// let variant: Variant = "mobilenet_v3_small".parse()?;
/// assert_eq!(variant, Variant::SMALL);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Variant(Name);

/// A name from the table of a family. Behind an alias, serde does not take it for borrowed.
type Name = &'static str;

impl Variant {
    /// MobileNetV3, 15 blocks, 960 features.
    pub const LARGE: Variant = Variant("mobilenet_v3_large");
    /// MobileNetV3, 11 blocks, 576 features.
    pub const SMALL: Variant = Variant("mobilenet_v3_small");
    /// MobileNetV2, 17 blocks, 1280 features.
    pub const V2: Variant = Variant("mobilenet_v2");
    /// ResNet, 8 blocks, 512 features.
    pub const RESNET18: Variant = Variant("resnet18");

    /// Every network, family by family.
    pub fn all() -> impl Iterator<Item = Variant> {
        FAMILIES.iter().flat_map(Variant::of_family)
    }

    /// The networks of a family.
    pub(crate) fn of_family(family: &'static Family) -> impl Iterator<Item = Variant> {
        family.variants.iter().map(|entry| Variant(entry.name))
    }

    /// The name in configurations and weights files.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// The name of the family, for example `MobileNetV3`.
    pub fn family(self) -> &'static str {
        self.of().0.name
    }

    /// The image size of the published weights, in pixels.
    pub fn image_size(self) -> u32 {
        self.entry().image_size
    }

    /// Mean and standard deviation of the pixels that the published weights expect.
    pub fn normalisation(self) -> Normalisation {
        self.entry().normalisation
    }

    /// The projects whose weights files this network loads: that of its own names first. Some publish the network in a
    /// [design](ModelConfig::design) or with a [head](ModelConfig::head) of their own.
    pub fn schemes(self) -> Vec<Scheme> {
        let family = self.of().0;
        let others = family.schemes.iter().filter(|naming| {
            let mut config = ModelConfig::new(self, 1000);
            config.design = Design::of(naming.scheme);
            [HeadKind::Torchvision, HeadKind::Linear]
                .into_iter()
                .any(|head| {
                    config.head = head;
                    let plan = config.plan();
                    plan.is_ok_and(|plan| (naming.names)(self, &plan).is_some())
                })
        });
        let others = others.map(|naming| naming.scheme);
        [family.native].into_iter().chain(others).collect()
    }

    pub(crate) fn of(self) -> (&'static Family, &'static Entry) {
        let mut all = FAMILIES
            .iter()
            .flat_map(|family| family.variants.iter().map(move |entry| (family, entry)));
        match all.find(|(_, entry)| entry.name == self.0) {
            Some(found) => found,
            None => unreachable!("a variant has a row in its family's table"),
        }
    }

    /// Every tensor of a network, named by a scheme. `None` if the scheme has no names for the network.
    pub(crate) fn names(self, scheme: Scheme, plan: &Plan) -> Option<Vec<TensorName>> {
        let (family, _) = self.of();
        if scheme == family.native {
            return Some(TensorName::all(plan).collect());
        }
        let mut schemes = family.schemes.iter();
        let naming = schemes.find(|naming| naming.scheme == scheme)?;
        (naming.names)(self, plan)
    }

    pub(crate) fn entry(self) -> &'static Entry {
        self.of().1
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some(variant) = Variant::all().find(|variant| variant.0 == name) {
            return Ok(variant);
        }
        let near = nearest(name, Variant::all().map(Variant::name), 3);
        Err(format!(
            "no model {name:?}; the nearest are {}",
            near.join(", ")
        ))
    }
}

impl TryFrom<String> for Variant {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Variant> for String {
    fn from(variant: Variant) -> String {
        variant.0.to_owned()
    }
}

//! Recognises the naming scheme of a file.

use std::collections::HashMap;

use engine::Plan;

use super::{Scheme, TensorName, easy_classification};
use crate::{HeadKind, ModelConfig, Result, Variant};

/// The scheme and the network of a file.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) variant: Variant,
    pub(crate) head: HeadKind,
    /// Prefix of all names in the network.
    pub(crate) prefix: String,
}

impl Origin {
    /// The origin of a file with a known configuration. It is a scheme in which the file has all of
    /// the network's tensors, or else torchvision's scheme.
    pub(crate) fn of(model: &ModelConfig, is_there: impl Fn(&str) -> bool) -> Result<Origin> {
        let plan = model.plan()?;
        let fits = |scheme: &Scheme| {
            let names = scheme.names(model.name, &plan);
            names.is_some_and(|names| {
                let mut names = names.iter().filter(|name| !name.is_counter());
                names.all(|name| name.foreign.as_deref().is_none_or(&is_there))
            })
        };
        Ok(Origin {
            scheme: Scheme::ALL.into_iter().find(fits).unwrap_or_default(),
            variant: model.name,
            head: model.head,
            prefix: String::new(),
        })
    }

    /// The tensor's name in the file; `None` if the scheme has no such tensor.
    pub(crate) fn in_file(&self, tensor: &TensorName) -> Option<String> {
        let foreign = tensor.foreign.as_deref()?;
        Some(format!("{}{foreign}", self.prefix))
    }

    /// Converts a tensor's name in the file to the scheme's name. `None` if the tensor is not part
    /// of the network: an optimizer state, for example, or a second copy.
    pub(crate) fn inside<'a>(&self, name: &'a str) -> Option<&'a str> {
        let name = name.strip_prefix(&self.prefix)?;
        let unused = self.scheme == Scheme::EasyClassification
            && name.starts_with(easy_classification::UNUSED);
        (!unused).then_some(name)
    }
}

/// Minimum fraction of a network's names that must be present for a match.
const LEAST_SHARE: f64 = 0.25;

/// Maximum length of a name, more than any network's names have even if the network is wrapped.
/// Longer names are ignored, so that a malicious file takes no time.
const LONGEST_NAME: usize = 256;

/// Finds the scheme and the network with the largest fraction of their names among `names`. All of
/// these names must have the same prefix.
pub(crate) fn recognise<'a>(names: impl Iterator<Item = &'a str>) -> Option<Origin> {
    let mut candidates = Vec::new();
    let mut expected: HashMap<String, Vec<usize>> = HashMap::new();
    for (scheme, variant, head) in every_network() {
        let Some(names) = network_names(scheme, variant, head) else {
            continue;
        };
        for name in &names {
            let of = expected.entry(name.clone()).or_default();
            of.push(candidates.len());
        }
        candidates.push((scheme, variant, head, names.len()));
    }
    let mut found: HashMap<(&str, usize), usize> = HashMap::new();
    for name in names.filter(|name| name.len() <= LONGEST_NAME) {
        // A prefix ends with a dot, or with an underscore as in `pretrain_`.
        let ends = name.match_indices(['.', '_']).map(|(at, _)| at + 1);
        for end in std::iter::once(0).chain(ends) {
            let (prefix, rest) = name.split_at(end);
            for &candidate in expected.get(rest).into_iter().flatten() {
                *found.entry((prefix, candidate)).or_default() += 1;
            }
        }
    }
    let share = |candidate: usize, found: usize| found as f64 / candidates[candidate].3 as f64;
    let likely = found
        .into_iter()
        .map(|((prefix, candidate), found)| (prefix, candidate, share(candidate, found)))
        .filter(|&(_, _, share)| share >= LEAST_SHARE);
    // Prefers a model to its moving average, then the first of equal candidates, then the shortest
    // prefix.
    let average = |prefix: &str| prefix.contains("ema");
    let (prefix, candidate, _) = likely.max_by(|(a, of_a, share), (b, of_b, other)| {
        share
            .total_cmp(other)
            .then_with(|| average(b).cmp(&average(a)))
            .then_with(|| of_b.cmp(of_a))
            .then_with(|| (b.len(), b).cmp(&(a.len(), a)))
    })?;
    let (scheme, variant, head, _) = candidates[candidate];
    Some(Origin {
        scheme,
        variant,
        head,
        prefix: prefix.to_owned(),
    })
}

fn every_network() -> impl Iterator<Item = (Scheme, Variant, HeadKind)> {
    Scheme::ALL.into_iter().flat_map(|scheme| {
        Variant::ALL.into_iter().flat_map(move |variant| {
            [HeadKind::Torchvision, HeadKind::Linear].map(|head| (scheme, variant, head))
        })
    })
}

/// The names of a network's tensors. Batch counters are left out, because older files lack them.
fn network_names(scheme: Scheme, variant: Variant, head: HeadKind) -> Option<Vec<String>> {
    let plan = plan(scheme, variant, head)?;
    let names = scheme.names(variant, &plan)?;
    let tensors = names.into_iter().filter(|name| !name.is_counter());
    Some(tensors.filter_map(|name| name.foreign).collect())
}

fn plan(scheme: Scheme, variant: Variant, head: HeadKind) -> Option<Plan> {
    let config = ModelConfig {
        head,
        design: scheme.design(),
        ..ModelConfig::new(variant, 1)
    };
    config.plan().ok()
}

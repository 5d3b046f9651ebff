//! Recognises the naming scheme and the network of a file.
//!
//! There are too many networks to build all of them for each file. So one network of each family, in each scheme, gives
//! the names that are looked for first. Then all networks of the families with many matches are compared with the file.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use engine::Plan;

use crate::families::{FAMILIES, Family};
use crate::weights::schemes::constants::is_constant;
use crate::weights::schemes::{Scheme, TensorName};
use crate::{Design, HeadKind, ModelConfig, Result, Variant};

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
    /// the network's tensors, or else the family's own scheme.
    pub(crate) fn of(model: &ModelConfig, is_there: impl Fn(&str) -> bool) -> Result<Origin> {
        let plan = model.plan()?;
        let fits = |scheme: &Scheme| {
            let names = model.name.names(*scheme, &plan);
            names.is_some_and(|names| {
                let mut names = names.iter().filter(|name| name.is_required());
                names.all(|name| name.foreign.as_deref().is_none_or(&is_there))
            })
        };
        let (family, _) = model.name.of();
        Ok(Origin {
            scheme: Scheme::ALL.into_iter().find(fits).unwrap_or(family.native),
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
        self.scheme.inside(name.strip_prefix(&self.prefix)?)
    }
}

/// Minimum fraction of a network's names that must be present for a match.
const LEAST_SHARE: f64 = 0.25;

/// Maximum length of a name, more than any network's names have even if the network is wrapped.
/// Longer names are ignored, so that a malicious file takes no time.
const LONGEST_NAME: usize = 256;

/// Maximum number of names that are looked at. No checkpoint has more.
const MOST_NAMES: usize = 1 << 17;

/// Finds the scheme and the network with the largest fraction of their names and shapes among `tensors`. All of these
/// names must have the same prefix.
pub(crate) fn recognise<'a>(
    tensors: impl Iterator<Item = (&'a str, &'a [usize])> + Clone,
) -> Option<Origin> {
    let tensors = tensors.filter(|(name, _)| name.len() <= LONGEST_NAME);
    let tensors = tensors.take(MOST_NAMES);
    let likely = likely_groups(tensors.clone().map(|(name, _)| name));
    let mut best: Option<(Fit<'a>, Candidate)> = None;
    let mut prefixes: Vec<&str> = likely.iter().map(|&(_, prefix)| prefix).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    for prefix in prefixes {
        let inside = tensors.clone().filter_map(|(name, shape)| {
            let name = name.strip_prefix(prefix)?;
            (!is_optional(name)).then_some((name, shape))
        });
        let of_prefix = likely.iter().filter(|(_, of)| *of == prefix);
        let networks = networks(of_prefix.map(|&(group, _)| group));
        for (fit, candidate) in fits(prefix, &networks, &inside.collect()) {
            if best.as_ref().is_none_or(|(other, _)| fit.beats(other)) {
                best = Some((fit, candidate));
            }
        }
    }
    let (fit, candidate) = best?;
    Some(Origin {
        scheme: candidate.group.scheme,
        variant: candidate.variant,
        head: candidate.head,
        prefix: fit.prefix.to_owned(),
    })
}

/// Whether a tensor is a batch counter or a constant, which not every file has.
fn is_optional(name: &str) -> bool {
    name.ends_with("num_batches_tracked") || is_constant(name)
}

/// A family in one scheme.
#[derive(Clone, Copy)]
struct Group {
    family: &'static Family,
    scheme: Scheme,
    /// Rank of the group in a tie; the first is preferred.
    rank: usize,
}

/// A network of a group.
#[derive(Clone, Copy)]
struct Candidate {
    group: Group,
    variant: Variant,
    head: HeadKind,
}

impl Candidate {
    /// What the names and shapes of the network depend on, apart from the scheme. Only families of many widths have more
    /// than one head and design.
    fn key(self) -> (Variant, HeadKind, Design) {
        let design = match self.group.family.has_width {
            true => Design::of(self.group.scheme),
            false => Design::default(),
        };
        (self.variant, self.head, design)
    }

    fn plan(self) -> Option<Plan> {
        let (variant, head, design) = self.key();
        let config = ModelConfig {
            head,
            design,
            ..ModelConfig::new(variant, 1)
        };
        config.plan().ok()
    }

    /// The tensors that every file has.
    fn tensors(self, plan: &Plan) -> Option<Vec<TensorName>> {
        let mut names = self.variant.names(self.group.scheme, plan)?;
        names.retain(TensorName::is_required);
        Some(names)
    }
}

/// Every family in every scheme, in the order of [`Scheme::ALL`].
fn groups() -> Vec<Group> {
    let schemes = Scheme::ALL.into_iter();
    let all = schemes.flat_map(|scheme| {
        let families = FAMILIES.iter();
        let has = move |family: &&Family| {
            family.native == scheme || family.schemes.iter().any(|naming| naming.scheme == scheme)
        };
        families.filter(has).map(move |family| (family, scheme))
    });
    all.enumerate()
        .map(|(rank, (family, scheme))| Group {
            family,
            scheme,
            rank,
        })
        .collect()
}

/// The groups with many names in the file, each with the prefix of these names.
fn likely_groups<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(Group, &'a str)> {
    let groups = groups();
    let mut expected: HashMap<String, Vec<usize>> = HashMap::new();
    let mut counts = vec![0; groups.len()];
    let mut plans = HashMap::new();
    for (index, &group) in groups.iter().enumerate() {
        let candidates = Variant::of_family(group.family).map(|variant| Candidate {
            group,
            variant,
            head: HeadKind::Linear,
        });
        // Not every scheme has all networks.
        let tensors = candidates.filter_map(|candidate| {
            let plan = plans.entry(candidate.key());
            candidate.tensors(plan.or_insert_with(|| candidate.plan()).as_ref()?)
        });
        for name in { tensors }.next().into_iter().flatten() {
            counts[index] += 1;
            let name = name.foreign.unwrap_or_default();
            expected.entry(name).or_default().push(index);
        }
    }
    let separators = |name: &str| name.bytes().filter(|b| matches!(b, b'.' | b'_')).count();
    let most_separators = expected.keys().map(|name| separators(name)).max();
    let longest = expected.keys().map(String::len).max().unwrap_or(0);
    let mut found: HashMap<(usize, &str), usize> = HashMap::new();
    for name in names {
        // A prefix ends with a dot, or with an underscore as in `pretrain_`.
        let ends = name.rmatch_indices(['.', '_']).map(|(at, _)| at + 1);
        let ends = ends.take(most_separators.unwrap_or(0) + 1);
        for end in ends.chain(std::iter::once(0)) {
            let (prefix, rest) = name.split_at(end);
            if rest.len() > longest {
                continue;
            }
            for &group in expected.get(rest).into_iter().flatten() {
                *found.entry((group, prefix)).or_default() += 1;
            }
        }
    }
    let mut best: Vec<Option<(usize, &str)>> = vec![None; groups.len()];
    for ((group, prefix), count) in found {
        let best = &mut best[group];
        let better =
            best.is_none_or(|(other, of)| (count, preference(prefix)) > (other, preference(of)));
        if better {
            *best = Some((count, prefix));
        }
    }
    let share = |index: usize| {
        let found = best[index].map_or(0, |(count, _)| count);
        found as f64 / counts[index].max(1) as f64
    };
    let largest = (0..groups.len()).map(share).fold(0.0, f64::max);
    let least = LEAST_SHARE.max(largest / 2.0);
    let likely = groups.iter().enumerate().filter_map(|(index, &group)| {
        let (_, prefix) = best[index].filter(|_| share(index) >= least)?;
        Some((group, prefix))
    });
    likely.collect()
}

/// The order of prefixes with equal matches. A model is preferred to its moving average, then the shortest prefix.
fn preference(prefix: &str) -> impl Ord + use<'_> {
    let is_average = prefix.contains("ema");
    std::cmp::Reverse((is_average, prefix.len(), prefix))
}

/// How well a network fits the tensors behind a prefix.
struct Fit<'a> {
    prefix: &'a str,
    /// Number of the network's names that the file has, as a fraction of the names that the network or the file has.
    names: f64,
    /// Fraction of the network's tensors that have the file's shape. 0 in families of many widths.
    shapes: f64,
    rank: (usize, usize),
}

impl Fit<'_> {
    fn beats(&self, other: &Fit<'_>) -> bool {
        let is_average = |fit: &Fit<'_>| fit.prefix.contains("ema");
        (self.names.total_cmp(&other.names))
            .then_with(|| is_average(other).cmp(&is_average(self)))
            .then_with(|| self.shapes.total_cmp(&other.shapes))
            .then_with(|| other.rank.cmp(&self.rank))
            .then_with(|| preference(self.prefix).cmp(&preference(other.prefix)))
            .is_gt()
    }
}

/// A network with its layers, which other schemes share.
struct Planned {
    candidate: Candidate,
    plan: Rc<Plan>,
    /// Rank of the network in a tie; the first is preferred.
    rank: (usize, usize),
}

impl Planned {
    /// Number of tensors that every file has, in schemes that lack none.
    fn tensors(&self) -> usize {
        let tables = [&self.plan.parameters, &self.plan.statistics];
        tables.map(|table| table.segments().len()).iter().sum()
    }
}

/// The networks of these groups, with each head.
fn networks(groups: impl Iterator<Item = Group>) -> Vec<Planned> {
    let mut plans: HashMap<_, Option<Rc<Plan>>> = HashMap::new();
    let mut networks = Vec::new();
    for group in groups {
        let heads: &[HeadKind] = match group.family.has_width {
            true => &[HeadKind::Torchvision, HeadKind::Linear],
            false => &[HeadKind::Torchvision],
        };
        let variants = Variant::of_family(group.family);
        let all = variants.flat_map(|variant| heads.iter().map(move |&head| (variant, head)));
        for (place, (variant, head)) in all.enumerate() {
            let candidate = Candidate {
                group,
                variant,
                head,
            };
            let plan = plans.entry(candidate.key());
            let plan = plan.or_insert_with(|| candidate.plan().map(Rc::new));
            if let Some(plan) = plan {
                networks.push(Planned {
                    candidate,
                    plan: Rc::clone(plan),
                    rank: (group.rank, place),
                });
            }
        }
    }
    networks
}

/// The networks, compared with the tensors behind `prefix`. If some networks have all tensors of the file, only these.
fn fits<'a>(
    prefix: &'a str,
    networks: &[Planned],
    inside: &HashMap<&str, &[usize]>,
) -> Vec<(Fit<'a>, Candidate)> {
    let complete = (networks.iter()).filter(|network| network.tensors() == inside.len());
    let mut fits = compared(prefix, complete, inside);
    fits.retain(|(fit, _)| fit.names == 1.0);
    if fits.is_empty() {
        fits = compared(prefix, networks.iter(), inside);
    }
    fits
}

fn compared<'a, 'b>(
    prefix: &'a str,
    networks: impl Iterator<Item = &'b Planned>,
    inside: &HashMap<&str, &[usize]>,
) -> Vec<(Fit<'a>, Candidate)> {
    // The file's names that any of the networks has.
    let mut known: HashSet<&str> = HashSet::new();
    let mut compared = Vec::new();
    for network in networks {
        let candidate = network.candidate;
        let Some(tensors) = candidate.tensors(&network.plan) else {
            continue;
        };
        let (mut names, mut shapes) = (0, 0);
        for tensor in &tensors {
            let foreign = tensor.foreign.as_deref().unwrap_or_default();
            let Some((&name, &shape)) = inside.get_key_value(foreign) else {
                continue;
            };
            known.insert(name);
            names += 1;
            let own = tensor.shape.as_deref().unwrap_or_default();
            shapes += usize::from(same_numbers(own, shape));
        }
        compared.push((network, tensors.len(), names, shapes));
    }
    let known = known.len();
    let likely = compared.into_iter();
    likely
        .filter(|&(_, expected, names, _)| names as f64 >= LEAST_SHARE * expected as f64)
        .map(|(network, expected, names, shapes)| {
            let shapes = match network.candidate.group.family.has_width {
                true => 0.0,
                false => shapes as f64 / expected as f64,
            };
            let fit = Fit {
                prefix,
                names: names as f64 / (expected + known - names) as f64,
                shapes,
                rank: network.rank,
            };
            (fit, network.candidate)
        })
        .collect()
}

/// Whether tensors of these shapes have the same values in the same order. A matrix may be stored as a 1×1 convolution.
pub(crate) fn same_numbers(a: &[usize], b: &[usize]) -> bool {
    let bare = |shape: &[usize]| {
        let end = shape
            .iter()
            .rposition(|&n| n != 1)
            .map_or(0, |last| last + 1);
        end.max(1).min(shape.len())
    };
    a[..bare(a)] == b[..bare(b)]
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

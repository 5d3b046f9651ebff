//! Recognises files of other networks, although they have many of a network's names, and describes them in errors.

use std::collections::{HashMap, HashSet};

use engine::Plan;

use super::{Source, head};
use crate::families::FAMILIES;
use crate::weights::nearest::nearest;
use crate::weights::schemes::TensorName;
use crate::weights::tensor_file::TensorFile;
use crate::{Error, LoadReport, Scheme};

/// Maximum number of missing tensors for which an error suggests similar names.
const HINTS: usize = 3;

impl Source {
    /// Whether the file has tensors inside modules of the backbone that the network lacks, such as squeeze-excite in its
    /// blocks. Other modules, such as auxiliary heads, and single numbers, such as a profiler's counts, do not matter.
    pub(super) fn has_other_parts(&self, report: &LoadReport, backbone: &[&TensorName]) -> bool {
        let names = backbone
            .iter()
            .filter_map(|tensor| tensor.foreign.as_deref());
        let modules: HashSet<&str> = names.filter_map(module).collect();
        let is_part = |name: &&String| {
            let shape = self.file.shape(name);
            shape.is_some_and(|shape| shape.iter().any(|&side| side > 1))
        };
        let mut others = report.unexpected.iter().filter(is_part);
        others.any(|name| {
            let module = self.origin.inside(name).and_then(module);
            module.is_some_and(|module| modules.contains(module))
        })
    }

    pub(super) fn other_model(&self, report: LoadReport, tensors: &[TensorName]) -> Error {
        let in_file = |tensor: &TensorName| self.origin.in_file(tensor);
        let is_matched = |tensor: &&TensorName| report.matched.contains(&tensor.native);
        let matched: HashSet<String> = (tensors.iter().filter(is_matched))
            .filter_map(in_file)
            .collect();
        let missing = |tensor: &&TensorName| report.missing.contains(&tensor.native);
        let wanted = tensors.iter().filter(missing).take(HINTS);
        let wanted = wanted.filter_map(in_file);
        let pairs = wanted.filter_map(|wanted| {
            let left = self.file.names().filter(|name| !matched.contains(*name));
            let near = (*nearest(&wanted, left, 1).first()?).to_owned();
            Some((wanted, near))
        });
        Error::OtherModel {
            path: self.file.path().into(),
            nearest: pairs.collect(),
            report: Box::new(report),
        }
    }
}

/// The first two parts of the name of a tensor inside a module of that name: `layer1.0` of `layer1.0.conv1.weight`.
fn module(name: &str) -> Option<&str> {
    let (end, _) = name.match_indices('.').nth(1)?;
    Some(&name[..end])
}

/// The tensors of the backbone that every file has.
pub(super) fn backbone<'a>(tensors: &'a [TensorName], plan: &Plan) -> Vec<&'a TensorName> {
    let head = head(plan);
    let tensors = tensors.iter().filter(|tensor| tensor.is_required());
    tensors
        .filter(|tensor| !head.contains(tensor.native.as_str()))
        .collect()
}

/// Whether the file's network differs from this one in every block: fewer than nine tenths of the backbone's tensors fit,
/// or no tensor of one kind, such as the tables of position biases.
pub(super) fn fits_too_little(report: &LoadReport, backbone: &[&TensorName]) -> bool {
    let mut matched = 0;
    // For each last part of a name: the number of tensors, and of those that fit.
    let mut kinds: HashMap<&str, (usize, usize)> = HashMap::new();
    for tensor in backbone {
        let fits = usize::from(report.matched.binary_search(&tensor.native).is_ok());
        let kind = tensor.native.rsplit_once('.').map_or("", |(_, kind)| kind);
        let counts = kinds.entry(kind).or_default();
        counts.0 += 1;
        counts.1 += fits;
        matched += fits;
    }
    let lacks_a_kind = kinds.values().any(|&(all, fits)| all > 1 && fits == 0);
    matched * 10 < backbone.len() * 9 || lacks_a_kind
}

/// The error for a file of no known network.
pub(super) fn unknown(file: &TensorFile) -> Error {
    let some: Vec<&str> = file.names().take(4).collect();
    let families: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    let schemes = Scheme::ALL.map(|scheme| scheme.to_string());
    Error::format(
        file.path(),
        format!(
            "the names of its {} tensors ({}, ...) are of no network known here: expected {}, as these projects name \
             them, behind any prefix: {}",
            file.names().count(),
            some.join(", "),
            families.join(", "),
            schemes.join(", ")
        ),
    )
}

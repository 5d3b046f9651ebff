//! Compares a file with a network, and loads it.

use std::collections::BTreeSet;

use engine::Plan;

use crate::Result;
use crate::parameters::Values;
use crate::report::{LoadReport, Mismatch};
use crate::schemes::{Origin, TensorName};
use crate::tensor_file::TensorFile;

/// Where a file comes from, and the names of its tensors.
pub(crate) struct Names<'a> {
    pub(crate) origin: &'a Origin,
    /// The tensors of the network that is to be filled.
    pub(crate) tensors: &'a [TensorName],
}

/// Compares `file` with a network. Batch counters may be missing: files of older versions of torch
/// have none.
pub(crate) fn compare(names: &Names<'_>, file: &TensorFile) -> LoadReport {
    let mut report = LoadReport {
        scheme: names.origin.scheme,
        prefix: names.origin.prefix.clone(),
        ..LoadReport::default()
    };
    let mut known = BTreeSet::new();
    for tensor in names.tensors {
        let Some(name) = names.origin.in_file(tensor) else {
            continue;
        };
        let expected = tensor.shape.as_deref().unwrap_or(&[]);
        match file.shape(&name) {
            Some(shape) if shape == expected => report.matched.push(tensor.native.clone()),
            Some(shape) => report.mismatched.push(Mismatch {
                name: tensor.native.clone(),
                file: shape.to_vec(),
                model: expected.to_vec(),
            }),
            None if tensor.is_counter() => {}
            None => report.missing.push(tensor.native.clone()),
        }
        known.insert(name);
    }
    for name in file.names().filter(|name| !known.contains(*name)) {
        match names.origin.inside(name) {
            Some(_) => report.unexpected.push(name.to_owned()),
            None => report.outside += 1,
        }
    }
    report.matched.sort();
    report.missing.sort();
    report.mismatched.sort_by(|a, b| a.name.cmp(&b.name));
    report
}

/// Overwrites the tensors that `report` lists as matched. Sets tensors that the file's scheme does
/// not have to zero.
pub(crate) fn fill(
    values: &mut Values,
    plan: &Plan,
    file: &mut TensorFile,
    names: &Names<'_>,
    report: &LoadReport,
) -> Result<()> {
    let is_matched = |name: &String| report.matched.binary_search(name).is_ok();
    let mut tensors = names.tensors.iter();
    let tables = [
        (&plan.parameters, &mut values.arena),
        (&plan.statistics, &mut values.statistics),
    ];
    for (table, buffer) in tables {
        for (segment, tensor) in table.segments().iter().zip(&mut tensors) {
            let values = &mut buffer[segment.range.clone()];
            match names.origin.in_file(tensor) {
                Some(name) if is_matched(&tensor.native) => file.read(&name, values)?,
                Some(_) => {}
                None => values.fill(0.0),
            }
        }
    }
    if let Some(counter) = tensors.find(|tensor| is_matched(&tensor.native))
        && let Some(name) = names.origin.in_file(counter)
    {
        values.batches_tracked = file.integer(&name)?;
    }
    Ok(())
}

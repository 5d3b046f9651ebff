//! Compares a file with a network, and loads it.

use std::collections::BTreeSet;

use engine::{Op, Plan, Segment};

use crate::Result;
use crate::run::parameters::Values;
use crate::weights::recognise::{Origin, same_numbers};
use crate::weights::report::{LoadReport, Mismatch};
use crate::weights::schemes::{Content, TensorName};
use crate::weights::tensor_file::TensorFile;

/// Where a file comes from, and the names of its tensors.
pub(crate) struct Names<'a> {
    pub(crate) origin: &'a Origin,
    /// The tensors of the network that is to be filled.
    pub(crate) tensors: &'a [TensorName],
}

/// Compares `file` with a network. Batch counters and constants may be missing: files of older versions of torch and of
/// other projects have none.
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
        let is_required = tensor.content == Content::Values;
        match file.shape(&name) {
            Some(shape) if same_numbers(shape, expected) => {
                report.matched.push(tensor.native.clone());
            }
            // Constants are not read, and each version of a project may have another shape.
            Some(_) if matches!(tensor.content, Content::Constant(_)) => {}
            Some(shape) => report.mismatched.push(Mismatch {
                name: tensor.native.clone(),
                file: shape.to_vec(),
                model: expected.to_vec(),
            }),
            None if !is_required => {}
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

/// Overwrites the tensors that `report` lists as matched, and sets tensors that the file's scheme does not have to zero.
/// The first convolution's inputs get the order red, green, blue.
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
    if names.origin.scheme.is_bgr()
        && let Some(stem) = stem(plan).filter(|stem| is_matched(&stem.name))
    {
        swap_red_and_blue(&mut values.arena[stem.range.clone()], &stem.shape);
    }
    let mut counters = tensors.filter(|tensor| tensor.content == Content::Counter);
    if let Some(counter) = counters.find(|tensor| is_matched(&tensor.native))
        && let Some(name) = names.origin.in_file(counter)
    {
        values.batches_tracked = file.integer(&name)?;
    }
    Ok(())
}

/// The weight of the convolution that reads the images.
pub(crate) fn stem(plan: &Plan) -> Option<&Segment> {
    let mut layers = plan.layers.iter();
    layers.find_map(|layer| match &layer.op {
        Op::Conv(conv) if layer.inputs == [0] => Some(&plan.parameters.segments()[conv.weight]),
        _ => None,
    })
}

/// Reverses the order of the inputs of a convolution `[out, 3, kernel, kernel]`.
pub(crate) fn swap_red_and_blue(weight: &mut [f32], shape: &[usize]) {
    let plane: usize = shape[2..].iter().product();
    for filter in weight.chunks_exact_mut(3 * plane) {
        let (red, rest) = filter.split_at_mut(plane);
        red.swap_with_slice(&mut rest[plane..]);
    }
}

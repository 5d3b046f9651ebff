//! Weights from elsewhere: what fits is taken, what does not is reported.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use engine::Plan;

use crate::parameters::{Values, counters};
use crate::tensor_file::TensorFile;
use crate::{Error, Network, Result};

/// A tensor whose shape in the file is not the model's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Its name.
    pub name: String,
    /// Its shape in the file.
    pub file: Vec<usize>,
    /// Its shape in the model.
    pub model: Vec<usize>,
}

/// What of a file went into a model. Names are torchvision's, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Loaded.
    pub matched: Vec<String>,
    /// In the model, not in the file.
    pub missing: Vec<String>,
    /// In the file, not in the model.
    pub unexpected: Vec<String>,
    /// In both, with different shapes.
    pub mismatched: Vec<Mismatch>,
}

impl LoadReport {
    /// Whether every tensor of the model was in the file, and nothing else.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.mismatched.is_empty() && self.unexpected.is_empty()
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LoadReport {
            matched,
            missing,
            unexpected,
            mismatched,
        } = self;
        write!(
            f,
            "{} tensors matched, {} missing, {} unexpected, {} of another shape",
            matched.len(),
            missing.len(),
            unexpected.len(),
            mismatched.len()
        )?;
        let mut list = |what: &str, names: &mut dyn Iterator<Item = String>| -> fmt::Result {
            let shown: Vec<String> = names.take(4).collect();
            if shown.is_empty() {
                return Ok(());
            }
            let more = if shown.len() == 4 { ", …" } else { "" };
            write!(
                f,
                "; {what}: {}{more}",
                shown[..shown.len().min(3)].join(", ")
            )
        };
        list("missing", &mut missing.iter().cloned())?;
        list("unexpected", &mut unexpected.iter().cloned())?;
        list(
            "of another shape",
            &mut mismatched
                .iter()
                .map(|m| format!("{} (file {:?}, model {:?})", m.name, m.file, m.model)),
        )
    }
}

/// Loads a file with torchvision's names into `network`, tensor by tensor: safetensors,
/// or what `torch.save` writes of a `state_dict`. What is missing or of another shape in
/// the head (another class count) keeps its fresh values; the report says so.
///
/// # Errors
/// If the file is neither of these, or fewer than nine tenths of the backbone's
/// tensors are in it; the network is then as it was.
pub fn load_pretrained(path: &Path, network: &mut Network) -> Result<LoadReport> {
    let mut file = TensorFile::open(path)?;
    let report = compare(network.plan(), &file);
    let in_backbone = |name: &String| !name.starts_with("classifier.");
    let matched = report
        .matched
        .iter()
        .filter(|name| in_backbone(name))
        .count();
    let rest = report
        .missing
        .iter()
        .chain(report.mismatched.iter().map(|m| &m.name));
    let all = matched + rest.filter(|name| in_backbone(name)).count();
    if matched * 10 < all * 9 {
        return Err(Error::OtherModel {
            path: path.into(),
            report: Box::new(report),
        });
    }
    let mut values = network.parameters().values()?;
    fill(&mut values, network.plan(), &mut file, &report)?;
    network.parameters().set_values(values)?;
    Ok(report)
}

/// What of `file` fits a network. The batch counters may be missing, as they
/// are in files of older versions of torch.
pub(crate) fn compare(plan: &Plan, file: &TensorFile) -> LoadReport {
    let mut report = LoadReport::default();
    let segments = plan
        .parameters
        .segments()
        .iter()
        .chain(plan.statistics.segments());
    let mut own: BTreeMap<String, Vec<usize>> = segments
        .map(|segment| (segment.name.clone(), segment.shape.clone()))
        .collect();
    own.extend(counters(plan).map(|name| (name, Vec::new())));
    for (name, model) in &own {
        match file.shape(name) {
            Some(shape) if shape == model => report.matched.push(name.clone()),
            Some(shape) => {
                report.mismatched.push(Mismatch {
                    name: name.clone(),
                    file: shape.to_vec(),
                    model: model.clone(),
                });
            }
            None if model.is_empty() => {}
            None => report.missing.push(name.clone()),
        }
    }
    report.unexpected = file
        .names()
        .filter(|name| !own.contains_key(*name))
        .map(str::to_owned)
        .collect();
    report
}

/// Overwrites what `report` says of `file` that it matches.
pub(crate) fn fill(
    values: &mut Values,
    plan: &Plan,
    file: &mut TensorFile,
    report: &LoadReport,
) -> Result<()> {
    let matched = |name: &String| report.matched.binary_search(name).is_ok();
    let tables = [
        (&plan.parameters, &mut values.arena),
        (&plan.statistics, &mut values.statistics),
    ];
    for (table, buffer) in tables {
        for segment in table.segments().iter().filter(|s| matched(&s.name)) {
            file.read(&segment.name, &mut buffer[segment.range.clone()])?;
        }
    }
    if let Some(counter) = counters(plan).find(matched) {
        values.batches_tracked = file.integer(&counter)?;
    }
    Ok(())
}

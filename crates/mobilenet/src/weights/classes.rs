//! The mapping from a network's outputs to classes, and from classes to classifier rows.

use std::collections::{HashMap, HashSet};
use std::fmt;

use engine::Segment;
use serde::{Deserialize, Serialize};

use crate::weights::report::some;
use crate::weights::tensor_file::TensorFile;
use crate::{LoadReport, Result};

/// Where the mapping from outputs to classes comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassOrder {
    /// The weights file or the user names the classes.
    #[default]
    Named,
    /// No names are known. Each class is named by the number of its output, starting from 0.
    Numbered,
    /// An assumption: the outputs are the classes of a data set in alphabetical order, as in
    /// torchvision's `ImageFolder`.
    SortedNames,
}

impl ClassOrder {
    /// Whether the class names are known.
    pub fn is_named(&self) -> bool {
        *self == ClassOrder::Named
    }
}

/// The model's classes that take a row from the file's classifier, and the classes without a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassRows {
    /// Classes that get the file's weight and bias, in the model's order.
    pub kept: Vec<String>,
    /// Classes that the file lacks, in the model's order. They keep their initial values.
    pub fresh: Vec<String>,
    /// Classes that the model lacks, in the file's order.
    pub dropped: Vec<String>,
}

impl fmt::Display for ClassRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kept, all) = (self.kept.len(), self.kept.len() + self.fresh.len());
        if kept == all {
            write!(f, "classifier: all {all} classes keep their weights")?;
        } else {
            write!(f, "classifier: {kept} of {all} classes keep their weights")?;
            if kept > 0 {
                write!(f, ": {}", some(&self.kept))?;
            }
            let start = if self.fresh.len() == 1 {
                "starts"
            } else {
                "start"
            };
            write!(f, "; {} {start} from initial values", some(&self.fresh))?;
        }
        match self.dropped.len() {
            0 => Ok(()),
            1 => write!(f, "; {} is dropped", some(&self.dropped)),
            _ => write!(f, "; {} are dropped", some(&self.dropped)),
        }
    }
}

/// A model's classifier, which is to be loaded from a file.
pub(crate) struct Classifier<'a> {
    /// The model's weight `[classes, inputs]` and bias `[classes]`, each with its name in the file.
    pub(crate) tensors: [(&'a Segment, String); 2],
    /// The model's classes.
    pub(crate) classes: &'a [String],
}

impl Classifier<'_> {
    /// If the file has class names, removes its classifier from the matches of `report`, because
    /// its rows are then loaded by class name. A file without class names but with the same number
    /// of classes is assumed to have the model's classes in the model's order.
    pub(crate) fn claim(&self, named: bool, report: &mut LoadReport) {
        let is_ours = |name: &String| {
            self.tensors
                .iter()
                .any(|(segment, _)| segment.name == *name)
        };
        if named {
            report.matched.retain(|name| !is_ours(name));
        } else if report.matched.iter().any(is_ours) {
            report.assumed.push(format!(
                "the classes of the classifier are, in this order, {}",
                some(self.classes)
            ));
        }
    }

    /// Loads the rows of the classes that file and model share into `arena`. `theirs` are the
    /// file's classes. If the two classifiers have different inputs, nothing is loaded.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn load(
        &self,
        theirs: &[String],
        file: &mut TensorFile,
        arena: &mut [f32],
        report: &mut LoadReport,
    ) -> Result<()> {
        if !self
            .tensors
            .iter()
            .all(|tensor| self.fits(tensor, theirs, file))
        {
            report.new_classifier = true;
            return Ok(());
        }
        let mut places = HashMap::new();
        for (row, class) in theirs.iter().enumerate() {
            places.entry(class.as_str()).or_insert(row);
        }
        for (segment, name) in &self.tensors {
            let width = segment.range.len() / self.classes.len();
            let mut rows = vec![0.0; theirs.len() * width];
            file.read(name, &mut rows)?;
            let own = arena[segment.range.clone()].chunks_exact_mut(width);
            for (class, own) in self.classes.iter().zip(own) {
                if let Some(&row) = places.get(class.as_str()) {
                    own.copy_from_slice(&rows[row * width..][..width]);
                }
            }
        }
        let is_kept = |class: &&String| places.contains_key(class.as_str());
        let ours: HashSet<&String> = self.classes.iter().collect();
        let (kept, fresh) = self
            .classes
            .iter()
            .cloned()
            .partition(|class| is_kept(&class));
        let dropped = theirs.iter().filter(|class| !ours.contains(class));
        let rows = ClassRows {
            kept,
            fresh,
            dropped: dropped.cloned().collect(),
        };
        report.new_classifier = rows.kept.is_empty();
        if !report.new_classifier {
            self.count_as_matched(file, report);
        }
        report.classes = Some(rows);
        Ok(())
    }

    /// Whether the file has one row per class, each as long as the model's.
    fn fits(
        &self,
        (segment, name): &(&Segment, String),
        theirs: &[String],
        file: &TensorFile,
    ) -> bool {
        let inputs = |shape: &[usize]| shape.get(1..).map(|rest| rest.iter().product::<usize>());
        file.shape(name).is_some_and(|shape| {
            shape.first() == Some(&theirs.len()) && inputs(shape) == inputs(&segment.shape)
        })
    }

    /// Counts tensors with the model's shape as matched, even if they are loaded row by row. Counts
    /// other tensors as mismatched.
    fn count_as_matched(&self, file: &TensorFile, report: &mut LoadReport) {
        for (segment, name) in &self.tensors {
            let is_listed = report
                .mismatched
                .iter()
                .any(|other| other.name == segment.name);
            if !is_listed && file.shape(name).is_some() {
                report.matched.push(segment.name.clone());
            }
        }
        report.matched.sort();
    }
}

//! Loads a classifier row by row, matching class names.

use engine::{Linear, Plan};

use super::Source;
use crate::run::parameters::check_length;
use crate::weights::classes::Classifier;
use crate::weights::overrides::check_names;
use crate::weights::schemes::TensorName;
use crate::{LoadReport, Network, Result};

impl Source {
    /// As [`Source::load_into`], for a network with these classes. A class with a row in the file's
    /// classifier gets that row; other classes keep their values. If the file has no class names
    /// but the same number of classes, its rows are assumed to be in the order of `classes`.
    ///
    /// # Errors
    /// As [`Source::load_into`]. Also if the number of names differs from the network's number of
    /// classes.
    pub fn load_classes(
        &mut self,
        network: &mut Network,
        classes: &[String],
    ) -> Result<LoadReport> {
        let expected = network.config().classes;
        check_length("the list of class names", classes.len(), expected)?;
        self.fill(network, Some(classes))
    }

    /// The classifier of a network with these `classes`. `None` if the file's scheme has no
    /// classifier.
    pub(super) fn classifier<'a>(
        &self,
        plan: &'a Plan,
        tensors: &[TensorName],
        classes: &'a [String],
    ) -> Option<Classifier<'a>> {
        let tensor = |index: usize| {
            let segment = &plan.parameters.segments()[index];
            let name = tensors
                .iter()
                .find(|tensor| tensor.native == segment.name)?;
            Some((segment, self.origin.in_file(name)?))
        };
        let Linear { weight, bias, .. } = *plan.classifier();
        Some(Classifier {
            tensors: [tensor(weight)?, tensor(bias?)?],
            classes,
        })
    }

    /// The names of the file's classes, from the file's metadata or the overrides.
    pub(super) fn named_classes(&self) -> Result<Option<Vec<String>>> {
        let own = self.metadata();
        match &self.overrides.class_names {
            None => Ok(own
                .and_then(|own| own.named_classes())
                .map(<[String]>::to_vec)),
            Some(given) => {
                let classes = match own {
                    Some(own) => own.model.classes(),
                    None => self.inferred()?.classes,
                };
                check_names(given, classes, self.file.path())?;
                Ok(Some(given.clone()))
            }
        }
    }
}

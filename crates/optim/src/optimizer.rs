//! The optimizer: groups, the step count of each group, and the state buffers of the update rule.

use std::ops::Range;

use crate::coefficients::Coefficients;
use crate::error::{Error, is_non_negative, require};
use crate::group::{Matrix, ParameterGroup, lay_out};
use crate::pass::{Buffers, Piece, pass};
use crate::rules::{OptimizerConfig, Update};
use crate::state::{GroupCounters, OptimizerCounters, OptimizerState};

/// An update rule and its state, for one flat buffer of parameters.
///
/// A step runs on the current rayon thread pool and allocates nothing. Its result has the same bits
/// for any number of threads.
///
/// ```
/// use optim::{Optimizer, OptimizerConfig, ParameterGroup};
///
/// let config = OptimizerConfig::default(); // Adam
/// let mut optimizer = Optimizer::new(&config, 2, vec![ParameterGroup::new("all", 0..2)])?;
/// let mut parameters = [1.0, -2.0];
/// optimizer.step(&mut parameters, &[0.5, -0.1], 1e-3)?;
/// assert_eq!(parameters, [0.999, -1.999]); // Adam's first step is as long as the learning rate
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Optimizer {
    name: &'static str,
    rule: OptimizerConfig,
    len: usize,
    groups: Vec<Group>,
    /// The groups in the order in which they were passed.
    layout: Vec<ParameterGroup>,
    /// The update of each group in the current step. Kept between steps to avoid an allocation.
    updates: Vec<Update>,
    pieces: Vec<Piece>,
    /// The state buffers of the rule, each `len` values long. Unused buffers are empty.
    buffers: [Vec<f32>; 3],
}

#[derive(Debug, Clone)]
struct Group {
    counters: GroupCounters,
    learning_rate_multiplier: f64,
    weight_decay: f64,
}

/// Contiguous parameters of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Their indices.
    pub range: Range<usize>,
    /// The group's number, in the order of the groups.
    pub group: usize,
    /// Length of the rows whose gradients are centralised; 0 if there are none.
    pub row: usize,
}

impl Optimizer {
    /// Creates an optimizer for `len` parameters. Its state starts at zero.
    ///
    /// # Errors
    /// [`Error::Setting`] if a value is out of range. [`Error::Group`] if groups overlap, exceed
    /// the buffer or have the same name.
    pub fn new(
        config: &OptimizerConfig,
        len: usize,
        groups: Vec<ParameterGroup>,
    ) -> Result<Self, Error> {
        config.validate()?;
        let pieces = lay_out(&groups, &[], len)?;
        let layout = groups.clone();
        let rule = config.clone();
        let used = rule.buffer_names().len();
        let buffer = |index| vec![0.0; if index < used { len } else { 0 }];
        let groups = groups.into_iter().map(|group| Group {
            counters: GroupCounters {
                name: group.name,
                steps: 0,
                frozen: false,
            },
            learning_rate_multiplier: group.learning_rate_multiplier,
            weight_decay: group.weight_decay.unwrap_or(config.weight_decay()),
        });
        let groups: Vec<Group> = groups.collect();
        Ok(Self {
            name: config.name(),
            len,
            updates: vec![Update::Hold; groups.len()],
            groups,
            layout,
            pieces,
            buffers: [buffer(0), buffer(1), buffer(2)],
            rule,
        })
    }

    /// Declares the matrices in the buffer. Ranger centralises the gradients of their rows; without
    /// this call it centralises nothing. Other rules ignore matrices.
    ///
    /// # Errors
    /// [`Error::Setting`] if a matrix has an incomplete row. [`Error::Group`] if a matrix is only
    /// partly inside a group's range. A matrix outside every group is accepted, but its values
    /// never change.
    pub fn with_matrices(mut self, matrices: &[Matrix]) -> Result<Self, Error> {
        let wanted = |matrix: &&Matrix| self.rule.centralises(matrix.is_convolution);
        let matrices: Vec<Matrix> = matrices.iter().filter(wanted).cloned().collect();
        self.pieces = lay_out(&self.layout, &matrices, self.len)?;
        Ok(self)
    }

    /// Freezes or unfreezes a group.
    ///
    /// The parameters, state and step count of a frozen group do not change. torch treats
    /// parameters without gradients in the same way.
    ///
    /// # Errors
    /// [`Error::UnknownGroup`] if no group has this name.
    pub fn set_frozen(&mut self, group: &str, frozen: bool) -> Result<(), Error> {
        let mut groups = self.groups.iter_mut();
        if let Some(found) = groups.find(|g| g.counters.name == group) {
            found.counters.frozen = frozen;
            return Ok(());
        }
        Err(Error::UnknownGroup {
            asked: group.to_owned(),
            known: names(self.groups.iter().map(|g| &g.counters)),
        })
    }

    /// Takes one step and changes `parameters` in place.
    ///
    /// `gradients` contains the derivative of the loss with respect to each parameter, in the same
    /// order. This method does not check for NaN and infinity. Check the norm that
    /// [`clip_gradient_norm`](crate::clip_gradient_norm) returns before the step.
    ///
    /// # Errors
    /// [`Error::Length`] if a slice does not have the optimizer's length. [`Error::Setting`] if the
    /// learning rate is negative or not finite. Nothing has changed then.
    pub fn step(
        &mut self,
        parameters: &mut [f32],
        gradients: &[f32],
        learning_rate: f64,
    ) -> Result<(), Error> {
        self.check_length("parameters", parameters.len())?;
        self.check_length("gradients", gradients.len())?;
        self.advance(learning_rate)?;
        let [first, second, third] = &mut self.buffers;
        let buffers = Buffers {
            parameters,
            gradients,
            state: [first, second, third],
        };
        pass(&self.pieces, &self.updates, 0, buffers);
        Ok(())
    }

    /// Counts a step that is taken elsewhere, for example on a GPU, with [`Optimizer::coefficients`].
    ///
    /// # Errors
    /// [`Error::Setting`] if the learning rate is negative or not finite. Nothing has changed then.
    pub fn advance(&mut self, learning_rate: f64) -> Result<(), Error> {
        require(
            is_non_negative(learning_rate),
            self.name,
            "learning_rate",
            learning_rate,
            "a finite number >= 0",
        )?;
        for (group, update) in self.groups.iter_mut().zip(&mut self.updates) {
            *update = if group.counters.frozen {
                Update::Hold
            } else {
                // A loaded state may contain the largest possible count.
                group.counters.steps = group.counters.steps.saturating_add(1);
                let learning_rate = learning_rate * group.learning_rate_multiplier;
                self.rule
                    .update(group.counters.steps, learning_rate, group.weight_decay)
            };
        }
        Ok(())
    }

    /// The coefficients of each group in the step that was counted last.
    pub fn coefficients(&self) -> impl Iterator<Item = Coefficients> {
        self.updates.iter().map(Update::coefficients)
    }

    /// The parts of the parameters that each have one group, in order.
    pub fn stretches(&self) -> impl Iterator<Item = Stretch> {
        self.pieces.iter().map(|piece| Stretch {
            range: piece.range.clone(),
            group: piece.group,
            row: piece.row,
        })
    }

    /// The step count of each group, and whether it is frozen.
    pub fn counters(&self) -> OptimizerCounters {
        OptimizerCounters {
            optimizer: self.name.to_owned(),
            groups: self.groups.iter().map(|g| g.counters.clone()).collect(),
        }
    }

    /// Each state buffer with its name, one value per parameter.
    pub fn buffers(&self) -> impl Iterator<Item = (&'static str, &[f32])> {
        let names = self.rule.buffer_names().iter();
        names.copied().zip(self.buffers.iter().map(Vec::as_slice))
    }

    /// Each state buffer, to be overwritten with one that was changed elsewhere.
    pub fn buffers_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let used = self.rule.buffer_names().len();
        self.buffers.iter_mut().take(used).map(Vec::as_mut_slice)
    }

    /// A copy of the complete state.
    pub fn state(&self) -> OptimizerState {
        let buffers = self.buffers();
        OptimizerState {
            counters: self.counters(),
            buffers: buffers
                .map(|(name, values)| (name.to_owned(), values.to_vec()))
                .collect(),
        }
    }

    /// Restores a saved state. The next step has the same result as if the run had not been
    /// interrupted.
    ///
    /// # Errors
    /// [`Error::State`] or [`Error::Length`] if the state belongs to another rule, to other groups
    /// or to another number of parameters. Nothing has changed then.
    pub fn load_state(&mut self, state: OptimizerState) -> Result<(), Error> {
        let OptimizerState { counters, buffers } = state;
        if counters.optimizer != self.name {
            return Err(Error::State(format!(
                "it was saved by optimizer `{}`, this one is `{}`; start afresh or set the same type",
                counters.optimizer, self.name
            )));
        }
        let (ours, theirs) = (
            names(self.groups.iter().map(|g| &g.counters)),
            names(counters.groups.iter()),
        );
        if ours != theirs {
            return Err(Error::State(format!(
                "it holds the groups {theirs}, this optimizer has {ours}"
            )));
        }
        let expected = self.rule.buffer_names();
        if !buffers.iter().map(|(name, _)| name).eq(expected) {
            let found: Vec<&str> = buffers.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::State(format!(
                "it holds the buffers {found:?}, expected {expected:?}"
            )));
        }
        for (name, values) in &buffers {
            self.check_length(name, values.len())?;
        }
        for (group, counters) in self.groups.iter_mut().zip(counters.groups) {
            group.counters = counters;
        }
        for (own, (_, values)) in self.buffers.iter_mut().zip(buffers) {
            *own = values;
        }
        Ok(())
    }

    fn check_length(&self, what: &str, found: usize) -> Result<(), Error> {
        if found == self.len {
            return Ok(());
        }
        Err(Error::Length {
            what: what.to_owned(),
            expected: self.len,
            found,
        })
    }
}

fn names<'a>(groups: impl Iterator<Item = &'a GroupCounters>) -> String {
    let quoted: Vec<String> = groups.map(|group| format!("`{}`", group.name)).collect();
    quoted.join(", ")
}

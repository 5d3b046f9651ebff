//! The tape of a forward pass through candle's operators.

use candle_core::{Tensor, Var};
use engine::Segment;

use crate::run::executor::Tape;
use crate::run::slices::{read_slice, write_slice};

/// The tape for logits that candle computed from variables.
pub(crate) struct GraphTape {
    logits: Tensor,
    /// For each tensor of the arena, its length and, if it needs a gradient, its variable.
    leaves: Vec<(usize, Option<Var>)>,
}

impl GraphTape {
    /// Creates the tape of `logits`. `leaves` are the variables of the segments.
    pub(crate) fn new(logits: &Tensor, segments: &[Segment], leaves: Vec<Option<Var>>) -> Self {
        let lengths = segments.iter().map(|segment| segment.range.len());
        GraphTape {
            logits: logits.clone(),
            leaves: lengths.zip(leaves).collect(),
        }
    }
}

impl Tape for GraphTape {
    fn backward(
        self: Box<Self>,
        logits_gradient: &Tensor,
        gradient: &Var,
    ) -> candle_core::Result<()> {
        // The gradient of this sum with respect to the leaves is the gradient of the loss.
        let sum = (&self.logits * logits_gradient)?.sum_all()?;
        let mut gradients = sum.backward()?;
        let mut parts = Vec::with_capacity(self.leaves.len());
        for (length, leaf) in self.leaves {
            let found = leaf.and_then(|leaf| gradients.remove(&leaf));
            let found = found.map(|found| found.flatten_all()?.contiguous());
            parts.push((length, found.transpose()?));
        }
        if gradient.device().is_cpu() {
            // Written in place, because most of the gradient is zeros if the backbone is frozen.
            return write_slice(gradient, |flat| join(flat, &parts))?;
        }
        let whole = |(length, part): (usize, Option<Tensor>)| match part {
            Some(part) => Ok(part),
            None => Tensor::zeros(length, self.logits.dtype(), self.logits.device()),
        };
        let flat: Vec<Tensor> = parts
            .into_iter()
            .map(whole)
            .collect::<candle_core::Result<_>>()?;
        gradient.set(&Tensor::cat(&flat, 0)?)
    }
}

/// Concatenates flat tensors of these lengths. Missing tensors become zeros.
fn join(mut flat: &mut [f32], parts: &[(usize, Option<Tensor>)]) -> candle_core::Result<()> {
    for (length, part) in parts {
        let Some((own, rest)) = flat.split_at_mut_checked(*length) else {
            candle_core::bail!("the gradient is shorter than its parts")
        };
        match part {
            Some(part) => read_slice(part, |part| own.copy_from_slice(part))?,
            None => own.fill(0.0),
        }
        flat = rest;
    }
    Ok(())
}

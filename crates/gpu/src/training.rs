//! The passes of training steps.

use engine::{FusedError, Images, Pass};

use crate::device::Device;
use crate::engine::{Current, Gpu, failed, lock};
use crate::step::{self, BatchShape, Step};

/// The memory of training steps.
#[derive(Debug)]
pub(crate) struct Training<D: Device> {
    current: Option<Current<D>>,
    /// Number of forward passes so far.
    passes: u64,
}

impl<D: Device> Training<D> {
    pub(crate) fn new() -> Self {
        Training {
            current: None,
            passes: 0,
        }
    }
}

impl<D: Device> Gpu<D> {
    /// The forward pass of a training step, from the values in memory.
    pub(crate) fn run_forward(
        &self,
        momentum: f64,
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) -> Result<Pass, FusedError> {
        let batch = self.shape(&images)?;
        engine::check_step(self.plan(), &images, masks, logits)?;
        let shapes = self.plan().shapes(batch.height, batch.width);
        engine::check_counts(self.plan(), &shapes, batch.images)?;
        let mut training = lock(&self.training);
        let Training { current, passes } = &mut *training;
        *passes += 1;
        let make = |batch, base| self.train_step(batch, base);
        let step = self.current(current, batch, make)?;
        let classes = self.plan().classes();
        let mut run = || {
            let momentum = (momentum as f32).to_ne_bytes();
            // SAFETY: the network's memory has space for the momentum.
            unsafe { self.device().write(self.fixed().momentum, &momentum)? };
            self.write_images(&step.ports, images)?;
            self.write_masks(&step.ports, batch.images, masks)?;
            // SAFETY: the step is in memory.
            unsafe { self.device().run(&step.forward)? };
            match step.ports.logits {
                Some(place) => self.read_rows(place, logits, classes, true),
                None => unreachable!("a step stores its logits"),
            }
        };
        run().map_err(failed)?;
        Ok(Pass {
            number: *passes,
            images: batch.images,
        })
    }

    /// The backward pass of the last forward pass.
    pub(crate) fn run_backward(
        &self,
        pass: &Pass,
        logits_gradient: &[f32],
    ) -> Result<(), FusedError> {
        let training = lock(&self.training);
        let is_last = training.passes == pass.number;
        let Some(Current { step, .. }) = training.current.as_ref().filter(|_| is_last) else {
            return Err(FusedError::Device(
                "another batch replaced the values of this forward pass".to_owned(),
            ));
        };
        let Some(place) = step.ports.logits_gradient else {
            unreachable!("a training step reads the gradient of the logits");
        };
        let run = || {
            self.write_rows(place.at, logits_gradient, self.plan().classes())?;
            // SAFETY: the step is in memory, and so is the gradient.
            unsafe { self.device().run(&step.backward) }
        };
        run().map_err(failed)
    }

    fn train_step(&self, batch: BatchShape, base: u64) -> Step {
        let (plan, program) = (self.plan(), &self.program);
        step::train(
            plan,
            program,
            self.device().storage(),
            batch,
            self.fixed(),
            base,
        )
    }
}

//! An executor made of candle operators. It is slow and simple, and runs on every device. It serves
//! as the reference in tests of faster executors, and as the fallback on other devices.

mod attention;
mod layers;
mod pass;
mod tape;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use candle_core::{DType, Tensor, Var};
use engine::Plan;

use crate::run::executor::{Executor, Tape, TrainingStep};
use crate::run::grad_cam::{GradCam, grad_cam};
use crate::run::parameters::view;
use crate::{Images, Parameters, Result};
use pass::Pass;
pub(crate) use tape::GraphTape;

/// Runs a plan with candle operators.
#[derive(Clone, Debug)]
pub struct Composed {
    plan: Arc<Plan>,
    /// Type of the factors of matrix products. Everything else is f32.
    factors: DType,
}

impl Composed {
    /// Creates an executor for `plan`.
    pub fn new(plan: Arc<Plan>) -> Self {
        Composed {
            plan,
            factors: DType::F32,
        }
    }

    /// The same executor, but with f16 factors in matrix products, also in the backward pass. It
    /// also works on a CPU, slowly.
    ///
    /// Gradients below 6e-8 become zero, so the loss must be scaled up before the backward pass.
    pub fn with_f16(self) -> Self {
        Composed {
            factors: DType::F16,
            ..self
        }
    }

    fn pass<'a>(&'a self, parameters: &Parameters, step: Option<TrainingStep>) -> Result<Pass<'a>> {
        let mut weights = Vec::with_capacity(self.plan.parameters.segments().len());
        let mut leaves = Vec::new();
        let arena = parameters.arena()?;
        for segment in self.plan.parameters.segments() {
            let frozen = match step {
                None => true,
                Some(step) => step.freeze_backbone && segment.range.end <= self.plan.backbone.end,
            };
            let weight = view(arena, segment)?;
            if frozen {
                leaves.push(None);
                weights.push(weight);
            } else {
                let leaf = Var::from_tensor(&weight)?;
                weights.push(leaf.as_tensor().clone());
                leaves.push(Some(leaf));
            }
        }
        let running = parameters.statistics()?;
        let statistics = (self.plan.statistics.segments().iter())
            .map(|segment| view(running, segment))
            .collect::<candle_core::Result<_>>()?;
        let training = step.is_some_and(|step| !step.freeze_backbone);
        Ok(Pass {
            plan: &self.plan,
            factors: self.factors,
            weights,
            leaves,
            statistics,
            training,
            found: Vec::new(),
        })
    }
}

impl Composed {
    /// Grad-CAM maps of images in inference. `classes` has a class for each image; without it,
    /// each image's own prediction is explained.
    pub(crate) fn grad_cam(
        &self,
        parameters: &Parameters,
        images: &Images,
        classes: Option<&[usize]>,
    ) -> Result<GradCam> {
        let images = images.values()?;
        let (_, height, width, _) = images.dims4()?;
        pass::fits(&self.plan, height, width)?;
        grad_cam(&mut self.pass(parameters, None)?, &images, classes)
    }

    fn recorded(&self, logits: Tensor, leaves: Vec<Option<Var>>) -> (Tensor, Box<dyn Tape>) {
        let tape = GraphTape::new(&logits, self.plan.parameters.segments(), leaves);
        (logits, Box::new(tape))
    }
}

impl Executor for Composed {
    fn name(&self) -> &'static str {
        "composed"
    }

    fn kind(&self) -> String {
        match self.factors {
            DType::F32 => self.name().to_owned(),
            factors => format!("{} {}", self.name(), factors.as_str()),
        }
    }

    fn infer(&self, parameters: &Parameters, images: &Images) -> Result<Tensor> {
        let mut pass = self.pass(parameters, None)?;
        let features = pass.features(&images.values()?, None)?;
        pass.logits(&features, None)
    }

    fn features(&self, parameters: &Parameters, images: &Images) -> Result<Tensor> {
        self.pass(parameters, None)?
            .features(&images.values()?, None)
    }

    fn infer_head(&self, parameters: &Parameters, features: &Tensor) -> Result<Tensor> {
        self.pass(parameters, None)?.logits(features, None)
    }

    fn forward_head(
        &self,
        parameters: &Parameters,
        features: &Tensor,
        step: TrainingStep,
    ) -> Result<(Tensor, Box<dyn Tape>)> {
        let step = TrainingStep {
            freeze_backbone: true,
            ..step
        };
        let mut pass = self.pass(parameters, Some(step))?;
        let logits = pass.logits(features, Some(step))?;
        Ok(self.recorded(logits, pass.leaves))
    }

    fn forward(
        &self,
        parameters: &Parameters,
        images: &Images,
        step: TrainingStep,
    ) -> Result<(Tensor, Box<dyn Tape>)> {
        let mut pass = self.pass(parameters, Some(step))?;
        let features = pass.features(&images.values()?, Some(step))?;
        let logits = pass.logits(&features, Some(step))?;
        if !pass.found.is_empty() {
            let momentum = parameters.momentum(self.plan.batch_norm);
            let batch = Tensor::cat(&pass.found, 0)?;
            let old = parameters.statistics()?.detach();
            let moved = ((old * (1.0 - momentum))? + (batch * momentum)?)?;
            parameters.set_statistics(&moved)?;
            parameters.batch_tracked();
        }
        Ok(self.recorded(logits, pass.leaves))
    }
}

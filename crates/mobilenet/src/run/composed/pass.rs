//! One pass through the layers of a network.

use candle_core::{DType, Tensor, Var};
use engine::{Activation, Op, Plan};

use crate::run::executor::TrainingStep;
use crate::run::grad_cam::Stages;
use crate::{Error, Result};

/// Returns an error about a plan that does not hold together.
macro_rules! missing {
    ($($text:tt)*) => {
        return Err(candle_core::Error::Msg(format!($($text)*)).into())
    };
}
pub(super) use missing;

/// One pass through the network.
pub(super) struct Pass<'a> {
    pub(super) plan: &'a Plan,
    /// Type of the factors of matrix products.
    pub(super) factors: DType,
    /// Weights in the order of the plan's parameters, with torch's shapes.
    pub(super) weights: Vec<Tensor>,
    /// The variable of each weight that needs a gradient.
    pub(super) leaves: Vec<Option<Var>>,
    /// Running statistics in the order of the plan.
    pub(super) statistics: Vec<Tensor>,
    /// Whether batch normalisation uses the statistics of the batch.
    pub(super) training: bool,
    /// The statistics of the batch, in the order of the plan.
    pub(super) found: Vec<Tensor>,
}

/// Refuses images that are smaller than the windows of a layer.
pub(super) fn fits(plan: &Plan, height: usize, width: usize) -> Result<()> {
    let shapes = plan.shapes(height, width);
    let mut layers = plan.layers.iter().zip(&shapes);
    match layers.find(|(_, shape)| shape.pixels() == 0) {
        None => Ok(()),
        Some((layer, _)) => Err(Error::ImagesTooSmall {
            found: (height, width),
            layer: layer.name.clone(),
        }),
    }
}

impl Stages for Pass<'_> {
    fn count(&self) -> usize {
        self.plan.stages().len()
    }

    fn name(&self, stage: usize) -> String {
        let stages = self.plan.stages();
        stages.get(stage).map_or("", |(_, name)| name).to_owned()
    }

    fn run(&mut self, stage: usize, map: &Tensor) -> Result<Tensor> {
        let stages = self.plan.stages();
        let before = stage.checked_sub(1).map_or(0, |before| stages[before].0);
        self.layers(before, map, stages[stage].0, None)
    }

    fn logits(&mut self, map: &Tensor) -> Result<Tensor> {
        let last = self.plan.stages().last().map_or(0, |stage| stage.0);
        self.layers(last, map, self.plan.layers.len() - 1, None)
    }
}

impl Pass<'_> {
    /// Pooled features `[n, features]` of images `[n, h, w, 3]`.
    pub(super) fn features(
        &mut self,
        images: &Tensor,
        step: Option<TrainingStep>,
    ) -> Result<Tensor> {
        let (_, height, width, _) = images.dims4()?;
        fits(self.plan, height, width)?;
        self.layers(0, images, self.plan.features, step)
    }

    /// Logits `[n, classes]` of pooled features.
    pub(super) fn logits(
        &mut self,
        features: &Tensor,
        step: Option<TrainingStep>,
    ) -> Result<Tensor> {
        let last = self.plan.layers.len() - 1;
        self.layers(self.plan.features, features, last, step)
    }

    /// The value of layer `end`, from the value of layer `start`. The layers between must not read earlier values.
    fn layers(
        &mut self,
        start: usize,
        value: &Tensor,
        end: usize,
        step: Option<TrainingStep>,
    ) -> Result<Tensor> {
        let plan = self.plan;
        let mut last = vec![end; end + 1];
        for (index, layer) in plan.layers.iter().enumerate().take(end + 1) {
            for &input in &layer.inputs {
                last[input] = index;
            }
        }
        let mut values: Vec<Option<Tensor>> = vec![None; end + 1];
        values[start] = Some(value.clone());
        let mut index = start + 1;
        while index <= end {
            let layer = &plan.layers[index];
            let mut inputs = Vec::with_capacity(layer.inputs.len());
            for &input in &layer.inputs {
                match &values[input] {
                    Some(value) => inputs.push(value.clone()),
                    None => missing!("{} reads a value that is gone", layer.name),
                }
            }
            for &input in &layer.inputs {
                if last[input] == index && input != end {
                    values[input] = None;
                }
            }
            // A normalisation and the activation after it are one operator.
            let fused = self.activation_after(index, end, &last);
            let value = self.layer(index, &inputs, fused, step)?;
            index += usize::from(fused.is_some());
            values[index] = Some(value);
            index += 1;
        }
        match values.pop().flatten() {
            Some(value) => Ok(value),
            None => missing!("{} has no value", plan.name),
        }
    }

    /// The activation that the next layer applies to this batch normalisation, and to nothing else.
    fn activation_after(&self, index: usize, end: usize, last: &[usize]) -> Option<Activation> {
        let is_norm = matches!(self.plan.layers[index].op, Op::BatchNorm(_));
        let next = self.plan.layers.get(index + 1)?;
        let Op::Activate(activation) = next.op else {
            return None;
        };
        let has_kernel = matches!(
            activation,
            Activation::Relu | Activation::Relu6 | Activation::Hardswish | Activation::Silu
        );
        let sole = index < end && next.inputs == [index] && last[index] == index + 1;
        (is_norm && has_kernel && sole).then_some(activation)
    }
}

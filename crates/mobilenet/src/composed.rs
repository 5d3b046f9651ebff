//! An executor made of candle operators. It is slow and simple, and runs on every device. It serves
//! as the reference in tests of faster executors, and as the fallback on other devices.

use std::sync::Arc;

use candle_core::{DType, Tensor, Var};
use engine::{Activation, Block, ConvNorm, Linear, Plan, Segment, SqueezeExcite, Stage};

use crate::dropout::dropout_mask;
use crate::executor::{Executor, Tape, TrainingStep};
use crate::grad_cam::{GradCam, Stages, grad_cam};
use crate::operators::{
    Normalised, activate, affine, average, batch_norm, depthwise, hardsigmoid, patches, scale,
};
use crate::parameters::view;
use crate::slices::{read_slice, write_slice};
use crate::{Error, Images, Parameters, Result};

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
        for segment in self.plan.parameters.segments() {
            let frozen = match step {
                None => true,
                Some(step) => step.freeze_backbone && segment.range.end <= self.plan.backbone.end,
            };
            let weight = view(parameters.arena(), segment)?;
            if frozen {
                leaves.push(None);
                weights.push(weight);
            } else {
                let leaf = Var::from_tensor(&weight)?;
                weights.push(leaf.as_tensor().clone());
                leaves.push(Some(leaf));
            }
        }
        let statistics = (self.plan.statistics.segments().iter())
            .map(|segment| view(parameters.statistics(), segment))
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
        let mut pass = self.pass(parameters, None)?;
        grad_cam(&mut pass, &images.values()?, classes)
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
        let features = pass.features(&images.values()?)?;
        pass.logits(&features, None)
    }

    fn features(&self, parameters: &Parameters, images: &Images) -> Result<Tensor> {
        self.pass(parameters, None)?.features(&images.values()?)
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
        let pass = self.pass(parameters, Some(step))?;
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
        let features = pass.features(&images.values()?)?;
        let logits = pass.logits(&features, Some(step))?;
        if !pass.found.is_empty() {
            let momentum = parameters.momentum(self.plan.spec.batch_norm);
            let batch = Tensor::cat(&pass.found, 0)?;
            let old = parameters.statistics().detach();
            let moved = ((old * (1.0 - momentum))? + (batch * momentum)?)?;
            parameters.set_statistics(&moved)?;
            parameters.batch_tracked();
        }
        Ok(self.recorded(logits, pass.leaves))
    }
}

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
            let mut outcome = Ok(());
            write_slice(gradient, |flat| outcome = join(flat, &parts))?;
            return outcome;
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

/// One pass through the network.
struct Pass<'a> {
    plan: &'a Plan,
    factors: DType,
    /// Weights in the order of the plan's parameters, with torch's shapes.
    weights: Vec<Tensor>,
    /// The variable of each weight that needs a gradient.
    leaves: Vec<Option<Var>>,
    /// Running statistics in the order of the plan.
    statistics: Vec<Tensor>,
    /// Whether batch normalisation uses the statistics of the batch.
    training: bool,
    /// The statistics of the batch, in the order of the plan.
    found: Vec<Tensor>,
}

impl Stages for Pass<'_> {
    fn count(&self) -> usize {
        self.plan.stages().len()
    }

    fn name(&self, stage: usize) -> String {
        let stage = self.plan.stages().nth(stage);
        stage.map_or("", Stage::name).to_owned()
    }

    fn run(&mut self, stage: usize, map: &Tensor) -> Result<Tensor> {
        match self.plan.stages().nth(stage) {
            Some(stage) => self.stage(stage, map),
            None => Ok(map.clone()),
        }
    }

    fn logits(&mut self, map: &Tensor) -> Result<Tensor> {
        Pass::logits(self, &average(map)?, None)
    }
}

impl Pass<'_> {
    /// Pooled features `[n, features]` of images `[n, h, w, 3]`.
    fn features(&mut self, images: &Tensor) -> Result<Tensor> {
        let plan = self.plan;
        let mut x = images.clone();
        for stage in plan.stages() {
            x = self.stage(stage, &x)?;
        }
        Ok(average(&x)?)
    }

    fn stage(&mut self, stage: Stage<'_>, x: &Tensor) -> Result<Tensor> {
        match stage {
            Stage::Convolution(layer) => self.conv_norm(layer, x),
            Stage::Block(block) => self.block(block, x),
        }
    }

    fn logits(&self, features: &Tensor, step: Option<TrainingStep>) -> Result<Tensor> {
        let mut x = features.clone();
        if let Some(hidden) = &self.plan.hidden {
            x = activate(Activation::Hardswish, &self.linear(hidden, &x)?)?;
        }
        let dropout = self.plan.spec.head.dropout;
        if let Some(step) = step.filter(|_| dropout > 0.0) {
            let mask = dropout_mask(x.elem_count(), dropout, step);
            x = (x.clone() * Tensor::from_vec(mask, x.shape(), x.device())?)?;
        }
        Ok(self.linear(&self.plan.classifier, &x)?)
    }

    fn block(&mut self, block: &Block, input: &Tensor) -> Result<Tensor> {
        let mut x = input.clone();
        if let Some(expand) = &block.expand {
            x = self.conv_norm(expand, &x)?;
        }
        let activation = block.depthwise.activation;
        x = match &block.squeeze {
            Some(squeeze) if squeeze.before_activation => {
                let x = self.activated_conv_norm(&block.depthwise, Activation::Identity, &x)?;
                activate(activation, &self.squeeze_excite(squeeze, &x)?)?
            }
            Some(squeeze) => {
                let x = self.conv_norm(&block.depthwise, &x)?;
                self.squeeze_excite(squeeze, &x)?
            }
            None => self.conv_norm(&block.depthwise, &x)?,
        };
        x = self.conv_norm(&block.project, &x)?;
        Ok(if block.spec.is_residual() {
            (x + input)?
        } else {
            x
        })
    }

    fn squeeze_excite(&self, layer: &SqueezeExcite, x: &Tensor) -> Result<Tensor> {
        let hidden = self.linear(&layer.reduce, &average(x)?)?;
        let hidden = activate(Activation::Relu, &hidden)?;
        Ok(scale(
            x,
            &hardsigmoid(&self.linear(&layer.expand, &hidden)?)?,
        )?)
    }

    /// Converts `x` `[n, in]` to `[n, out]`. The weight may have the two extra dimensions of a 1×1
    /// convolution.
    fn linear(&self, layer: &Linear, x: &Tensor) -> candle_core::Result<Tensor> {
        let weight = &self.weights[layer.weight];
        let weight = weight.reshape((layer.out_features, layer.in_features))?;
        self.product(x, &weight.t()?)?
            .broadcast_add(&self.weights[layer.weight + 1])
    }

    fn product(&self, x: &Tensor, matrix: &Tensor) -> candle_core::Result<Tensor> {
        // If the types are equal, nothing is copied.
        let product = x
            .to_dtype(self.factors)?
            .matmul(&matrix.to_dtype(self.factors)?)?;
        product.to_dtype(x.dtype())
    }

    fn conv_norm(&mut self, layer: &ConvNorm, x: &Tensor) -> Result<Tensor> {
        self.activated_conv_norm(layer, layer.activation, x)
    }

    fn activated_conv_norm(
        &mut self,
        layer: &ConvNorm,
        activation: Activation,
        x: &Tensor,
    ) -> Result<Tensor> {
        let z = self.convolution(layer, x)?;
        let shape = z.shape().clone();
        let rows = z.reshape(((), layer.out_channels))?;
        let weight = &self.weights[layer.norm];
        let bias = &self.weights[layer.norm + 1];
        let epsilon = self.plan.spec.batch_norm.epsilon;
        if !self.training {
            let mean = &self.statistics[layer.statistics];
            let variance = &self.statistics[layer.statistics + 1];
            let scale = (weight.detach() / (variance + epsilon)?.sqrt()?)?;
            let shift = (bias.detach() - (mean * &scale)?)?;
            return Ok(affine(&rows, &scale, &shift, activation)?.reshape(shape)?);
        }
        let count = rows.dim(0)?;
        if count < 2 {
            return Err(Error::OneValuePerChannel {
                layer: layer.name.clone(),
            });
        }
        let Normalised {
            output,
            mean,
            variance,
        } = batch_norm(&rows, weight, bias, epsilon, activation)?;
        self.found.push(mean);
        // torch normalises with the biased variance and stores the unbiased variance.
        self.found
            .push((variance * (count as f64 / (count - 1) as f64))?);
        Ok(output.reshape(shape)?)
    }

    fn convolution(&self, layer: &ConvNorm, x: &Tensor) -> candle_core::Result<Tensor> {
        let ConvNorm {
            in_channels,
            out_channels,
            kernel,
            stride,
            padding,
            ..
        } = *layer;
        let weight = &self.weights[layer.weight];
        if layer.depthwise {
            let taps = weight.reshape((out_channels, kernel * kernel))?.t()?;
            return depthwise(x, &taps, kernel, stride, padding);
        }
        let (batch, height, width, _) = x.dims4()?;
        let (rows, matrix) = if kernel == 1 {
            (
                x.reshape(((), in_channels))?,
                weight.reshape((out_channels, in_channels))?.t()?,
            )
        } else {
            let matrix = weight.permute((2, 3, 1, 0))?.reshape(((), out_channels))?;
            (patches(x, kernel, stride, padding)?, matrix)
        };
        let product = self.product(&rows, &matrix)?;
        let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
        product.reshape((batch, rows, columns, out_channels))
    }
}

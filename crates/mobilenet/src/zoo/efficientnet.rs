//! EfficientNet (Tan and Le 2019) with torchvision's names, padding and batch-norm epsilon.
//!
//! candle-transformers' EfficientNet pads and normalises as TensorFlow does. With torchvision's
//! weights it would give wrong features. The version here uses the operators of MobileNetV3,
//! including the kernel for depthwise convolutions.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use engine::{Activation, Padding};

use crate::operators::{affine, average, depthwise, patches, scale};
use crate::tables::make_divisible;

/// The epsilon of torchvision's B0 to B4.
const EPSILON: f64 = 1e-5;

/// The size of a network relative to B0.
#[derive(Clone, Copy)]
pub(super) struct Scaling {
    /// Factor for the number of channels.
    pub(super) width: f64,
    /// Factor for the number of blocks in a stage.
    pub(super) depth: f64,
}

/// A stage of B0: expansion, kernel, stride, input channels, output channels and number of blocks
/// (`torchvision/models/efficientnet.py`).
struct Stage(usize, usize, usize, usize, usize, usize);

const STAGES: [Stage; 7] = [
    Stage(1, 3, 1, 32, 16, 1),
    Stage(6, 3, 2, 16, 24, 2),
    Stage(6, 5, 2, 24, 40, 2),
    Stage(6, 3, 2, 40, 80, 3),
    Stage(6, 5, 1, 80, 112, 3),
    Stage(6, 5, 2, 112, 192, 4),
    Stage(6, 3, 1, 192, 320, 1),
];

pub(super) struct EfficientNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    last: ConvNorm,
}

struct Block {
    /// torchvision's name, such as `features.1.0`.
    name: String,
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    squeeze: [Linear; 2],
    project: ConvNorm,
    is_residual: bool,
}

impl EfficientNet {
    pub(super) fn new(scaling: Scaling, vb: &VarBuilder<'_>) -> Result<Self> {
        let vb = vb.pp("features");
        let channels = |channels: usize| make_divisible(channels as f64 * scaling.width);
        let stem = ConvNorm::new((3, channels(32)), (3, 2), Kind::Full, &vb.pp(0))?;
        let mut blocks = Vec::new();
        for (index, &Stage(expansion, kernel, stride, first, out, count)) in
            STAGES.iter().enumerate()
        {
            let vb = vb.pp(index + 1);
            let count = (count as f64 * scaling.depth).ceil() as usize;
            for place in 0..count {
                let (inputs, stride) = match place {
                    0 => (channels(first), stride),
                    _ => (channels(out), 1),
                };
                let shape = (inputs, channels(out), expansion);
                blocks.push(Block::new(shape, (kernel, stride), &vb.pp(place))?);
            }
        }
        let inputs = channels(320);
        let vb = vb.pp(STAGES.len() + 1);
        let last = ConvNorm::new((inputs, 4 * inputs), (1, 1), Kind::Full, &vb)?;
        Ok(EfficientNet { stem, blocks, last })
    }

    /// Pooled features `[n, features]` of images `[n, h, w, 3]`.
    pub(super) fn features(&self, images: &Tensor) -> Result<Tensor> {
        let mut x = images.clone();
        for stage in 0..self.stages() {
            x = self.stage(stage, &x)?;
        }
        average(&x)
    }

    /// Number of stages: the first convolution, the blocks and the last convolution.
    pub(super) fn stages(&self) -> usize {
        self.blocks.len() + 2
    }

    /// torchvision's name of a stage.
    pub(super) fn stage_name(&self, stage: usize) -> String {
        match self.block_of(stage) {
            Some(block) => block.name.clone(),
            None if stage == 0 => "features.0".to_owned(),
            None => format!("features.{}", STAGES.len() + 1),
        }
    }

    /// The map `[n, h, w, c]` of a stage, from that of the previous one or from the images.
    pub(super) fn stage(&self, stage: usize, x: &Tensor) -> Result<Tensor> {
        match self.block_of(stage) {
            Some(block) => block.run(x),
            None if stage == 0 => self.stem.run(x)?.silu(),
            None => self.last.run(x)?.silu(),
        }
    }

    /// The block that is this stage, if it is one.
    fn block_of(&self, stage: usize) -> Option<&Block> {
        self.blocks.get(stage.checked_sub(1)?)
    }
}

impl Block {
    fn new(
        (inputs, outputs, expansion): (usize, usize, usize),
        (kernel, stride): (usize, usize),
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let (name, vb) = (vb.prefix(), vb.pp("block"));
        let expanded = make_divisible((inputs * expansion) as f64);
        let expand = (expanded != inputs)
            .then(|| ConvNorm::new((inputs, expanded), (1, 1), Kind::Full, &vb.pp(0)))
            .transpose()?;
        let next = usize::from(expand.is_some());
        let filter = (kernel, stride);
        let squeezed = (inputs / 4).max(1);
        let squeeze = vb.pp(next + 1);
        Ok(Block {
            name,
            expand,
            depthwise: ConvNorm::new((1, expanded), filter, Kind::Depthwise, &vb.pp(next))?,
            squeeze: [
                Linear::new(expanded, squeezed, &squeeze.pp("fc1"))?,
                Linear::new(squeezed, expanded, &squeeze.pp("fc2"))?,
            ],
            project: ConvNorm::new((expanded, outputs), (1, 1), Kind::Full, &vb.pp(next + 2))?,
            is_residual: stride == 1 && inputs == outputs,
        })
    }

    fn run(&self, input: &Tensor) -> Result<Tensor> {
        let mut x = input.clone();
        if let Some(expand) = &self.expand {
            x = expand.run(&x)?.silu()?;
        }
        x = self.depthwise.run(&x)?.silu()?;
        let [reduce, expand] = &self.squeeze;
        let hidden = reduce.run(&average(&x)?)?.silu()?;
        x = scale(&x, &candle_nn::ops::sigmoid(&expand.run(&hidden)?)?)?;
        x = self.project.run(&x)?;
        if self.is_residual { x + input } else { Ok(x) }
    }
}

/// The input channels that one output channel depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    Depthwise,
}

/// A convolution without bias, followed by a batch normalisation with running statistics.
struct ConvNorm {
    kind: Kind,
    kernel: usize,
    stride: usize,
    /// `[inputs per output, out]`, for the matrix product or the depthwise kernel.
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
}

impl ConvNorm {
    /// `inputs` is the number of input channels per output channel.
    fn new(
        (inputs, outputs): (usize, usize),
        (kernel, stride): (usize, usize),
        kind: Kind,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let weight = vb.pp(0).get((outputs, inputs, kernel, kernel), "weight")?;
        let weight = weight.permute((2, 3, 1, 0))?.reshape(((), outputs))?;
        let norm = |leaf: &str| vb.pp(1).get(outputs, leaf);
        let scale = (norm("weight")? / (norm("running_var")? + EPSILON)?.sqrt()?)?;
        Ok(ConvNorm {
            kind,
            kernel,
            stride,
            weight: weight.contiguous()?,
            shift: (norm("bias")? - (norm("running_mean")? * &scale)?)?,
            scale,
        })
    }

    fn run(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, height, width, inputs) = x.dims4()?;
        let z = match self.kind {
            Kind::Depthwise => depthwise(
                x,
                &self.weight,
                self.kernel,
                self.stride,
                Padding::Symmetric,
            )?,
            Kind::Full if self.kernel == 1 => x.reshape(((), inputs))?.matmul(&self.weight)?,
            Kind::Full => {
                patches(x, self.kernel, self.stride, Padding::Symmetric)?.matmul(&self.weight)?
            }
        };
        let outputs = self.weight.dim(1)?;
        let rows = z.reshape(((), outputs))?;
        let y = affine(&rows, &self.scale, &self.shift, Activation::Identity)?;
        let (height, width) = (height.div_ceil(self.stride), width.div_ceil(self.stride));
        y.reshape((batch, height, width, outputs))
    }
}

/// A 1×1 convolution with bias, applied to averages.
struct Linear {
    /// `[in, out]`.
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(inputs: usize, outputs: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get((outputs, inputs, 1, 1), "weight")?;
        Ok(Linear {
            weight: weight.reshape((outputs, inputs))?.t()?.contiguous()?,
            bias: vb.get(outputs, "bias")?,
        })
    }

    fn run(&self, x: &Tensor) -> Result<Tensor> {
        x.matmul(&self.weight)?.broadcast_add(&self.bias)
    }
}

//! Convolutions: how they are computed, their packed weights, and their launches.

use engine::Conv;
use engine::program::{ConvStep, Step as ProgramStep};

use super::{Maker, Place, width8};
use crate::args::{At, Depthwise, Packing, Product, Read, Weight, Windows, Write};
use crate::device::Launch;

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// One kernel for each channel.
    Depthwise {
        kernel: usize,
        stride: usize,
    },
    Product(Groups),
}

/// A convolution as matrix products. Several groups of the convolution are one group of the product, whose other
/// weights are 0, so that the channels of a group are a multiple of 8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Groups {
    pub(super) merged: usize,
    /// Number of products.
    pub(super) count: usize,
    /// Outputs of a product.
    pub(super) n: usize,
    /// Input channels of a product.
    pub(super) channels: usize,
    pub(super) taps: usize,
    pub(super) windowed: bool,
}

/// The most blocks for gradients of a depthwise convolution: enough for a large GPU, and few sums to add.
const DEPTHWISE_BLOCKS: usize = 1056;
/// Products are at least this wide if groups can be merged.
const WIDE: usize = 32;

impl Form {
    pub(super) fn of(conv: &Conv) -> Form {
        let (kernel, stride) = (conv.window.kernel, conv.window.stride);
        let has = matches!((kernel, stride), (3 | 5, 1 | 2) | (7, 1));
        if conv.is_depthwise() && has {
            return Form::Depthwise { kernel, stride };
        }
        let groups = conv.groups;
        let (inputs, outputs) = (conv.in_channels / groups, conv.out_channels / groups);
        let fits = |merged: &usize| {
            groups.is_multiple_of(*merged)
                && (merged * inputs).is_multiple_of(8)
                && (merged * outputs).is_multiple_of(8)
        };
        let wide = |merged: &usize| fits(merged) && merged * inputs.max(outputs) >= WIDE;
        let merged = (1..groups).find(wide).unwrap_or(groups);
        Form::Product(Groups {
            merged,
            count: groups / merged,
            n: width8(merged * outputs),
            channels: width8(merged * inputs),
            taps: kernel * kernel,
            windowed: !is_linear(conv),
        })
    }
}

/// Whether an output depends only on its own pixel.
fn is_linear(conv: &Conv) -> bool {
    let window = conv.window;
    window.kernel == 1 && window.stride == 1 && window.zeros((1, 1)).above == 0
}

/// Weights for the products.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed {
    pub(super) forward: At,
    pub(super) backward: At,
    /// What is added to the outputs, or 0.
    pub(super) bias: At,
}

impl Maker<'_> {
    /// Packs the weights of all convolutions for training.
    pub(super) fn pack_all(&mut self) {
        for (index, step) in self.program.steps.iter().enumerate() {
            let ProgramStep::Conv(step) = step else {
                continue;
            };
            let bias = step.conv.bias.map_or(0, |bias| self.parameter(bias));
            let mut packed = Packed {
                forward: 0,
                backward: 0,
                bias,
            };
            if let Form::Product(groups) = Form::of(&step.conv) {
                packed.forward = self.pack(&step.conv, groups, 0, false);
                if step.input.is_some() {
                    packed.backward = self.pack(&step.conv, groups, 0, true);
                }
            }
            self.packed[index] = Some(packed);
        }
    }

    /// Packs weights, times the `scale` of each output.
    pub(super) fn pack(&mut self, conv: &Conv, groups: Groups, scale: At, transposed: bool) -> At {
        let count = groups.count * groups.n * groups.taps * groups.channels;
        let to = self.take(count * self.storage.bytes());
        let args = Packing {
            from: self.parameter(conv.weight),
            to,
            scale,
            transposed: transposed.into(),
            ..packing(conv, groups)
        };
        let launch = Launch::new("pack_weight", 256, [count.div_ceil(256), 1, 1], &args);
        let moved = count * (4 + self.storage.bytes());
        self.launches.push(launch.costs(moved, 0));
        to
    }

    /// Runs a convolution of an operand.
    pub(super) fn convolve(&mut self, step: &ConvStep, packed: Packed, x: Read, out: Write) {
        let (conv, layer) = (&step.conv, step.layer);
        let input = step.input.map_or(0, |value| value.z);
        let windows = self.windows(conv.window, input, layer);
        match Form::of(conv) {
            Form::Depthwise { kernel, stride } => {
                let args = Depthwise {
                    x,
                    w: self.parameter(conv.weight),
                    out,
                    windows,
                    ..self.depthwise_args(conv)
                };
                let grid = [self.tiles(layer), self.slices(conv), 1];
                let launch = Launch::new(depthwise_name(kernel, stride, false), 128, grid, &args);
                let (rows, width) = self.extent(layer);
                let moved = self.read_bytes(&args.x, self.rows(input), width)
                    + self.write_bytes(&args.out, rows, width);
                let multiplied = kernel * kernel * width * rows;
                self.launches.push(launch.costs(moved, multiplied));
            }
            Form::Product(groups) => {
                let product = Product {
                    x,
                    w: packed.forward,
                    out,
                    windows,
                    rows: self.rows(layer) as i32,
                    n: groups.n as i32,
                    k: (groups.taps * groups.channels) as i32,
                    channels: groups.channels as i32,
                    unused: 0,
                };
                self.push_product(product, groups, self.rows(input));
            }
        }
    }

    /// Blocks of a convolution's outputs, each of which writes sums.
    pub(super) fn blocks_of(&self, conv: &Conv, layer: usize) -> usize {
        match Form::of(conv) {
            Form::Depthwise { .. } => self.tiles(layer),
            Form::Product(_) => self.rows(layer).div_ceil(128),
        }
    }

    /// Blocks of the gradient of a convolution's input, each of which writes sums.
    pub(super) fn blocks_back(&self, conv: &Conv, input: usize) -> usize {
        match Form::of(conv) {
            Form::Depthwise { .. } => {
                let tiles = self.tiles(input);
                let each = tiles.div_ceil((DEPTHWISE_BLOCKS / self.slices(conv)).max(1));
                tiles.div_ceil(each)
            }
            Form::Product(_) => self.rows(input).div_ceil(128),
        }
    }

    /// Tiles of a map in the depthwise kernels.
    fn tiles(&self, layer: usize) -> usize {
        let shape = self.shapes[layer];
        self.batch.images * shape.height.div_ceil(8) * shape.width.div_ceil(8)
    }

    fn depthwise_args(&self, conv: &Conv) -> Depthwise {
        Depthwise {
            images: self.batch.images as i32,
            channels: conv.out_channels as i32,
            width8: width8(conv.out_channels) as i32,
            ..Depthwise::default()
        }
    }

    /// Blocks of the depthwise kernels side by side, which share the channels.
    fn slices(&self, conv: &Conv) -> usize {
        width8(conv.out_channels).div_ceil(128 / self.storage.bytes())
    }

    pub(super) fn push_product(&mut self, args: Product, groups: Groups, rows_in: usize) {
        let (rows, n, k) = (args.rows as usize, args.n as usize, args.k as usize);
        let channels = args.channels as usize;
        let name = match groups.windowed {
            true => "product_windowed",
            false => "product_pointwise",
        };
        let grid = [rows.div_ceil(128) * n.div_ceil(64), groups.count, 1];
        let moved = self.read_bytes(&args.x, rows_in, groups.count * channels)
            + self.write_bytes(&args.out, rows, groups.count * n)
            + groups.count * n * k * self.storage.bytes();
        let launch = Launch::new(name, 128, grid, &args);
        let multiplied = groups.count * rows * n * k;
        self.launches.push(launch.costs(moved, multiplied));
    }

    /// The gradients of a convolution's weights and, unless `out` is none, of its input: from the input `x` and the
    /// gradient `d` of the output.
    pub(super) fn convolve_back(
        &mut self,
        step: &ConvStep,
        packed: Packed,
        (x, d): (Read, Read),
        out: Option<Write>,
    ) {
        let (conv, layer) = (&step.conv, step.layer);
        let input = step.input.map_or(0, |value| value.z);
        let windows = self.windows(conv.window, input, layer);
        let (rows, rows_in) = (self.rows(layer), self.rows(input));
        match Form::of(conv) {
            Form::Depthwise { kernel, stride } => {
                let args = Depthwise {
                    x,
                    w: self.parameter(conv.weight),
                    out: out.unwrap_or_default(),
                    d,
                    windows: windows.transposed(),
                    ..self.depthwise_args(conv)
                };
                let name = depthwise_name(kernel, stride, true);
                self.depthwise_back(step, name, args);
            }
            Form::Product(groups) => {
                self.product_weight(conv, groups, windows, (x, rows_in), (d, rows));
                let Some(out) = out else { return };
                let product = Product {
                    x: d,
                    w: packed.backward,
                    out,
                    windows: windows.transposed(),
                    rows: rows_in as i32,
                    n: groups.channels as i32,
                    k: (groups.taps * groups.n) as i32,
                    channels: groups.n as i32,
                    unused: 0,
                };
                self.push_product(product, groups, rows);
            }
        }
    }

    /// Both gradients of a depthwise convolution.
    fn depthwise_back(&mut self, step: &ConvStep, name: &'static str, mut args: Depthwise) {
        let (conv, input) = (&step.conv, step.input.map_or(0, |value| value.z));
        let (rows, rows_in) = (self.rows(step.layer), self.rows(input));
        let (width, area) = (args.width8 as usize, conv.window.kernel.pow(2));
        let (blocks, count) = (self.blocks_back(conv, input), conv.out_channels * area);
        args.gradient = self.floats(blocks * count);
        // Most often the derivative's operand is the input itself, which was just read.
        let mut out = args.out;
        if out.z == args.x.x {
            out.z = 0;
        }
        let moved = self.read_bytes(&args.x, rows_in, width)
            + self.read_bytes(&args.d, rows, width)
            + self.write_bytes(&out, rows_in, width)
            + 4 * blocks * count;
        let launch = Launch::new(name, 128, [blocks, self.slices(conv), 1], &args);
        self.launches
            .push(launch.costs(moved, 2 * area * width * rows));
        let (partial, left) = self.reduce(args.gradient, blocks, count);
        let to = self.gradient(conv.weight);
        self.push_rows(partial, to, left, count, count, left);
        self.release(partial);
    }

    /// The gradient of a product's weights, from its operand and the gradient of its result, and their rows.
    pub(super) fn product_weight(
        &mut self,
        conv: &Conv,
        groups: Groups,
        windows: Windows,
        (x, rows_in): (Read, usize),
        (d, rows): (Read, usize),
    ) {
        let (n, k) = (groups.n, groups.taps * groups.channels);
        let tiles = n.div_ceil(64) * k.div_ceil(64);
        let wanted = (528 / (tiles * groups.count)).clamp(1, rows.div_ceil(512));
        let rows_per_split = rows.div_ceil(wanted).next_multiple_of(32);
        let splits = rows.div_ceil(rows_per_split);
        let each = groups.count * n * k;
        let partial = self.floats(splits * each);
        let args = Weight {
            d,
            x,
            out: partial,
            windows,
            rows: rows as i32,
            n: n as i32,
            k: k as i32,
            channels: groups.channels as i32,
            rows_per_split: rows_per_split as i32,
        };
        let name = match groups.windowed {
            true => "weight_windowed",
            false => "weight_pointwise",
        };
        let moved = self.read_bytes(&args.d, rows, groups.count * n)
            + self.read_bytes(&args.x, rows_in, groups.count * groups.channels)
            + 4 * splits * each;
        let launch = Launch::new(name, 128, [tiles, groups.count, splits], &args);
        self.launches
            .push(launch.costs(moved, groups.count * rows * n * k));
        let (partial, left) = self.reduce(partial, splits, each);
        let packing = Packing {
            from: partial,
            to: self.gradient(conv.weight),
            splits: left as i32,
            ..packing(conv, groups)
        };
        let count = self.plan.parameters.segments()[conv.weight].range.len();
        let grid = [count.div_ceil(256), 1, 1];
        let launch = Launch::new("gather_weight", 256, grid, &packing);
        self.launches
            .push(launch.costs(4 * (left * each + count), 0));
        self.release(partial);
    }

    /// Stores the sums of a gradient's rows as the gradient of a bias.
    pub(super) fn bias_gradient(&mut self, bias: usize, d: Read, extent: (usize, usize)) {
        let sums = self.sum_pass(d, None, extent);
        let to = self.gradient(bias);
        let count = self.plan.parameters.segments()[bias].range.len();
        // The sums of products lie behind those of the values.
        self.push_rows(sums.at, to, sums.blocks, count, 2 * extent.1, sums.blocks);
        self.release(sums.at);
    }

    pub(super) fn logits_place(&mut self, layer: usize) -> Place {
        let stride = self.width(layer);
        let at = self.floats(self.rows(layer) * stride);
        Place { at, stride }
    }
}

fn packing(conv: &Conv, groups: Groups) -> Packing {
    Packing {
        outputs: (conv.out_channels / conv.groups) as i32,
        inputs: (conv.in_channels / conv.groups) as i32,
        taps: groups.taps as i32,
        merged: groups.merged as i32,
        n: groups.n as i32,
        channels: groups.channels as i32,
        groups: conv.groups as i32,
        ..Packing::default()
    }
}

fn depthwise_name(kernel: usize, stride: usize, back: bool) -> &'static str {
    match (back, kernel, stride) {
        (true, 3, 1) => "depthwise_back_k3_s1",
        (true, 3, 2) => "depthwise_back_k3_s2",
        (true, 5, 1) => "depthwise_back_k5_s1",
        (true, 5, 2) => "depthwise_back_k5_s2",
        (true, ..) => "depthwise_back_k7_s1",
        (false, 3, 1) => "depthwise_k3_s1",
        (false, 3, 2) => "depthwise_k3_s2",
        (false, 5, 1) => "depthwise_k5_s1",
        (false, 5, 2) => "depthwise_k5_s2",
        (false, ..) => "depthwise_k7_s1",
    }
}

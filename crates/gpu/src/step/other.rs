//! Layers of transformers and their relatives: layer normalisation, channel scales, patch merging, attention.

use engine::program::{Value, as_conv};
use engine::{Attention as Heads, Conv, LayerNorm, Linear, Op, Plan};

use super::convolution::{Form, Groups};
use super::{Maker, Place, spread, width8};
use crate::args::{At, Attention, LayerNorm as NormArgs, Merge, Product, Read, Windows, Write};
use crate::device::Launch;

/// What a layer keeps for its backward pass.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    /// Means and deviations of the rows.
    Moments(At),
    /// Queries, keys and values, and the result of the attention. The packed weights of both layers, transposed.
    Attention {
        qkv: Place,
        mixed: Place,
        weights: [At; 2],
    },
}

/// The largest window and head that the kernel has space for.
const AREA: usize = 64;
const HEAD: usize = 32;

/// Whether the kernels have all layers of a plan.
pub(crate) fn has_layers(plan: &Plan) -> bool {
    (plan.layers.iter()).all(|layer| match &layer.op {
        Op::Attention(heads) => {
            let size = heads.channels / heads.heads;
            heads.window.pow(2) <= AREA && size <= HEAD && heads.channels.is_multiple_of(8)
        }
        Op::Merge => plan.channels[layer.inputs[0]].is_multiple_of(8),
        _ => true,
    })
}

fn product_of(linear: &Linear) -> (Conv, Groups) {
    let conv = as_conv(linear);
    match Form::of(&conv) {
        Form::Product(groups) => (conv, groups),
        Form::Depthwise { .. } => unreachable!("a fully connected layer is a product"),
    }
}

impl Maker<'_> {
    pub(super) fn other(&mut self, layer: usize, input: Value, out: Write) {
        let plan = self.plan;
        let x = self.read(input);
        match &plan.layers[layer].op {
            Op::LayerNorm(norm) => {
                let mut args = self.layer_norm(norm, x, layer);
                args.out = out;
                if self.training {
                    args.moments = self.floats(2 * self.rows(layer));
                    self.kept.insert(layer, Kept::Moments(args.moments));
                }
                self.push_layer_norm("layer_norm", args, 2);
            }
            Op::Scale { weight } => {
                let x = Read {
                    a: self.parameter(*weight),
                    ..x
                };
                self.map(x, None, out, layer);
            }
            Op::Merge => self.merge(x, out, input.z, layer, false),
            Op::Attention(heads) => self.attention(heads, x, out, layer),
            other => unreachable!("{other:?} is a step of its own"),
        }
    }

    pub(super) fn other_back(&mut self, layer: usize, input: Value, d: Read, out: Write) {
        let plan = self.plan;
        let x = self.read(input);
        match (&plan.layers[layer].op, self.kept.get(&layer).copied()) {
            (Op::LayerNorm(norm), Some(Kept::Moments(moments))) => {
                let mut args = NormArgs {
                    d,
                    out,
                    moments,
                    ..self.layer_norm(norm, x, layer)
                };
                self.push_layer_norm("layer_norm_input", args, 3);
                let (rows, width) = self.extent(layer);
                let blocks = spread::blocks(rows);
                args.sums = self.floats(blocks * 2 * width);
                let grid = spread::grid(rows, width);
                let launch = Launch::new("layer_norm_weight", 128, grid, &args);
                let moved = 2 * rows * width * self.storage.bytes();
                self.launches.push(launch.costs(moved, 0));
                let (sums, left) = self.reduce(args.sums, blocks, 2 * width);
                let (weight, bias) = (self.gradient(norm.weight), self.gradient(norm.weight + 1));
                let count = norm.channels;
                self.push_rows(sums, bias, left, count, 2 * width, left);
                let products = sums + 4 * width as u64;
                self.push_rows(products, weight, left, count, 2 * width, left);
                self.release(sums);
            }
            (Op::Scale { weight }, _) => {
                let extent = self.extent(layer);
                let sums = self.sum_pass(d, Some(self.value(input.z)), extent);
                let products = sums.at + 4 * extent.1 as u64;
                let (to, count) = (self.gradient(*weight), plan.channels[layer]);
                self.push_rows(products, to, sums.blocks, count, 2 * extent.1, sums.blocks);
                self.release(sums.at);
                let d = Read {
                    a: self.parameter(*weight),
                    ..d
                };
                self.map(d, None, out, input.z);
            }
            (Op::Merge, _) => self.merge(d, out, input.z, layer, true),
            (Op::Attention(heads), Some(kept)) => {
                self.attention_back(heads, kept, x, (d, layer), out);
            }
            (other, _) => unreachable!("{other:?} is a step of its own"),
        }
    }

    fn layer_norm(&self, norm: &LayerNorm, x: Read, layer: usize) -> NormArgs {
        let (rows, width) = self.extent(layer);
        NormArgs {
            x,
            weight: self.parameter(norm.weight),
            bias: self.parameter(norm.weight + 1),
            rows: rows as i32,
            channels: norm.channels as i32,
            width8: width as i32,
            rows_per_block: spread::rows_per_block(rows) as i32,
            epsilon: norm.epsilon as f32,
            ..NormArgs::default()
        }
    }

    fn push_layer_norm(&mut self, name: &'static str, args: NormArgs, passes: usize) {
        let rows = args.rows as usize;
        let moved = passes * rows * args.width8 as usize * self.storage.bytes();
        let launch = Launch::new(name, 128, [rows.div_ceil(4), 1, 1], &args);
        self.launches.push(launch.costs(moved, 0));
    }

    fn merge(&mut self, x: Read, out: Write, input: usize, layer: usize, transposed: bool) {
        let shape = self.shapes[input];
        let (rows, width) = self.extent(if transposed { input } else { layer });
        let args = Merge {
            x,
            out,
            height: shape.height as i32,
            width: shape.width as i32,
            rows: rows as i32,
            channels: shape.channels as i32,
            transposed: transposed.into(),
            unused: 0,
        };
        let grid = [(rows * width / 8).div_ceil(128), 1, 1];
        let moved = 2 * rows * width * self.storage.bytes();
        let launch = Launch::new("merge", 128, grid, &args);
        self.launches.push(launch.costs(moved, 0));
    }

    /// A fully connected layer of all rows of a layer.
    fn linear(&mut self, groups: Groups, x: Read, weights: At, out: Write, layer: usize) {
        let args = Product {
            x,
            w: weights,
            out,
            windows: Windows::default(),
            rows: self.rows(layer) as i32,
            n: groups.n as i32,
            k: groups.channels as i32,
            channels: groups.channels as i32,
            unused: 0,
        };
        self.push_product(args, groups, self.rows(layer));
    }

    /// The gradient of such a layer's input.
    fn linear_back(&mut self, groups: Groups, d: Read, weights: At, out: Write, layer: usize) {
        let turned = Groups {
            n: groups.channels,
            channels: groups.n,
            ..groups
        };
        self.linear(turned, d, weights, out, layer);
    }

    fn rows_of(&mut self, layer: usize, channels: usize) -> Place {
        let stride = width8(channels);
        let at = self.take(self.rows(layer) * stride * self.storage.bytes());
        Place { at, stride }
    }

    fn attention(&mut self, heads: &Heads, x: Read, mut out: Write, layer: usize) {
        let [(first, of_qkv), (second, of_project)] =
            [product_of(&heads.qkv), product_of(&heads.project)];
        let packed = [
            self.pack(&first, of_qkv, 0, false),
            self.pack(&second, of_project, 0, false),
        ];
        let (qkv, mixed) = (
            self.rows_of(layer, 3 * heads.channels),
            self.rows_of(layer, heads.channels),
        );
        let bias = heads.qkv.bias.map_or(0, |bias| self.parameter(bias));
        let to_qkv = Write {
            bias,
            ..self.write(qkv)
        };
        self.linear(of_qkv, x, packed[0], to_qkv, layer);
        let args = self.attention_args(heads, qkv, mixed, layer);
        let launch = Launch::new("attention", 64, self.windows_grid(heads, layer), &args);
        let moved = 4 * self.rows(layer) * heads.channels * self.storage.bytes();
        self.launches.push(launch.costs(moved, 0));
        out.bias = heads.project.bias.map_or(0, |bias| self.parameter(bias));
        self.linear(of_project, self.plain(mixed), packed[1], out, layer);
        for at in packed {
            self.release(at);
        }
        if self.training {
            let weights = [
                self.pack(&first, of_qkv, 0, true),
                self.pack(&second, of_project, 0, true),
            ];
            let kept = Kept::Attention {
                qkv,
                mixed,
                weights,
            };
            self.kept.insert(layer, kept);
        } else {
            self.release(qkv.at);
            self.release(mixed.at);
        }
    }

    fn attention_back(
        &mut self,
        heads: &Heads,
        kept: Kept,
        x: Read,
        (d, layer): (Read, usize),
        out: Write,
    ) {
        let Kept::Attention {
            qkv,
            mixed,
            weights,
        } = kept
        else {
            unreachable!("an attention keeps its queries, keys and values");
        };
        let [(first, of_qkv), (second, of_project)] =
            [product_of(&heads.qkv), product_of(&heads.project)];
        let (rows, channels) = (self.rows(layer), heads.channels);
        if let Some(bias) = heads.project.bias {
            self.bias_gradient(bias, d, (rows, channels));
        }
        let windows = Windows::default();
        let from = (self.plain(mixed), rows);
        self.product_weight(&second, of_project, windows, from, (d, rows));
        let d_mixed = self.rows_of(layer, channels);
        let to = self.write(d_mixed);
        self.linear_back(of_project, d, weights[1], to, layer);
        let d_qkv = self.rows_of(layer, 3 * channels);
        let grid = self.windows_grid(heads, layer);
        let blocks = grid[0] * grid[2];
        let table = &self.plan.parameters.segments()[heads.table].range;
        let (table, d_table) = (table.len(), self.floats(blocks * table.len()));
        let d_bias = self.floats(blocks * 3 * channels);
        let args = Attention {
            d: d_mixed.at,
            d_qkv: d_qkv.at,
            d_table,
            d_bias,
            ..self.attention_args(heads, qkv, mixed, layer)
        };
        let launch = Launch::new("attention_input", 64, grid, &args);
        let moved = 7 * rows * channels * self.storage.bytes();
        self.launches.push(launch.costs(moved, 0));
        let (d_table, left) = self.reduce(d_table, blocks, table);
        let to = self.gradient(heads.table);
        self.push_rows(d_table, to, left, table, table, left);
        let slope = self.plain(d_qkv);
        if let Some(bias) = heads.qkv.bias {
            self.bias_gradient(bias, slope, (rows, 3 * channels));
            let (d_bias, left) = self.reduce(d_bias, blocks, 3 * channels);
            let to = self.gradient(bias);
            self.add_rows(d_bias, to, left, 3 * channels);
            self.release(d_bias);
        } else {
            self.release(d_bias);
        }
        self.product_weight(&first, of_qkv, windows, (x, rows), (slope, rows));
        self.linear_back(of_qkv, slope, weights[0], out, layer);
        for at in [d_mixed.at, d_qkv.at, d_table] {
            self.release(at);
        }
    }

    fn windows_grid(&self, heads: &Heads, layer: usize) -> [usize; 3] {
        let shape = self.shapes[layer];
        let (down, across) = (
            shape.height.div_ceil(heads.window),
            shape.width.div_ceil(heads.window),
        );
        [down * across, heads.heads, self.batch.images]
    }

    fn attention_args(&self, heads: &Heads, qkv: Place, mixed: Place, layer: usize) -> Attention {
        let shape = self.shapes[layer];
        // No shift is used along a side that is no longer than the window.
        let shift = |size: usize| if size > heads.window { heads.shift } else { 0 };
        Attention {
            qkv: qkv.at,
            mixed: mixed.at,
            bias: heads.qkv.bias.map_or(0, |bias| self.parameter(bias)),
            table: self.parameter(heads.table),
            height: shape.height as i32,
            width: shape.width as i32,
            channels: heads.channels as i32,
            heads: heads.heads as i32,
            side: heads.window as i32,
            shift_rows: shift(shape.height) as i32,
            shift_columns: shift(shape.width) as i32,
            ..Attention::default()
        }
    }
}

//! The cost of a network.

use super::layer::{Linear, Op};
use super::plan::Plan;

impl Plan {
    /// Multiply-adds for one image of `height` × `width` pixels. As in papers, only convolutions, fully connected
    /// layers and the products of attention count.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        let shapes = self.shapes(height, width);
        let mut total = 0;
        for (layer, shape) in self.layers.iter().zip(&shapes) {
            let pixels = shape.pixels();
            let linear = |layer: &Linear| pixels * layer.in_features * layer.out_features;
            total += match &layer.op {
                Op::Conv(conv) => {
                    let inputs = conv.in_channels / conv.groups;
                    pixels * conv.window.kernel.pow(2) * inputs * conv.out_channels
                }
                Op::Linear(layer) => linear(layer),
                Op::Attention(attention) => {
                    let products = 2 * pixels * attention.window.pow(2) * attention.channels;
                    linear(&attention.qkv) + linear(&attention.project) + products
                }
                _ => 0,
            };
        }
        total as u64
    }
}

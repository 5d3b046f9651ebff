use engine::depthwise::{Geometry, backward_input, backward_weights, forward};
use engine::{Isa, Padding};
use proptest::prelude::*;

use crate::{assert_close, numbers};

const PADDINGS: [Padding; 2] = [Padding::Symmetric, Padding::Same];

/// Calls `visit(input index, weight index, output index)` for every product of the convolution.
fn each_product(g: Geometry, mut visit: impl FnMut(usize, usize, usize)) {
    let (rows, columns) = (g.out_height(), g.out_width());
    for n in 0..g.batch {
        for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
            for (i, j) in (0..g.kernel).flat_map(|i| (0..g.kernel).map(move |j| (i, j))) {
                let y = (row * g.stride + i)
                    .checked_sub(g.before(g.height))
                    .filter(|y| *y < g.height);
                let x = (column * g.stride + j)
                    .checked_sub(g.before(g.width))
                    .filter(|x| *x < g.width);
                let (Some(y), Some(x)) = (y, x) else { continue };
                for c in 0..g.channels {
                    visit(
                        ((n * g.height + y) * g.width + x) * g.channels + c,
                        (i * g.kernel + j) * g.channels + c,
                        ((n * rows + row) * columns + column) * g.channels + c,
                    );
                }
            }
        }
    }
}

fn check(g: Geometry) {
    let input = numbers(g.input_len(), 1);
    let weights = numbers(g.weight_len(), 2);
    let gradient = numbers(g.output_len(), 3);
    let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
    let mut output = vec![0.0; g.output_len()];
    let mut input_gradient = vec![0.0; g.input_len()];
    let mut weight_gradient = vec![0.0; g.weight_len()];
    each_product(g, |i, w, o| {
        output[o] += product(input[i], weights[w]);
        input_gradient[i] += product(gradient[o], weights[w]);
        weight_gradient[w] += product(gradient[o], input[i]);
    });
    for isa in Isa::available() {
        // The kernel must overwrite every NaN.
        let mut actual = vec![f32::NAN; g.output_len()];
        forward(isa, g, &input, &weights, &mut actual);
        assert_close(&actual, &output, 1e-6, &format!("{isa} forward {g:?}"));
        let mut actual = vec![f32::NAN; g.input_len()];
        backward_input(isa, g, &gradient, &weights, &mut actual);
        assert_close(
            &actual,
            &input_gradient,
            1e-6,
            &format!("{isa} backward_input {g:?}"),
        );
        let mut actual = vec![f32::NAN; g.weight_len()];
        backward_weights(isa, g, &input, &gradient, &mut actual);
        assert_close(
            &actual,
            &weight_gradient,
            1e-5,
            &format!("{isa} backward_weights {g:?}"),
        );
    }
}

#[test]
fn adversarial_shapes() {
    for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2)] {
        for size in 1..=17 {
            for padding in PADDINGS {
                check(Geometry {
                    batch: 1,
                    height: size,
                    width: 18 - size,
                    channels: 25,
                    kernel,
                    stride,
                    padding,
                });
            }
        }
        for channels in [1, 8, 16, 40, 1280] {
            check(Geometry {
                batch: 3,
                height: 1,
                width: 1,
                channels,
                kernel,
                stride,
                padding: Padding::Same,
            });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_shape(
        batch in 1usize..4,
        height in 1usize..20,
        width in 1usize..20,
        channels in 1usize..70,
        kernel in prop_oneof![Just(1), Just(3), Just(5), Just(7)],
        stride in 1usize..4,
        padding in prop_oneof![Just(PADDINGS[0]), Just(PADDINGS[1])],
    ) {
        check(Geometry { batch, height, width, channels, kernel, stride, padding });
    }
}

use super::ACTIVATIONS;
use super::conv::isas;
use super::operand::{Matrix, Norm, Operand};
use super::real::{Noise, Real};
use crate::kernels::{
    Pool, Reading, average_pool, average_pool_backward, max_pool, max_pool_backward,
};
use crate::network::{Pad, Window};
use crate::spec::Activation;

/// Side of the window, stride, padding, and whether a last window may be partly outside.
const WINDOWS: [(usize, usize, Pad, bool); 8] = [
    (3, 2, Pad::Zeros(1), false),
    (3, 2, Pad::Zeros(0), true),
    (2, 2, Pad::Zeros(0), false),
    (2, 2, Pad::Zeros(0), true),
    (3, 1, Pad::Zeros(1), false),
    (3, 2, Pad::Same, false),
    (1, 2, Pad::Zeros(0), false),
    (5, 3, Pad::Zeros(2), false),
];
const SIDES: [[usize; 3]; 5] = [[8, 8, 2], [7, 5, 1], [5, 11, 3], [6, 3, 1], [13, 2, 1]];

struct Case {
    pool: Pool,
    channels: usize,
    activation: Activation,
    normed: bool,
}

/// All windows on all sides.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (kernel, stride, pad, ceil) in WINDOWS {
        for [height, width, images] in SIDES {
            let window = Window {
                kernel,
                stride,
                pad,
                ceil,
            };
            let (rows, columns) = (window.outputs(height), window.outputs(width));
            if rows == 0 || columns == 0 {
                continue;
            }
            let index = cases.len();
            let channels = [1_usize, 16, 20][index % 3];
            cases.push(Case {
                pool: Pool {
                    window,
                    height,
                    width,
                    rows,
                    columns,
                    images,
                    planes: channels.div_ceil(16),
                },
                channels,
                activation: ACTIVATIONS[index % ACTIVATIONS.len()],
                normed: index % 2 == 1,
            });
        }
    }
    cases
}

impl Case {
    /// For each output, the pixels of its window.
    fn windows(&self) -> Vec<Vec<usize>> {
        let pool = &self.pool;
        let zeros = pool.window.zeros((pool.height, pool.width));
        let (kernel, stride) = (pool.window.kernel, pool.window.stride);
        let mut windows = Vec::new();
        for image in 0..pool.images {
            for y in 0..pool.rows {
                for x in 0..pool.columns {
                    let mut window = Vec::new();
                    for tap in 0..kernel * kernel {
                        let row = (y * stride + tap / kernel).wrapping_sub(zeros.above);
                        let column = (x * stride + tap % kernel).wrapping_sub(zeros.left);
                        if row < pool.height && column < pool.width {
                            window.push((image * pool.height + row) * pool.width + column);
                        }
                    }
                    windows.push(window);
                }
            }
        }
        windows
    }

    fn pixels(&self) -> usize {
        self.pool.images * self.pool.height * self.pool.width
    }
}

#[test]
fn maxima_and_means() {
    for (index, case) in cases().into_iter().enumerate() {
        let mut noise = Noise(index as u64);
        let (channels, windows) = (case.channels, case.windows());
        let z = Matrix::noise(&mut noise, case.pixels(), channels);
        let norm = Norm::noise(&mut noise, channels);
        let x = if case.normed {
            norm.apply(&z)
        } else {
            z.clone()
        };
        let x = Matrix::from_fn(x.rows, channels, |row, channel| {
            x[(row, channel)].activate(case.activation)
        });
        let d = Matrix::noise(&mut noise, windows.len(), channels);
        let addend = Matrix::noise(&mut noise, case.pixels(), channels);
        let mut largest = Matrix::zeros(windows.len(), channels);
        let mut means = Matrix::zeros(windows.len(), channels);
        let mut to_largest = Matrix::zeros(case.pixels(), channels);
        let mut to_all = addend.clone();
        for (output, window) in windows.iter().enumerate() {
            for channel in 0..channels {
                let value = |pixel: usize| x[(pixel, channel)].value;
                let mut first = window[0];
                let share = Real::from(1.0 / window.len() as f64);
                for &pixel in window {
                    if value(pixel) > value(first) {
                        first = pixel;
                    }
                    means[(output, channel)] += x[(pixel, channel)] * share;
                    to_all[(pixel, channel)] += d[(output, channel)] * share;
                }
                largest[(output, channel)] = x[(first, channel)];
                to_largest[(first, channel)] += d[(output, channel)];
            }
        }
        for isa in isas() {
            let what = format!("{isa} {:?} {:?}", case.pool, case.activation);
            let [z, d] = [&z, &d].map(|matrix| Operand::of(isa, matrix));
            let source = Reading {
                z: z.planes(),
                norm: case.normed.then(|| norm.affine()),
                activation: case.activation,
            };
            let outputs = [(); 2].map(|()| Operand::blank(isa, windows.len(), channels));
            let to_first = Operand::blank(isa, case.pixels(), channels);
            let shared = Operand::of(isa, &addend);
            // SAFETY: all operands have the shapes that the kernels require.
            unsafe {
                max_pool(isa, &case.pool, source, outputs[0].planes());
                average_pool(isa, &case.pool, source, outputs[1].planes());
                max_pool_backward(isa, &case.pool, source, d.planes(), to_first.planes());
                let addend = Some(shared.planes());
                average_pool_backward(isa, &case.pool, d.planes(), addend, shared.planes());
            }
            outputs[0].assert_near(&largest, &what);
            outputs[1].assert_near(&means, &what);
            // Rounding may make two values of an activation with a curve equal, or not.
            if case.activation != Activation::Hardswish {
                to_first.assert_near(&to_largest, &what);
            }
            shared.assert_near(&to_all, &what);
        }
    }
}

#[test]
fn nan_is_the_largest() {
    let window = Window::new(3);
    let pool = Pool {
        window,
        height: 1,
        width: 5,
        rows: 1,
        columns: 5,
        images: 1,
        planes: 1,
    };
    let infinity = f64::INFINITY;
    let z = Matrix::from_fn(5, 1, |row, _| {
        [1.0, f64::NAN, 2.0, -infinity, infinity][row].into()
    });
    for isa in isas() {
        let (z, target) = (Operand::of(isa, &z), Operand::blank(isa, 5, 1));
        let d = Operand::of(isa, &Matrix::from_fn(5, 1, |_, _| 1.0.into()));
        let gradient = Operand::blank(isa, 5, 1);
        let source = Reading::plain(z.planes());
        // SAFETY: all operands have the shapes that the kernels require.
        unsafe {
            max_pool(isa, &pool, source, target.planes());
            max_pool_backward(isa, &pool, source, d.planes(), gradient.planes());
        }
        let values = target.written("maxima").into_iter();
        let values: Vec<f32> = values.filter(|at| at.1 == 0).map(|at| at.2).collect();
        assert!(
            values[..3].iter().all(|value| value.is_nan()),
            "{isa} {values:?}"
        );
        assert_eq!(values[3..], [f32::INFINITY; 2], "{isa}");
        let gradient = gradient.written("gradient").into_iter();
        let sum: f32 = gradient.filter(|at| at.1 == 0).map(|at| at.2).sum();
        assert_eq!(sum, 5.0, "{isa}: no gradient is lost");
    }
}

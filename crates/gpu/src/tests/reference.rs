//! The kernels' meaning, as plain loops in f64.

use crate::args::Windows;

/// The error function, as its power series, and far from 0 as a continued fraction.
fn erf(x: f64) -> f64 {
    if x.abs() > 3.0 {
        let square = x * x;
        let tail = (1..60)
            .rev()
            .fold(x.abs(), |tail, n| x.abs() + f64::from(n) / 2.0 / tail);
        return x.signum() * (1.0 - (-square).exp() / tail / std::f64::consts::PI.sqrt());
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..60 {
        let n = f64::from(n);
        term *= -x * x / n;
        sum += term / (2.0 * n + 1.0);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// An activation of this number in the kernels.
pub(super) fn activation(kind: usize, x: f64) -> f64 {
    match kind {
        0 => x,
        1 if x < 0.0 => 0.0, // NaN stays
        1 => x,
        2 => x.clamp(0.0, 6.0),
        3 => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        4 => x * sigmoid(x),
        5 => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        6 => sigmoid(x),
        _ => (x + 3.0).clamp(0.0, 6.0) / 6.0,
    }
}

/// The slope of an activation; at corners that of torch, else a central difference.
pub(super) fn derivative(kind: usize, x: f64) -> f64 {
    let inside = |low: f64, high: f64| if x > low && x < high { 1.0 } else { 0.0 };
    match kind {
        0 => 1.0,
        1 => inside(0.0, f64::INFINITY),
        2 => inside(0.0, 6.0),
        3 if x <= -3.0 => 0.0,
        3 if x >= 3.0 => 1.0,
        7 => inside(-3.0, 3.0) / 6.0,
        _ => (activation(kind, x + 1e-5) - activation(kind, x - 1e-5)) / 2e-5,
    }
}

/// A convolution or a pooling of maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) images: usize,
    /// Rows and columns of the operand.
    pub(super) size: (usize, usize),
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) above: usize,
    pub(super) left: usize,
    /// Rows and columns of the result.
    pub(super) out: (usize, usize),
}

impl Geometry {
    /// Half of the kernel's size is added on each side.
    pub(super) fn centred(
        images: usize,
        size: (usize, usize),
        kernel: usize,
        stride: usize,
    ) -> Geometry {
        let side = |size: usize| (size + 2 * (kernel / 2) - kernel) / stride + 1;
        Geometry {
            images,
            size,
            kernel,
            stride,
            above: kernel / 2,
            left: kernel / 2,
            out: (side(size.0), side(size.1)),
        }
    }

    /// The result has a pixel for each `stride` pixels, and more zeros are added at the end.
    pub(super) fn same(
        images: usize,
        size: (usize, usize),
        kernel: usize,
        stride: usize,
    ) -> Geometry {
        let side = |size: usize| {
            let out = size.div_ceil(stride);
            (out, ((out - 1) * stride + kernel).saturating_sub(size) / 2)
        };
        let ((height, above), (width, left)) = (side(size.0), side(size.1));
        Geometry {
            images,
            size,
            kernel,
            stride,
            above,
            left,
            out: (height, width),
        }
    }

    pub(super) fn pixels_in(&self) -> usize {
        self.size.0 * self.size.1
    }

    pub(super) fn pixels_out(&self) -> usize {
        self.out.0 * self.out.1
    }

    pub(super) fn windows(&self, transposed: bool) -> Windows {
        let (to, from) = match transposed {
            true => (self.size, self.out),
            false => (self.out, self.size),
        };
        Windows {
            height: to.0 as i32,
            width: to.1 as i32,
            ih: from.0 as i32,
            iw: from.1 as i32,
            kernel: self.kernel as i32,
            stride: self.stride as i32,
            above: self.above as i32,
            left: self.left as i32,
            transposed: transposed.into(),
        }
    }

    /// Calls a function for each result's row, tap, and operand's row.
    pub(super) fn each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        for image in 0..self.images {
            for place in 0..self.pixels_out() {
                let (y, x) = (place / self.out.1, place % self.out.1);
                for tap in 0..self.kernel * self.kernel {
                    let iy = (y * self.stride + tap / self.kernel).checked_sub(self.above);
                    let ix = (x * self.stride + tap % self.kernel).checked_sub(self.left);
                    if let (Some(iy), Some(ix)) = (iy, ix)
                        && iy < self.size.0
                        && ix < self.size.1
                    {
                        let from = image * self.pixels_in() + iy * self.size.1 + ix;
                        visit(image * self.pixels_out() + place, tap, from);
                    }
                }
            }
        }
    }
}

/// The slopes of a function of numbers, as central differences.
pub(super) fn slopes(at: &[f64], step: f64, mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let (mut at, count) = (at.to_vec(), at.len());
    let mut slope = |index: usize| {
        let old = at[index];
        at[index] = old + step;
        let above = f(&at);
        at[index] = old - step;
        let below = f(&at);
        at[index] = old;
        (above - below) / (2.0 * step)
    };
    (0..count).map(&mut slope).collect()
}

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use engine::Window;
use rayon::prelude::*;

use super::{slice, with_slices};

/// The index of a pixel of zeros.
pub(crate) const OUTSIDE: u32 = u32::MAX;

/// Number of pixels per task.
const PIXELS: usize = 256;

/// Pixels of maps `x` `[n, h, w, c]`, or `[n, pixels, c]`, by their index within the image: `[n, index, c]`.
pub(crate) fn gather(x: &Tensor, index: Vec<u32>) -> Result<Tensor> {
    let channels = x.dim(candle_core::D::Minus1)?;
    let x = x.reshape((x.dim(0)?, (), channels))?.contiguous()?;
    if x.device().is_cpu() {
        x.apply_op1(Gather(index))
    } else {
        stock(&x, index)
    }
}

fn stock(x: &Tensor, index: Vec<u32>) -> Result<Tensor> {
    x.index_select(&Tensor::new(index, x.device())?, 1)
}

/// For every window over an image of `height` × `width` pixels, its pixels row by row. Padding is [`OUTSIDE`].
pub(crate) fn windows(window: Window, height: usize, width: usize) -> Vec<u32> {
    let (above, left) = (window.before(height), window.before(width));
    let (rows, columns) = (window.outputs(height), window.outputs(width));
    let at = |out: usize, tap: usize, before: usize, size: usize| {
        let position = (out * window.stride + tap).checked_sub(before);
        position.filter(|&position| position < size)
    };
    let mut index = Vec::with_capacity(rows * columns * window.kernel.pow(2));
    for row in 0..rows {
        for column in 0..columns {
            for tap_row in 0..window.kernel {
                let y = at(row, tap_row, above, height);
                for tap_column in 0..window.kernel {
                    let x = at(column, tap_column, left, width);
                    let pixel = y.zip(x).map(|(y, x)| (y * width + x) as u32);
                    index.push(pixel.unwrap_or(OUTSIDE));
                }
            }
        }
    }
    index
}

struct Gather(Vec<u32>);

impl Gather {
    /// The pixel at `index` of these pixels, unless it is outside.
    fn pixel(index: u32, channels: usize) -> Option<std::ops::Range<usize>> {
        let start = index as usize * channels;
        (index != OUTSIDE).then_some(start..start + channels)
    }
}

impl CustomOp1 for Gather {
    fn name(&self) -> &'static str {
        "gathering of pixels"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, pixels, channels) = layout.shape().dims3()?;
        let x = slice(x, layout)?;
        let count = self.0.len();
        let mut output = vec![0.0; batch * count * channels];
        let tasks = output.par_chunks_mut(PIXELS * channels).enumerate();
        tasks.for_each(|(task, output)| {
            for (offset, output) in output.chunks_exact_mut(channels).enumerate() {
                let place = task * PIXELS + offset;
                let image = &x[place / count * pixels * channels..];
                if let Some(pixel) = Gather::pixel(self.0[place % count], channels) {
                    output.copy_from_slice(&image[pixel]);
                }
            }
        });
        Ok((CpuStorage::F32(output), (batch, count, channels).into()))
    }

    fn bwd(&self, x: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, pixels, channels) = x.dims3()?;
        let mut of_x = vec![0.0; x.elem_count()];
        with_slices([gradient], |[gradient]| {
            let images = of_x.par_chunks_mut(pixels * channels);
            images
                .zip(gradient.par_chunks(self.0.len() * channels))
                .for_each(|(of_x, gradient)| scatter(&self.0, channels, gradient, of_x));
            Ok(())
        })?;
        Ok(Some(Tensor::from_vec(of_x, x.shape(), x.device())?))
    }
}

/// Adds the gradients of gathered pixels to those of the pixels of one image.
pub(super) fn scatter(index: &[u32], channels: usize, gradient: &[f32], of_x: &mut [f32]) {
    for (&index, gradient) in index.iter().zip(gradient.chunks_exact(channels)) {
        if let Some(pixel) = Gather::pixel(index, channels) {
            let sums = of_x[pixel].iter_mut();
            sums.zip(gradient).for_each(|(sum, part)| *sum += part);
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::Pad;

    use super::*;
    use crate::run::operators::test_support::{assert_same, numbers};

    #[test]
    fn kernel_and_stock_operators_agree() {
        let index = vec![7, OUTSIDE, 0, 7, 7, OUTSIDE, 11];
        assert_same(
            [numbers(&[3, 2, 6, 5], 1)],
            |[x]| gather(x, index.clone()).unwrap(),
            |[x]| stock(&x.reshape((3, 12, 5)).unwrap(), index.clone()).unwrap(),
        );
    }

    #[test]
    fn windows_are_cut_at_the_border() {
        let mut window = Window {
            kernel: 2,
            stride: 2,
            pad: Pad::Zeros(0),
            ceil: true,
        };
        let out = OUTSIDE;
        assert_eq!(windows(window, 2, 3), [0, 1, 3, 4, 2, out, 5, out]);
        window.pad = Pad::Zeros(1);
        window.ceil = false;
        assert_eq!(windows(window, 1, 2), [out, out, out, 0, out, out, 1, out]);
        window.kernel = 3;
        window.pad = Pad::Same;
        // SAME puts the single zero of each axis last.
        let expected = [0, 1, out, 2, 3, out, out, out, out];
        assert_eq!(windows(window, 2, 2), expected);
    }
}

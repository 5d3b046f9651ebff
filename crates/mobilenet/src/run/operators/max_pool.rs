use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use engine::Window;
use rayon::prelude::*;

use super::gather::{OUTSIDE, gather, windows};
use super::{slice, with_slices};

/// The largest values of the windows of `x` `[n, h, w, c]`, like `torch.nn.MaxPool2d`: padding never wins, NaN always
/// does, and of equal values the first one gets the gradient.
pub(crate) fn max_pool(x: &Tensor, window: Window) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let taps = windows(window, height, width);
    let shape = (
        batch,
        window.outputs(height),
        window.outputs(width),
        channels,
    );
    let area = window.kernel.pow(2);
    let output = if x.device().is_cpu() {
        x.contiguous()?.apply_op1(MaxPool { taps, area })?
    } else {
        stock(x, &taps, area)?
    };
    output.reshape(shape)
}

/// The index of the largest value among taps, as candle's operators compute it.
fn stock(x: &Tensor, taps: &[u32], area: usize) -> Result<Tensor> {
    let outside: Vec<f32> = (taps.iter())
        .map(|&tap| {
            if tap == OUTSIDE {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        })
        .collect();
    let values = gather(x, taps.to_vec())?;
    let outside = Tensor::from_vec(outside, (1, taps.len(), 1), x.device())?;
    let (batch, _, channels) = values.dims3()?;
    let values = (values.broadcast_add(&outside)?).reshape((batch, (), area, channels))?;
    let mut largest = values.narrow(2, 0, 1)?.contiguous()?;
    for tap in 1..area {
        let value = values.narrow(2, tap, 1)?.contiguous()?;
        let wins = (value.gt(&largest)? + value.ne(&value)?)?;
        largest = wins.where_cond(&value, &largest)?;
    }
    largest.squeeze(D::Minus2)
}

struct MaxPool {
    /// The pixels of each window.
    taps: Vec<u32>,
    /// Number of pixels in a window.
    area: usize,
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max pooling"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, height, width, channels) = layout.shape().dims4()?;
        let image = height * width * channels;
        let x = slice(x, layout)?;
        let count = self.taps.len() / self.area;
        let mut output = vec![f32::NEG_INFINITY; batch * count * channels];
        let pixels = output.par_chunks_mut(channels).enumerate();
        pixels.for_each(|(place, largest)| {
            let image = &x[place / count * image..][..image];
            for &tap in self.window(place % count) {
                let values = &image[tap as usize * channels..][..channels];
                for (largest, &value) in largest.iter_mut().zip(values) {
                    *largest = if wins(value, *largest) {
                        value
                    } else {
                        *largest
                    };
                }
            }
        });
        Ok((CpuStorage::F32(output), (batch, count, channels).into()))
    }

    fn bwd(&self, x: &Tensor, _output: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, height, width, channels) = x.dims4()?;
        let image = height * width * channels;
        let count = self.taps.len() / self.area;
        let mut of_x = vec![0.0; x.elem_count()];
        with_slices([x, gradient], |[x, gradient]| {
            let images = of_x.par_chunks_mut(image).zip(x.par_chunks(image));
            images
                .zip(gradient.par_chunks(count * channels))
                .for_each(|((of_x, x), gradient)| self.scatter(channels, x, gradient, of_x));
            Ok(())
        })?;
        Ok(Some(Tensor::from_vec(of_x, x.shape(), x.device())?))
    }
}

impl MaxPool {
    /// The pixels of a window that are inside the image.
    fn window(&self, window: usize) -> impl Iterator<Item = &u32> {
        let taps = self.taps[window * self.area..][..self.area].iter();
        taps.filter(|&&tap| tap != OUTSIDE)
    }

    /// Adds the gradient of each largest value of an image to the gradient of its pixel.
    fn scatter(&self, channels: usize, x: &[f32], gradient: &[f32], of_x: &mut [f32]) {
        let mut largest = vec![0.0; channels];
        let mut winner = vec![0; channels];
        for (window, gradient) in gradient.chunks_exact(channels).enumerate() {
            largest.fill(f32::NEG_INFINITY);
            winner.fill(OUTSIDE);
            for &tap in self.window(window) {
                let values = &x[tap as usize * channels..][..channels];
                for ((largest, winner), &value) in largest.iter_mut().zip(&mut winner).zip(values) {
                    if *winner == OUTSIDE || wins(value, *largest) {
                        (*largest, *winner) = (value, tap);
                    }
                }
            }
            for (channel, (&winner, part)) in winner.iter().zip(gradient).enumerate() {
                if winner != OUTSIDE {
                    of_x[winner as usize * channels + channel] += part;
                }
            }
        }
    }
}

/// Whether a later value replaces the largest one so far.
fn wins(value: f32, largest: f32) -> bool {
    value > largest || value.is_nan()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use engine::Pad;

    use super::*;
    use crate::run::operators::test_support::{assert_same, numbers};

    #[test]
    fn kernel_and_stock_operators_agree() {
        for (kernel, stride, pad, ceil, height, width) in [
            (3, 2, 1, false, 7, 8),
            (3, 2, 0, true, 7, 8),
            (2, 2, 0, false, 5, 4),
            (3, 1, 1, false, 1, 2),
        ] {
            let window = Window {
                kernel,
                stride,
                pad: Pad::Zeros(pad),
                ceil,
            };
            let taps = windows(window, height, width);
            // Rounded, so that many values are equal.
            let x = (numbers(&[2, height, width, 5], 1) * 3.0).unwrap().round();
            assert_same(
                [x.unwrap()],
                |[x]| max_pool(x, window).unwrap(),
                |[x]| {
                    let (rows, columns) = (window.outputs(height), window.outputs(width));
                    let output = stock(x, &taps, kernel * kernel).unwrap();
                    output.reshape((2, rows, columns, 5)).unwrap()
                },
            );
        }
    }

    #[test]
    fn padding_never_wins_and_nan_always_does() {
        let values = [-3.0, f32::NAN, f32::NEG_INFINITY, -5.0];
        let x = Tensor::from_slice(&values, (1, 1, 4, 1), &Device::Cpu).unwrap();
        let window = Window::new(3);
        for found in [
            max_pool(&x, window).unwrap().flatten_all().unwrap(),
            (stock(&x, &windows(window, 1, 4), 9).unwrap())
                .flatten_all()
                .unwrap(),
        ] {
            let found = found.to_vec1::<f32>().unwrap();
            assert!(found[..3].iter().all(|value| value.is_nan()), "{found:?}");
            assert_eq!(found[3], -5.0);
        }
    }
}

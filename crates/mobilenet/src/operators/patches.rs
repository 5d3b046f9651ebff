use candle_core::{Result, Tensor};

/// The inputs of every output pixel of a convolution, side by side:
/// `[n, h, w, c]` to `[n * out_h * out_w, k * k * c]`, taps outermost.
pub(crate) fn patches(x: &Tensor, kernel: usize, stride: usize) -> Result<Tensor> {
    let (_, _, _, channels) = x.dims4()?;
    let taps = taps(x, kernel, stride)?;
    Tensor::cat(&taps, 3)?.reshape(((), kernel * kernel * channels))
}

/// For each tap of a `kernel`×`kernel` convolution with padding `(kernel - 1) / 2`,
/// the input it meets at every output pixel: `k * k` tensors `[n, out_h, out_w, c]`.
pub(super) fn taps(x: &Tensor, kernel: usize, stride: usize) -> Result<Vec<Tensor>> {
    let (batch, height, width, channels) = x.dims4()?;
    let padding = (kernel - 1) / 2;
    let out = |len: usize| (len + 2 * padding - kernel) / stride + 1;
    let (rows, columns) = (out(height), out(width));
    // Enough zeros at the end for whole strides after the last tap's first pixel.
    let after = |len: usize, out: usize| (kernel - 1 + out * stride).saturating_sub(len + padding);
    let padded = x
        .pad_with_zeros(1, padding, after(height, rows))?
        .pad_with_zeros(2, padding, after(width, columns))?;
    let mut taps = Vec::with_capacity(kernel * kernel);
    for row in 0..kernel {
        let rows_of_tap = padded
            .narrow(1, row, rows * stride)?
            .reshape((batch, rows, stride, padded.dim(2)?, channels))?
            .narrow(2, 0, 1)?
            .squeeze(2)?;
        for column in 0..kernel {
            taps.push(
                rows_of_tap
                    .narrow(2, column, columns * stride)?
                    .reshape((batch, rows, columns, stride, channels))?
                    .narrow(3, 0, 1)?
                    .squeeze(3)?,
            );
        }
    }
    Ok(taps)
}

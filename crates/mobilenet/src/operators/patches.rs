use candle_core::{Result, Tensor};
use engine::Padding;

/// For every output pixel of a convolution, the input values it depends on, concatenated. Converts `[n, h, w, c]` to
/// `[n * out_h * out_w, k * k * c]`; the kernel position varies slowest within a row.
pub(crate) fn patches(
    x: &Tensor,
    kernel: usize,
    stride: usize,
    padding: Padding,
) -> Result<Tensor> {
    let (_, _, _, channels) = x.dims4()?;
    let taps = taps(x, kernel, stride, padding)?;
    Tensor::cat(&taps, 3)?.reshape(((), kernel * kernel * channels))
}

/// For each position of a `kernel` × `kernel` kernel, the input value at every output pixel. Returns `k * k` tensors
/// `[n, out_h, out_w, c]`.
pub(super) fn taps(
    x: &Tensor,
    kernel: usize,
    stride: usize,
    padding: Padding,
) -> Result<Vec<Tensor>> {
    let (batch, height, width, channels) = x.dims4()?;
    let (rows, columns) = (height.div_ceil(stride), width.div_ceil(stride));
    let (above, left) = (
        padding.before(height, kernel, stride),
        padding.before(width, kernel, stride),
    );
    // Enough zeros at the end that `out` whole strides fit after the last kernel position.
    let after = |len: usize, out: usize| (kernel - 1 + out * stride).saturating_sub(len);
    let padded = x
        .pad_with_zeros(1, above, after(height + above, rows))?
        .pad_with_zeros(2, left, after(width + left, columns))?;
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

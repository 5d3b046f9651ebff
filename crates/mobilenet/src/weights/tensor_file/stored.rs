//! Where and how a tensor is stored in a file.

use safetensors::Dtype;

/// Maximum number of dimensions of a tensor, as in torch.
pub(crate) const MOST_DIMENSIONS: usize = 64;

/// A tensor that is stored in a file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Distance in values between adjacent indices of each dimension.
    pub(crate) strides: Vec<usize>,
    /// Offset in the file of the tensor's first byte.
    pub(crate) start: u64,
}

impl Stored {
    /// A tensor with contiguous values in torch's order.
    pub(crate) fn contiguous(dtype: Dtype, shape: Vec<usize>, start: u64) -> Self {
        let strides = contiguous_strides(&shape);
        Stored {
            dtype,
            shape,
            strides,
            start,
        }
    }

    /// Number of values in the tensor.
    pub(crate) fn len(&self) -> usize {
        len(&self.shape)
    }

    /// Whether the values are contiguous.
    pub(crate) fn is_contiguous(&self) -> bool {
        let expected = contiguous_strides(&self.shape);
        let dimensions = self.shape.iter().zip(&self.strides).zip(expected);
        // The stride of a dimension with one index has no effect.
        self.len() == 0 || dimensions.into_iter().all(|((&n, &s), e)| n == 1 || s == e)
    }

    /// Number of values from the tensor's first to its last, inclusive; `None` on overflow.
    pub(crate) fn span(&self) -> Option<u64> {
        if self.len() == 0 {
            return Some(0);
        }
        let dimensions = self.shape.iter().zip(&self.strides);
        dimensions
            .into_iter()
            .try_fold(1_u64, |span, (&n, &stride)| {
                let reach = (n as u64 - 1).checked_mul(stride as u64)?;
                span.checked_add(reach)
            })
    }

    /// Calls `each` with the offset of every value from the tensor's first. The order is torch's.
    pub(crate) fn places(&self, mut each: impl FnMut(usize)) {
        let mut index = vec![0; self.shape.len()];
        let mut place = 0;
        for _ in 0..self.len() {
            each(place);
            // Like an odometer: the last index below its limit advances, and the indices after it restart.
            for ((at, &n), &stride) in index.iter_mut().zip(&self.shape).zip(&self.strides).rev() {
                *at += 1;
                if *at < n {
                    place += stride;
                    break;
                }
                place -= (n - 1) * stride;
                *at = 0;
            }
        }
    }
}

/// Number of values in a shape. It saturates, because the product may overflow before a dimension of 0.
fn len(shape: &[usize]) -> usize {
    shape.iter().fold(1, |len, &n| len.saturating_mul(n))
}

fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len()).map(|from| len(&shape[from..])).collect()
}

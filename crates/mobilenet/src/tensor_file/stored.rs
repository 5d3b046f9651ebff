//! The location of a tensor in a file.

use safetensors::Dtype;

/// Most dimensions of a tensor, as in torch.
pub(crate) const MOST_DIMENSIONS: usize = 64;

/// A tensor in a file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Distance in values between adjacent indices of each dimension.
    pub(crate) strides: Vec<usize>,
    /// Offset of its first byte in the file.
    pub(crate) start: u64,
}

impl Stored {
    /// A tensor with its values contiguous, in torch's order.
    pub(crate) fn contiguous(dtype: Dtype, shape: Vec<usize>, start: u64) -> Self {
        let strides = contiguous_strides(&shape);
        Stored {
            dtype,
            shape,
            strides,
            start,
        }
    }

    /// Its number of values.
    pub(crate) fn len(&self) -> usize {
        len(&self.shape)
    }

    /// Whether its values are contiguous.
    pub(crate) fn is_contiguous(&self) -> bool {
        let expected = contiguous_strides(&self.shape);
        let dimensions = self.shape.iter().zip(&self.strides).zip(expected);
        // A dimension of one index makes no step.
        self.len() == 0 || dimensions.into_iter().all(|((&n, &s), e)| n == 1 || s == e)
    }

    /// Values from its first to its last one, inclusive; `None` if that overflows.
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

    /// Calls `each` with the offset of every value in its span, in torch's order.
    pub(crate) fn places(&self, mut each: impl FnMut(usize)) {
        let mut index = vec![0; self.shape.len()];
        let mut place = 0;
        for _ in 0..self.len() {
            each(place);
            // Like an odometer: the last index below its limit advances, and those after it restart.
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

/// Number of values of a shape. Saturating: a shape may overflow before a dimension of 0.
fn len(shape: &[usize]) -> usize {
    shape.iter().fold(1, |len, &n| len.saturating_mul(n))
}

fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len()).map(|from| len(&shape[from..])).collect()
}

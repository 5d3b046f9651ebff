//! Where a tensor lies in a file.

use safetensors::Dtype;

/// Most dimensions of a tensor, which is torch's own bound.
pub(crate) const MOST_DIMENSIONS: usize = 64;

/// A tensor in a file.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// How many numbers of the file lie from one place of each dimension to the next.
    pub(crate) strides: Vec<usize>,
    /// Of its first byte in the file.
    pub(crate) start: u64,
}

impl Stored {
    /// A tensor whose numbers lie in torch's order, one after the other.
    pub(crate) fn contiguous(dtype: Dtype, shape: Vec<usize>, start: u64) -> Self {
        let strides = contiguous_strides(&shape);
        Stored {
            dtype,
            shape,
            strides,
            start,
        }
    }

    /// How many numbers it has.
    pub(crate) fn len(&self) -> usize {
        len(&self.shape)
    }

    /// Whether its numbers lie one after the other.
    pub(crate) fn is_contiguous(&self) -> bool {
        let expected = contiguous_strides(&self.shape);
        let dimensions = self.shape.iter().zip(&self.strides).zip(expected);
        // One place, or none, makes no step.
        self.len() == 0 || dimensions.into_iter().all(|((&n, &s), e)| n == 1 || s == e)
    }

    /// From its first number to behind its last one, in numbers; none if no machine can count that.
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

    /// Calls `each` with the place of every number in its span, in torch's order.
    pub(crate) fn places(&self, mut each: impl FnMut(usize)) {
        let mut index = vec![0; self.shape.len()];
        let mut place = 0;
        for _ in 0..self.len() {
            each(place);
            // As an odometer: the last wheel that is not at its end goes on, those behind it start again.
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

/// How many numbers a shape has. Saturating, since a shape may begin with more than fits and yet
/// have none.
fn len(shape: &[usize]) -> usize {
    shape.iter().fold(1, |len, &n| len.saturating_mul(n))
}

fn contiguous_strides(shape: &[usize]) -> Vec<usize> {
    (1..=shape.len()).map(|from| len(&shape[from..])).collect()
}

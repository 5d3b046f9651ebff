//! The operations on a tile of a product before it is stored.

use super::Affine;
use super::activation::{derive, for_short_activation, silu_gradients};
use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};
use crate::spec::Activation;

/// The operations on a tile before it is stored, in this order.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue {
    /// A bias for each channel, padded to whole planes.
    pub(crate) bias: Option<Src>,
    pub(crate) activation: Activation,
    /// Multiplies by the derivative of this activation, so that `c` becomes the gradient before the activation.
    pub(crate) before: Option<Before>,
    /// A factor for each channel. With it, the sums are computed first, then the product is multiplied by it, and the
    /// addend is added.
    pub(crate) scale: Option<Src>,
    /// Activations that are added to the product.
    pub(crate) addend: Option<Planes>,
    /// An activation after the addend.
    pub(crate) last: Activation,
    pub(crate) sums: Option<ProductSums>,
    /// Whether stores to `c` bypass the caches. If so, its pixels must have the size of other activations.
    pub(crate) stream: bool,
}

/// An activation that the forward pass applied after a normalisation of `z`.
#[derive(Clone, Copy)]
pub(crate) struct Before {
    pub(crate) z: Planes,
    pub(crate) norm: Affine,
    pub(crate) activation: Activation,
}

impl Before {
    /// Converts the gradients of the activation's output, at every `step`-th pixel from `pixel` on, to those of its
    /// input.
    #[inline(always)]
    pub(super) unsafe fn derived<S: Simd, const ROWS: usize>(
        &self,
        s: S,
        plane: usize,
        pixel: usize,
        step: usize,
        column: [S::Vector; ROWS],
    ) -> [S::Vector; ROWS] {
        if self.activation == Activation::Silu {
            let (scale, shift) = self.norm.at(s, plane * LANES);
            let z = self.z.plane(plane).row(pixel).src();
            // A copy, so that tiles with other activations stay in registers.
            let mut gradients = column;
            silu_gradients(s, z, step, &[scale, shift], &mut gradients);
            return gradients;
        }
        self.derived_shortly(s, plane, pixel, step, column)
    }

    /// As [`Before::derived`], for the activations of a few instructions: all but SiLU.
    #[inline(always)]
    pub(super) unsafe fn derived_shortly<S: Simd, const ROWS: usize>(
        &self,
        s: S,
        plane: usize,
        pixel: usize,
        step: usize,
        mut column: [S::Vector; ROWS],
    ) -> [S::Vector; ROWS] {
        let (scale, shift) = self.norm.at(s, plane * LANES);
        let z = self.z.plane(plane).row(pixel).src();
        for_short_activation!(self.activation, A => for row in 0..ROWS {
            let y = s.mul_add(s.load_pixel(z, row * step), scale, shift);
            column[row] = derive::<S, A>(s, y, column[row]);
        });
        column
    }
}

/// Adds the sum of a column to the first vector of totals, and to the second the sum of its products with every
/// `step`-th pixel of `with`, or of its squares.
#[inline(always)]
pub(super) unsafe fn add_sums<S: Simd, const ROWS: usize>(
    s: S,
    totals: [Dst; 2],
    with: Option<Src>,
    step: usize,
    column: &[S::Vector; ROWS],
) {
    let [mut first, mut second] = totals.map(
        #[inline(always)]
        |total| s.load(total.src(), 0),
    );
    for row in 0..ROWS {
        first = s.add(first, column[row]);
    }
    if let Some(with) = with {
        for row in 0..ROWS {
            second = s.mul_add(column[row], s.load_pixel(with, row * step), second);
        }
    } else {
        for row in 0..ROWS {
            second = s.mul_add(column[row], column[row], second);
        }
    }
    s.store(totals[0], 0, first);
    s.store(totals[1], 0, second);
}

/// Per-channel sums over the rows, added to the existing values.
#[derive(Clone, Copy)]
pub(crate) struct ProductSums {
    pub(crate) first: Dst,
    pub(crate) second: Dst,
    /// The second sum adds up the products with these values. With `None` it adds up squares.
    pub(crate) with: Option<Planes>,
}

impl Epilogue {
    pub(crate) const NONE: Epilogue = Epilogue {
        bias: None,
        activation: Activation::Identity,
        before: None,
        scale: None,
        addend: None,
        last: Activation::Identity,
        sums: None,
        stream: false,
    };

    /// Whether the epilogue has only operations of MobileNets, whose products are small. Every tile has code for them; for
    /// the others, all tiles of one height share it.
    pub(super) fn is_short(&self) -> bool {
        let is_silu = |activation| activation == Activation::Silu;
        self.scale.is_none()
            && self.last == Activation::Identity
            && !is_silu(self.activation)
            && !self.before.is_some_and(|before| is_silu(before.activation))
    }
}

//! Estimates of coefficients that a progressive image lacks, from the DC values around a block:
//! `decompress_smooth_data` of jdcoefct.c. Complete images are unchanged.

use super::entropy::Block;

/// The estimated coefficients after the first one, as indices in rows of eight.
const PLACES: [usize; 9] = [1, 8, 16, 9, 2, 3, 10, 17, 24];

/// The weights of the 5 × 5 DC values around a block, row by row.
type Kernel = [i64; 25];

/// Weights for the first five coefficients, used if some AC coefficients are known.
#[rustfmt::skip]
const SHARP: [Kernel; 5] = [
    [0, 0, 0, 0, 0,  0, 0, 0, 0, 0,  -7, 50, 0, -50, 7,  0, 0, 0, 0, 0,  0, 0, 0, 0, 0],
    [0, 0, -7, 0, 0,  0, 0, 50, 0, 0,  0, 0, 0, 0, 0,  0, 0, -50, 0, 0,  0, 0, 7, 0, 0],
    [0, 0, -1, 0, 0,  0, 0, 13, 0, 0,  0, 0, -24, 0, 0,  0, 0, 13, 0, 0,  0, 0, -1, 0, 0],
    [0, -1, 0, 1, 0,  -1, 10, 0, -10, 1,  0, 0, 0, 0, 0,  1, -10, 0, 10, -1,  0, 1, 0, -1, 0],
    [0, 0, 0, 0, 0,  0, 0, 0, 0, 0,  -1, 13, -24, 13, -1,  0, 0, 0, 0, 0,  0, 0, 0, 0, 0],
];

/// Weights for all nine coefficients, used if only DC values are known.
#[rustfmt::skip]
const SOFT: [Kernel; 9] = [
    [-1, -1, 0, 1, 1,  -3, 13, 0, -13, 3,  -3, 38, 0, -38, 3,  -3, 13, 0, -13, 3,  -1, -1, 0, 1, 1],
    [-1, -3, -3, -3, -1,  -1, 13, 38, 13, -1,  0, 0, 0, 0, 0,  1, -13, -38, -13, 1,  1, 3, 3, 3, 1],
    [0, 0, 1, 0, 0,  0, 2, 7, 2, 0,  0, -5, -14, -5, 0,  0, 2, 7, 2, 0,  0, 0, 1, 0, 0],
    [-1, 0, 0, 0, 1,  0, 9, 0, -9, 0,  0, 0, 0, 0, 0,  0, -9, 0, 9, 0,  1, 0, 0, 0, -1],
    [0, 0, 0, 0, 0,  0, 2, -5, 2, 0,  1, 7, -14, 7, 1,  0, 2, -5, 2, 0,  0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0,  0, 1, 0, -1, 0,  0, 2, 0, -2, 0,  0, 1, 0, -1, 0,  0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0,  0, 1, -3, 1, 0,  0, 0, 0, 0, 0,  0, -1, 3, -1, 0,  0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0,  0, 1, 0, -1, 0,  0, -3, 0, 3, 0,  0, 1, 0, -1, 0,  0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0,  0, 1, 2, 1, 0,  0, 0, 0, 0, 0,  0, -1, -2, -1, 0,  0, 0, 0, 0, 0],
];

/// Weights for the DC coefficient itself, used if only DC values are known.
#[rustfmt::skip]
const MEAN: Kernel = [
    -2, -6, -8, -6, -2,  -6, 6, 42, 6, -6,  -8, 42, 152, 42, -8,  -6, 6, 42, 6, -6,  -2, -6, -8, -6, -2,
];

/// The number of bits that the first ten coefficients of a colour lack, in the order of [`PLACES`]; -1 if it has none
/// yet.
pub(super) type Lacks = [i8; 10];

/// Whether estimates are used: the DC values of all colours are known, and some other coefficient lacks bits.
pub(super) fn is_useful<'a>(colours: impl Iterator<Item = (&'a Block, Lacks)>) -> bool {
    let mut useful = false;
    for (factors, lacks) in colours {
        if factors[0] == 0 || PLACES.iter().any(|&place| factors[place] == 0) || lacks[0] < 0 {
            return false;
        }
        useful |= lacks[1..].iter().any(|&lacks| lacks != 0);
    }
    useful
}

/// A block with its zero coefficients estimated. `dc` gives the DC values around it, by rows and columns
/// from -2 to 2.
pub(super) fn estimated(
    block: &Block,
    factors: &Block,
    lacks: Lacks,
    dc: impl Fn(isize, isize) -> i16,
) -> Block {
    let window: [i64; 25] = std::array::from_fn(|index| {
        let index = index as isize;
        dc(index / 5 - 2, index % 5 - 2).into()
    });
    let q = |place: usize| i64::from(factors[place] as u16);
    let sum = |kernel: &Kernel| -> i64 {
        q(0) * kernel.iter().zip(&window).map(|(a, b)| a * b).sum::<i64>()
    };
    let rounded = |sum: i64, factor: i64| ((factor << 7) + sum.abs()) / (factor << 8);
    let is_dc_alone = lacks[1..].iter().all(|&lacks| lacks == -1);
    let kernels: &[Kernel] = if is_dc_alone { &SOFT } else { &SHARP };
    let mut result = *block;
    for ((&place, kernel), &lacks) in PLACES.iter().zip(kernels).zip(&lacks[1..]) {
        if lacks == 0 || block[place] != 0 {
            continue;
        }
        let sum = sum(kernel);
        let mut size = rounded(sum, q(place));
        if lacks > 0 {
            size = size.min((1 << lacks) - 1);
        }
        result[place] = (size * sum.signum()) as i16;
    }
    if is_dc_alone {
        let sum = sum(&MEAN);
        result[0] = (rounded(sum, q(0)) * sum.signum()) as i16;
    }
    result
}

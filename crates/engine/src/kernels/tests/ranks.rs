//! Tests the operations of [`Simd`] on pixels and ranks, which all kernels use.

use super::operand::{Matrix, NOTHING, Operand, assert_nothing, halves};
use super::real::{Noise, to_bf16};
use super::{BF16, isas};
use crate::isa::Isa;
use crate::memory::{Dst, Planes, Src};
use crate::simd::{LANES, Simd};

type Vector = [f32; LANES];

entry! {
    /// # Safety
    /// `source` holds pixel `row`; `target` has space for a vector.
    fn load_pixel(source: Planes, row: usize, target: Dst) => load_pixel_kernel
}

#[inline(always)]
unsafe fn load_pixel_kernel<S: Simd>(s: S, source: Planes, row: usize, target: Dst) {
    s.store(target, 0, s.load_pixel(source.src(), row));
}

entry! {
    /// # Safety
    /// `source` holds a vector; `target` has space for pixel `row`.
    fn store_pixel(source: Src, target: Planes, row: usize) => store_pixel_kernel
}

#[inline(always)]
unsafe fn store_pixel_kernel<S: Simd>(s: S, source: Src, target: Planes, row: usize) {
    s.store_pixel(target.start, row, s.load(source, 0));
}

entry! {
    /// # Safety
    /// Every pointer must be valid for one vector.
    fn rank(first: Src, second: Src, target: Dst) => rank_kernel
}

#[inline(always)]
unsafe fn rank_kernel<S: Simd>(s: S, first: Src, second: Src, target: Dst) {
    s.store(target, 0, s.rank(s.load(first, 0), s.load(second, 0)));
}

entry! {
    /// # Safety
    /// `source` holds the rank's `count` pixels from `row` on; `target` has space for a vector.
    fn load_rank(count: usize, source: Planes, row: usize, target: Dst) => load_rank_kernel
}

#[inline(always)]
unsafe fn load_rank_kernel<S: Simd>(s: S, count: usize, source: Planes, row: usize, target: Dst) {
    s.store(target, 0, s.load_rank(count, source.src(), row));
}

entry! {
    /// # Safety
    /// Every pointer must be valid for one vector.
    fn multiply_ranks(a: Src, b: Src, c: Dst) => multiply_ranks_kernel
}

#[inline(always)]
unsafe fn multiply_ranks_kernel<S: Simd>(s: S, a: Src, b: Src, c: Dst) {
    let sum = s.multiply_ranks(s.load(a, 0), s.load(b, 0), s.load(c.src(), 0));
    s.store(c, 0, sum);
}

/// Packs `RANK` vectors as one rank of a product.
fn ranked(isa: Isa, [first, second]: [Vector; 2]) -> Vector {
    let mut vector = [NOTHING; LANES];
    // SAFETY: every pointer is valid for a vector.
    unsafe { rank(isa, Src::of(&first), Src::of(&second), Dst::of(&mut vector)) };
    vector
}

/// Asserts that each lane of a rank holds the same lane of the first `RANK` vectors.
#[track_caller]
fn assert_ranked(isa: Isa, actual: Vector, vectors: [Vector; 2]) {
    for lane in 0..LANES {
        let expected = vectors.map(|vector| vector[lane]);
        if isa.rank() > 1 {
            assert_eq!(halves(actual[lane]), expected, "{isa}, lane {lane}");
        } else {
            assert_eq!(actual[lane], expected[0], "{isa}, lane {lane}");
        }
    }
}

/// Pairs of a value and the nearest bf16.
const ROUNDED: [(f32, f32); LANES] = {
    const ULP: f32 = 1.0 / 128.0;
    [
        (0.0, 0.0),
        (1.0, 1.0),
        (-3.5, -3.5),
        (1.0 + 0.49 * ULP, 1.0),
        (1.0 + 0.51 * ULP, 1.0 + ULP),
        // Ties round to even.
        (1.0 + 0.5 * ULP, 1.0),
        (1.0 + 1.5 * ULP, 1.0 + 2.0 * ULP),
        (1.0 + 2.5 * ULP, 1.0 + 2.0 * ULP),
        (-1.0 - 0.5 * ULP, -1.0),
        (-1.0 - 1.5 * ULP, -1.0 - 2.0 * ULP),
        (2.0 - 0.25 * ULP, 2.0),
        (2.0 - 0.5 * ULP, 2.0),
        (257.0, 256.0),
        (f32::MIN_POSITIVE, f32::MIN_POSITIVE),
        (f32::MAX, f32::INFINITY),
        (f32::NEG_INFINITY, f32::NEG_INFINITY),
    ]
};

#[test]
fn the_tests_round_as_bf16_does() {
    for (value, expected) in ROUNDED {
        assert_eq!(to_bf16(value), expected, "{value}");
    }
}

#[test]
fn ranks_of_bf16_are_pairs() {
    for isa in isas() {
        let expected = if BF16.contains(&isa.to_string().as_str()) {
            (8, 2)
        } else {
            (16, 1)
        };
        assert_eq!((isa.pixel(), isa.rank()), expected, "{isa}");
    }
}

#[test]
fn a_pixel_is_stored_rounded_and_nothing_beside_it() {
    for isa in isas() {
        let values = ROUNDED.map(|(value, _)| value);
        let target = Operand::blank(isa, 3, LANES);
        // SAFETY: the source holds a vector, and the target three pixels.
        unsafe { store_pixel(isa, Src::of(&values), target.planes(), 1) };
        for (row, lane, actual) in target.written(&isa.to_string()) {
            let what = || format!("{isa}, pixel {row}, lane {lane}");
            let (value, rounded) = ROUNDED[lane];
            match row {
                1 if isa.rank() > 1 => assert_eq!(actual, rounded, "{}", what()),
                1 => assert_eq!(actual, value, "{}", what()),
                _ => assert_nothing(actual, what),
            }
        }
    }
}

#[test]
fn a_pixel_is_loaded_as_it_is() {
    let matrix = Matrix::noise(&mut Noise(8), 3, LANES);
    for isa in isas() {
        let source = Operand::of(isa, &matrix);
        for row in 0..3 {
            let mut actual = [NOTHING; LANES];
            // SAFETY: the source holds three pixels, and the target has space for a vector.
            unsafe { load_pixel(isa, source.planes(), row, Dst::of(&mut actual)) };
            assert_eq!(actual, matrix.row(row), "{isa}, pixel {row}");
        }
    }
}

#[test]
fn vectors_are_ranked_lane_by_lane() {
    let (first, mut second) = (ROUNDED, ROUNDED);
    second.reverse();
    for isa in isas() {
        let actual = ranked(
            isa,
            [first, second].map(|both| both.map(|(value, _)| value)),
        );
        let expected = [first, second]
            .map(|both| both.map(|(value, rounded)| if isa.rank() > 1 { rounded } else { value }));
        assert_ranked(isa, actual, expected);
    }
}

#[test]
fn pixels_are_ranked_and_missing_ones_are_zero() {
    let matrix = Matrix::noise(&mut Noise(9), 3, LANES);
    for isa in isas() {
        // The memory ends with the last pixel.
        let source = Operand::of(isa, &matrix);
        let [first, second, last] = [0, 1, 2].map(|row| matrix.row(row));
        for (count, row, expected) in [
            (3, 0, [first, second]),
            (2, 1, [second, last]),
            (1, 1, [second, [0.0; LANES]]),
            (1, 2, [last, [0.0; LANES]]),
        ] {
            let mut actual = [NOTHING; LANES];
            // SAFETY: the pixels exist, and there is space for a vector.
            unsafe { load_rank(isa, count, source.planes(), row, Dst::of(&mut actual)) };
            assert_ranked(isa, actual, expected);
        }
    }
}

#[test]
fn ranks_are_multiplied_and_added_up() {
    let mut noise = Noise(10);
    // Values with so few digits that no sum is rounded.
    let mut vector = || [(); LANES].map(|()| noise.scale().value as f32);
    let (a, b, c) = ([vector(), vector()], [vector(), vector()], vector());
    for isa in isas() {
        let (ranked_a, ranked_b, mut actual) = (ranked(isa, a), ranked(isa, b), c);
        // SAFETY: every pointer is valid for a vector.
        unsafe {
            let (a, b) = (Src::of(&ranked_a), Src::of(&ranked_b));
            multiply_ranks(isa, a, b, Dst::of(&mut actual));
        }
        for lane in 0..LANES {
            let products = (0..isa.rank()).map(|k| a[k][lane] * b[k][lane]);
            let expected = c[lane] + products.sum::<f32>();
            assert_eq!(actual[lane], expected, "{isa}, lane {lane}");
        }
    }
}

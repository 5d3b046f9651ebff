use std::ops::Range;

use super::operand::{Matrix, NOTHING, halves};
use super::real::Noise;
use super::{CHANNELS, grid, isas};
use crate::isa::Isa;
use crate::kernels::{pack_inputs, pack_outputs, pack_taps, packed_length};
use crate::memory::{Dst, Src, padded};
use crate::simd::LANES;

/// Returns the packed weights.
fn unpacked(isa: Isa, packed: &[f32]) -> Vec<f32> {
    if isa.rank() > 1 {
        packed.iter().copied().flat_map(halves).collect()
    } else {
        packed.to_vec()
    }
}

/// Asserts that `packed` holds each of `weights` once, and zeros otherwise. The order depends on
/// the instruction set; the tests of products check it.
#[track_caller]
fn assert_permuted(mut packed: Vec<f32>, weights: &[f32], what: &str) {
    let zeros = packed.len() - weights.len();
    let mut expected = [weights, &vec![0.0; zeros]].concat();
    for numbers in [&mut expected, &mut packed] {
        numbers.sort_by(f32::total_cmp);
    }
    assert_eq!(packed, expected, "{what}");
}

/// Distinct nonzero values: all positive normal bf16 numbers, then the negative ones.
fn weights(count: usize) -> Vec<f32> {
    const POSITIVE: Range<u32> = 0x0080..0x7F80;
    assert!(count <= 2 * POSITIVE.len());
    let halves = POSITIVE.chain(POSITIVE.map(|half| half | 0x8000));
    let all = halves.map(|half| f32::from_bits(half << 16));
    all.take(count).collect()
}

#[test]
fn every_weight_has_its_place_and_the_others_are_zero() {
    for [_, outputs, inputs] in grid(&[1], &CHANNELS, &CHANNELS) {
        let weights = weights(outputs * inputs);
        for isa in isas() {
            let what = format!("{isa} [{outputs}][{inputs}]");
            let mut forward = vec![NOTHING; packed_length(isa, inputs, outputs)];
            let mut backward = vec![NOTHING; packed_length(isa, outputs, inputs)];
            let from = Src::of(&weights);
            // SAFETY: the targets have the length of `packed_length`.
            unsafe {
                pack_outputs(isa, outputs, inputs, from, Dst::of(&mut forward));
                pack_inputs(isa, outputs, inputs, from, Dst::of(&mut backward));
            }
            for packed in [forward, backward] {
                assert_permuted(unpacked(isa, &packed), &weights, &what);
            }
        }
    }
}

#[test]
fn taps_lie_in_planes() {
    let mut noise = Noise(4);
    for channels in [1, 8, 15, 16, 17, 72] {
        for taps in [9, 25] {
            let weights = Matrix::noise(&mut noise, channels, taps).dense();
            let mut packed = vec![NOTHING; padded(channels) * taps];
            // SAFETY: the target has space for the weights of whole planes.
            unsafe {
                let to = Dst::of(&mut packed);
                pack_taps(channels, taps, Src::of(&weights), to);
            }
            for (at, &actual) in packed.iter().enumerate() {
                let (vector, lane) = (at / LANES, at % LANES);
                let (plane, tap) = (vector / taps, vector % taps);
                let channel = plane * LANES + lane;
                let expected = if channel < channels {
                    weights[channel * taps + tap]
                } else {
                    0.0
                };
                assert_eq!(actual, expected, "{channels} x {taps}, number {at}");
            }
        }
    }
}

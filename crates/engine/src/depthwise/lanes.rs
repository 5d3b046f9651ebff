//! Blocks of channels that fit one or two vector registers.

use crate::isa::multiply_add;

/// Runs `$body` over blocks of 16, 8 and 1 channels, with `$lanes` as a constant.
macro_rules! for_channel_blocks {
    ($channels:expr, |$at:ident, $lanes:ident| $body:expr) => {{
        let mut $at = 0;
        for_channel_blocks!(@ 16, $channels, $at, $lanes, $body);
        for_channel_blocks!(@ 8, $channels, $at, $lanes, $body);
        for_channel_blocks!(@ 1, $channels, $at, $lanes, $body);
    }};
    (@ $count:literal, $channels:expr, $at:ident, $lanes:ident, $body:expr) => {{
        const $lanes: usize = $count;
        while $at + $lanes <= $channels {
            $body;
            $at += $lanes;
        }
    }};
}

#[inline(always)]
pub(super) fn load<const L: usize>(values: &[f32], at: usize) -> [f32; L] {
    let mut lanes = [0.0; L];
    lanes.copy_from_slice(&values[at..at + L]);
    lanes
}

#[inline(always)]
pub(super) fn accumulate<const FMA: bool, const L: usize>(
    sum: &mut [f32; L],
    a: &[f32; L],
    b: &[f32; L],
) {
    for lane in 0..L {
        sum[lane] = multiply_add::<FMA>(a[lane], b[lane], sum[lane]);
    }
}

pub(super) use for_channel_blocks;

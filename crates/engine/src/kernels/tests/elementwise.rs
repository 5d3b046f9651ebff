use proptest::prelude::*;

use super::differences::{assert_gradient, weighted};
use super::operand::{ExpectedSums, Matrix, Mix, Norm, Operand};
use super::real::Noise;
use super::{ACTIVATIONS, CHANNELS, ROWS, STEP, grid, isas, properties};
use crate::kernels::{
    ActivateRows, ActivationBackward, Images, NormaliseRows, activate_rows, activation_backward,
    channel_sums, combine, normalise_rows, widen_rows,
};
use crate::memory::{Planes, planes};
use crate::spec::Activation;

/// `activation(y)`
pub(super) fn activated(y: &Matrix, activation: Activation) -> Matrix {
    Matrix::from_fn(y.rows, y.channels, |row, channel| {
        y[(row, channel)].activate(activation)
    })
}

/// The gradient `d` behind `activation(y)` carried back to `y`.
pub(super) fn derived(y: &Matrix, d: &Matrix, activation: Activation) -> Matrix {
    Matrix::from_fn(y.rows, y.channels, |row, channel| {
        y[(row, channel)].slope(activation) * d[(row, channel)]
    })
}

/// All shapes: rows by channels.
fn shapes() -> impl Iterator<Item = (usize, usize)> {
    let channels = [&CHANNELS[..], &[1280]].concat();
    let shapes: Vec<_> = grid(&ROWS, &channels, &[1]).collect();
    shapes
        .into_iter()
        .map(|[rows, channels, _]| (rows, channels))
}

/// `activate_rows` on the rows `first..last` of images of some pixels.
fn check_activate(
    pixels: usize,
    (first, last): (usize, usize),
    channels: usize,
    activation: Activation,
    with_factors: bool,
) {
    let mut noise = Noise((first * 100 + channels) as u64);
    let (rows, images) = (last - first, last.div_ceil(pixels));
    let z = Matrix::noise(&mut noise, last, channels);
    let norm = Norm::noise(&mut noise, channels);
    let factors = Matrix::noise_f32(&mut noise, images, channels);
    let y = activated(&norm.apply(&z), activation);
    let expected = Matrix::from_fn(rows, channels, |row, channel| {
        let y = y[(first + row, channel)];
        if with_factors {
            y * factors[((first + row) / pixels, channel)]
        } else {
            y
        }
    });
    let of_block = Images {
        first_row: first,
        pixels,
    };
    for isa in isas() {
        let what = format!(
            "{isa} rows {first}..{last} of {pixels} a picture, {channels} channels, \
             {activation:?}, factors: {with_factors}"
        );
        let (z, factors) = (Operand::of(isa, &z), Operand::of(isa.with_f32(), &factors));
        let target = Operand::blank(isa, rows, channels);
        // SAFETY: all operands have the shapes that the kernel asks for.
        unsafe {
            let operands = ActivateRows {
                rows,
                planes: planes(channels),
                z: z.planes().row(first),
                norm: norm.affine(),
                activation,
                factors: with_factors.then(|| (factors.planes(), of_block)),
                target: target.planes(),
            };
            activate_rows(isa, &operands);
        }
        target.assert_near(&expected, &what);
    }
}

#[test]
fn activate_rows_of_every_shape() {
    for (index, (rows, channels)) in shapes().enumerate() {
        check_activate(5, (0, rows), channels, ACTIVATIONS[index % 4], false);
        check_activate(5, (0, rows), channels, ACTIVATIONS[index % 4], true);
    }
}

#[test]
fn activate_rows_of_blocks_that_start_within_an_image() {
    for pixels in [1, 4, 9] {
        for first in (0..11).step_by(STEP.min(5)) {
            for last in [first + 1, first + 4, 12] {
                check_activate(pixels, (first, last), 20, Activation::Hardswish, true);
            }
        }
    }
}

#[test]
fn normalise_rows_of_every_shape() {
    for (rows, channels) in shapes() {
        let mut noise = Noise((rows * 2000 + channels) as u64);
        let z = Matrix::noise(&mut noise, rows, channels);
        let residual = Matrix::noise(&mut noise, rows, channels);
        let norm = Norm::noise(&mut noise, channels);
        let y = norm.apply(&z);
        let with_residual = Matrix::from_fn(rows, channels, |row, channel| {
            y[(row, channel)] + residual[(row, channel)]
        });
        for isa in isas() {
            let (z, residual) = (Operand::of(isa, &z), Operand::of(isa, &residual));
            for (residual, expected) in [(None, &y), (Some(residual.planes()), &with_residual)] {
                let target = Operand::blank(isa, rows, channels);
                let operands = NormaliseRows {
                    rows,
                    planes: planes(channels),
                    z: z.planes(),
                    norm: norm.affine(),
                    residual,
                    target: target.planes(),
                };
                // SAFETY: all operands have the shapes that the kernel asks for.
                unsafe { normalise_rows(isa, &operands) };
                let what = format!(
                    "{isa} {rows} x {channels}, residual: {}",
                    residual.is_some()
                );
                target.assert_near(expected, &what);
            }
        }
    }
}

#[test]
fn widen_rows_of_every_shape() {
    for (rows, channels) in shapes() {
        let mut noise = Noise((rows * 2000 + channels) as u64);
        let source = Matrix::noise(&mut noise, rows, channels);
        for isa in isas() {
            let from = Operand::of(isa, &source);
            let to = Operand::blank(isa.with_f32(), rows, channels);
            // SAFETY: both operands have the shapes that the kernel asks for.
            unsafe { widen_rows(isa, rows, planes(channels), from.planes(), to.planes()) };
            to.assert_near(&source, &format!("{isa} {rows} x {channels}"));
        }
    }
}

#[test]
fn combine_of_every_shape() {
    for (rows, channels) in shapes() {
        let mut noise = Noise((rows * 2000 + channels) as u64);
        let d = Matrix::noise(&mut noise, rows, channels);
        let z = Matrix::noise(&mut noise, rows, channels);
        let mix = Mix::noise(&mut noise, channels);
        let expected = mix.apply(&d, &z);
        for isa in isas() {
            let (d, z) = (Operand::of(isa, &d), Operand::of(isa, &z));
            let target = Operand::blank(isa, rows, channels);
            let (d, z, to) = (d.planes(), z.planes(), target.planes());
            // SAFETY: all operands have the shapes that the kernel asks for.
            unsafe { combine(isa, rows, planes(channels), d, z, mix.operand(), to) };
            target.assert_near(&expected, &format!("{isa} {rows} x {channels}"));
        }
    }
}

fn check_activation_backward(rows: usize, channels: usize, activation: Activation) {
    let mut noise = Noise((rows * 2000 + channels) as u64);
    let d = Matrix::noise(&mut noise, rows, channels);
    let z = Matrix::noise(&mut noise, rows, channels);
    let norm = Norm::noise(&mut noise, channels);
    let expected = derived(&norm.apply(&z), &d, activation);
    let before = ExpectedSums::noise(&mut noise, channels);
    let mut expected_sums = before.clone();
    expected.add_sums(&z, &mut expected_sums, 0);
    for isa in isas() {
        let z = Operand::of(isa, &z);
        for in_place in [false, true] {
            let what = format!("{isa} {rows} x {channels}, {activation:?}, {in_place}");
            let (d, blank) = (Operand::of(isa, &d), Operand::blank(isa, rows, channels));
            let target = if in_place { &d } else { &blank };
            let mut sums = before.before();
            let operands = ActivationBackward {
                rows,
                planes: planes(channels),
                d: d.planes(),
                z: z.planes(),
                norm: norm.affine(),
                activation,
                target: target.planes(),
            };
            // SAFETY: all operands have the shapes that the kernel asks for.
            unsafe { activation_backward(isa, &operands, &mut sums) };
            target.assert_near(&expected, &what);
            expected_sums.assert_near(&sums, &what);
        }
    }
}

#[test]
fn activation_backward_of_every_shape() {
    for (index, (rows, channels)) in shapes().enumerate() {
        check_activation_backward(rows, channels, ACTIVATIONS[index % 4]);
    }
}

#[test]
fn channel_sums_of_every_shape() {
    for (rows, channels) in shapes() {
        let mut noise = Noise((rows * 2000 + channels) as u64);
        let d = Matrix::noise(&mut noise, rows, channels);
        let z = Matrix::noise(&mut noise, rows, channels);
        let before = ExpectedSums::noise(&mut noise, channels);
        let mut expected = before.clone();
        d.add_sums(&z, &mut expected, 0);
        for isa in isas() {
            let (d, z) = (Operand::of(isa, &d), Operand::of(isa, &z));
            let (d, z): (Planes, Planes) = (d.planes(), z.planes());
            let mut sums = before.before();
            // SAFETY: all operands have the shapes that the kernel asks for.
            unsafe { channel_sums(isa, rows, planes(channels), d, z, &mut sums) };
            expected.assert_near(&sums, &format!("{isa} {rows} x {channels}"));
        }
    }
}

proptest! {
    #![proptest_config(properties(64))]
    #[test]
    #[cfg_attr(miri, ignore = "too large to interpret")]
    fn any_shape(
        pixels in 1usize..20,
        first in 0usize..50,
        rows in 1usize..50,
        channels in 1usize..70,
        kind in 0usize..4,
        with_factors: bool,
    ) {
        let block = (first, first + rows);
        check_activate(pixels, block, channels, ACTIVATIONS[kind], with_factors);
        check_activation_backward(rows, channels, ACTIVATIONS[kind]);
    }
}

#[test]
#[cfg_attr(miri, ignore = "safe code, and much of it")]
fn the_slope_is_the_gradient_of_the_activation() {
    for activation in ACTIVATIONS {
        let mut noise = Noise(2);
        let y = Matrix::fill(8, 20, || noise.smooth());
        let d = Matrix::fill(8, 20, || noise.smooth());
        assert_gradient(&y, &derived(&y, &d, activation), |y| {
            weighted(&activated(y, activation), &d)
        });
    }
}

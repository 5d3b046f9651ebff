use proptest::prelude::*;

use super::differences::{assert_gradient, weighted};
use super::operand::{ExpectedSums, Matrix, Mix, Norm, Operand};
use super::real::Noise;
use super::{ACTIVATIONS, CHANNELS, ROWS, STEP, grid, isas, properties};
use crate::kernels::{
    ActivateRows, ActivationBackward, Factors, Images, NormaliseRows, activate_rows,
    activation_backward, channel_sums, combine, convert_rows, normalise_rows,
};
use crate::memory::{Planes, planes};
use crate::spec::Activation;

/// Applies the activation to each value of `y`.
pub(super) fn activated(y: &Matrix, activation: Activation) -> Matrix {
    Matrix::from_fn(y.rows, y.channels, |row, channel| {
        y[(row, channel)].activate(activation)
    })
}

/// Converts the gradient `d` of `activation(y)` to the gradient of `y`.
pub(super) fn derived(y: &Matrix, d: &Matrix, activation: Activation) -> Matrix {
    Matrix::from_fn(y.rows, y.channels, |row, channel| {
        y[(row, channel)].slope(activation) * d[(row, channel)]
    })
}

/// All shapes, as pairs of rows and channels.
fn shapes() -> impl Iterator<Item = (usize, usize)> {
    let channels = [&CHANNELS[..], &[1280]].concat();
    let shapes: Vec<_> = grid(&ROWS, &channels, &[1]).collect();
    shapes
        .into_iter()
        .map(|[rows, channels, _]| (rows, channels))
}

/// Position of squeeze-excite's factors.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Squeeze {
    None,
    After,
    Before,
}

const SQUEEZES: [Squeeze; 3] = [Squeeze::None, Squeeze::After, Squeeze::Before];

/// Tests `activate_rows` on rows `first..last` of images of `pixels` pixels.
fn check_activate(
    pixels: usize,
    (first, last): (usize, usize),
    channels: usize,
    activation: Activation,
    squeeze: Squeeze,
) {
    let mut noise = Noise((first * 100 + channels) as u64);
    let (rows, images) = (last - first, last.div_ceil(pixels));
    let z = Matrix::noise(&mut noise, last, channels);
    let norm = Norm::noise(&mut noise, channels);
    // Factors with few digits: products are exact, so they certainly fall on the right side of a
    // kink.
    let factors = Matrix::fill(images, channels, || noise.factor());
    let y = norm.apply(&z);
    let factor = |row: usize, channel: usize| factors[(row / pixels, channel)];
    let expected = Matrix::from_fn(rows, channels, |row, channel| {
        let row = first + row;
        let y = y[(row, channel)];
        match squeeze {
            Squeeze::None => y.activate(activation),
            Squeeze::After => y.activate(activation) * factor(row, channel),
            Squeeze::Before => (y * factor(row, channel)).activate(activation),
        }
    });
    let of_block = Images {
        first_row: first,
        pixels,
    };
    for isa in isas() {
        let what = format!(
            "{isa} rows {first}..{last} of {pixels} an image, {channels} channels, \
             {activation:?}, squeeze-excite: {squeeze:?}"
        );
        let (z, factors) = (Operand::of(isa, &z), Operand::of(isa.with_f32(), &factors));
        let target = Operand::blank(isa, rows, channels);
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe {
            let operands = ActivateRows {
                rows,
                planes: planes(channels),
                z: z.planes().row(first),
                norm: norm.affine(),
                activation,
                factors: (squeeze != Squeeze::None).then(|| Factors {
                    values: factors.planes(),
                    images: of_block,
                    before_activation: squeeze == Squeeze::Before,
                }),
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
        for squeeze in SQUEEZES {
            check_activate(
                5,
                (0, rows),
                channels,
                ACTIVATIONS[index % ACTIVATIONS.len()],
                squeeze,
            );
        }
    }
}

#[test]
fn activate_rows_of_blocks_that_start_within_an_image() {
    for pixels in [1, 4, 9] {
        for first in (0..11).step_by(STEP.min(5)) {
            for last in [first + 1, first + 4, 12] {
                for squeeze in SQUEEZES {
                    check_activate(pixels, (first, last), 20, Activation::Hardswish, squeeze);
                }
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
                // SAFETY: all operands have the shapes that the kernel requires.
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
fn convert_rows_of_every_shape() {
    for (rows, channels) in shapes() {
        let mut noise = Noise((rows * 2000 + channels) as u64);
        let source = Matrix::noise(&mut noise, rows, channels);
        for isa in isas() {
            let from = Operand::of(isa, &source);
            let to = Operand::blank(isa.with_f32(), rows, channels);
            // SAFETY: both operands have the shapes that the kernel requires.
            unsafe { convert_rows(isa, rows, planes(channels), from.planes(), to.planes()) };
            to.assert_near(&source, &format!("{isa} {rows} x {channels}"));
            let back = Operand::blank(isa, rows, channels);
            // SAFETY: likewise.
            unsafe { convert_rows(isa, rows, planes(channels), to.planes(), back.planes()) };
            back.assert_near(&source, &format!("back, {isa} {rows} x {channels}"));
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
            // SAFETY: all operands have the shapes that the kernel requires.
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
            // SAFETY: all operands have the shapes that the kernel requires.
            unsafe { activation_backward(isa, &operands, &mut sums) };
            target.assert_near(&expected, &what);
            expected_sums.assert_near(&sums, &what);
        }
    }
}

#[test]
fn activation_backward_of_every_shape() {
    for (index, (rows, channels)) in shapes().enumerate() {
        check_activation_backward(rows, channels, ACTIVATIONS[index % ACTIVATIONS.len()]);
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
            // SAFETY: all operands have the shapes that the kernel requires.
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
        kind in 0..ACTIVATIONS.len(),
        squeeze in 0usize..3,
    ) {
        let block = (first, first + rows);
        check_activate(pixels, block, channels, ACTIVATIONS[kind], SQUEEZES[squeeze]);
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

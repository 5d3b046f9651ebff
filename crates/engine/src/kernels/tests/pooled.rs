use proptest::prelude::*;

use super::differences::{assert_gradient, weighted};
use super::elementwise::{activated, derived};
use super::operand::{ExpectedSums, Matrix, Norm, Operand};
use super::real::{Noise, Real};
use super::{ACTIVATIONS, CHANNELS, STEP, grid, isas, properties};
use crate::kernels::{
    FactoredBackward, Images, SqueezeBackward, average, average_backward, factor_gradient,
    factored_backward, squeeze_backward,
};
use crate::memory::planes;
use crate::spec::Activation;

#[derive(Clone, Copy, Debug)]
struct Case {
    images: usize,
    pixels: usize,
    channels: usize,
    activation: Activation,
}

impl Case {
    fn noise(self) -> Noise {
        Noise((self.images * 1000 + self.pixels * 50 + self.channels) as u64)
    }

    fn rows(self) -> usize {
        self.images * self.pixels
    }
}

fn cases() -> Vec<Case> {
    let channels = [&CHANNELS[..], &[1280]].concat();
    grid(&[1, 2, 3], &[1, 2, 3, 4, 7, 49, 56], &channels)
        .enumerate()
        .map(|(index, [images, pixels, channels])| Case {
            images,
            pixels,
            channels,
            activation: ACTIVATIONS[index % ACTIVATIONS.len()],
        })
        .collect()
}

/// Averages the pixels of each image.
pub(super) fn averaged(y: &Matrix, images: usize) -> Matrix {
    let pixels = y.rows / images;
    Matrix::from_fn(images, y.channels, |image, channel| {
        let mut sum = Real::default();
        for row in image * pixels..(image + 1) * pixels {
            sum += y[(row, channel)];
        }
        sum * Real::from(1.0 / pixels as f64)
    })
}

/// Spreads the gradient `d` of the averages over the pixels of each image.
fn spread(d: &Matrix, pixels: usize) -> Matrix {
    let share = Real::from(1.0 / pixels as f64);
    Matrix::from_fn(d.rows * pixels, d.channels, |row, channel| {
        d[(row / pixels, channel)] * share
    })
}

/// Multiplies the rows by the factors of their image.
pub(super) fn multiplied(y: &Matrix, factors: &Matrix) -> Matrix {
    let pixels = y.rows / factors.rows;
    Matrix::from_fn(y.rows, y.channels, |row, channel| {
        y[(row, channel)] * factors[(row / pixels, channel)]
    })
}

/// The gradient of the factors, from the gradient `d` of the products. Rows are counted over all
/// images, each of `pixels` pixels, and start at `first`.
fn factors_gradient(y: &Matrix, d: &Matrix, first: usize, pixels: usize, images: usize) -> Matrix {
    let mut gradient = Matrix::zeros(images, y.channels);
    for row in 0..y.rows {
        for channel in 0..y.channels {
            let at = (row, channel);
            gradient[((first + row) / pixels, channel)] += y[at] * d[at];
        }
    }
    gradient
}

fn sum(a: &Matrix, b: &Matrix) -> Matrix {
    Matrix::from_fn(a.rows, a.channels, |row, channel| {
        a[(row, channel)] + b[(row, channel)]
    })
}

fn check_average(case: Case) {
    let mut noise = case.noise();
    let Case {
        images,
        pixels,
        channels,
        activation,
    } = case;
    let z = Matrix::noise(&mut noise, case.rows(), channels);
    let norm = Norm::noise(&mut noise, channels);
    let expected = averaged(&activated(&norm.apply(&z), activation), images);
    let norm = norm.affine();
    for isa in isas() {
        let z = Operand::of(isa, &z);
        let target = Operand::blank(isa.with_f32(), images, channels);
        let (z, to) = (z.planes(), target.planes());
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe {
            average(
                isa,
                images,
                pixels,
                planes(channels),
                z,
                norm,
                activation,
                to,
            )
        };
        target.assert_near(&expected, &format!("{isa} {case:?}"));
    }
}

fn check_average_backward(case: Case) {
    let mut noise = case.noise();
    let Case {
        images,
        pixels,
        channels,
        activation,
    } = case;
    let z = Matrix::noise(&mut noise, case.rows(), channels);
    let d = Matrix::noise_f32(&mut noise, images, channels);
    let norm = Norm::noise(&mut noise, channels);
    let expected = derived(&norm.apply(&z), &spread(&d, pixels), activation);
    let before = ExpectedSums::noise(&mut noise, channels);
    let mut expected_sums = before.clone();
    expected.add_sums(&z, &mut expected_sums, 0);
    for isa in isas() {
        let what = format!("{isa} {case:?}");
        let (d, z) = (Operand::of(isa.with_f32(), &d), Operand::of(isa, &z));
        let target = Operand::blank(isa, case.rows(), channels);
        let mut sums = before.before();
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe {
            average_backward(
                isa,
                images,
                pixels,
                planes(channels),
                d.planes(),
                z.planes(),
                norm.affine(),
                activation,
                target.planes(),
                &mut sums,
            );
        }
        target.assert_near(&expected, &what);
        expected_sums.assert_near(&sums, &what);
    }
}

/// Checks rows `first..last`. Each image has `pixels` pixels.
fn check_factor_gradient(
    (first, last): (usize, usize),
    pixels: usize,
    channels: usize,
    activation: Activation,
) {
    let mut noise = Noise((first * 100 + last * 10 + channels) as u64);
    let (rows, images) = (last - first, last.div_ceil(pixels));
    let z = Matrix::noise(&mut noise, rows, channels);
    let d = Matrix::noise(&mut noise, rows, channels);
    let norm = Norm::noise(&mut noise, channels);
    let before = Matrix::noise_f32(&mut noise, images, channels);
    let y = activated(&norm.apply(&z), activation);
    let expected = sum(&before, &factors_gradient(&y, &d, first, pixels, images));
    let block = Images {
        first_row: first,
        pixels,
    };
    for isa in isas() {
        let (d, z) = (Operand::of(isa, &d), Operand::of(isa, &z));
        let target = Operand::of(isa.with_f32(), &before);
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe {
            factor_gradient(
                isa,
                rows,
                planes(channels),
                block,
                d.planes(),
                z.planes(),
                norm.affine(),
                activation,
                target.planes(),
            );
        }
        let what = format!("{isa} rows {first}..{last} of {pixels}, {channels} channels");
        target.assert_near(&expected, &what);
    }
}

fn check_squeeze_backward(case: Case) {
    let mut noise = case.noise();
    let Case {
        images,
        pixels,
        channels,
        activation,
    } = case;
    let z = Matrix::noise(&mut noise, case.rows(), channels);
    let d = Matrix::noise(&mut noise, case.rows(), channels);
    let factors = Matrix::noise_f32(&mut noise, images, channels);
    let averages = Matrix::noise_f32(&mut noise, images, channels);
    let norm = Norm::noise(&mut noise, channels);
    let behind = sum(&multiplied(&d, &factors), &spread(&averages, pixels));
    let expected = derived(&norm.apply(&z), &behind, activation);
    let before = ExpectedSums::noise(&mut noise, channels);
    let mut expected_sums = before.clone();
    expected.add_sums(&z, &mut expected_sums, 0);
    for isa in isas() {
        let z = Operand::of(isa, &z);
        let [factors, averages] =
            [&factors, &averages].map(|matrix| Operand::of(isa.with_f32(), matrix));
        for in_place in [false, true] {
            let what = format!("{isa} {case:?}, in place: {in_place}");
            let (d, blank) = (
                Operand::of(isa, &d),
                Operand::blank(isa, case.rows(), channels),
            );
            let target = if in_place { &d } else { &blank };
            let mut sums = before.before();
            let operands = SqueezeBackward {
                images,
                pixels,
                planes: planes(channels),
                d: d.planes(),
                z: z.planes(),
                norm: norm.affine(),
                activation,
                factors: factors.planes(),
                averages: averages.planes(),
                target: target.planes(),
            };
            // SAFETY: all operands have the shapes that the kernel requires.
            unsafe { squeeze_backward(isa, &operands, &mut sums) };
            target.assert_near(&expected, &what);
            expected_sums.assert_near(&sums, &what);
        }
    }
}

/// Checks a block of rows that starts within the first image.
fn check_factored_backward(case: Case) {
    let mut noise = case.noise();
    let Case {
        images,
        pixels,
        channels,
        activation,
    } = case;
    let first = pixels / 2;
    let rows = case.rows() - first;
    let z = Matrix::noise(&mut noise, rows, channels);
    let d = Matrix::noise(&mut noise, rows, channels);
    let factors = Matrix::fill(images, channels, || noise.factor());
    let norm = Norm::noise(&mut noise, channels);
    let y = norm.apply(&z);
    let y = Matrix::from_fn(rows, channels, |row, c| {
        y[(row, c)] * factors[((first + row) / pixels, c)]
    });
    let expected = derived(&y, &d, activation);
    for isa in isas() {
        let (d, z) = (Operand::of(isa, &d), Operand::of(isa, &z));
        let factors = Operand::of(isa.with_f32(), &factors);
        let operands = FactoredBackward {
            rows,
            planes: planes(channels),
            images: Images {
                first_row: first,
                pixels,
            },
            d: d.planes(),
            z: z.planes(),
            norm: norm.affine(),
            activation,
            factors: factors.planes(),
        };
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe { factored_backward(isa, &operands) };
        d.assert_near(&expected, &format!("{isa} {case:?}"));
    }
}

#[test]
fn factored_backward_of_every_shape() {
    cases().into_iter().for_each(check_factored_backward);
}

#[test]
fn average_of_every_shape() {
    cases().into_iter().for_each(check_average);
}

#[test]
fn average_backward_of_every_shape() {
    cases().into_iter().for_each(check_average_backward);
}

#[test]
fn factor_gradient_of_every_shape() {
    for case in cases() {
        let block = (0, case.rows());
        check_factor_gradient(block, case.pixels, case.channels, case.activation);
    }
}

#[test]
fn factor_gradient_of_blocks_that_start_within_an_image() {
    for pixels in [1, 4, 9] {
        for first in (0..11).step_by(STEP.min(5)) {
            for last in [first + 1, first + 4, 12] {
                check_factor_gradient((first, last), pixels, 20, Activation::Hardswish);
            }
        }
    }
}

#[test]
fn squeeze_backward_of_every_shape() {
    cases().into_iter().for_each(check_squeeze_backward);
}

proptest! {
    #![proptest_config(properties(64))]
    #[test]
    #[cfg_attr(miri, ignore = "too large to interpret")]
    fn any_shape(
        images in 1usize..5,
        pixels in 1usize..40,
        channels in 1usize..70,
        kind in 0..ACTIVATIONS.len(),
    ) {
        let case = Case { images, pixels, channels, activation: ACTIVATIONS[kind] };
        check_average(case);
        check_average_backward(case);
        check_squeeze_backward(case);
        check_factored_backward(case);
        check_factor_gradient((pixels / 2, case.rows()), pixels, channels, ACTIVATIONS[kind]);
    }
}

#[test]
#[cfg_attr(miri, ignore = "safe code, and much of it")]
fn the_references_are_gradients() {
    let (images, pixels, channels) = (2, 3, 4);
    let mut noise = Noise(5);
    let mut matrix = |rows| Matrix::fill(rows, channels, || noise.smooth());
    let (y, d, averages) = (
        matrix(images * pixels),
        matrix(images * pixels),
        matrix(images),
    );
    let factors = matrix(images);
    for activation in ACTIVATIONS {
        let behind = sum(&multiplied(&d, &factors), &spread(&averages, pixels));
        assert_gradient(&y, &derived(&y, &behind, activation), |y| {
            let y = activated(y, activation);
            weighted(&multiplied(&y, &factors), &d) + weighted(&averaged(&y, images), &averages)
        });
    }
    let gradient = factors_gradient(&y, &d, 0, pixels, images);
    assert_gradient(&factors, &gradient, |factors| {
        weighted(&multiplied(&y, factors), &d)
    });
}

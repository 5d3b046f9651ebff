use super::operand::{ExpectedSums, Matrix, Norm, Operand};
use super::real::Noise;
use super::{CHANNELS, grid, isas};
use crate::kernels::{DropRows, DropRowsBackward, Images, drop_rows, drop_rows_backward};
use crate::memory::{Src, planes};

/// Tests both kernels on whole images, and the forward kernel also on rows that start within an image.
fn check(images: usize, pixels: usize, channels: usize) {
    let mut noise = Noise((images * 1000 + pixels * 50 + channels) as u64);
    let rows = images * pixels;
    let factors: Vec<f64> = (0..images).map(|_| noise.factor().value).collect();
    let of_kernel: Vec<f32> = factors.iter().map(|factor| *factor as f32).collect();
    let z = Matrix::noise(&mut noise, rows, channels);
    let d = Matrix::noise(&mut noise, rows, channels);
    let norm = Norm::noise(&mut noise, channels);
    let y = norm.apply(&z);
    let scaled = |matrix: &Matrix, row: usize, channel: usize| {
        matrix[(row, channel)] * factors[row / pixels].into()
    };
    let gradient = Matrix::from_fn(rows, channels, |row, channel| scaled(&d, row, channel));
    let before = ExpectedSums::noise(&mut noise, channels);
    let mut expected_sums = before.clone();
    gradient.add_sums(&z, &mut expected_sums, 0);
    for isa in isas() {
        let what = format!("{isa} {images} images of {pixels}, {channels} channels");
        let (z, residual) = (Operand::of(isa, &z), Operand::of(isa, &d));
        for first in [0, pixels / 2] {
            let count = rows - first;
            let expected = Matrix::from_fn(count, channels, |row, channel| {
                scaled(&y, first + row, channel) + d[(first + row, channel)]
            });
            let target = Operand::blank(isa, count, channels);
            // SAFETY: all operands have the shapes that the kernel requires.
            unsafe {
                let operands = DropRows {
                    rows: count,
                    planes: planes(channels),
                    images: Images {
                        first_row: first,
                        pixels,
                    },
                    factors: Src::of(&of_kernel),
                    z: z.planes().row(first),
                    norm: norm.affine(),
                    residual: residual.planes().row(first),
                    target: target.planes(),
                };
                drop_rows(isa, &operands);
            }
            target.assert_near(&expected, &what);
        }
        let target = Operand::blank(isa, rows, channels);
        let operands = DropRowsBackward {
            images,
            pixels,
            planes: planes(channels),
            factors: Src::of(&of_kernel),
            d: residual.planes(),
            z: z.planes(),
            target: target.planes(),
        };
        let mut sums = before.before();
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe { drop_rows_backward(isa, &operands, &mut sums) };
        target.assert_near(&gradient, &what);
        expected_sums.assert_near(&sums, &what);
    }
}

#[test]
fn drop_rows_of_every_shape() {
    for [images, pixels, channels] in grid(&[1, 2, 5], &[1, 2, 7, 49], &CHANNELS) {
        check(images, pixels, channels);
    }
}

use proptest::prelude::*;

use super::differences::{assert_gradient, weighted};
use super::operand::{Matrix, NOTHING, Operand, assert_nothing};
use super::real::{Noise, Real};
use super::{CHANNELS, ROWS, STEP, grid, isas, properties};
use crate::kernels::{NextRows, WeightGradient, weight_gradient};
use crate::memory::Dst;
use crate::simd::LANES;

#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    /// Range of outputs, as first plane and number of planes. The range ends at the last output at
    /// the latest.
    range: (usize, usize),
    accumulate: bool,
}

impl Case {
    /// One of 18 option sets of the kernel.
    fn new([rows, inputs, outputs]: [usize; 3], way: usize) -> Self {
        let accumulate = way % 2 == 1;
        let range = [
            (0, 100),
            (0, 1),
            (0, 2),
            (1, 1),
            (1, 2),
            (1, 100),
            (2, 1),
            (2, 2),
            (3, 100),
        ];
        let mut range = range[way / 2 % 9];
        if range.0 * LANES >= outputs {
            range.0 = 0;
        }
        Case {
            rows,
            inputs,
            outputs,
            range,
            accumulate,
        }
    }
}

/// `gradient[n][k] = sum_m d[m][n] * a[m][k]`
fn reference(a: &Matrix, d: &Matrix) -> Matrix {
    Matrix::from_fn(d.channels, a.channels, |output, input| {
        let mut sum = Real::default();
        for row in 0..a.rows {
            sum += d[(row, output)] * a[(row, input)];
        }
        sum
    })
}

fn check(case: Case) {
    let Case {
        rows,
        inputs,
        outputs,
        ..
    } = case;
    let mut noise = Noise((rows * 5000 + inputs * 70 + outputs) as u64);
    let a = Matrix::noise(&mut noise, rows, inputs);
    let d = Matrix::noise(&mut noise, rows, outputs);
    let before = Matrix::noise_f32(&mut noise, outputs, inputs);
    let gradient = reference(&a, &d);
    let first = case.range.0 * LANES;
    let last = outputs.min(first + case.range.1 * LANES);

    for isa in isas() {
        let what = format!("{isa} {case:?}");
        let (a, d) = (Operand::of(isa, &a), Operand::of(isa, &d));
        let ranks = [inputs, outputs]
            .map(|channels| Operand::blank(isa.with_f32(), rows.div_ceil(isa.rank()), channels));
        let mut target = if case.accumulate {
            before.dense()
        } else {
            vec![NOTHING; outputs * inputs]
        };
        let operands = WeightGradient {
            rows,
            inputs,
            outputs: (first, last),
            a: a.planes(),
            d: d.planes(),
            ranks: (isa.rank() > 1).then(|| ranks.each_ref().map(Operand::planes)),
            gradient: Dst::of(&mut target),
            accumulate: case.accumulate,
            next: NextRows::NONE,
        };
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe { weight_gradient(isa, &operands) };
        ranks
            .iter()
            .for_each(|ranks| ranks.assert_nothing_around(&what));
        for (at, &actual) in target.iter().enumerate() {
            let place = (at / inputs, at % inputs);
            let what = || format!("{what}, at {place:?}");
            let (within, before) = ((first..last).contains(&place.0), before[place]);
            match (within, case.accumulate) {
                (true, true) => (gradient[place] + before).assert_near(actual, what),
                (true, false) => gradient[place].assert_near(actual, what),
                (false, true) => assert_eq!(f64::from(actual), before.value, "{}", what()),
                (false, false) => assert_nothing(actual, what),
            }
        }
    }
}

#[test]
fn adversarial_shapes() {
    for (index, shape) in grid(&ROWS, &CHANNELS, &CHANNELS).enumerate() {
        // 7 has no divisor in common with the number of options, so successive cases cover all
        // options.
        check(Case::new(shape, index * 7));
    }
}

#[test]
fn every_range_of_outputs() {
    for way in (0..18).step_by(STEP) {
        check(Case::new([5, 52, 61], way));
    }
}

#[test]
#[cfg_attr(miri, ignore = "too large to interpret")]
fn wide_layers() {
    check(Case::new([7, 1280, 10], 1));
    check(Case::new([13, 960, 1280], 0));
    check(Case::new([29, 61, 1024], 11));
    // More rows than a block of tiles.
    check(Case::new([97, 1280, 40], 3));
}

proptest! {
    #![proptest_config(properties(48))]
    #[test]
    #[cfg_attr(miri, ignore = "too large to interpret")]
    fn any_shape(
        rows in 1usize..60,
        inputs in 1usize..90,
        outputs in 1usize..90,
        way in 0usize..18,
    ) {
        check(Case::new([rows, inputs, outputs], way));
    }
}

#[test]
#[cfg_attr(miri, ignore = "safe code, and much of it")]
fn the_reference_is_the_gradient_of_a_product() {
    let mut noise = Noise(1);
    let a = Matrix::fill(3, 4, || noise.smooth());
    let d = Matrix::fill(3, 5, || noise.smooth());
    let weights = Matrix::fill(5, 4, || noise.smooth());
    assert_gradient(&weights, &reference(&a, &d), |weights| {
        let outputs = Matrix::from_fn(3, 5, |row, output| {
            let mut sum = Real::default();
            for input in 0..4 {
                sum += a[(row, input)] * weights[(output, input)];
            }
            sum
        });
        weighted(&outputs, &d)
    });
}

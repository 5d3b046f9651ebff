use proptest::prelude::*;

use super::operand::{ExpectedSums, Matrix, NOTHING, Norm, Operand, per_channel};
use super::real::{Noise, Real};
use super::{ACTIVATIONS, CHANNELS, ROWS, STEP, grid, isas, layouts, properties};
use crate::kernels::{
    Before, Epilogue, NextRows, Product, ProductSums, Weights, pack_inputs, pack_outputs,
    packed_length, product,
};
use crate::memory::{Dst, Src};
use crate::simd::LANES;
use crate::spec::Activation;

/// The values that the second sum adds up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Second {
    Squares,
    ProductsWithOthers,
}

/// Memory layout of the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    /// `[columns][depth]`, and packed.
    ByColumn,
    /// `[depth][columns]`, and packed, as for gradients of inputs.
    ByRank,
    /// `[depth][columns]`, not packed. Possible only if a rank is one channel.
    Bare,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    depth: usize,
    columns: usize,
    lie: Lie,
    bias: bool,
    activation: Activation,
    /// The activation of the backward pass, if any.
    before: Option<Activation>,
    addend: bool,
    /// The activation after the addend.
    last: Activation,
    sums: Option<Second>,
    stream: bool,
}

impl Case {
    /// One of all 360 option sets of the kernel.
    fn new([rows, depth, columns]: [usize; 3], way: usize) -> Self {
        Case {
            rows,
            depth,
            columns,
            lie: [Lie::ByColumn, Lie::ByRank, Lie::Bare][way % 3],
            bias: way / 3 % 2 == 1,
            activation: ACTIVATIONS[way / 6 % ACTIVATIONS.len()],
            addend: way / 30 % 2 == 1,
            last: if way % 7 == 3 {
                ACTIVATIONS[way % ACTIVATIONS.len()]
            } else {
                Activation::Identity
            },
            sums: [
                None,
                Some(Second::Squares),
                Some(Second::ProductsWithOthers),
            ][way / 60 % 3],
            stream: way % 5 == 1,
            before: (way / 180 % 2 == 1).then(|| ACTIVATIONS[way / 3 % ACTIVATIONS.len()]),
        }
    }
}

fn check(case: Case) {
    let Case {
        rows,
        depth,
        columns,
        ..
    } = case;
    let mut noise = Noise((rows * 5000 + depth * 70 + columns) as u64);
    let a = Matrix::noise(&mut noise, rows, depth);
    let weights = if case.lie == Lie::ByColumn {
        Matrix::noise(&mut noise, columns, depth)
    } else {
        Matrix::noise(&mut noise, depth, columns)
    };
    let bias: Vec<_> = (0..columns).map(|_| noise.value()).collect();
    let addend = Matrix::noise(&mut noise, rows, columns);
    let with = Matrix::noise(&mut noise, rows, columns);
    let before = ExpectedSums::noise(&mut noise, columns);
    let norm = Norm::noise(&mut noise, columns);
    let normalised = norm.apply(&with);

    let expected = Matrix::from_fn(rows, columns, |row, column| {
        let mut sum = Real::default();
        for k in 0..depth {
            let place = if case.lie == Lie::ByColumn {
                (column, k)
            } else {
                (k, column)
            };
            sum += a[(row, k)] * weights[place];
        }
        if case.bias {
            sum += bias[column];
        }
        sum = sum.activate(case.activation);
        if let Some(activation) = case.before {
            sum = sum * normalised[(row, column)].slope(activation);
        }
        if case.addend {
            sum += addend[(row, column)];
        }
        sum.activate(case.last)
    });
    let mut expected_sums = before.clone();
    let others = if case.sums == Some(Second::Squares) {
        &expected
    } else {
        &with
    };
    expected.add_sums(others, &mut expected_sums, 0);

    let (mut weights, bias) = (weights.dense(), per_channel(&bias));
    if case.lie == Lie::Bare {
        weights.extend([NOTHING; LANES - 1]);
    }
    let runs = isas()
        .into_iter()
        .flat_map(|isa| layouts(isa).into_iter().map(move |to| (isa, to)));
    for (isa, to) in runs {
        // Unpacked weights need ranks of one channel.
        if case.lie == Lie::Bare && isa.rank() > 1 {
            continue;
        }
        let what = format!("{isa} to {to} {case:?}");
        let alike = to == isa;
        let [a, addend, with] = [&a, &addend, &with].map(|matrix| Operand::of(isa, matrix));
        let mut packed = vec![NOTHING; packed_length(isa, depth, columns)];
        let target = Operand::blank(to, rows, columns);
        let mut sums = [per_channel(before.first()), per_channel(before.second())];
        let [first, second] = &mut sums;
        // SAFETY: all operands have the shapes that the kernels require.
        unsafe {
            let (from, to) = (Src::of(&weights), Dst::of(&mut packed));
            match case.lie {
                Lie::ByColumn => pack_outputs(isa, columns, depth, from, to),
                Lie::ByRank => pack_inputs(isa, depth, columns, from, to),
                Lie::Bare => {}
            }
            let operands = Product {
                rows,
                depth,
                columns,
                a: a.planes(),
                b: match case.lie {
                    Lie::Bare => Weights::Rows(from, columns),
                    _ => Weights::Packed(Src::of(&packed)),
                },
                c: target.planes(),
                next: NextRows::NONE,
            };
            let epilogue = Epilogue {
                bias: case.bias.then(|| Src::of(&bias)),
                activation: case.activation,
                before: case.before.map(|activation| Before {
                    z: with.planes(),
                    norm: norm.affine(),
                    activation,
                }),
                scale: None,
                addend: case.addend.then(|| addend.planes()),
                last: case.last,
                sums: case.sums.map(|second_sum| ProductSums {
                    first: Dst::of(first),
                    second: Dst::of(second),
                    with: (second_sum == Second::ProductsWithOthers).then(|| with.planes()),
                }),
                stream: case.stream && alike,
            };
            product(isa, &operands, &epilogue);
        }
        target.assert_near(&expected, &what);
        // The slope of SiLU at an unused value may be no number.
        let has_slopes = case.before == Some(Activation::Silu);
        if !case.bias && !case.addend && !has_slopes && case.lie != Lie::Bare {
            // Unused columns are zero, because packed weights are padded with zeros.
            assert!(target.padding().iter().all(|x| *x == 0.0), "{what}");
        }
        let expected_sums = if case.sums.is_some() {
            &expected_sums
        } else {
            &before
        };
        for (expected, actual) in [expected_sums.first(), expected_sums.second()]
            .iter()
            .zip(&sums)
        {
            for (channel, expected) in expected.iter().enumerate() {
                let what = || format!("{what}, sums of channel {channel}");
                expected.assert_near(actual[channel], what);
            }
        }
    }
}

#[test]
fn adversarial_shapes() {
    for (index, shape) in grid(&ROWS, &CHANNELS, &CHANNELS).enumerate() {
        // 29 has no divisor in common with the number of options, so successive cases cover all
        // options.
        check(Case::new(shape, index * 29));
    }
}

#[test]
fn every_epilogue() {
    for way in (0..360).step_by(STEP) {
        check(Case::new([15, 17, 50], way));
    }
}

#[test]
#[cfg_attr(miri, ignore = "too large to interpret")]
fn wide_layers() {
    for (way, shape) in [
        [5, 1280, 10],
        [13, 960, 1280],
        [14, 112, 672],
        [29, 1024, 61],
        [1, 1280, 1000],
        [28, 48, 64],
        // More rows than a block of tiles.
        [150, 1280, 20],
    ]
    .into_iter()
    .enumerate()
    {
        check(Case::new(shape, way * 5));
    }
}

proptest! {
    #![proptest_config(properties(48))]
    #[test]
    #[cfg_attr(miri, ignore = "too large to interpret")]
    fn any_shape(rows in 1usize..40, depth in 1usize..90, columns in 1usize..90, way in 0usize..360) {
        check(Case::new([rows, depth, columns], way));
    }
}

use super::ACTIVATIONS;
use super::conv::{Case, SIDES, WINDOWS, isas};
use super::operand::{ExpectedSums, Matrix, Mix, NOTHING, Operand, per_channel};
use super::real::{Noise, Real};
use super::stem::StemImages;
use crate::kernels::Behind;
use crate::layered::conv::{
    ConvShape, Scratch, StemBackward, StemForward, stem_backward, stem_forward,
};
use crate::memory::{Dst, Src};

fn check(case: &Case, bytes: bool) {
    let (way, conv) = (case.way, &case.conv);
    let mut noise = Noise(way as u64 * 31 + conv.out_channels as u64);
    let images = StemImages::noise(&mut noise, case.images * case.height * case.width);
    let x = images.values(bytes);
    let pixels = case.images * case.rows() * case.columns();
    let weights = Matrix::noise_f32(&mut noise, conv.out_channels, 3 * case.taps());
    let bias: Option<Vec<_>> =
        (way % 2 == 1).then(|| (0..conv.out_channels).map(|_| noise.value()).collect());
    let activation = ACTIVATIONS[way % ACTIVATIONS.len()];
    let d = Matrix::noise(&mut noise, pixels, conv.out_channels);
    let z = Matrix::noise(&mut noise, pixels, conv.out_channels);
    let mix = (way % 3 > 0).then(|| Mix::noise(&mut noise, conv.out_channels));
    let behind = mix.as_ref().map_or(d.clone(), |mix| mix.apply(&d, &z));

    let mut y = Matrix::from_fn(pixels, conv.out_channels, |_, output| {
        bias.as_ref().map_or(Real::default(), |bias| bias[output])
    });
    let mut dw = Matrix::zeros(conv.out_channels, 3 * case.taps());
    case.each(|[pixel, output], [from, input], [row, column]| {
        y[(pixel, output)] += x[(from, input)] * weights[(row, column)];
        dw[(row, column)] += behind[(pixel, output)] * x[(from, input)];
    });
    let y = Matrix::from_fn(pixels, conv.out_channels, |row, channel| {
        y[(row, channel)].activate(activation)
    });
    let before = ExpectedSums::noise(&mut noise, conv.out_channels);
    let mut expected = before.clone();
    y.add_sums(&y, &mut expected, 0);

    for isa in isas() {
        let what = format!("{isa}, bytes {bytes}, {case:?}");
        let shape = ConvShape::new(isa, conv, case.height, case.width);
        let dense = weights.dense();
        let mut packed = vec![NOTHING; shape.stem_length()];
        let bias = bias.as_ref().map(|bias| per_channel(bias));
        let target = Operand::blank(isa, pixels, conv.out_channels);
        let [d, z] = [&d, &z].map(|matrix| Operand::of(isa, matrix));
        let mut sums = before.before();
        let mut gradient = vec![NOTHING; dense.len()];
        let mut scratch = Scratch::default();
        let half = shape.rows / 2;
        // SAFETY: all operands have the shapes that the kernels require.
        unsafe {
            shape.pack_stem(Src::of(&dense), Dst::of(&mut packed));
            for rows in [0..half, half..shape.rows] {
                let operands = StemForward {
                    shape: &shape,
                    images: case.images,
                    pixels: images.pixels(bytes),
                    weights: Src::of(&packed),
                    target: target.planes(),
                    bias: bias.as_ref().map(|bias| Src::of(bias)),
                    activation,
                    rows,
                };
                stem_forward(isa, &operands, &mut scratch, Some(&mut sums));
            }
            let operands = StemBackward {
                shape: &shape,
                images: case.images,
                pixels: images.pixels(bytes),
                behind: Behind {
                    d: d.planes(),
                    z: z.planes(),
                    norm: mix.as_ref().map(Mix::operand),
                },
                gradient: Dst::of(&mut gradient),
            };
            stem_backward(isa, &operands, &mut scratch);
        }
        target.assert_near(&y, &what);
        expected.assert_near(&sums, &what);
        dw.assert_dense(&gradient, &what);
    }
}

#[test]
fn adversarial_shapes() {
    for (index, &window) in WINDOWS.iter().enumerate() {
        for (other, outputs) in [1, 16, 24, 40].into_iter().enumerate() {
            let side = SIDES[(index + other) % SIDES.len()];
            let way = index * 5 + other;
            if let Some(case) = Case::new([3, outputs, 1], window, side, way) {
                check(&case, way % 2 == 0);
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "too large to interpret")]
fn images_that_are_cut_into_bands() {
    let case = Case::new([3, 17, 1], WINDOWS[9], [150, 131, 2], 4).unwrap();
    check(&case, true);
}

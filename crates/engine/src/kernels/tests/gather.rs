use super::ACTIVATIONS;
use super::conv::isas;
use super::operand::{Matrix, Norm, Operand};
use super::real::{Noise, Real};
use crate::kernels::{Gather, Reading, gather_channels};

/// Checks a map on sources with these numbers of channels.
fn check(channels: &[usize], map: &[Option<(usize, usize)>], rows: usize, way: usize) {
    let mut noise = Noise(way as u64);
    let sources: Vec<_> = (channels.iter().enumerate())
        .map(|(index, &channels)| {
            let z = Matrix::noise(&mut noise, rows, channels);
            let norm = (way >> index & 1 == 1).then(|| Norm::noise(&mut noise, channels));
            (z, norm, ACTIVATIONS[(way + index) % ACTIVATIONS.len()])
        })
        .collect();
    let addend = (way % 3 == 1).then(|| Matrix::noise(&mut noise, rows, map.len()));
    let values: Vec<Matrix> = (sources.iter())
        .map(|(z, norm, activation)| {
            let x = norm.as_ref().map_or(z.clone(), |norm| norm.apply(z));
            Matrix::from_fn(rows, x.channels, |row, channel| {
                x[(row, channel)].activate(*activation)
            })
        })
        .collect();
    let expected = Matrix::from_fn(rows, map.len(), |row, channel| {
        let mut value = addend
            .as_ref()
            .map_or(Real::default(), |addend| addend[(row, channel)]);
        if let Some((source, from)) = map[channel] {
            value += values[source][(row, from)];
        }
        value
    });
    for isa in isas() {
        let operands: Vec<_> = sources.iter().map(|(z, ..)| Operand::of(isa, z)).collect();
        let readings: Vec<_> = (operands.iter().zip(&sources))
            .map(|(z, (_, norm, activation))| Reading {
                z: z.planes(),
                norm: norm.as_ref().map(Norm::affine),
                activation: *activation,
            })
            .collect();
        let target = addend.as_ref().map_or_else(
            || Operand::blank(isa, rows, map.len()),
            |addend| Operand::of(isa, addend),
        );
        // SAFETY: all operands have the shapes that the kernel requires.
        unsafe {
            let addend = addend.as_ref().map(|_| target.planes());
            gather_channels(
                isa,
                rows,
                &Gather::new(map),
                &readings,
                addend,
                target.planes(),
            );
        }
        target.assert_near(&expected, &format!("{isa} {channels:?} {map:?}"));
        if addend.is_none() {
            assert!(target.padding().iter().all(|value| *value == 0.0));
        }
    }
}

#[test]
fn concatenations_slices_and_shuffles() {
    let all = |source: usize, channels: usize| (0..channels).map(move |c| Some((source, c)));
    for way in 0..24 {
        let (a, b) = ([1, 16, 29, 58][way % 4], [3, 16, 35][way % 3]);
        let concatenated: Vec<_> = all(0, a).chain(all(1, b)).collect();
        check(&[a, b], &concatenated, 9, way);
        check(&[a, b], &concatenated[a / 2..], 150, way);
        let both = a.min(b);
        // ShuffleNet: two halves, alternating.
        let shuffled: Vec<_> = (0..2 * both).map(|c| Some((c % 2, c / 2))).collect();
        check(&[a, b], &shuffled, 7, way);
        // The backward pass of a slice, and of a channel that nobody reads.
        let mut sparse = vec![None; 2 * a];
        for c in 0..both {
            sparse[(c * 7 + 3) % (2 * a)] = Some((1, c));
        }
        check(&[a, b], &sparse, 5, way);
    }
    // One plane that reads more planes than one loop adds up.
    let wide: Vec<_> = (0..16).map(|c| Some((c % 3, c * 17))).collect();
    check(&[300, 300, 300], &wide, 130, 5);
    check(&[4], &[None; 20], 3, 0);
    check(&[4], &[None; 20], 3, 1);
}

//! The backward pass of batch normalisations.

use super::pass::{Norms, Pass};
use super::places::Place;
use super::space::{BackStep, Behind};
use crate::kernels::{AccumulateRows, NormBackward, accumulate_rows, channel_sums, combine};
use crate::memory::{Planes, Src, padded, planes};
use crate::network::BatchNorm;

impl Pass<'_> {
    pub(super) fn norm_backward(
        &mut self,
        layer: usize,
        z: usize,
        norm: &BatchNorm,
        back: &BackStep,
        d: Place,
    ) {
        let d = self.space.planes(d);
        let value = self.space.value(z);
        let (channels, isa) = (norm.channels, self.context.isa);
        if back.sums {
            self.each(layer, |rows, _, sums| {
                // SAFETY: both have these rows.
                unsafe {
                    let (d, z) = (d.row(rows.start), value.row(rows.start));
                    channel_sums(isa, rows.len(), planes(channels), d, z, sums);
                }
            });
            self.totals[layer] = Some(self.sums(channels));
        }
        self.coefficients(layer, z, norm);
        let Some(sink) = back.sinks.first() else {
            return;
        };
        let coefficients = self.norm(layer).gradient();
        let target = self.space.planes(sink.target);
        let addend = sink.addend.map(|place| self.space.planes(place));
        self.each(layer, |rows, _, _| {
            let count = planes(channels);
            // SAFETY: a group writes its own rows.
            unsafe {
                let (d, z) = (d.row(rows.start), value.row(rows.start));
                let target = target.row(rows.start);
                match addend {
                    None => combine(isa, rows.len(), count, d, z, coefficients, target),
                    Some(addend) => {
                        let operands = AccumulateRows {
                            rows: rows.len(),
                            planes: count,
                            d,
                            z,
                            norm: coefficients,
                            addend: addend.row(rows.start),
                            target,
                        };
                        accumulate_rows(isa, &operands);
                    }
                }
            }
        });
    }

    /// The gradients of a normalisation's weight and bias, and the coefficients of its backward pass.
    pub(super) fn coefficients(&mut self, layer: usize, z: usize, norm: &BatchNorm) {
        let (channels, isa) = (norm.channels, self.context.isa);
        let count = self.space.batch.rows(z) as f64;
        let gradients = [norm.weight, norm.weight + 1].map(|index| {
            let range = self.parameter(index);
            // SAFETY: the ranges are disjoint, and no thread writes to them.
            unsafe {
                let place = self.gradient.pointer(range.start, channels);
                std::slice::from_raw_parts_mut(place, channels)
            }
        });
        if let (Norms::Own(norms), Some([sums, products])) = (&mut self.norms, &self.totals[layer])
            && let Some(norm) = &mut norms[layer]
        {
            norm.set_backward(isa, [sums, products], count, gradients);
        }
    }

    /// Adds a skipped normalisation's correction to those of the values that it reads.
    pub(super) fn correct(&mut self, layer: usize, z: usize) {
        let mut start = 0;
        for member in self.program.members(&self.engine.plan, z) {
            let channels = self.shape(member).channels;
            let length = padded(channels);
            let mut own = (self.corrections[member].take())
                .unwrap_or_else(|| [vec![0.0; length], vec![0.0; length]]);
            let slopes = self.norm(layer).slopes();
            for (own, slopes) in own.iter_mut().zip(slopes) {
                for (own, slope) in own.iter_mut().zip(&slopes[start..start + channels]) {
                    *own += slope;
                }
            }
            self.corrections[member] = Some(own);
            start += channels;
        }
    }

    /// Adds the corrections to a gradient.
    pub(super) fn apply_correction(&self, layer: usize, d: Planes) {
        let Some(norm) = self.correction(layer) else {
            return;
        };
        let (count, z) = (planes(self.shape(layer).channels), self.space.value(layer));
        self.each(layer, |rows, _, _| {
            // SAFETY: a group writes its own rows.
            unsafe {
                let (d, z) = (d.row(rows.start), z.row(rows.start));
                combine(self.context.isa, rows.len(), count, d, z, norm, d);
            }
        });
    }

    /// The corrections of a layer's gradient, as coefficients.
    fn correction(&self, layer: usize) -> Option<NormBackward> {
        let [b, c] = self.corrections[layer].as_ref()?;
        Some(NormBackward {
            b: Src::of(b),
            c: Src::of(c),
            ..self.space.units.backward()
        })
    }

    /// The coefficients that convert the gradient of a convolution into that of its output, from a channel on.
    pub(super) fn behind(
        &self,
        layer: usize,
        back: &BackStep,
        channel: usize,
    ) -> Option<NormBackward> {
        match back.behind {
            Behind::Nothing => None,
            Behind::Norm(norm) => Some(self.norm(norm).gradient_at(channel)),
            // SAFETY: the coefficients are padded to whole planes.
            Behind::Correction => self.correction(layer).map(|norm| unsafe {
                NormBackward {
                    a: norm.a,
                    b: norm.b.at(channel),
                    c: norm.c.at(channel),
                }
            }),
        }
    }
}

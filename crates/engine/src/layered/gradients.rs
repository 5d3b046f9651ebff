//! The backward pass of a training step.

use super::pass::{Pass, copy_in};
use super::places::Place;
use super::space::{BackStep, Behind, Sink};
use crate::fused::context::blocks;
use crate::kernels::{
    Images, JoinBackward, JoinRows, Reading, ReadingBackward, Sums, average_pool_backward,
    factor_gradient, gather_channels, join_backward, join_rows, max_pool_backward,
    reading_backward,
};
use crate::memory::{Dst, Planes, padded, planes};
use crate::network::Window;
use crate::program::{Step, Value};
use crate::simd::LANES;
use crate::spec::Activation;

/// What a reader knows of the gradient of the value that it read.
#[derive(Clone, Copy, Default)]
struct Read {
    /// The gradient.
    d: Option<Planes>,
    /// Factors of each image that multiply it.
    factors: Option<Planes>,
    /// Added to every pixel of an image, times the second number.
    averages: Option<(Planes, f32)>,
}

impl Pass<'_> {
    pub(super) fn backward(&mut self, logits_gradient: &[f32]) {
        let engine = self.engine;
        for back in &self.space.backward {
            let Some(step) = engine.program.steps.get(back.step) else {
                // The gradient of the logits.
                if let Some(place) = back.d {
                    let planes = self.space.planes(place);
                    // SAFETY: nothing else uses this memory now.
                    unsafe { copy_in(logits_gradient, engine.plan.classes(), planes) };
                }
                continue;
            };
            if let (Step::Norm { layer, z, norm }, true) = (step, back.direct) {
                self.coefficients(*layer, *z, norm);
                self.correct(*layer, *z);
                continue;
            }
            let Some(d) = back.d else {
                self.zero(step);
                continue;
            };
            self.clear(back, step);
            if let Step::Norm { layer, z, norm } = step {
                self.norm_backward(*layer, *z, norm, back, d);
                continue;
            }
            let d = self.space.planes(d);
            let through = matches!(step, Step::Conv(step) if step.conv.bias.is_none());
            if back.behind == Behind::Correction && !through {
                self.apply_correction(step.layer(), d);
            }
            self.step_backward(step, back, d);
        }
        // The last layer's gradient may still be in parts.
        self.context.each_group(0, |_, _, _| {});
    }

    /// Keeps the sums of the last phase for a normalisation, if they are complete.
    fn keep(&mut self, sink: Option<&Sink>) {
        if let Some(sink) = sink
            && let (true, Some(layer)) = (sink.sums, sink.value.norm)
        {
            self.totals[layer] = Some(self.sums(self.shape(layer).channels));
        }
    }

    /// The gradient of a step that nothing needs.
    fn zero(&self, step: &Step) {
        let ranges = match step {
            Step::Conv(step) => [Some(step.conv.weight), step.conv.bias],
            Step::Norm { norm, .. } => [Some(norm.weight), Some(norm.weight + 1)],
            _ => [None; 2],
        };
        for index in ranges.into_iter().flatten() {
            let range = self.parameter(index);
            // SAFETY: the gradient holds the parameter.
            unsafe { self.gradient.at(range.start).fill_zero(range.len()) };
        }
    }

    /// Sets planes to zero that get no gradient before they are added to.
    fn clear(&self, back: &BackStep, step: &Step) {
        let Some(input) = step.inputs().first().copied() else {
            return;
        };
        for &place in &back.zeros {
            // All parts of a concatenation have the same pixels.
            let pixels = self.shape(input.z).pixels();
            let target = self.space.planes(place);
            self.context.each_group(0, |group, _, _| {
                let rows = group.rows(pixels);
                // SAFETY: a group writes its own rows.
                unsafe { target.row(rows.start).start.fill_zero(rows.len() * LANES) };
            });
        }
    }

    fn step_backward(&mut self, step: &Step, back: &BackStep, d: Planes) {
        match step {
            Step::Conv(step) => {
                self.convolve_backward(step, back, d);
                self.keep(back.sinks.first());
                self.bias_gradient(step, d);
                return;
            }
            Step::Norm { .. } => return,
            Step::Add {
                layer, activation, ..
            } => return self.add_backward(*layer, *activation, back, d),
            _ => {}
        }
        let Some(sink) = back.sinks.first() else {
            return;
        };
        match step {
            Step::Make { .. } => self.read_backward(sink, |_| Read {
                d: Some(d),
                ..Read::default()
            }),
            Step::Mask { mask, .. } => self.read_backward(sink, |_| Read {
                d: Some(d),
                factors: Some(self.space.mask(*mask)),
                averages: None,
            }),
            Step::Average { input, .. } => {
                let share = 1.0 / self.shape(input.z).pixels() as f32;
                self.read_backward(sink, |_| Read {
                    d: back.gate.map(|(place, _)| self.space.planes(place)),
                    factors: back.gate.map(|(_, factors)| self.space.value(factors)),
                    averages: Some((d, share)),
                });
            }
            Step::Gate { map, factors, .. } => {
                self.factor_gradient(*map, sink, d);
                let Some(sink) = back.sinks.get(1) else {
                    return;
                };
                self.read_backward(sink, |_| Read {
                    d: Some(d),
                    factors: Some(self.space.value(*factors)),
                    averages: None,
                });
                return self.keep(Some(sink));
            }
            Step::Pool {
                layer,
                input,
                window,
                largest,
            } => self.pool_backward((*layer, *input, *window, *largest), back, sink, d),
            Step::Gather { layer, .. } => return self.gather_backward(*layer, back, d),
            Step::Conv(_) | Step::Norm { .. } | Step::Add { .. } | Step::Other { .. } => {}
        }
        self.keep(back.sinks.first());
    }

    /// The gradient before a value's normalisation and activation. `read` is called with each group's first row.
    fn read_backward(&self, sink: &Sink, read: impl Fn(usize) -> Read + Sync) {
        self.each(sink.value.z, |rows, _, sums| {
            let found = read(rows.start);
            // SAFETY: a group writes its own rows.
            unsafe {
                let d = found.d.map(|d| d.row(rows.start));
                self.read_rows(sink, rows, Read { d, ..found }, sums);
            }
        });
    }

    /// # Safety
    /// The rows must belong to the caller. `read.d` starts at the first of them.
    unsafe fn read_rows(
        &self,
        sink: &Sink,
        rows: std::ops::Range<usize>,
        read: Read,
        sums: &mut Sums,
    ) {
        let shape = self.shape(sink.value.z);
        // SAFETY: as promised by the caller.
        unsafe {
            let row = |place: Place| self.space.planes(place).row(rows.start);
            let operands = ReadingBackward {
                rows: rows.len(),
                planes: planes(shape.channels),
                images: Images {
                    first_row: rows.start,
                    pixels: shape.pixels(),
                },
                d: read.d,
                factors: read.factors,
                averages: read.averages,
                z: self.space.value(sink.value.z).row(rows.start),
                norm: self.affine(sink.value),
                activation: sink.value.activation,
                addend: sink.addend.map(row),
                target: row(sink.target),
            };
            reading_backward(self.context.isa, &operands, sums);
        }
    }

    fn add_backward(&mut self, layer: usize, activation: Activation, back: &BackStep, d: Planes) {
        let shape = self.shape(layer);
        let count = planes(shape.channels);
        let isa = self.context.isa;
        let changed = back.changed.map(|place| self.space.planes(place));
        let from = changed.unwrap_or(d);
        let with = |index: usize| {
            let sink = back.sinks.get(index).filter(|sink| sink.sums)?;
            Some(self.space.value(sink.value.z))
        };
        let with = [with(0), with(1)];
        if let Some(target) = changed {
            // The sums of the second input come after those of the first.
            let channels = 2 * padded(shape.channels);
            self.context.each_group(channels, |group, _, sums| {
                let rows = group.rows(shape.pixels());
                // SAFETY: a group writes its own rows.
                unsafe {
                    let operands = JoinBackward {
                        rows: rows.len(),
                        planes: count,
                        d: d.row(rows.start),
                        y: self.space.value(layer).row(rows.start),
                        activation,
                        with: with.map(|with| with.map(|with| with.row(rows.start))),
                        target: target.row(rows.start),
                    };
                    join_backward(isa, &operands, sums);
                }
            });
            let [sums, products] = self.sums(channels);
            for (index, sink) in back.sinks.iter().enumerate() {
                if let (true, Some(norm)) = (sink.sums, sink.value.norm) {
                    let start = index * padded(shape.channels);
                    let part = start..start + shape.channels;
                    self.totals[norm] =
                        Some([sums[part.clone()].to_vec(), products[part].to_vec()]);
                }
            }
        }
        for sink in back.sinks.iter().filter(|sink| !sink.same) {
            self.add_to(sink, from);
        }
    }

    /// Adds a gradient to that of a value without activation.
    fn add_to(&self, sink: &Sink, from: Planes) {
        let units = self.space.units.affine();
        self.each(sink.value.z, |rows, _, sums| {
            // SAFETY: a group writes its own rows.
            unsafe {
                let Some(addend) = sink.addend else {
                    let d = Some(from.row(rows.start));
                    let read = Read {
                        d,
                        ..Read::default()
                    };
                    return self.read_rows(sink, rows, read, sums);
                };
                let operands = JoinRows {
                    rows: rows.len(),
                    planes: planes(self.shape(sink.value.z).channels),
                    inputs: [
                        (from.row(rows.start), units),
                        (self.space.planes(addend).row(rows.start), units),
                    ],
                    activation: Activation::Identity,
                    target: self.space.planes(sink.target).row(rows.start),
                };
                join_rows(self.context.isa, &operands);
            }
        });
    }

    /// The gradient of the factors that multiply a map.
    fn factor_gradient(&self, map: Value, sink: &Sink, d: Planes) {
        let shape = self.shape(map.z);
        let target = self.space.planes(sink.target);
        let addend = sink.addend.map(|place| self.space.planes(place));
        self.context.each_group(0, |group, _, _| {
            let rows = group.rows(shape.pixels());
            let (first, count) = (group.images.start, planes(shape.channels));
            // SAFETY: a group owns its images.
            unsafe {
                for plane in 0..count {
                    let to: Dst = target.plane(plane).row(first).start;
                    let length = group.images.len() * LANES;
                    match addend {
                        None => to.fill_zero(length),
                        Some(_) if sink.addend == Some(sink.target) => {}
                        Some(addend) => {
                            let from = addend.plane(plane).row(first).src();
                            let from = from.pointer(0, length);
                            std::ptr::copy_nonoverlapping(from, to.pointer(0, length), length);
                        }
                    }
                }
                factor_gradient(
                    self.context.isa,
                    rows.len(),
                    count,
                    Images {
                        first_row: rows.start,
                        pixels: shape.pixels(),
                    },
                    d.row(rows.start),
                    self.space.value(map.z).row(rows.start),
                    self.affine(map),
                    map.activation,
                    target,
                );
            }
        });
    }

    fn pool_backward(
        &self,
        (layer, input, window, largest): (usize, Value, Window, bool),
        back: &BackStep,
        sink: &Sink,
        d: Planes,
    ) {
        let (before, after) = (self.shape(input.z).pixels(), self.shape(layer).pixels());
        let plain = self.space.planes(back.changed.unwrap_or(sink.target));
        self.each(input.z, |rows, _, sums| {
            let first = rows.start / before;
            let pool = self.pooling(layer, input, window, rows.len() / before);
            // SAFETY: a group writes its own rows.
            unsafe {
                let d = d.row(first * after);
                let target = plain.row(rows.start);
                if largest {
                    let source = self.reading(input, first);
                    max_pool_backward(self.context.isa, &pool, source, d, target);
                } else {
                    average_pool_backward(self.context.isa, &pool, d, None, target);
                }
                if back.changed.is_some() || !input.is_plain() {
                    let read = Read {
                        d: Some(target),
                        ..Read::default()
                    };
                    self.read_rows(sink, rows, read, sums);
                }
            }
        });
    }

    fn gather_backward(&mut self, layer: usize, back: &BackStep, d: Planes) {
        let Some((_, gathers)) = &self.space.fitted[back.step].gathers else {
            unreachable!("a gather has its map");
        };
        let channels = self.shape(layer).channels;
        for (sink, gather) in back.sinks.iter().zip(gathers) {
            let width = self.shape(sink.value.z).channels;
            self.each(sink.value.z, |all, scratch, sums| {
                for rows in blocks(self.context.isa, all, width + channels) {
                    let block = scratch.block(0, rows.len(), width, LANES);
                    // SAFETY: a group writes its own rows; the block belongs to this thread.
                    unsafe {
                        let from = Reading::plain(d.row(rows.start));
                        let isa = self.context.isa;
                        gather_channels(isa, rows.len(), gather, &[from], None, block);
                        let read = Read {
                            d: Some(block),
                            ..Read::default()
                        };
                        self.read_rows(sink, rows, read, sums);
                    }
                }
            });
            self.keep(Some(sink));
        }
    }
}

//! Inference. With at least as many images as threads, each thread runs some images through the whole network. With
//! fewer, the threads share each step.

use std::sync::{Arc, Mutex};

use super::convolution::pack;
use super::pass::{Norms, Pass, Share, copy_out};
use super::space::{Batch, Fitted, Workspace, fit};
use super::{LARGE, Layered};
use crate::fused::context::lock;
use crate::fused::norm::Norm;
use crate::fused::{FusedError, Images, check};
use crate::interface::check_fold;
use crate::kernels::Sums;
use crate::memory::{Buffer, Dst, Src};
use crate::network::BatchNorm;
use crate::program::{ConvStep, Step};

/// Number of pixels of the images that a thread runs at once, if the weights are few. More would need more memory than
/// the caches have.
const PIXELS: usize = 64 * 1024;

/// With this many weights more, a thread runs twice, three times and at most four times as many images at once, so that
/// it reads the weights less often.
const WEIGHTS: usize = 8 << 20;

/// A network's weights, ready for [`Engine::infer`](crate::Engine::infer): packed, and with normalisations folded in.
pub struct LayeredWeights {
    packed: Arc<Buffer>,
    /// The normalisations that are not folded, by layer.
    norms: Vec<Option<Norm>>,
}

impl std::fmt::Debug for LayeredWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayeredWeights")
            .field("numbers", &self.packed.len())
            .finish_non_exhaustive()
    }
}

impl Layered {
    pub(super) fn folded(
        &self,
        parameters: &[f32],
        statistics: &[f32],
    ) -> Result<LayeredWeights, FusedError> {
        let plan = &*self.plan;
        check_fold(plan, parameters, statistics)?;
        // Packed weights do not depend on the size of the images.
        let side = (LARGE, LARGE);
        let batch = Batch {
            images: 1,
            side,
            shapes: plan.shapes(side.0, side.1),
        };
        let steps = &self.folding.program.steps;
        let mut length = 0;
        let fitted: Vec<Fitted> = (steps.iter())
            .map(|step| fit(self, step, &batch, false, &mut length))
            .collect();
        let packed = Buffer::new(length);
        self.team.run(steps.len(), |index, _| {
            if let Step::Conv(step) = &steps[index] {
                let norm = self.folding.norms[index].as_ref();
                let source = (parameters, statistics);
                self.fold_step(step, norm, &fitted[index], source, packed.dst());
            }
        });
        let mut norms = Vec::new();
        norms.resize_with(plan.layers.len(), || None);
        for step in steps {
            if let Step::Norm { layer, norm, .. } = step {
                let mut found = Norm::new(norm.channels);
                let [weights, running] = self.coefficients(norm, parameters, statistics);
                found.set_running(norm.epsilon, weights, running);
                norms[*layer] = Some(found);
            }
        }
        Ok(LayeredWeights {
            packed: Arc::new(packed),
            norms,
        })
    }

    /// A normalisation's weight and bias, and its running mean and variance.
    fn coefficients<'a>(
        &self,
        norm: &BatchNorm,
        parameters: &'a [f32],
        statistics: &'a [f32],
    ) -> [[&'a [f32]; 2]; 2] {
        let weight =
            |index: usize| &parameters[self.plan.parameters.segments()[index].range.clone()];
        let statistic =
            |index: usize| &statistics[self.plan.statistics.segments()[index].range.clone()];
        [
            [weight(norm.weight), weight(norm.weight + 1)],
            [statistic(norm.statistics), statistic(norm.statistics + 1)],
        ]
    }

    fn fold_step(
        &self,
        step: &ConvStep,
        norm: Option<&BatchNorm>,
        fitted: &Fitted,
        (parameters, statistics): (&[f32], &[f32]),
        target: Dst,
    ) {
        let parameter = |index: usize| {
            parameters[self.plan.parameters.segments()[index].range.clone()].to_vec()
        };
        let outputs = step.conv.out_channels;
        let mut weights = parameter(step.conv.weight);
        let mut biases = step.conv.bias.map_or_else(|| vec![0.0; outputs], parameter);
        if let Some(norm) = norm {
            let [[gammas, betas], [means, variances]] =
                self.coefficients(norm, parameters, statistics);
            let each = weights.len() / outputs;
            for (channel, row) in weights.chunks_exact_mut(each).enumerate() {
                let std = (f64::from(variances[channel]) + norm.epsilon).sqrt();
                let factor = f64::from(gammas[channel]) / std;
                for weight in row {
                    *weight = (f64::from(*weight) * factor) as f32;
                }
                let shift = f64::from(biases[channel]) - f64::from(means[channel]);
                biases[channel] = (f64::from(betas[channel]) + shift * factor) as f32;
            }
        }
        // SAFETY: every step has places of its own.
        unsafe {
            let weights = Src::of(&weights);
            pack(
                self.isa.with_f32(),
                step,
                fitted,
                weights,
                Some(&biases),
                target,
            );
        }
    }

    /// Computes a layer's values `[n][channels]`.
    pub(super) fn evaluate(
        &self,
        weights: &LayeredWeights,
        images: Images<'_>,
        layer: usize,
        what: &'static str,
        rows: &mut [f32],
    ) -> Result<(), FusedError> {
        images.check()?;
        let width = self.plan.channels[layer];
        check(what, rows.len(), images.count * width)?;
        let batch = self.batch(&images)?;
        let program = &self.folding.program;
        let Some(value) = program.values[layer] else {
            unreachable!("{what} have a value");
        };
        let end = (program.steps.iter()).position(|step| step.layer() == value.z);
        let end = end.map_or(program.steps.len(), |index| index + 1);
        let threads = self.team.size();
        let _pass = self.team.pass();
        if images.count < threads {
            let space = self.room(weights, batch);
            let pass = self.inference(weights, &space, images, 0);
            let all = 0..images.count;
            for index in (0..end).filter(|&index| !program.steps[index].is_norm()) {
                self.team.run(threads, |part, thread| {
                    let share = Share::part(all.clone(), part, threads);
                    let mut scratch = lock(&space.scratch[thread]);
                    let mut sums = Sums::default();
                    sums.reset(widest(self));
                    // SAFETY: the shares are disjoint.
                    unsafe { pass.compute(index, &share, &mut scratch, &mut sums) };
                });
            }
            copy_out(space.value(value.z), width, rows);
            lock(&self.rooms).push(space);
            return Ok(());
        }
        let pixels = PIXELS * (1 + weights.packed.len() / WEIGHTS).min(4);
        let size = (pixels / (images.height * images.width)).clamp(1, 64);
        let chunks = images.count.div_ceil(size);
        let chunks = chunks.next_multiple_of(threads).min(images.count);
        let most = images.count.div_ceil(chunks);
        let parts: Vec<Mutex<&mut [f32]>> = {
            let mut rest = rows;
            let mut parts = Vec::new();
            for chunk in 0..chunks {
                let range = images.count * chunk / chunks..images.count * (chunk + 1) / chunks;
                let (part, others) = rest.split_at_mut(range.len() * width);
                parts.push(Mutex::new(part));
                rest = others;
            }
            parts
        };
        self.team.run(chunks, |chunk, _| {
            let start = images.count * chunk / chunks;
            let mut rows = lock(&parts[chunk]);
            let count = rows.len() / width;
            let batch = Batch {
                images: most,
                ..batch.clone()
            };
            let space = self.room(weights, batch);
            let pass = self.inference(weights, &space, images, start);
            let mut scratch = lock(&space.scratch[0]);
            let mut sums = lock(&space.sums[0]);
            sums.reset(widest(self));
            for index in 0..end {
                // SAFETY: the memory belongs to this task.
                unsafe { pass.compute(index, &Share::whole(0..count), &mut scratch, &mut sums) };
            }
            copy_out(space.value(value.z), width, &mut rows);
            drop((scratch, sums));
            drop(pass);
            lock(&self.rooms).push(space);
        });
        Ok(())
    }

    /// Memory for a batch, with these weights.
    fn room(&self, weights: &LayeredWeights, batch: Batch) -> Workspace {
        let mut rooms = lock(&self.rooms);
        let fits = |room: &Workspace| room.fits(batch.images, batch.side);
        if let Some(index) = rooms.iter().position(fits) {
            let mut room = rooms.swap_remove(index);
            room.packed = Arc::clone(&weights.packed);
            return room;
        }
        // Memory for other sizes is not kept.
        rooms.clear();
        drop(rooms);
        Workspace::inference(self, batch, Arc::clone(&weights.packed))
    }

    fn inference<'a>(
        &'a self,
        weights: &'a LayeredWeights,
        space: &'a Workspace,
        images: Images<'a>,
        start: usize,
    ) -> Pass<'a> {
        // SAFETY: inference has no gradient; nothing uses this pointer.
        let gradient = unsafe { Dst::new(std::ptr::null_mut(), 0) };
        let pixels = images.pixels().image(start, images.height * images.width);
        let norms = Norms::Shared(&weights.norms);
        Pass {
            program: &self.folding.program,
            ..self.pass(space, norms, &[], pixels, gradient)
        }
    }
}

fn widest(engine: &Layered) -> usize {
    let widest = engine.plan.channels.iter().copied().max();
    crate::memory::padded(widest.unwrap_or(1))
}

//! Assigns memory to values and gradients.

use super::space::Batch;
use crate::network::Plan;
use crate::program::last_readers;
use crate::program::{Program, Step};
use crate::simd::LANES;

/// Where activations lie: some planes of a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) buffer: usize,
    pub(super) plane: usize,
    /// Distance in values from one plane to the next.
    pub(super) stride: usize,
}

/// Assigns buffers to activations. A buffer that is no longer needed is used again.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) lengths: Vec<usize>,
    references: Vec<usize>,
}

impl Pool {
    /// A buffer of at least this many values that nothing else uses.
    pub(super) fn take(&mut self, length: usize) -> usize {
        let free = |index: &usize| self.references[*index] == 0;
        let buffers = 0..self.lengths.len();
        let fitting = (buffers.clone().filter(free)).filter(|&index| self.lengths[index] >= length);
        let found = (fitting.min_by_key(|&index| self.lengths[index])).or_else(|| {
            buffers
                .filter(free)
                .max_by_key(|&index| self.lengths[index])
        });
        let index = found.unwrap_or_else(|| {
            self.lengths.push(0);
            self.references.push(0);
            self.lengths.len() - 1
        });
        self.lengths[index] = self.lengths[index].max(length);
        self.references[index] = 1;
        index
    }

    pub(super) fn share(&mut self, index: usize) {
        self.references[index] += 1;
    }

    pub(super) fn release(&mut self, index: usize) {
        self.references[index] -= 1;
    }

    pub(super) fn is_shared(&self, index: usize) -> bool {
        self.references[index] > 1
    }
}

/// Places of the stored values.
pub(super) fn places(program: &Program, batch: &Batch, pool: &mut Pool) -> Vec<Option<Place>> {
    let mut found = vec![None; batch.shapes.len()];
    let roots: Vec<usize> = (program.roots.iter())
        .map(|layers| pool.take(batch.total(layers)))
        .collect();
    for (layer, part) in program.parts.iter().enumerate() {
        if let Some((root, channel)) = *part {
            found[layer] = Some(Place {
                buffer: roots[root],
                plane: channel / LANES,
                stride: batch.stride(layer),
            });
        }
    }
    for step in &program.steps {
        let layer = step.layer();
        if found[layer].is_none() && !matches!(step, Step::Norm { .. }) {
            found[layer] = Some(Place {
                buffer: pool.take(batch.length(layer)),
                plane: 0,
                stride: batch.stride(layer),
            });
        }
    }
    found
}

/// Places of the stored values, each kept until its last reader.
pub(super) fn reused_places(
    plan: &Plan,
    program: &Program,
    batch: &Batch,
    pool: &mut Pool,
) -> Vec<Option<Place>> {
    let mut last = last_readers(plan, program);
    // A root is kept until the last reader of any of its values.
    let mut ends = vec![0; program.roots.len()];
    for (layer, part) in program.parts.iter().enumerate() {
        if let Some((root, _)) = *part {
            ends[root] = ends[root].max(last[layer]);
        }
    }
    let mut found = vec![None; batch.shapes.len()];
    let mut roots = vec![None; program.roots.len()];
    for (index, step) in program.steps.iter().enumerate() {
        let layer = step.layer();
        if matches!(step, Step::Norm { .. }) {
            continue;
        }
        if let Some((root, _)) = program.parts[layer] {
            let layers = &program.roots[root];
            roots[root].get_or_insert_with(|| pool.take(batch.total(layers)));
        } else {
            found[layer] = Some(Place {
                buffer: pool.take(batch.length(layer)),
                plane: 0,
                stride: batch.stride(layer),
            });
        }
        for (layer, place) in found.iter().enumerate() {
            if let Some(place) = place
                && last[layer] == index
            {
                pool.release(place.buffer);
                last[layer] = usize::MAX;
            }
        }
        for (root, buffer) in roots.iter().enumerate() {
            if let Some(buffer) = *buffer
                && ends[root] == index
            {
                pool.release(buffer);
                ends[root] = usize::MAX;
            }
        }
    }
    for (layer, part) in program.parts.iter().enumerate() {
        if let Some((root, channel)) = *part
            && let Some(buffer) = roots[root]
        {
            found[layer] = Some(Place {
                buffer,
                plane: channel / LANES,
                stride: batch.stride(layer),
            });
        }
    }
    found
}

//! Inference: a network with its batch normalisations folded into the weights.
//!
//! Many images are divided into groups. Each thread takes a group through the whole backbone alone,
//! so that the group's activations stay in the thread's cache. For few images, the whole team
//! shares each layer. The head runs last, for all images at once, so that its many weights are read
//! only once.

mod crew;
mod filter;
mod fold;
mod folded;
mod memory;
mod network;

use super::context::lock;
use super::{Fused, FusedError, Images, check};
use crate::interface::{CpuEngine as _, check_fold};
use crate::memory::{Dst, Planes};
use crew::Crew;
pub use folded::Folded;
pub(super) use memory::Memories;
use memory::Memory;
use network::{Group, linear, unpack};

impl Fused {
    pub(super) fn folded(
        &self,
        parameters: &[f32],
        statistics: &[f32],
    ) -> Result<Folded, FusedError> {
        check_fold(&self.plan, parameters, statistics)?;
        Ok(Folded::new(
            &self.plan,
            &self.chain,
            self.isa,
            &self.team,
            parameters,
            statistics,
        ))
    }

    pub(super) fn write_logits(
        &self,
        folded: &Folded,
        images: Images<'_>,
        logits: &mut [f32],
    ) -> Result<(), FusedError> {
        images.check()?;
        let classes = folded.classifier.outputs;
        check("logits", logits.len(), images.count * classes)?;
        let target = Dst::of(logits);
        let _pass = self.team.pass();
        self.memories.with(self.threads(), |memory| {
            let [pooled, hidden, logits] = memory.head.areas(folded, images.count);
            let (pooled, logits) = (
                pooled.planes(images.count),
                logits.wide().planes(images.count),
            );
            self.pool(folded, memory, &images, pooled);
            let crew = self.crew(memory);
            // SAFETY: this call owns the areas, which are large enough for all images.
            unsafe {
                let mut features = pooled;
                if let Some(layer) = &folded.hidden {
                    let hidden = hidden.planes(images.count);
                    linear(
                        &crew,
                        folded,
                        layer,
                        images.count,
                        features,
                        hidden,
                        |_, _| {},
                    );
                    features = hidden;
                }
                let layer = &folded.classifier;
                linear(
                    &crew,
                    folded,
                    layer,
                    images.count,
                    features,
                    logits,
                    |_, _| {},
                );
            }
            self.rows(&crew, logits, classes, images.count, target);
        });
        Ok(())
    }

    pub(super) fn write_features(
        &self,
        folded: &Folded,
        images: Images<'_>,
        features: &mut [f32],
    ) -> Result<(), FusedError> {
        images.check()?;
        let channels = folded.last.outputs;
        check("features", features.len(), images.count * channels)?;
        let target = Dst::of(features);
        let _pass = self.team.pass();
        self.memories.with(self.threads(), |memory| {
            let [pooled, ..] = memory.head.areas(folded, images.count);
            let pooled = pooled.wide().planes(images.count);
            self.pool(folded, memory, &images, pooled);
            self.rows(&self.crew(memory), pooled, channels, images.count, target);
        });
        Ok(())
    }

    fn crew<'a>(&'a self, memory: &'a Memory) -> Crew<'a> {
        Crew {
            team: &self.team,
            scratch: &memory.scratch,
            alone: None,
        }
    }

    /// Converts planes to rows.
    fn rows(&self, crew: &Crew<'_>, source: Planes, channels: usize, count: usize, target: Dst) {
        crew.run(count, 1, count * channels, |rows, _| {
            // SAFETY: every part writes its own rows; source and target hold all of them.
            unsafe { unpack(source, channels, rows, target) };
        });
    }

    /// The pooled features of all images.
    fn pool(&self, folded: &Folded, memory: &Memory, images: &Images<'_>, pooled: Planes) {
        let (count, threads) = (images.count, self.threads());
        let side = images.side();
        let most = largest_group(folded, images);
        let tasks = count.div_ceil(most).next_multiple_of(threads).min(count);
        let group =
            |first: usize, count: usize, alone: Option<usize>, space: &mut memory::Space| {
                let group = Group {
                    folded,
                    crew: Crew {
                        alone,
                        ..self.crew(memory)
                    },
                    areas: space.areas(folded, count, side, alone.is_none()),
                    images: count,
                    side,
                    pixels: images.pixels().image(first, side.pixels()),
                };
                // SAFETY: the space is locked; every group has its own rows of features.
                unsafe { group.features(pooled.row(first)) };
            };
        // Number of images that the slowest thread processes if each thread works alone.
        let slowest = tasks.div_ceil(threads) * count.div_ceil(tasks);
        if slowest * threads * 4 > count * 5 {
            group(0, count, None, &mut lock(&memory.spaces[0]));
            return;
        }
        self.team.run(tasks, |task, thread| {
            let (first, end) = (count * task / tasks, count * (task + 1) / tasks);
            group(
                first,
                end - first,
                Some(thread),
                &mut lock(&memory.spaces[thread]),
            );
        });
    }
}

/// Maximum number of images in a group: enough to give the matrix products of the last layers many
/// rows.
fn largest_group(folded: &Folded, images: &Images<'_>) -> usize {
    let mut side = images.side().strided(folded.stem.stride);
    for block in &folded.blocks {
        side = side.strided(block.depthwise.stride);
    }
    384_usize.div_ceil(side.pixels()).min(48)
}

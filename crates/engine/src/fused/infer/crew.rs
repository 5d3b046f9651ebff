//! Who works on a group of images: one thread on its own, or the team together.

use std::ops::Range;
use std::sync::Mutex;

use super::super::context::{Scratch, lock};
use crate::team::Team;

/// Multiply-adds that are worth waking a thread for.
const GRAIN: usize = 150_000;

/// Threads for the phases of a network.
#[derive(Clone, Copy)]
pub(super) struct Crew<'a> {
    pub(super) team: &'a Team,
    /// One a thread.
    pub(super) scratch: &'a [Mutex<Scratch>],
    /// Works on its own, as a part of a task of the team.
    pub(super) alone: Option<usize>,
}

impl Crew<'_> {
    /// Threads that work on a phase.
    pub(super) fn size(&self) -> usize {
        if self.alone.is_some() {
            1
        } else {
            self.team.size()
        }
    }

    /// Does a phase of `items` pieces of work, `cost` multiply-adds in all, in ranges of
    /// pieces that are at least `each` long.
    pub(super) fn run(
        &self,
        items: usize,
        each: usize,
        cost: usize,
        work: impl Fn(Range<usize>, &mut Scratch) + Sync,
    ) {
        if let Some(thread) = self.alone {
            return work(0..items, &mut lock(&self.scratch[thread]));
        }
        // Twice as many as threads: one that is held up costs less.
        let most = (items / each.max(1)).min(2 * self.team.size());
        let parts = (cost / GRAIN).min(most).max(1);
        self.team.run(parts, |part, thread| {
            let range = items * part / parts..items * (part + 1) / parts;
            work(range, &mut lock(&self.scratch[thread]));
        });
    }
}

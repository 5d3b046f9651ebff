//! The threads that process a group of images: one thread alone, or the whole team.

use std::ops::Range;
use std::sync::Mutex;

use super::super::context::{Scratch, lock};
use crate::team::Team;

/// Minimum number of multiply-adds for each thread: for less work, waking a thread does not pay.
const GRAIN: usize = 150_000;

/// The threads that run the phases of a network.
#[derive(Clone, Copy)]
pub(super) struct Crew<'a> {
    pub(super) team: &'a Team,
    /// One scratch memory per thread.
    pub(super) scratch: &'a [Mutex<Scratch>],
    /// The index of the thread that works alone, inside a task of the team. `None`: the whole team
    /// works.
    pub(super) alone: Option<usize>,
}

impl Crew<'_> {
    /// Number of threads that work on a phase.
    pub(super) fn size(&self) -> usize {
        if self.alone.is_some() {
            1
        } else {
            self.team.size()
        }
    }

    /// Runs a phase of `items` work items, divided into ranges of at least `each` items. The phase
    /// takes `cost` multiply-adds in total.
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
        // At most two parts per thread, so that a delayed thread costs less.
        let most = (items / each.max(1)).min(2 * self.team.size());
        let parts = (cost / GRAIN).min(most).max(1);
        self.team.run(parts, |part, thread| {
            let range = items * part / parts..items * (part + 1) / parts;
            work(range, &mut lock(&self.scratch[thread]));
        });
    }
}

//! The threads for a group of images: one thread alone, or the whole team.

use std::ops::Range;
use std::sync::Mutex;

use super::super::context::{Scratch, lock};
use crate::team::Team;

/// Multiply-adds that justify waking a thread.
const GRAIN: usize = 150_000;

/// Threads for the phases of a network.
#[derive(Clone, Copy)]
pub(super) struct Crew<'a> {
    pub(super) team: &'a Team,
    /// One for each thread.
    pub(super) scratch: &'a [Mutex<Scratch>],
    /// The thread that works alone, as a part of a task of the team.
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

    /// Runs a phase of `items` pieces of work, `cost` multiply-adds in all, in ranges of at least
    /// `each` pieces.
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
        // Two parts for each thread, so that a delayed thread costs less.
        let most = (items / each.max(1)).min(2 * self.team.size());
        let parts = (cost / GRAIN).min(most).max(1);
        self.team.run(parts, |part, thread| {
            let range = items * part / parts..items * (part + 1) / parts;
            work(range, &mut lock(&self.scratch[thread]));
        });
    }
}

//! Copies of a model's values, to return to them or to save them.

use std::sync::atomic::Ordering;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::device::{ARENA, STATISTICS};
use super::{Parameters, check_length, read_both};
use crate::Result;

/// Counts of training batches, on which later running statistics depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCounts {
    /// Number of training batches so far (`num_batches_tracked`).
    pub tracked: i64,
    /// Number of batches since the last restart of the running statistics; `None` if there was no
    /// restart.
    pub since_restart: Option<u64>,
}

/// A copy of all values of a model at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    arena: Tensor,
    statistics: Tensor,
    counts: BatchCounts,
}

impl Snapshot {
    /// The counts of batches at that moment.
    pub fn counts(&self) -> BatchCounts {
        self.counts
    }

    /// Passes the parameters and the running statistics to `f`, flat.
    ///
    /// # Errors
    /// If the device fails.
    pub fn read<R>(&self, f: impl FnOnce(&[f32], &[f32]) -> R) -> Result<R> {
        read_both(&self.arena, &self.statistics, f)
    }
}

/// A copy of the running statistics at one moment.
#[derive(Clone, Debug)]
pub struct StatisticsSnapshot {
    statistics: Tensor,
    counts: BatchCounts,
}

impl Parameters {
    /// The counts of training batches.
    pub fn counts(&self) -> BatchCounts {
        let since_restart = self.since_restart.load(Ordering::Relaxed);
        BatchCounts {
            tracked: self.batches_tracked(),
            since_restart: (since_restart != u64::MAX).then_some(since_restart),
        }
    }

    /// Overwrites the counts of training batches.
    pub fn set_counts(&self, counts: BatchCounts) {
        self.set_batches_tracked(counts.tracked);
        let since_restart = counts.since_restart.unwrap_or(u64::MAX);
        self.since_restart.store(since_restart, Ordering::Relaxed);
    }

    /// Copies all values.
    ///
    /// # Errors
    /// If the device fails.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot {
            arena: self.settle(ARENA)?.copy()?.detach(),
            statistics: self.settle(STATISTICS)?.copy()?.detach(),
            counts: self.counts(),
        })
    }

    /// A snapshot with these values, flat, in the order of [`Parameters::segments`] and
    /// [`Parameters::statistics_segments`].
    ///
    /// # Errors
    /// If a length differs from the model's.
    pub fn snapshot_of(
        &self,
        arena: Vec<f32>,
        statistics: Vec<f32>,
        counts: BatchCounts,
    ) -> Result<Snapshot> {
        self.tables.check(&arena, &statistics)?;
        let expected = self.tables.statistics.len();
        let device = self.arena.device();
        Ok(Snapshot {
            arena: Tensor::from_vec(arena, self.len(), device)?,
            statistics: Tensor::from_vec(statistics, expected, device)?,
            counts,
        })
    }

    /// Copies the running statistics.
    ///
    /// # Errors
    /// If the device fails.
    pub fn statistics_snapshot(&self) -> Result<StatisticsSnapshot> {
        Ok(StatisticsSnapshot {
            statistics: self.settle(STATISTICS)?.copy()?.detach(),
            counts: self.counts(),
        })
    }

    /// Restores the running statistics from a snapshot.
    ///
    /// # Errors
    /// If the snapshot belongs to another model.
    pub fn restore_statistics(&self, snapshot: &StatisticsSnapshot) -> Result<()> {
        let expected = self.tables.statistics.len();
        let found = snapshot.statistics.elem_count();
        check_length("the snapshot of statistics", found, expected)?;
        self.set_statistics(&snapshot.statistics)?;
        self.set_counts(snapshot.counts);
        Ok(())
    }

    /// Restores all values from a snapshot.
    ///
    /// # Errors
    /// If the snapshot belongs to another model.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        check_length("the snapshot", snapshot.arena.elem_count(), self.len())?;
        let expected = self.tables.statistics.len();
        let found = snapshot.statistics.elem_count();
        check_length("the snapshot of statistics", found, expected)?;
        self.arena.set(&snapshot.arena)?;
        self.statistics.set(&snapshot.statistics)?;
        self.set_counts(snapshot.counts);
        self.overwritten(ARENA);
        self.overwritten(STATISTICS);
        Ok(())
    }
}

//! The arena: one flat buffer for all parameters, one for all running statistics, and one for the
//! gradients of all parameters.

mod device;
mod gradient;
mod snapshot;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use candle_core::{Device, Tensor, Var};
use engine::{BatchNormSpec, Plan, Segment, Table};

use crate::run::slices::{read_slice, write_slice};
use crate::{Error, Result};
use device::{ARENA, DeviceCopy, STATISTICS};
pub(crate) use gradient::Gradient;
pub use snapshot::{BatchCounts, Snapshot, StatisticsSnapshot};

/// The layout of a model's buffers.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) parameters: Table,
    pub(crate) statistics: Table,
    /// Indices of the backbone's parameters.
    pub(crate) backbone: Range<usize>,
    /// Indices of the head's parameters.
    pub(crate) head: Range<usize>,
    /// Index of the block of each parameter tensor.
    pub(crate) depths: Vec<usize>,
}

impl From<&Plan> for Tables {
    fn from(plan: &Plan) -> Self {
        Tables {
            parameters: plan.parameters.clone(),
            statistics: plan.statistics.clone(),
            backbone: plan.backbone.clone(),
            head: plan.head.clone(),
            depths: plan.depths(),
        }
    }
}

impl Tables {
    fn check(&self, arena: &[f32], statistics: &[f32]) -> Result<()> {
        check_length(
            "the buffer of parameters",
            arena.len(),
            self.parameters.len(),
        )?;
        check_length(
            "the buffer of statistics",
            statistics.len(),
            self.statistics.len(),
        )
    }
}

/// All values of a model, on the model's device.
///
/// After the backward pass of a [`ForwardPass`](crate::ForwardPass), or `loss.backward()` on the logits of
/// [`forward_train`](crate::Network::forward_train), [`Parameters::update`] passes the gradient to an optimizer.
#[derive(Debug)]
pub struct Parameters {
    tables: Tables,
    arena: Var,
    statistics: Var,
    batches_tracked: AtomicI64,
    /// Number of batches since the last restart of the running statistics; the maximum value if
    /// there was no restart.
    since_restart: AtomicU64,
    gradient: Arc<Gradient>,
    /// Counters of changes to the arena and to the statistics.
    versions: [Arc<AtomicU64>; 2],
    /// The copy on a device that trains with its own values.
    device: Mutex<Option<DeviceCopy>>,
}

/// All values of a model in host memory, flat, in the order of its tables.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) arena: Vec<f32>,
    pub(crate) statistics: Vec<f32>,
    pub(crate) batches_tracked: i64,
}

impl Values {
    /// Zeros for all values of a network.
    pub(crate) fn zeros(plan: &Plan) -> Self {
        Values {
            arena: vec![0.0; plan.parameters.len()],
            statistics: vec![0.0; plan.statistics.len()],
            batches_tracked: 0,
        }
    }
}

impl Parameters {
    /// Creates parameters with these values.
    pub(crate) fn new(tables: Tables, values: Values, device: &Device) -> Result<Self> {
        tables.check(&values.arena, &values.statistics)?;
        let (len, statistics_len) = (tables.parameters.len(), tables.statistics.len());
        Ok(Parameters {
            tables,
            arena: Var::from_vec(values.arena, len, device)?,
            statistics: Var::from_vec(values.statistics, statistics_len, device)?,
            batches_tracked: AtomicI64::new(values.batches_tracked),
            since_restart: AtomicU64::new(u64::MAX),
            gradient: Arc::new(Gradient::zeros(len, device)?),
            versions: Default::default(),
            device: Mutex::default(),
        })
    }

    /// The trainable parameters, flat f32 `[len]`, in torchvision's order.
    ///
    /// Do not write to this tensor: use [`Parameters::update`], [`Parameters::set`] or
    /// [`Parameters::restore`]. Otherwise executors would use stale copies.
    ///
    /// # Errors
    /// If the device fails.
    pub fn arena(&self) -> Result<&Tensor> {
        Ok(self.settle(ARENA)?)
    }

    /// The running means and variances, flat f32. Do not write to this tensor.
    ///
    /// # Errors
    /// If the device fails.
    pub fn statistics(&self) -> Result<&Tensor> {
        Ok(self.settle(STATISTICS)?)
    }

    /// The gradient of the last backward pass, flat f32 in arena order. The next backward pass
    /// overwrites it.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradient(&self) -> Result<&Tensor> {
        Ok(self.gradient.settle()?)
    }

    /// The device of the buffers.
    pub(crate) fn tensor_device(&self) -> &Device {
        self.arena.device()
    }

    pub(crate) fn gradient_buffer(&self) -> &Arc<Gradient> {
        &self.gradient
    }

    /// Counters of the changes to arena and statistics. Data derived from older versions is stale.
    pub(crate) fn versions(&self) -> [u64; 2] {
        let [arena, statistics] = &self.versions;
        [arena, statistics].map(|version| version.load(Ordering::Acquire))
    }

    /// The first of [`Parameters::versions`], as a shared counter.
    pub(crate) fn arena_version(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.versions[0])
    }

    /// Counts a change of [`ARENA`] or [`STATISTICS`].
    fn changed(&self, index: usize) {
        self.versions[index].fetch_add(1, Ordering::AcqRel);
    }

    /// Passes the running statistics to `f`, which may change them. `f` runs on the CPU.
    pub(crate) fn update_statistics<R>(&self, f: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
        let result = write_slice(self.settle(STATISTICS)?, f)?;
        self.overwritten(STATISTICS);
        Ok(result)
    }

    /// Overwrites the running statistics.
    pub(crate) fn set_statistics(&self, statistics: &Tensor) -> Result<()> {
        self.statistics.set(statistics)?;
        self.overwritten(STATISTICS);
        Ok(())
    }

    /// Overwrites all parameters and running statistics. Both are flat, in the order of their
    /// tables.
    ///
    /// # Errors
    /// If a length differs from the model's.
    pub fn set(&self, arena: Vec<f32>, statistics: Vec<f32>) -> Result<()> {
        self.tables.check(&arena, &statistics)?;
        let expected = self.tables.statistics.len();
        let device = self.arena.device();
        self.arena
            .set(&Tensor::from_vec(arena, self.len(), device)?)?;
        self.statistics
            .set(&Tensor::from_vec(statistics, expected, device)?)?;
        self.overwritten(ARENA);
        self.overwritten(STATISTICS);
        Ok(())
    }

    /// Names, shapes and ranges of the parameters in the arena.
    pub fn segments(&self) -> &[Segment] {
        self.tables.parameters.segments()
    }

    /// Names, shapes and ranges of the running means and variances.
    pub fn statistics_segments(&self) -> &[Segment] {
        self.tables.statistics.segments()
    }

    /// For each of [`Parameters::segments`], the index of its block ([`Plan::blocks`]).
    pub fn depths(&self) -> &[usize] {
        &self.tables.depths
    }

    /// Number of trainable parameters.
    pub fn len(&self) -> usize {
        self.tables.parameters.len()
    }

    /// Whether there are no trainable parameters. Never true for a valid model.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The backbone's range in the arena.
    pub fn backbone(&self) -> Range<usize> {
        self.tables.backbone.clone()
    }

    /// The head's range in the arena.
    pub fn head(&self) -> Range<usize> {
        self.tables.head.clone()
    }

    /// Number of training batches so far (`num_batches_tracked`).
    pub fn batches_tracked(&self) -> i64 {
        self.batches_tracked.load(Ordering::Relaxed)
    }

    /// Restarts the running statistics. The next training batch replaces them. Later batches are
    /// averaged with it, at first with equal weights ([`BatchNormSpec::momentum_after`]). Until the
    /// next batch the statistics stay unchanged.
    ///
    /// Without a restart, every batch has the constant momentum, as in torch.
    pub fn restart_statistics(&self) {
        self.since_restart.store(0, Ordering::Relaxed);
    }

    /// Weight of the next batch in the running statistics.
    pub(crate) fn momentum(&self, spec: BatchNormSpec) -> f64 {
        spec.momentum_after(self.since_restart.load(Ordering::Relaxed))
    }

    /// Counts a batch that was added to the running statistics.
    pub(crate) fn batch_tracked(&self) {
        self.batches_tracked.fetch_add(1, Ordering::Relaxed);
        let since = self.since_restart.load(Ordering::Relaxed);
        self.since_restart
            .store(since.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn set_batches_tracked(&self, batches: i64) {
        self.batches_tracked.store(batches, Ordering::Relaxed);
    }

    /// Passes the parameters (mutable) and the gradient of the last backward pass to `f`, and returns
    /// the result of `f`. Both are flat. On the CPU, `f` works in place. On other devices, the values
    /// are copied to the host and back.
    ///
    /// # Errors
    /// If no backward pass ran since the gradient was last taken, or the device fails.
    pub fn update<R>(&self, f: impl FnOnce(&mut [f32], &[f32]) -> R) -> Result<R> {
        self.take_gradient(|gradient| self.change(|values| f(values, gradient)))?
    }

    /// Passes the flat gradient of the last backward pass to `f`. Each gradient can be taken
    /// only once.
    ///
    /// # Errors
    /// If no backward pass ran since the gradient was last taken, or the device fails.
    pub fn take_gradient<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        if !self.gradient.take() {
            return Err(Error::NoGradient);
        }
        self.read_gradient(f)
    }

    /// Passes the flat gradient of the last backward pass to `f`, without taking it; zeros if
    /// there was none.
    ///
    /// # Errors
    /// If the device fails.
    pub fn read_gradient<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        let values = self.gradient.settle()?;
        if self.arena.device().is_cpu() {
            Ok(read_slice(values, f)?)
        } else {
            Ok(f(&values.to_vec1::<f32>()?))
        }
    }

    /// Passes the parameters to `f`, flat and mutable, and returns the result of `f`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn change<R>(&self, f: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
        let arena = self.settle(ARENA)?;
        let result = if arena.device().is_cpu() {
            write_slice(arena, f)?
        } else {
            let mut values = self.arena.to_vec1::<f32>()?;
            let result = f(&mut values);
            self.arena
                .set(&Tensor::from_vec(values, self.len(), self.arena.device())?)?;
            result
        };
        self.overwritten(ARENA);
        Ok(result)
    }

    /// Passes the parameters and the running statistics to `f`, flat and read-only.
    ///
    /// # Errors
    /// If the device fails.
    pub fn read<R>(&self, f: impl FnOnce(&[f32], &[f32]) -> R) -> Result<R> {
        read_both(self.settle(ARENA)?, self.settle(STATISTICS)?, f)
    }

    /// Every tensor, with torch's shape and the name of the network's own project, as in its `state_dict`.
    /// Running statistics and `num_batches_tracked` are included.
    ///
    /// # Errors
    /// If the device fails.
    pub fn named(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut named = BTreeMap::new();
        let tables = [
            (&self.tables.parameters, self.settle(ARENA)?),
            (&self.tables.statistics, self.settle(STATISTICS)?),
        ];
        for (table, buffer) in tables {
            for segment in table.segments() {
                named.insert(segment.name.clone(), view(buffer, segment)?);
            }
        }
        let batches = Tensor::new(self.batches_tracked(), &Device::Cpu)?;
        for name in batch_counters(&self.tables.statistics) {
            named.insert(name, batches.clone());
        }
        Ok(named)
    }

    /// Copies all values to host memory.
    pub(crate) fn values(&self) -> Result<Values> {
        Ok(Values {
            arena: self.settle(ARENA)?.to_vec1()?,
            statistics: self.settle(STATISTICS)?.to_vec1()?,
            batches_tracked: self.batches_tracked(),
        })
    }

    /// Overwrites all values.
    pub(crate) fn set_values(&self, values: Values) -> Result<()> {
        self.set(values.arena, values.statistics)?;
        self.set_batches_tracked(values.batches_tracked);
        Ok(())
    }
}

/// Passes the values of two flat buffers to `f`. On the CPU, nothing is copied.
fn read_both<R>(
    arena: &Tensor,
    statistics: &Tensor,
    f: impl FnOnce(&[f32], &[f32]) -> R,
) -> Result<R> {
    if arena.device().is_cpu() {
        return Ok(read_slice(arena, |arena| {
            read_slice(statistics, |statistics| f(arena, statistics))
        })??);
    }
    let (arena, statistics) = (arena.to_vec1()?, statistics.to_vec1()?);
    Ok(f(&arena, &statistics))
}

/// The names of the batch counters. torch keeps one beside each running mean.
pub(crate) fn counters(plan: &Plan) -> impl Iterator<Item = String> {
    batch_counters(&plan.statistics)
}

fn batch_counters(statistics: &Table) -> impl Iterator<Item = String> {
    let statistics = statistics.segments().iter();
    statistics
        .filter_map(|segment| segment.name.strip_suffix("running_mean"))
        .map(|norm| format!("{norm}num_batches_tracked"))
}

/// A view of one tensor in a flat buffer. It is not part of any graph.
pub(crate) fn view(buffer: &Tensor, segment: &Segment) -> candle_core::Result<Tensor> {
    let flat = buffer
        .detach()
        .narrow(0, segment.range.start, segment.range.len())?;
    flat.reshape(segment.shape.as_slice())
}

pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Length {
            what,
            found,
            expected,
        })
    }
}

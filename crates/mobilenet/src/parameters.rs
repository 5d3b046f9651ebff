//! The flat arena: every parameter in one buffer, every running statistic in another, and
//! the gradient of every parameter in a third.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use candle_core::{DType, Device, Tensor, Var};
use engine::{BatchNormSpec, Plan, Segment, Table};

use crate::slices::{read_slice, write_slice};
use crate::{Error, Result};

/// Where the numbers of a model lie in its buffers.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) parameters: Table,
    pub(crate) statistics: Table,
    /// The parameters before the head's.
    pub(crate) backbone: Range<usize>,
    /// The head's parameters.
    pub(crate) head: Range<usize>,
}

impl From<&Plan> for Tables {
    fn from(plan: &Plan) -> Self {
        Tables {
            parameters: plan.parameters.clone(),
            statistics: plan.statistics.clone(),
            backbone: plan.backbone.clone(),
            head: plan.head.clone(),
        }
    }
}

/// All numbers of a model, on its device.
///
/// A loss on the logits of [`forward_train`](crate::Network::forward_train) leaves its
/// gradient here: after `loss.backward()`, [`Parameters::update`] hands it to an optimizer.
#[derive(Debug)]
pub struct Parameters {
    tables: Tables,
    arena: Var,
    statistics: Var,
    batches_tracked: AtomicI64,
    /// Batches since the running statistics were restarted; the maximum if they never were.
    since_restart: AtomicU64,
    gradient: Arc<Gradient>,
    /// Changes of the arena, and of the statistics.
    versions: [Arc<AtomicU64>; 2],
}

/// The gradient of the last backward pass.
#[derive(Debug)]
pub(crate) struct Gradient {
    /// Flat f32, in the order of the arena.
    pub(crate) values: Var,
    /// What candle's graph grows from in the parameters' place: with the arena itself there,
    /// every backward pass would fill and add buffers of its length for nothing.
    pub(crate) root: Var,
    /// Written since it was last used.
    pub(crate) fresh: AtomicBool,
}

/// All numbers of a model on the host, flat, in the order of its tables.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) arena: Vec<f32>,
    pub(crate) statistics: Vec<f32>,
    pub(crate) batches_tracked: i64,
}

impl Values {
    /// Room for the numbers of a network.
    pub(crate) fn zeros(plan: &Plan) -> Self {
        Values {
            arena: vec![0.0; plan.parameters.len()],
            statistics: vec![0.0; plan.statistics.len()],
            batches_tracked: 0,
        }
    }
}

/// A copy of all numbers of a model at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    arena: Tensor,
    statistics: Tensor,
    batches_tracked: i64,
    since_restart: u64,
}

impl Parameters {
    /// Parameters of these values.
    pub(crate) fn new(tables: Tables, values: Values, device: &Device) -> Result<Self> {
        let (len, statistics_len) = (tables.parameters.len(), tables.statistics.len());
        check_length("the buffer of parameters", values.arena.len(), len)?;
        check_length(
            "the buffer of statistics",
            values.statistics.len(),
            statistics_len,
        )?;
        let gradient = Gradient {
            values: Var::zeros(len, DType::F32, device)?,
            root: Var::zeros(1, DType::F32, device)?,
            fresh: AtomicBool::new(false),
        };
        Ok(Parameters {
            tables,
            arena: Var::from_vec(values.arena, len, device)?,
            statistics: Var::from_vec(values.statistics, statistics_len, device)?,
            batches_tracked: AtomicI64::new(values.batches_tracked),
            since_restart: AtomicU64::new(u64::MAX),
            gradient: Arc::new(gradient),
            versions: Default::default(),
        })
    }

    /// The trainable parameters, flat f32 `[len]`, in torchvision's order.
    ///
    /// To be read only: they change through [`Parameters::update`], [`Parameters::set`]
    /// and [`Parameters::restore`], or executors would go on with what they made of them.
    pub fn arena(&self) -> &Tensor {
        &self.arena
    }

    /// The running means and variances, flat f32; to be read only.
    pub fn statistics(&self) -> &Tensor {
        &self.statistics
    }

    /// The gradient of the last `loss.backward()`, flat f32 in the arena's order. A
    /// later backward pass overwrites it.
    pub fn gradient(&self) -> &Tensor {
        &self.gradient.values
    }

    pub(crate) fn gradient_buffer(&self) -> &Arc<Gradient> {
        &self.gradient
    }

    /// Counts the changes of arena and statistics: what was made of older ones is stale.
    pub(crate) fn versions(&self) -> [u64; 2] {
        let [arena, statistics] = &self.versions;
        [arena, statistics].map(|version| version.load(Ordering::Acquire))
    }

    /// The first of [`Parameters::versions`], for whoever outlives a borrow.
    pub(crate) fn arena_version(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.versions[0])
    }

    fn arena_changed(&self) {
        self.versions[0].fetch_add(1, Ordering::AcqRel);
    }

    fn statistics_changed(&self) {
        self.versions[1].fetch_add(1, Ordering::AcqRel);
    }

    /// Hands `f` the running statistics to change, on the CPU.
    pub(crate) fn update_statistics(&self, f: impl FnMut(&mut [f32])) -> Result<()> {
        write_slice(&self.statistics, f)?;
        self.statistics_changed();
        Ok(())
    }

    /// Overwrites the running statistics.
    pub(crate) fn set_statistics(&self, statistics: &Tensor) -> Result<()> {
        self.statistics.set(statistics)?;
        self.statistics_changed();
        Ok(())
    }

    /// Overwrites all parameters and running statistics, flat, in the order of their tables.
    ///
    /// # Errors
    /// If one of them has another length than the model's.
    pub fn set(&self, arena: Vec<f32>, statistics: Vec<f32>) -> Result<()> {
        check_length("the buffer of parameters", arena.len(), self.len())?;
        let expected = self.tables.statistics.len();
        check_length("the buffer of statistics", statistics.len(), expected)?;
        let device = self.arena.device();
        self.arena
            .set(&Tensor::from_vec(arena, self.len(), device)?)?;
        self.statistics
            .set(&Tensor::from_vec(statistics, expected, device)?)?;
        self.arena_changed();
        Ok(())
    }

    /// Names, shapes and places in the arena.
    pub fn segments(&self) -> &[Segment] {
        self.tables.parameters.segments()
    }

    /// Number of trainable parameters.
    pub fn len(&self) -> usize {
        self.tables.parameters.len()
    }

    /// Whether there is nothing to train; never so for a valid model.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the backbone lies in the arena.
    pub fn backbone(&self) -> Range<usize> {
        self.tables.backbone.clone()
    }

    /// Where the head lies in the arena.
    pub fn head(&self) -> Range<usize> {
        self.tables.head.clone()
    }

    /// Training batches that the running statistics have seen (`num_batches_tracked`).
    pub fn batches_tracked(&self) -> i64 {
        self.batches_tracked.load(Ordering::Relaxed)
    }

    /// Forgets the running statistics at the next training batch: that batch replaces them, and
    /// the ones after it are averaged in, at first with equal weights
    /// ([`BatchNormSpec::momentum_after`]). Until then they stay as they are.
    ///
    /// Without a restart every batch has the constant momentum, as in torch.
    pub fn restart_statistics(&self) {
        self.since_restart.store(0, Ordering::Relaxed);
    }

    /// Share of the next batch in the running statistics.
    pub(crate) fn momentum(&self, spec: BatchNormSpec) -> f64 {
        spec.momentum_after(self.since_restart.load(Ordering::Relaxed))
    }

    /// Counts a batch that the running statistics have seen.
    pub(crate) fn batch_tracked(&self) {
        self.batches_tracked.fetch_add(1, Ordering::Relaxed);
        let since = self.since_restart.load(Ordering::Relaxed);
        self.since_restart
            .store(since.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn set_batches_tracked(&self, batches: i64) {
        self.batches_tracked.store(batches, Ordering::Relaxed);
    }

    /// Hands `f` the parameters to change and the gradient that the last `loss.backward()`
    /// left, both flat. On the CPU `f` works in place; from other devices the numbers
    /// come and go.
    ///
    /// # Errors
    /// If no backward pass ran since the gradient was last taken, or the device gives out.
    pub fn update(&self, mut f: impl FnMut(&mut [f32], &[f32])) -> Result<()> {
        self.take_gradient(|gradient| self.change(|values| f(values, gradient)))?
    }

    /// Hands `f` the gradient that the last `loss.backward()` left, flat. It can be taken once.
    ///
    /// # Errors
    /// If no backward pass ran since the gradient was last taken, or the device gives out.
    pub fn take_gradient<R>(&self, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
        if !self.gradient.fresh.swap(false, Ordering::AcqRel) {
            return Err(Error::NoGradient);
        }
        let values = &self.gradient.values;
        if self.arena.device().is_cpu() {
            Ok(read_slice(values, f)?)
        } else {
            Ok(f(&values.to_vec1::<f32>()?))
        }
    }

    /// Hands `f` the parameters to change, flat.
    ///
    /// # Errors
    /// If the device gives out.
    pub fn change(&self, mut f: impl FnMut(&mut [f32])) -> Result<()> {
        if self.arena.device().is_cpu() {
            write_slice(&self.arena, f)?;
        } else {
            let mut values = self.arena.to_vec1::<f32>()?;
            f(&mut values);
            self.arena
                .set(&Tensor::from_vec(values, self.len(), self.arena.device())?)?;
        }
        self.arena_changed();
        Ok(())
    }

    /// Hands `f` the parameters and the running statistics to read, both flat.
    ///
    /// # Errors
    /// If the device gives out.
    pub fn read<R>(&self, f: impl FnOnce(&[f32], &[f32]) -> R) -> Result<R> {
        if self.arena.device().is_cpu() {
            return Ok(read_slice(&self.arena, |arena| {
                read_slice(&self.statistics, |statistics| f(arena, statistics))
            })??);
        }
        let values = self.values()?;
        Ok(f(&values.arena, &values.statistics))
    }

    /// Copies every number.
    ///
    /// # Errors
    /// If the device gives out.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot {
            arena: self.arena.copy()?.detach(),
            statistics: self.statistics.copy()?.detach(),
            batches_tracked: self.batches_tracked(),
            since_restart: self.since_restart.load(Ordering::Relaxed),
        })
    }

    /// Puts every number back to what it was.
    ///
    /// # Errors
    /// If the snapshot is of another model.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        check_length("the snapshot", snapshot.arena.elem_count(), self.len())?;
        self.arena.set(&snapshot.arena)?;
        self.statistics.set(&snapshot.statistics)?;
        self.set_batches_tracked(snapshot.batches_tracked);
        self.since_restart
            .store(snapshot.since_restart, Ordering::Relaxed);
        self.arena_changed();
        Ok(())
    }

    /// Every tensor under torchvision's name and in torch's shape, as its
    /// `state_dict` has them, running statistics and `num_batches_tracked` included.
    ///
    /// # Errors
    /// If the device gives out.
    pub fn named(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut named = BTreeMap::new();
        let tables = [
            (&self.tables.parameters, &self.arena),
            (&self.tables.statistics, &self.statistics),
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

    /// Copies every number to the host.
    pub(crate) fn values(&self) -> Result<Values> {
        Ok(Values {
            arena: self.arena.to_vec1()?,
            statistics: self.statistics.to_vec1()?,
            batches_tracked: self.batches_tracked(),
        })
    }

    /// Overwrites every number.
    pub(crate) fn set_values(&self, values: Values) -> Result<()> {
        self.set(values.arena, values.statistics)?;
        self.set_batches_tracked(values.batches_tracked);
        Ok(())
    }
}

/// The names of the batch counters that torch keeps beside each running mean.
pub(crate) fn counters(plan: &Plan) -> impl Iterator<Item = String> {
    batch_counters(&plan.statistics)
}

fn batch_counters(statistics: &Table) -> impl Iterator<Item = String> {
    let statistics = statistics.segments().iter();
    statistics
        .filter_map(|segment| segment.name.strip_suffix("running_mean"))
        .map(|norm| format!("{norm}num_batches_tracked"))
}

/// One tensor of a flat buffer, without copying it and outside any graph.
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

//! The flat arena: every parameter in one buffer, every running statistic in another.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor, Var};
use engine::{Plan, Segment};

use crate::{Error, Result};

/// All numbers of a model, on its device.
///
/// The arena is a candle variable, so gradients of any loss on the logits are
/// found under it: `loss.backward()?.get(parameters.arena())`.
#[derive(Debug)]
pub struct Parameters {
    plan: Arc<Plan>,
    arena: Var,
    statistics: Var,
    batches_tracked: AtomicI64,
}

/// A copy of all numbers of a model at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    arena: Tensor,
    statistics: Tensor,
    batches_tracked: i64,
}

impl Parameters {
    /// Parameters from two flat buffers in the order of the plan's tables.
    pub(crate) fn new(
        plan: Arc<Plan>,
        arena: Vec<f32>,
        statistics: Vec<f32>,
        device: &Device,
    ) -> Result<Self> {
        check_length(
            "the buffer of parameters",
            arena.len(),
            plan.parameters.len(),
        )?;
        check_length(
            "the buffer of statistics",
            statistics.len(),
            plan.statistics.len(),
        )?;
        let (parameters_len, statistics_len) = (arena.len(), statistics.len());
        Ok(Parameters {
            plan,
            arena: Var::from_vec(arena, parameters_len, device)?,
            statistics: Var::from_vec(statistics, statistics_len, device)?,
            batches_tracked: AtomicI64::new(0),
        })
    }

    /// The trainable parameters, flat f32 `[len]`, in torchvision's order.
    pub fn arena(&self) -> &Var {
        &self.arena
    }

    /// The running means and variances, flat f32.
    pub fn statistics(&self) -> &Var {
        &self.statistics
    }

    /// Names, shapes and places in the arena.
    pub fn segments(&self) -> &[Segment] {
        self.plan.parameters.segments()
    }

    /// Number of trainable parameters.
    pub fn len(&self) -> usize {
        self.plan.parameters.len()
    }

    /// Whether there is nothing to train; never so for a valid model.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the backbone lies in the arena.
    pub fn backbone(&self) -> Range<usize> {
        self.plan.backbone.clone()
    }

    /// Where the head lies in the arena.
    pub fn head(&self) -> Range<usize> {
        self.plan.head.clone()
    }

    /// Training batches that the running statistics have seen (`num_batches_tracked`).
    pub fn batches_tracked(&self) -> i64 {
        self.batches_tracked.load(Ordering::Relaxed)
    }

    pub(crate) fn set_batches_tracked(&self, batches: i64) {
        self.batches_tracked.store(batches, Ordering::Relaxed);
    }

    /// Hands `f` the parameters to change and their gradient, both flat.
    /// On the CPU `f` works in place; from other devices the numbers come and go.
    ///
    /// # Errors
    /// If `gradient` is not f32 of the arena's length, or the device gives out.
    pub fn update(&self, gradient: &Tensor, f: impl FnMut(&mut [f32], &[f32])) -> Result<()> {
        check_length("the gradient", gradient.elem_count(), self.len())?;
        let f = RefCell::new(f);
        if self.arena.device().is_cpu() {
            self.arena
                .inplace_op2(&gradient.contiguous()?, &Update(f))?;
        } else {
            let mut values = self.arena.to_vec1::<f32>()?;
            (f.borrow_mut())(&mut values, &gradient.to_vec1::<f32>()?);
            self.arena
                .set(&Tensor::from_vec(values, self.len(), self.arena.device())?)?;
        }
        Ok(())
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
            (&self.plan.parameters, &self.arena),
            (&self.plan.statistics, &self.statistics),
        ];
        for (table, buffer) in tables {
            for segment in table.segments() {
                named.insert(segment.name.clone(), view(buffer, segment)?);
            }
        }
        let batches = Tensor::new(self.batches_tracked(), &Device::Cpu)?;
        for name in self.counters() {
            named.insert(name, batches.clone());
        }
        Ok(named)
    }

    /// The names of the batch counters that torch keeps beside each running mean.
    pub(crate) fn counters(&self) -> impl Iterator<Item = String> {
        let statistics = self.plan.statistics.segments().iter();
        statistics
            .filter_map(|segment| segment.name.strip_suffix("running_mean"))
            .map(|norm| format!("{norm}num_batches_tracked"))
    }

    /// Overwrites the named tensors. Names and shapes must be the model's own.
    pub(crate) fn set_named(&self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let tables = [
            (&self.plan.parameters, &self.arena),
            (&self.plan.statistics, &self.statistics),
        ];
        for (table, buffer) in tables {
            let mut values = buffer.to_vec1::<f32>()?;
            for segment in table.segments() {
                if let Some(tensor) = tensors.get(&segment.name) {
                    let tensor = tensor.to_dtype(DType::F32)?.flatten_all()?;
                    values[segment.range.clone()].copy_from_slice(&tensor.to_vec1::<f32>()?);
                }
            }
            buffer.set(&Tensor::from_vec(
                values,
                buffer.elem_count(),
                buffer.device(),
            )?)?;
        }
        for name in self.counters() {
            if let Some(counter) = tensors.get(&name) {
                let batches = counter
                    .to_dtype(DType::I64)?
                    .flatten_all()?
                    .to_vec1::<i64>()?;
                self.set_batches_tracked(batches.first().copied().unwrap_or(0));
            }
        }
        Ok(())
    }
}

/// One tensor of a flat buffer, without copying it and outside any graph.
pub(crate) fn view(buffer: &Tensor, segment: &Segment) -> candle_core::Result<Tensor> {
    let flat = buffer
        .detach()
        .narrow(0, segment.range.start, segment.range.len())?;
    flat.reshape(segment.shape.as_slice())
}

fn check_length(what: &'static str, found: usize, expected: usize) -> Result<()> {
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

struct Update<F>(RefCell<F>);

impl<F: FnMut(&mut [f32], &[f32])> InplaceOp2 for Update<F> {
    fn name(&self) -> &'static str {
        "update of the parameters"
    }

    fn cpu_fwd(
        &self,
        parameters: &mut CpuStorage,
        _: &Layout,
        gradient: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<()> {
        let (start, end) = layout
            .contiguous_offsets()
            .unwrap_or((0, layout.shape().elem_count()));
        let gradient = &gradient.as_slice::<f32>()?[start..end];
        match parameters {
            CpuStorage::F32(parameters) => (self.0.borrow_mut())(parameters, gradient),
            _ => candle_core::bail!("the parameters are not f32"),
        }
        Ok(())
    }
}

//! Access to tensors on the CPU as slices, without copying.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, Var, WithDType, bail};

/// Passes the values of a contiguous tensor to `f`.
///
/// # Errors
/// If the tensor is on another device, of another type, or not contiguous.
pub(crate) fn read_slice<T: WithDType, R>(tensor: &Tensor, f: impl FnOnce(&[T]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a tensor of shape {:?} is not contiguous", layout.shape());
    };
    match &*storage {
        Storage::Cpu(storage) => Ok(f(&storage.as_slice::<T>()?[start..end])),
        _ => bail!("a tensor is not on the CPU"),
    }
}

/// Passes the values of an f32 variable to `f`, mutable.
///
/// # Errors
/// If the variable is on another device or of another type.
pub(crate) fn write_slice<R>(variable: &Var, f: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    let write = Write {
        f: RefCell::new(Some(f)),
        result: RefCell::new(None),
    };
    variable.inplace_op1(&write)?;
    match write.result.into_inner() {
        Some(result) => Ok(result),
        None => bail!("a buffer was not written"),
    }
}

/// A function of the values of a variable, and its result.
struct Write<F, R> {
    f: RefCell<Option<F>>,
    result: RefCell<Option<R>>,
}

impl<R, F: FnOnce(&mut [f32]) -> R> InplaceOp1 for Write<F, R> {
    fn name(&self) -> &'static str {
        "write of a buffer"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        let CpuStorage::F32(values) = storage else {
            bail!("a buffer is not f32")
        };
        if let Some(f) = self.f.take() {
            self.result.replace(Some(f(values)));
        }
        Ok(())
    }
}

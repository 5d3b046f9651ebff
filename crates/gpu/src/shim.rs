//! The kernels as plain C++ on the CPU, for tests. Slow and exact.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::{Mutex, PoisonError};

use crate::device::{Device, DeviceError, Launch, Result, Storage};

unsafe extern "C" {
    fn shim_launch(
        storage: c_int,
        name: *const c_char,
        grid: *const u32,
        args: *const c_void,
        size: usize,
        reverse: c_int,
    ) -> c_int;
}

/// The kernels' shared memory is static, so one kernel runs at a time.
static ONE: Mutex<()> = Mutex::new(());

/// Runs the kernels on the CPU.
#[derive(Clone, Copy, Debug)]
pub struct Shim {
    storage: Storage,
    reverse: bool,
    /// Allocations above this fail.
    memory: usize,
}

impl Shim {
    /// A device for this type of activations. `reverse` runs a block's threads in reverse order: a missing barrier
    /// then changes results.
    pub fn new(storage: Storage, reverse: bool) -> Shim {
        Shim {
            storage,
            reverse,
            memory: usize::MAX,
        }
    }

    /// The same device with this many bytes of memory.
    pub fn with_memory(self, memory: usize) -> Shim {
        Shim { memory, ..self }
    }
}

/// Host memory.
#[derive(Debug)]
pub struct HostMemory {
    at: u64,
    layout: Layout,
}

impl Drop for HostMemory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.at as *mut u8, self.layout) }
    }
}

impl Device for Shim {
    type Memory = HostMemory;
    type Graph = Vec<Launch>;

    fn name(&self) -> String {
        "shim".to_owned()
    }

    fn storage(&self) -> Storage {
        self.storage
    }

    fn free(&self) -> Result<usize> {
        Ok(self.memory)
    }

    fn allocate(&self, bytes: usize) -> Result<HostMemory> {
        if bytes > self.memory {
            return Err(DeviceError::Memory { bytes });
        }
        let layout = Layout::from_size_align(bytes.max(256), 256)
            .map_err(|_| DeviceError::Memory { bytes })?;
        // SAFETY: the size is not 0.
        let at = unsafe { alloc_zeroed(layout) } as u64;
        Ok(HostMemory { at, layout })
    }

    fn address(memory: &HostMemory) -> u64 {
        memory.at
    }

    unsafe fn write(&self, to: u64, bytes: &[u8]) -> Result<()> {
        // SAFETY: as promised by the caller.
        unsafe { (to as *mut u8).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    unsafe fn read(&self, from: u64, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: as promised by the caller.
        unsafe {
            bytes
                .as_mut_ptr()
                .copy_from_nonoverlapping(from as *const u8, bytes.len());
        }
        Ok(())
    }

    fn prepare(&self, launches: Vec<Launch>) -> Result<Vec<Launch>> {
        Ok(launches)
    }

    unsafe fn launch(&self, launch: Launch) -> Result<()> {
        // SAFETY: as promised by the caller.
        unsafe { self.run(&vec![launch]) }
    }

    unsafe fn run(&self, graph: &Vec<Launch>) -> Result<()> {
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        for launch in graph {
            let name = CString::new(launch.kernel).unwrap_or_default();
            let (grid, args) = (launch.grid.as_ptr(), launch.args.as_ptr().cast());
            let (size, reverse) = (launch.args.len(), c_int::from(self.reverse));
            // SAFETY: as promised by the caller; the shim checks the size of the arguments.
            let code = unsafe {
                shim_launch(
                    self.storage as c_int,
                    name.as_ptr(),
                    grid,
                    args,
                    size,
                    reverse,
                )
            };
            if code != 0 {
                let reason = match code {
                    1 => "no such kernel".to_owned(),
                    _ => format!("its arguments have another size than {size}"),
                };
                return Err(DeviceError::Failed {
                    what: launch.kernel.to_owned(),
                    reason,
                });
            }
        }
        Ok(())
    }
}

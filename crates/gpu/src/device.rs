//! What an engine asks of a device. One implementation runs on a GPU, the other runs the same kernels on the CPU, so
//! that engines are tested without a GPU.

use std::fmt::Debug;

use crate::args::{Args, bytes};

/// The type of activations and their gradients in memory. Sums and coefficients are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// f32. Products are exact multiply-adds, without TF32.
    F32,
    /// bfloat16, with products on tensor cores.
    Bf16,
    /// IEEE half precision, with products on tensor cores. Small gradients need a loss scale.
    F16,
}

impl Storage {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Storage::F32 => 4,
            Storage::Bf16 | Storage::F16 => 2,
        }
    }

    /// Its name: `f32`, `bf16` or `f16`.
    pub fn name(self) -> &'static str {
        match self {
            Storage::F32 => "f32",
            Storage::Bf16 => "bf16",
            Storage::F16 => "f16",
        }
    }
}

/// One run of a kernel.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Number of blocks along each axis.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub threads: u32,
    /// The bytes of the kernel's argument, a struct.
    pub args: Vec<u8>,
    /// Bytes that the kernel must move at least: its operands and results, once each.
    pub moved: u64,
    /// Multiply-adds.
    pub multiplied: u64,
}

impl Launch {
    pub(crate) fn new<A: Args>(
        kernel: &'static str,
        threads: u32,
        grid: [usize; 3],
        args: &A,
    ) -> Launch {
        Launch {
            kernel,
            grid: grid.map(|side| side as u32),
            threads,
            args: bytes(args),
            moved: 0,
            multiplied: 0,
        }
    }

    pub(crate) fn costs(self, moved: usize, multiplied: usize) -> Launch {
        Launch {
            moved: moved as u64,
            multiplied: multiplied as u64,
            ..self
        }
    }
}

/// A failure of a device.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The device has too little memory.
    #[error("the GPU has no {bytes} bytes of memory left")]
    Memory {
        /// The size of the request.
        bytes: usize,
    },
    /// A batch needs more memory than is free.
    #[error(
        "a batch of {images} images needs {needed:.1} GiB of the GPU's memory, and {free:.1} GiB are free; use batches \
         of at most {largest} images"
    )]
    Batch {
        /// The size of the batch.
        images: usize,
        /// What it needs, in GiB.
        needed: f64,
        /// What is free, in GiB.
        free: f64,
        /// The largest batch that fits.
        largest: usize,
    },
    /// No such device, no driver, or no compiler.
    #[error("{0}")]
    Missing(String),
    /// The device or its driver reported an error.
    #[error("{what}: {reason}")]
    Failed {
        /// What was asked.
        what: String,
        /// The driver's words.
        reason: String,
    },
}

/// A result of a device.
pub(crate) type Result<T> = std::result::Result<T, DeviceError>;

/// A device with a stream of work: everything happens in the order of the calls.
pub trait Device: Debug + Send + Sync + 'static {
    /// Memory, freed when it is dropped.
    type Memory: Debug + Send + Sync;
    /// Launches that run again and again.
    type Graph: Debug + Send + Sync;

    /// The name of the device, for logs.
    fn name(&self) -> String;

    /// The type of activations that its kernels were compiled for.
    fn storage(&self) -> Storage;

    /// Bytes of memory that are free.
    ///
    /// # Errors
    /// If the device fails.
    fn free(&self) -> Result<usize>;

    /// Memory full of zeros.
    ///
    /// # Errors
    /// If the device has too little memory.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory>;

    /// The address of memory.
    fn address(memory: &Self::Memory) -> u64;

    /// Copies bytes to an address.
    ///
    /// # Safety
    /// Memory must be allocated there.
    ///
    /// # Errors
    /// If the device fails.
    unsafe fn write(&self, to: u64, bytes: &[u8]) -> Result<()>;

    /// Copies bytes from an address, when everything before is done.
    ///
    /// # Safety
    /// Memory must be allocated there.
    ///
    /// # Errors
    /// If the device fails.
    unsafe fn read(&self, from: u64, bytes: &mut [u8]) -> Result<()>;

    /// Copies bytes to an address, as [`Device::write`], but need not wait for the launches before that use other memory.
    ///
    /// # Safety
    /// Memory must be allocated there.
    ///
    /// # Errors
    /// If the device fails.
    unsafe fn send(&self, to: u64, bytes: &[u8]) -> Result<()> {
        // SAFETY: as promised by the caller.
        unsafe { self.write(to, bytes) }
    }

    /// Prepares launches that [`Device::run`] runs in this order.
    ///
    /// # Errors
    /// If a kernel is missing, or the device fails.
    fn prepare(&self, launches: Vec<Launch>) -> Result<Self::Graph>;

    /// Runs launches.
    ///
    /// # Safety
    /// All addresses among their arguments must be allocated.
    ///
    /// # Errors
    /// If the device fails.
    unsafe fn run(&self, graph: &Self::Graph) -> Result<()>;

    /// Runs a kernel once.
    ///
    /// # Safety
    /// All addresses among its arguments must be allocated.
    ///
    /// # Errors
    /// If the kernel is missing, or the device fails.
    unsafe fn launch(&self, launch: Launch) -> Result<()>;
}

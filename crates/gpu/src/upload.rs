//! Copies to the GPU beside the launches of the step before: through pinned memory, on a stream of their own.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaEvent, CudaStream, DriverError, result, sys};

/// The stream of copies, and its memory.
pub(crate) struct Upload {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    buffers: Mutex<Option<Buffers>>,
}

/// Memory of the host and of the GPU that a copy passes through.
struct Buffers {
    pinned: *mut c_void,
    staging: u64,
    bytes: usize,
    /// The copy into `staging` is done: `pinned` can be written.
    arrived: CudaEvent,
    /// The copy out of `staging` is done.
    used: CudaEvent,
    context: Arc<CudaContext>,
}

// SAFETY: the pinned memory belongs to this value alone, and CUDA takes it from any thread.
unsafe impl Send for Buffers {}

type Outcome<T> = Result<T, DriverError>;

impl Buffers {
    fn new(context: &Arc<CudaContext>, bytes: usize) -> Outcome<Buffers> {
        let (arrived, used) = (context.new_event(None)?, context.new_event(None)?);
        // SAFETY: the context is bound to this thread; both blocks are freed in `drop`.
        let (pinned, staging) = unsafe {
            let pinned = result::malloc_host(bytes, 0)?;
            let staging = result::malloc_sync(bytes).inspect_err(|_| {
                let _ = result::free_host(pinned);
            })?;
            (pinned, staging)
        };
        Ok(Buffers {
            pinned,
            staging,
            bytes,
            arrived,
            used,
            context: Arc::clone(context),
        })
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // Copies that are under way need the memory.
        let _ = self.arrived.synchronize();
        let _ = self.used.synchronize();
        // SAFETY: allocated once, and freed once.
        unsafe {
            let _ = result::free_sync(self.staging);
            let _ = result::free_host(self.pinned);
        }
    }
}

impl Upload {
    pub(crate) fn new(context: &Arc<CudaContext>) -> Outcome<Upload> {
        Ok(Upload {
            stream: context.new_stream()?,
            context: Arc::clone(context),
            buffers: Mutex::default(),
        })
    }

    /// Copies bytes to an address in the order of the stream `main`. Returns when the bytes are read: false if there is too
    /// little memory of either kind.
    ///
    /// # Safety
    /// Memory must be allocated there, and the context bound to this thread.
    pub(crate) unsafe fn send(&self, main: &CudaStream, to: u64, bytes: &[u8]) -> Outcome<bool> {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = buffers
            .take()
            .filter(|buffers| buffers.bytes >= bytes.len());
        let found = match fitting {
            Some(buffers) => Ok(buffers),
            None => Buffers::new(&self.context, bytes.len().max(1)),
        };
        let buffers = match found {
            Ok(found) => buffers.insert(found),
            Err(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => return Ok(false),
            Err(error) => return Err(error),
        };
        buffers.arrived.synchronize()?;
        let pinned = buffers.pinned.cast::<u8>();
        // SAFETY: the pinned memory has this size, and no copy reads it now.
        let pinned = unsafe {
            pinned.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            std::slice::from_raw_parts(pinned, bytes.len())
        };
        self.stream.wait(&buffers.used)?;
        // SAFETY: the staging memory has this size, and the copy before has left it.
        unsafe { result::memcpy_htod_async(buffers.staging, pinned, self.stream.cu_stream())? };
        buffers.arrived.record(&self.stream)?;
        main.wait(&buffers.arrived)?;
        // SAFETY: as promised by the caller.
        unsafe { result::memcpy_dtod_async(to, buffers.staging, bytes.len(), main.cu_stream())? };
        buffers.used.record(main)?;
        Ok(true)
    }
}

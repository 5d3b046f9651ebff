//! NVIDIA GPUs. The driver and the compiler are opened when the program runs.

use std::collections::HashMap;
use std::ffi::c_void;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaGraph, CudaModule, CudaStream, DriverError, result, sys,
};
use cudarc::nvrtc::Ptx;

use crate::compile::Here;
use crate::device::{Device, DeviceError, Launch, Result, Storage};
use crate::load::{Code, load};
use crate::ptx::embedded;
use crate::upload::Upload;

/// A GPU with compiled kernels.
pub struct Cuda {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    upload: Upload,
    /// Whether the GPU can read any memory of the host, as on systems with coherent memory.
    reads_host_memory: bool,
    module: Arc<CudaModule>,
    functions: Mutex<HashMap<&'static str, CudaFunction>>,
    storage: Storage,
    name: String,
    note: Option<String>,
}

impl std::fmt::Debug for Cuda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cuda")
            .field("name", &self.name)
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// A GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number, from 0 on.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// Its architecture, for example `sm_90`.
    pub architecture: String,
    /// Bytes of memory.
    pub memory: usize,
    /// The newest CUDA version that the driver supports, for example 12080 for 12.8.
    pub driver: i32,
}

/// The oldest architecture with bf16 tensor cores.
const OLDEST: (i32, i32) = (8, 0);

/// Looks for the GPU with this number.
///
/// # Errors
/// [`DeviceError::Missing`] says what is missing: the driver, the GPU, or a newer one.
pub fn find(number: usize) -> Result<Found> {
    Ok(look(number)?.1)
}

fn look(number: usize) -> Result<(Arc<CudaContext>, Found)> {
    // SAFETY: opening the driver's library runs its initialisers, which do nothing else.
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::Missing(
            "no NVIDIA driver was found (libcuda.so.1); install it, or start the container with access to the GPU, \
             such as docker's --gpus all"
                .to_owned(),
        ));
    }
    let missing = |what: &str| {
        let what = what.to_owned();
        move |error: DriverError| DeviceError::Missing(format!("{what}: {}", words(error)))
    };
    result::init().map_err(missing("the NVIDIA driver does not start"))?;
    let count = result::device::get_count().map_err(missing("the driver lists no GPUs"))?;
    if number >= count as usize {
        return Err(DeviceError::Missing(format!(
            "there is no GPU number {number}; this process sees {count}, numbered from 0 (nvidia-smi lists those of the \
             machine, and CUDA_VISIBLE_DEVICES may hide some)"
        )));
    }
    let context = CudaContext::new(number).map_err(missing("the GPU does not start"))?;
    let of = |e| failed("reading the GPU's properties", e);
    let (major, minor) = context.compute_capability().map_err(of)?;
    let name = context.name().map_err(of)?;
    if (major, minor) < OLDEST {
        return Err(DeviceError::Missing(format!(
            "{name} has compute capability {major}.{minor}; at least {}.{} is needed",
            OLDEST.0, OLDEST.1
        )));
    }
    let mut driver = 0;
    // SAFETY: the pointer is valid.
    unsafe { sys::cuDriverGetVersion(&raw mut driver) }
        .result()
        .map_err(of)?;
    let found = Found {
        number,
        architecture: format!("sm_{major}{minor}"),
        memory: context.total_mem().map_err(of)?,
        name,
        driver,
    };
    Ok((context, found))
}

impl Cuda {
    /// Opens the GPU with this number. The kernels are compiled by NVRTC and kept in the folder `cache`, if there is
    /// one. Without a fitting NVRTC the driver compiles PTX, which is part of this program; [`Cuda::note`] says so.
    ///
    /// # Errors
    /// If there is no such GPU, or the kernels cannot be compiled for it.
    pub fn open(number: usize, storage: Storage, cache: Option<&Path>) -> Result<Cuda> {
        Cuda::open_with(number, storage, |context, found| {
            let here = Here {
                storage,
                architecture: &found.architecture,
                cache,
            };
            load(&here, found.driver, |code| module(context, code))
        })
    }

    /// Opens the GPU with this number. The driver compiles the kernels from the PTX of this program, even if there is
    /// an NVRTC. It keeps the result in a cache of its own.
    ///
    /// # Errors
    /// If there is no such GPU, or its driver does not take the PTX.
    pub fn open_embedded(number: usize, storage: Storage) -> Result<Cuda> {
        Cuda::open_with(number, storage, |context, _| {
            let taken = embedded(storage).and_then(|text| module(context, Code::Ptx(text)));
            let module = taken.map_err(|reason| DeviceError::Failed {
                what: "compiling the kernels from PTX".to_owned(),
                reason,
            })?;
            Ok((module, None))
        })
    }

    fn open_with(
        number: usize,
        storage: Storage,
        load: impl FnOnce(&Arc<CudaContext>, &Found) -> Result<(Arc<CudaModule>, Option<String>)>,
    ) -> Result<Cuda> {
        let (context, found) = look(number)?;
        // SAFETY: all memory is used by one stream, except that of `Upload`, which has events of its own.
        unsafe { context.disable_event_tracking() };
        let (module, note) = load(&context, &found)?;
        let stream = context.new_stream();
        Ok(Cuda {
            module,
            stream: stream.map_err(|e| failed("starting a stream", e))?,
            reads_host_memory: context
                .attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS_USES_HOST_PAGE_TABLES)
                .map_err(|e| failed("reading the GPU's properties", e))?
                != 0,
            upload: Upload::new(&context).map_err(|e| failed("starting a stream", e))?,
            functions: Mutex::default(),
            name: found.name,
            context,
            storage,
            note,
        })
    }

    /// What a user should know about the kernels, in one line: why NVRTC did not compile them, and what to install.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    fn function(&self, kernel: &'static str) -> Result<CudaFunction> {
        let mut functions = self
            .functions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = functions.get(kernel) {
            return Ok(function.clone());
        }
        let found = self.module.load_function(kernel);
        let function = found.map_err(|e| failed(kernel, e))?;
        functions.insert(kernel, function.clone());
        Ok(function)
    }

    fn enqueue(&self, launch: &Launch, stream: &CudaStream) -> Result<()> {
        let function = self.function(launch.kernel)?;
        let [x, y, z] = launch.grid;
        let mut args = [launch.args.as_ptr().cast_mut().cast::<c_void>()];
        // SAFETY: the arguments are those of the kernel, and live until the call returns.
        let outcome = unsafe {
            result::launch_kernel(
                function.cu_function(),
                (x, y, z),
                (launch.threads, 1, 1),
                0,
                stream.cu_stream(),
                &mut args,
            )
        };
        outcome.map_err(|e| failed(launch.kernel, e))
    }

    fn bind(&self) -> Result<()> {
        let outcome = self.context.bind_to_thread();
        outcome.map_err(|e| failed("using the GPU from this thread", e))
    }
}

/// Loads kernels. The driver's reason is in plain words where it tells what to do.
fn module(context: &Arc<CudaContext>, code: Code) -> std::result::Result<Arc<CudaModule>, String> {
    let ptx = match code {
        Code::Machine(bytes) => Ptx::from_binary(bytes),
        Code::Ptx(text) => Ptx::from_src(text),
    };
    let load = || {
        let module = context.load_module(ptx)?;
        // Drivers may compile when a kernel is asked for.
        module.load_function("map")?;
        Ok(module)
    };
    load().map_err(|error: DriverError| match error.0 {
        sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => {
            "it is too old for this PTX".to_owned()
        }
        sys::CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND => {
            "its compiler (libnvidia-ptxjitcompiler.so.1) is missing".to_owned()
        }
        sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU => "it is for another GPU".to_owned(),
        _ => words(error),
    })
}

fn failed(what: &str, error: DriverError) -> DeviceError {
    DeviceError::Failed {
        what: what.to_owned(),
        reason: words(error),
    }
}

/// The driver's words and its name of the error.
fn words(error: DriverError) -> String {
    let text = error.error_string().map(|text| text.to_string_lossy());
    match text {
        Ok(text) => format!("{text} ({:?})", error.0),
        Err(_) => format!("{:?}", error.0),
    }
}

/// Memory of a GPU.
#[derive(Debug)]
pub struct CudaMemory {
    at: u64,
    context: Arc<CudaContext>,
}

impl Drop for CudaMemory {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // Graphs, optimizers and averages rely on this.
        // SAFETY: allocated once, and freed once; `cuMemFree` waits for the work that uses it.
        let _ = unsafe { result::free_sync(self.at) };
    }
}

/// Recorded launches.
pub struct Recorded(Mutex<Option<CudaGraph>>);

// SAFETY: CUDA's graphs may move between threads, and the mutex lets one thread use it at a time.
unsafe impl Send for Recorded {}
// SAFETY: as above.
unsafe impl Sync for Recorded {}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorded")
    }
}

impl Device for Cuda {
    type Memory = CudaMemory;
    type Graph = Recorded;

    fn name(&self) -> String {
        self.name.clone()
    }

    fn storage(&self) -> Storage {
        self.storage
    }

    fn free(&self) -> Result<usize> {
        let found = self.context.mem_get_info();
        Ok(found.map_err(|e| failed("asking for free memory", e))?.0)
    }

    fn allocate(&self, bytes: usize) -> Result<CudaMemory> {
        self.bind()?;
        let bytes = bytes.max(256);
        // SAFETY: the memory is set to 0 before anything reads it.
        let at = unsafe { result::malloc_sync(bytes) }.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::Memory { bytes },
            _ => failed("allocating memory", error),
        })?;
        let memory = CudaMemory {
            at,
            context: Arc::clone(&self.context),
        };
        let stream = self.stream.cu_stream();
        // SAFETY: just allocated.
        unsafe { result::memset_d8_async(at, 0, bytes, stream) }
            .map_err(|e| failed("clearing memory", e))?;
        Ok(memory)
    }

    fn address(memory: &CudaMemory) -> u64 {
        memory.at
    }

    unsafe fn write(&self, to: u64, bytes: &[u8]) -> Result<()> {
        self.bind()?;
        let of = |e| failed("copying to the GPU", e);
        // SAFETY: as promised by the caller.
        unsafe { result::memcpy_htod_async(to, bytes, self.stream.cu_stream()) }.map_err(of)?;
        // The driver copies memory that is not pinned before the call returns, unless the GPU reads it itself.
        match self.reads_host_memory {
            true => self.stream.synchronize().map_err(of),
            false => Ok(()),
        }
    }

    unsafe fn send(&self, to: u64, bytes: &[u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: as promised by the caller.
        let sent = unsafe { self.upload.send(&self.stream, to, bytes) };
        match sent.map_err(|e| failed("copying to the GPU", e))? {
            true => Ok(()),
            // SAFETY: as promised by the caller.
            false => unsafe { self.write(to, bytes) },
        }
    }

    unsafe fn read(&self, from: u64, bytes: &mut [u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: as promised by the caller.
        unsafe { result::memcpy_dtoh_async(bytes, from, self.stream.cu_stream()) }
            .map_err(|e| failed("copying from the GPU", e))?;
        let done = self.stream.synchronize();
        done.map_err(|e| failed("waiting for the GPU", e))
    }

    fn prepare(&self, launches: Vec<Launch>) -> Result<Recorded> {
        if launches.is_empty() {
            return Ok(Recorded(Mutex::default()));
        }
        self.bind()?;
        for launch in &launches {
            self.function(launch.kernel)?;
        }
        let of = |e| failed("recording the step", e);
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // A stream of its own: launches of other threads must not be recorded.
        let stream = self.context.new_stream().map_err(of)?;
        stream.begin_capture(mode).map_err(of)?;
        let outcome = (launches.iter()).try_for_each(|launch| self.enqueue(launch, &stream));
        let graph = stream.end_capture(CUgraphInstantiate_flags(0));
        outcome?;
        Ok(Recorded(Mutex::new(graph.map_err(of)?)))
    }

    unsafe fn launch(&self, launch: Launch) -> Result<()> {
        self.bind()?;
        self.enqueue(&launch, &self.stream)
    }

    unsafe fn run(&self, graph: &Recorded) -> Result<()> {
        let graph = graph.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(graph) = &*graph else {
            return Ok(());
        };
        self.bind()?;
        // SAFETY: as promised by the caller; the mutex lets one thread use the graph at a time.
        unsafe { result::graph::launch(graph.cu_graph_exec(), self.stream.cu_stream()) }
            .map_err(|e| failed("running the step", e))
    }
}

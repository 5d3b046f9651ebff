//! Compiles the kernels with NVRTC, which is found when the program runs.

use std::ffi::{CStr, c_char};

use cudarc::nvrtc::{result as nvrtc, sys};
use sha2::{Digest, Sha256};

use crate::device::{DeviceError, Result, Storage};

/// The kernels' sources, in an order in which later ones may use earlier ones.
const SOURCES: [&str; 9] = [
    include_str!("../kernels/common.cuh"),
    include_str!("../kernels/product.cuh"),
    include_str!("../kernels/weight.cuh"),
    include_str!("../kernels/depthwise.cuh"),
    include_str!("../kernels/norm.cuh"),
    include_str!("../kernels/map.cuh"),
    include_str!("../kernels/layer_norm.cuh"),
    include_str!("../kernels/attention.cuh"),
    include_str!("../kernels/optimizer.cuh"),
];

/// Compiled kernels.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The code: PTX as text for `compute_80` and others, machine code for `sm_80` and others.
    pub code: Vec<u8>,
    /// What the compiler says, registers and shared memory of each kernel included.
    pub log: String,
}

/// A SHA-256, in hexadecimal, of everything that the code depends on, except the compiler.
pub fn source_hash(storage: Storage, architecture: &str) -> String {
    let mut hash = Sha256::new();
    for part in SOURCES.into_iter().chain([storage.name(), architecture]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// The version of NVRTC on this machine.
///
/// # Errors
/// [`DeviceError::Missing`] if there is none.
pub fn compiler() -> Result<(i32, i32)> {
    // SAFETY: opening the library runs its initialisers, which do nothing else.
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::Missing(
            "NVIDIA's compiler NVRTC was not found (libnvrtc.so.12); install the package cuda-nvrtc-12-8, or run `pip \
             install nvidia-cuda-nvrtc-cu12` and add its folder nvidia/cuda_nvrtc/lib to LD_LIBRARY_PATH"
                .to_owned(),
        ));
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library is there, and both pointers are valid.
    let code = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    code.result()
        .map_err(|e| failed("NVRTC's version", &format!("{e:?}")))?;
    Ok((major, minor))
}

/// Compiles all kernels for one type of activations and one architecture: `sm_80` gives machine code, `compute_80` PTX.
///
/// # Errors
/// If NVRTC is missing or too old for the architecture.
pub fn compile(storage: Storage, architecture: &str) -> Result<Compiled> {
    let (major, minor) = compiler()?;
    let source: Vec<u8> = SOURCES
        .join("\n")
        .into_bytes()
        .into_iter()
        .chain([0])
        .collect();
    let name = c"kernels.cu";
    let source = CStr::from_bytes_with_nul(&source)
        .map_err(|_| failed("the kernels' source", "it contains a zero byte"))?;
    let what = format!("compiling the kernels for {architecture} with NVRTC {major}.{minor}");
    let program =
        nvrtc::create_program(source, Some(name)).map_err(|e| failed(&what, &format!("{e:?}")))?;
    let options = [
        format!("--gpu-architecture={architecture}"),
        format!("-DSTORAGE={}", storage as u8),
        "--std=c++17".to_owned(),
        "-default-device".to_owned(),
        "--ptxas-options=-v".to_owned(),
    ];
    // SAFETY: the program was just created, and is destroyed once.
    unsafe {
        let outcome = nvrtc::compile_program(program, &options);
        let log = nvrtc::get_program_log(program).unwrap_or_default();
        let log = text(&log);
        let code = match (outcome, architecture.starts_with("compute")) {
            (Err(error), _) => Err(failed(&what, &format!("{error:?}: {log}"))),
            (Ok(()), true) => nvrtc::get_ptx(program)
                .map(|ptx| text(&ptx).into_bytes())
                .map_err(|e| failed(&what, &format!("{e:?}"))),
            (Ok(()), false) => cubin(program).map_err(|e| failed(&what, &e)),
        };
        // The outcome of the compilation matters more.
        let _ = nvrtc::destroy_program(program);
        Ok(Compiled { code: code?, log })
    }
}

/// # Safety
/// The program must be compiled.
unsafe fn cubin(program: sys::nvrtcProgram) -> std::result::Result<Vec<u8>, String> {
    let mut size = 0;
    // SAFETY: as promised by the caller; the buffer has the size that NVRTC asks for.
    unsafe {
        let code = sys::nvrtcGetCUBINSize(program, &raw mut size);
        code.result().map_err(|e| format!("{e:?}"))?;
        let mut bytes = vec![0u8; size];
        let code = sys::nvrtcGetCUBIN(program, bytes.as_mut_ptr().cast());
        code.result().map_err(|e| format!("{e:?}"))?;
        Ok(bytes)
    }
}

fn text(chars: &[c_char]) -> String {
    let bytes: Vec<u8> = chars
        .iter()
        .map(|&c| c as u8)
        .take_while(|&b| b != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn failed(what: &str, reason: &str) -> DeviceError {
    DeviceError::Failed {
        what: what.to_owned(),
        reason: reason.to_owned(),
    }
}

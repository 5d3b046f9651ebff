//! Compiles the kernels with NVRTC, which is found when the program runs.

use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};

use crate::device::{DeviceError, Result, Storage};
use crate::load::Supply;
use crate::ptx;
use crate::sources::{options, program, source_hash};
use cudarc::nvrtc::{result as nvrtc, sys};

/// The oldest version of NVRTC that compiles the kernels.
const OLDEST: (i32, i32) = (12, 0);

/// Compiled kernels.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The code: PTX as text for `compute_80` and others, machine code for `sm_80` and others.
    pub code: Vec<u8>,
    /// What the compiler says, registers and shared memory of each kernel included.
    pub log: String,
}

/// The version of NVRTC on this machine.
///
/// # Errors
/// [`DeviceError::Missing`] if there is none, or an older one than 12.0.
pub fn compiler() -> Result<(i32, i32)> {
    // SAFETY: opening the library runs its initialisers, which do nothing else.
    if !unsafe { sys::is_culib_present() } {
        return Err(DeviceError::Missing(
            "NVIDIA's compiler NVRTC was not found (libnvrtc.so.12)".to_owned(),
        ));
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library is there, and both pointers are valid.
    let code = unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    code.result()
        .map_err(|e| failed("NVRTC's version", &format!("{e:?}")))?;
    // Older ones lack functions that are called below.
    if (major, minor) < OLDEST {
        return Err(DeviceError::Missing(format!(
            "NVRTC {major}.{minor} is too old; at least {}.{} is needed",
            OLDEST.0, OLDEST.1
        )));
    }
    Ok((major, minor))
}

/// Compiles all kernels for one type of activations and one architecture: `sm_80` gives machine code, `compute_80` PTX.
///
/// # Errors
/// If NVRTC is missing or too old for the architecture.
pub fn compile(storage: Storage, architecture: &str) -> Result<Compiled> {
    let (major, minor) = compiler()?;
    let source: Vec<u8> = program().into_bytes().into_iter().chain([0]).collect();
    let name = c"kernels.cu";
    let source = CStr::from_bytes_with_nul(&source)
        .map_err(|_| failed("the kernels' source", "it contains a zero byte"))?;
    let what = format!("compiling the kernels for {architecture} with NVRTC {major}.{minor}");
    let program =
        nvrtc::create_program(source, Some(name)).map_err(|e| failed(&what, &format!("{e:?}")))?;
    let mut options = options(storage, architecture).to_vec();
    if architecture.starts_with("sm") {
        options.push("--ptxas-options=-v".to_owned());
    }
    // SAFETY: the program was just created, and is destroyed once.
    unsafe {
        let outcome = nvrtc::compile_program(program, &options);
        let log = nvrtc::get_program_log(program).unwrap_or_default();
        let log = text(&log);
        let code = match (outcome, architecture.starts_with("compute")) {
            // No other option depends on the machine.
            (Err(error), _) if error.0 == sys::nvrtcResult::NVRTC_ERROR_INVALID_OPTION => {
                Err(DeviceError::Missing(format!(
                    "NVRTC {major}.{minor} does not know the architecture {architecture}; install a newer one"
                )))
            }
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

/// What this machine has of kernels for one architecture.
pub(crate) struct Here<'a> {
    pub(crate) storage: Storage,
    pub(crate) architecture: &'a str,
    pub(crate) cache: Option<&'a Path>,
}

impl Here<'_> {
    fn path(&self) -> Option<PathBuf> {
        let hash = source_hash(self.storage, self.architecture);
        let name = format!(
            "{}-{}-{}.cubin",
            self.storage.name(),
            self.architecture,
            &hash[..16]
        );
        Some(self.cache?.join(name))
    }
}

impl Supply for Here<'_> {
    fn cached(&self) -> Option<Vec<u8>> {
        let code = std::fs::read(self.path()?).ok()?;
        code.starts_with(b"\x7fELF").then_some(code)
    }

    fn compiled(&self) -> Result<Vec<u8>> {
        let code = compile(self.storage, self.architecture)?.code;
        if let Some(path) = self.path()
            && let Some(folder) = path.parent()
        {
            // Without a cache the next run compiles again; that is no reason to fail.
            let _ = std::fs::create_dir_all(folder);
            let _ = files::write_unsynced(&path, &code);
        }
        Ok(code)
    }

    fn embedded(&self) -> std::result::Result<String, String> {
        ptx::embedded(self.storage)
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

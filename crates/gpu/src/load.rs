//! Where a GPU's kernels come from: the cache of machine code, NVRTC, or the PTX of this program.

use crate::device::{DeviceError, Result};

/// How to install NVRTC.
const INSTALL: &str = "run `pip install nvidia-cuda-nvrtc-cu12` and add the package's folder nvidia/cuda_nvrtc/lib to \
    LD_LIBRARY_PATH, or install the package cuda-nvrtc-12-8 from NVIDIA's repository";
/// The first CUDA version whose driver reads our PTX.
const OLDEST_DRIVER: i32 = 12_000;

/// Kernels in a form that the driver takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Machine(Vec<u8>),
    /// PTX, which the driver compiles.
    Ptx(String),
}

/// What has kernels to give.
pub(crate) trait Supply {
    /// Machine code that an earlier process compiled.
    fn cached(&self) -> Option<Vec<u8>>;
    /// Machine code from NVRTC, which the cache keeps.
    fn compiled(&self) -> Result<Vec<u8>>;
    /// The PTX of this program, or why there is none.
    fn embedded(&self) -> std::result::Result<String, String>;
}

/// Gives code to the driver until it takes one. Also returns what the user should know, if NVRTC was not used.
///
/// `driver` is the newest CUDA version that the driver supports, for example 12080 for 12.8.
pub(crate) fn load<M>(
    supply: &impl Supply,
    driver: i32,
    mut take: impl FnMut(Code) -> std::result::Result<M, String>,
) -> Result<(M, Option<String>)> {
    // A damaged file of the cache is compiled again.
    if let Some(code) = supply.cached()
        && let Ok(module) = take(Code::Machine(code))
    {
        return Ok((module, None));
    }
    let compiled = supply.compiled().map_err(|e| one_line(&e.to_string()));
    let refused = |e| format!("the driver does not take NVRTC's code: {e}");
    let reason = match compiled.and_then(|code| take(Code::Machine(code)).map_err(refused)) {
        Ok(module) => return Ok((module, None)),
        Err(reason) => reason,
    };
    match supply.embedded().and_then(|text| take(Code::Ptx(text))) {
        Ok(module) => {
            let note = format!(
                "{reason}. So the driver compiled the kernels from this program's PTX, which works on every GPU. To \
                 compile them for this GPU: {INSTALL}"
            );
            Ok((module, Some(note)))
        }
        Err(second) => {
            let advice = match driver < OLDEST_DRIVER {
                true => "update NVIDIA's driver to version 525 or newer",
                false => INSTALL,
            };
            Err(DeviceError::Missing(format!(
                "there are no kernels for this GPU. {reason}. The driver (for CUDA {}.{}) cannot compile this program's \
                 PTX either: {second}. To mend it: {advice}",
                driver / 1000,
                driver % 1000 / 10
            )))
        }
    }
}

/// The first lines of a message, as one of a limited length.
fn one_line(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    let line: String = words.join(" ");
    match line.char_indices().nth(400) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line.trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Given {
        cached: Option<&'static str>,
        compiled: Option<&'static str>,
        embedded: Option<&'static str>,
    }

    impl Supply for Given {
        fn cached(&self) -> Option<Vec<u8>> {
            self.cached.map(Vec::from)
        }

        fn compiled(&self) -> Result<Vec<u8>> {
            let missing = || DeviceError::Missing("no NVRTC\n here".to_owned());
            self.compiled.map(Vec::from).ok_or_else(missing)
        }

        fn embedded(&self) -> std::result::Result<String, String> {
            let text = self.embedded.map(str::to_owned);
            text.ok_or_else(|| "other kernels".to_owned())
        }
    }

    /// The driver takes code that begins with `good`.
    fn loaded(given: &Given, driver: i32) -> Result<(Code, Option<String>)> {
        load(given, driver, |code| {
            let good = match &code {
                Code::Machine(bytes) => bytes.starts_with(b"good"),
                Code::Ptx(text) => text.starts_with("good"),
            };
            good.then_some(code).ok_or_else(|| "refused".to_owned())
        })
    }

    fn machine(code: &str) -> (Code, Option<String>) {
        (Code::Machine(code.into()), None)
    }

    #[test]
    fn machine_code_comes_first() {
        let mut given = Given {
            cached: Some("good 1"),
            compiled: Some("good 2"),
            embedded: Some("good 3"),
        };
        assert_eq!(loaded(&given, 12_080).unwrap(), machine("good 1"));
        given.cached = Some("bad");
        assert_eq!(loaded(&given, 12_080).unwrap(), machine("good 2"));
        given.cached = None;
        assert_eq!(loaded(&given, 12_080).unwrap(), machine("good 2"));
    }

    #[test]
    fn without_nvrtc_ptx_is_used_and_said() {
        for (compiled, reason) in [
            (None, "no NVRTC here. So the driver"),
            (Some("bad"), "does not take NVRTC's code: refused. So"),
        ] {
            let given = Given {
                cached: None,
                compiled,
                embedded: Some("good"),
            };
            let (code, note) = loaded(&given, 12_080).unwrap();
            assert_eq!(code, Code::Ptx("good".to_owned()));
            let note = note.unwrap();
            assert!(
                note.contains(reason) && note.contains("pip install"),
                "{note}"
            );
            assert!(!note.contains('\n'));
        }
    }

    #[test]
    fn without_both_the_error_says_what_to_install() {
        let mut given = Given::default();
        let message = |given: &Given, driver| loaded(given, driver).unwrap_err().to_string();
        let stale = message(&given, 12_080);
        assert!(
            stale.contains("no NVRTC here. The") && stale.contains("other kernels"),
            "{stale}"
        );
        given.embedded = Some("bad");
        let newer = message(&given, 12_040);
        assert!(
            newer.contains("CUDA 12.4") && newer.contains("pip install"),
            "{newer}"
        );
        let older = message(&given, 11_080);
        assert!(
            older.contains("refused. To mend it: update NVIDIA's driver"),
            "{older}"
        );
    }

    #[test]
    fn messages_become_one_line() {
        assert_eq!(one_line("a\n  b.\n"), "a b");
        assert!(one_line(&"é ".repeat(900)).chars().count() < 410);
    }
}

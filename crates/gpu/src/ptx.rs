//! PTX of the kernels for every GPU, which is part of the program. The driver compiles it where NVRTC cannot.

use std::io::Read;

use lzma_rust2::LzmaReader;

use crate::device::Storage;
use crate::sources::source_hash;

/// The oldest GPUs with bf16 tensor cores, as a target of PTX.
const ARCHITECTURE: &str = "compute_80";
/// What `cargo xtask kernels` wrote: a line about the sources, one about the compiler, and the texts, compressed.
const EMBEDDED: &[u8] = include_bytes!("../ptx/kernels.bin");
/// A line between two texts.
const BETWEEN: char = '\u{2}';

/// The PTX of this program for one type of activations, or why there is none.
pub(crate) fn embedded(storage: Storage) -> Result<String, String> {
    read(EMBEDDED, storage)
}

/// The first line of a file of these sources. The types of activations differ by one option only.
fn heading() -> String {
    format!("sources {}", source_hash(Storage::F32, ARCHITECTURE))
}

/// The second line of a file, and the rest. Fails if the file is of other sources.
fn open(file: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let mut parts = file.splitn(3, |&byte| byte == b'\n');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(first), _, _) if first != heading().as_bytes() => Err(
            "the PTX in this program is of other kernels; run `cargo xtask kernels` and build again"
                .to_owned(),
        ),
        (_, Some(compiler), Some(packed)) => Ok((compiler, packed)),
        _ => Err(damaged()),
    }
}

fn damaged() -> String {
    "the PTX in this program is damaged; run `cargo xtask kernels` and build again".to_owned()
}

fn read(file: &[u8], storage: Storage) -> Result<String, String> {
    let (_, packed) = open(file)?;
    let mut texts = String::new();
    let reader = LzmaReader::new_mem_limit(packed, 1 << 16, None);
    reader
        .and_then(|mut reader| reader.read_to_string(&mut texts))
        .map_err(|_| damaged())?;
    let text = texts.split(BETWEEN).nth(storage as usize);
    Ok(text.ok_or_else(damaged)?.trim_start().to_owned())
}

/// Compiles the kernels to PTX and packs it, as a file for this crate. Returns nothing if `file` is already that: of
/// these sources, and by this version of NVRTC. (NVRTC's texts differ a little each time.)
///
/// # Errors
/// If NVRTC is missing or fails.
#[cfg(feature = "cuda")]
pub fn embeddable(file: &[u8]) -> crate::device::Result<Option<Vec<u8>>> {
    use std::io::Write as _;

    use lzma_rust2::{LzmaOptions, LzmaWriter};

    use crate::compile::{compile, compiler};
    use crate::device::DeviceError;

    let (major, minor) = compiler()?;
    let compiler = format!("NVRTC {major}.{minor}");
    if open(file).is_ok_and(|(found, _)| found == compiler.as_bytes()) {
        return Ok(None);
    }
    let mut texts = Vec::new();
    for storage in crate::sources::STORAGES {
        let code = compile(storage, ARCHITECTURE)?.code;
        let text = String::from_utf8_lossy(&code);
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
        texts.push(lines.collect::<Vec<_>>().join("\n"));
    }
    let between = format!("\n{BETWEEN}\n");
    let texts = texts.join(&between);
    let file = format!("{}\n{compiler}\n", heading()).into_bytes();
    let options = LzmaOptions::with_preset(7);
    let file = LzmaWriter::new_use_header(file, &options, Some(texts.len() as u64))
        .and_then(|mut writer| {
            writer.write_all(texts.as_bytes())?;
            writer.finish()
        })
        .map_err(|error| DeviceError::Failed {
            what: "compressing the kernels".to_owned(),
            reason: error.to_string(),
        })?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_kernels_are_of_these_sources() {
        for storage in crate::sources::STORAGES {
            let text = embedded(storage).unwrap_or_else(|reason| panic!("{reason}"));
            // A newer version would need a newer driver.
            assert!(text.starts_with(".version 8.0\n.target sm_80\n"));
            assert!(text.contains(".visible .entry product_pointwise(\n"));
            let tensor_cores = text.contains("\nmma.sync.");
            assert_eq!(tensor_cores, storage != Storage::F32);
        }
    }

    #[test]
    fn other_files_are_refused() {
        let of = |file: &str| read(file.as_bytes(), Storage::F32).unwrap_err();
        assert!(of("sources 1\nNVRTC 12.0\nx").contains("other kernels"));
        assert!(of("").contains("other kernels"));
        assert!(of(&heading()).contains("damaged"));
        assert!(of(&format!("{}\nNVRTC 12.0\nx", heading())).contains("damaged"));
    }
}

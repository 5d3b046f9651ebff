//! Every reader of files that users supply, as functions of a file's bytes.
//!
//! A reader must neither panic nor take long nor use much memory, for any bytes. libFuzzer tries this with the programs
//! in `targets`, and `measure` with mutated copies of valid files.

mod configuration;
mod idx;
mod image;
mod state;
mod table;
mod weights;

use std::fs;
use std::path::{Path, PathBuf};

pub use weights::{Error, Result, read_path, recognise_path};

/// A file with the right checksums, since wrong ones end the reading early. `None` if they are right already, and for
/// files without any.
pub fn with_checksums(file: &[u8]) -> Option<Vec<u8>> {
    image::with_checksums(file).or_else(|| state::sealed(file))
}

/// Reads a file's bytes. Returns whether they were accepted.
pub type Read = fn(&[u8]) -> bool;

/// The readers of one kind of files.
pub struct Kind {
    /// The name of the kind.
    pub name: &'static str,
    /// The fuzz target. Its folders in `Cargo.toml` contain the valid files.
    pub target: &'static str,
    /// Whether a file of the target is of this kind.
    pub is_kind: fn(&[u8]) -> bool,
    /// The readers.
    pub reads: &'static [Read],
}

/// Every kind of files.
pub const KINDS: [Kind; 16] = [
    kind("IDX", "idx", any, &[idx::idx]),
    kind("gzip IDX", "gzip_idx", any, &[idx::idx]),
    kind("PNG", "image", |file| file.starts_with(b"\x89PNG"), IMAGE),
    kind("JPEG", "image", |file| file.starts_with(b"\xff\xd8"), IMAGE),
    kind("WebP", "image", |file| file.starts_with(b"RIFF"), IMAGE),
    kind("TIFF", "image", image::is_tiff, IMAGE),
    kind("BMP", "image", |file| file.starts_with(b"BM"), IMAGE),
    kind("GIF", "image", |file| file.starts_with(b"GIF8"), IMAGE),
    kind("PNM", "image", image::is_pnm, IMAGE),
    kind(
        "CSV",
        "table",
        any,
        &[
            table::labels,
            table::class_names,
            table::weights,
            table::pattern,
        ],
    ),
    kind(
        "configuration",
        "config",
        any,
        &[configuration::file, configuration::assignments],
    ),
    kind("state of a run", "state", any, &[state::state]),
    kind(
        "import-config",
        "import_config",
        any,
        &[configuration::import],
    ),
    kind("safetensors", "safetensors", any, &[weights::weights]),
    kind(
        "torch.save, zip",
        "torch_file",
        |file| file.starts_with(b"PK"),
        &[weights::weights],
    ),
    kind(
        "torch.save, legacy",
        "torch_file",
        |file| file.starts_with(b"\x80"),
        &[weights::weights],
    ),
];

const IMAGE: &[Read] = &[
    image::strict,
    image::lenient,
    image::small,
    image::from_file,
];

const fn kind(
    name: &'static str,
    target: &'static str,
    is_kind: fn(&[u8]) -> bool,
    reads: &'static [Read],
) -> Kind {
    Kind {
        name,
        target,
        is_kind,
        reads,
    }
}

fn any(_: &[u8]) -> bool {
    true
}

/// Reads a file with every reader of a fuzz target. A PNG is read again with valid checksums.
pub fn read_all(target: &str, bytes: &[u8]) {
    let Some(kind) = KINDS.iter().find(|kind| kind.target == target) else {
        panic!("no target {target}");
    };
    let repaired = with_checksums(bytes);
    for read in kind.reads {
        read(bytes);
        repaired.as_deref().map(read);
    }
}

impl Kind {
    /// The valid files of this kind, in the order of their names.
    ///
    /// # Errors
    /// If a folder or a file cannot be read, or there are none.
    pub fn seeds(&self) -> std::io::Result<Vec<Vec<u8>>> {
        let manifest: toml::Table = include_str!("../Cargo.toml")
            .parse()
            .map_err(std::io::Error::other)?;
        let folders = &manifest["package"]["metadata"]["seeds"][self.target];
        let mut paths: Vec<PathBuf> = Vec::new();
        for folder in folders.as_array().into_iter().flatten() {
            let folder = folder.as_str().unwrap_or_default();
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for entry in fs::read_dir(folder)? {
                paths.push(entry?.path());
            }
        }
        paths.sort();
        let files: Result<Vec<Vec<u8>>, _> = paths.iter().map(fs::read).collect();
        let mut files = files?;
        files.retain(|file| (self.is_kind)(file));
        match files.is_empty() {
            true => Err(std::io::Error::other(format!("no files of {}", self.name))),
            false => Ok(files),
        }
    }
}

/// A folder of this thread for the files of a reader that takes paths. It is deleted at the thread's end.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for temporary files"))
    }

    /// Writes a file of this name.
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).expect("a temporary file");
        path
    }
}

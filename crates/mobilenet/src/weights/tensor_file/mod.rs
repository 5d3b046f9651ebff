//! Files of tensors. Values are read directly into their target buffers.

mod bad_numbers;
mod safe;
mod stored;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;

use crate::weights::torch::Format;
use crate::{Error, Result};

pub use bad_numbers::BadNumbers;
pub(crate) use stored::{MOST_DIMENSIONS, Stored};

/// Number of bytes that are converted at a time.
const PIECE: usize = 16 << 10;

/// Maximum span in bytes of a non-contiguous tensor, because the whole span is read at once.
const MOST_SPREAD: u64 = 256 << 20;

/// Number of bytes at the start of a file that identify its format.
const FIRST: u64 = 16;

/// An open file of tensors, in safetensors or PyTorch's format. Only tensor offsets are parsed up
/// front.
#[derive(Debug)]
pub(crate) struct TensorFile<S = File> {
    path: PathBuf,
    source: S,
    tensors: BTreeMap<String, Stored>,
    metadata: HashMap<String, String>,
    bad_numbers: Vec<BadNumbers>,
}

impl TensorFile {
    /// Opens a file of tensors. The format is recognised from the contents.
    ///
    /// # Errors
    /// If the file cannot be read, has an unknown format, or is incomplete.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let of_file = Error::file(path);
        // Checked before the file is opened, because opening a pipe waits for a writer.
        let kind = std::fs::metadata(path).map_err(&of_file)?;
        if !kind.is_file() {
            let kind = if kind.is_dir() {
                "folder"
            } else {
                "pipe or device"
            };
            let reason = format!("a {kind}, expected a file of weights");
            return Err(Error::format(path, reason));
        }
        let file = File::open(path).map_err(&of_file)?;
        let size = file.metadata().map_err(&of_file)?.len();
        Self::read_from(path, file, size)
    }
}

impl<S: Read + Seek> TensorFile<S> {
    /// Reads the tensor offsets of a file of `size` bytes, opened from `path`.
    ///
    /// # Errors
    /// As [`TensorFile::open`].
    pub(crate) fn read_from(path: &Path, mut source: S, size: u64) -> Result<Self> {
        let mut first = Vec::new();
        let read = (&mut source).take(FIRST.min(size)).read_to_end(&mut first);
        read.map_err(Error::file(path))?;
        let (tensors, metadata) = if let Some(format) = Format::meant(&first) {
            (format.open(path, &mut source, size)?, HashMap::new())
        } else if safe::is_meant(&first) {
            safe::open(path, &mut source, size)?
        } else {
            return Err(Error::format(
                path,
                format!("neither a safetensors file nor one that torch.save wrote ({size} bytes)"),
            ));
        };
        if tensors.is_empty() {
            return Err(Error::format(path, "it contains no tensors"));
        }
        Ok(TensorFile {
            path: path.into(),
            source,
            tensors,
            metadata,
            bad_numbers: Vec::new(),
        })
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A text entry of the header.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The names of the tensors, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The names and shapes of the tensors, sorted by name.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &[usize])> + Clone {
        let tensors = self.tensors.iter();
        tensors.map(|(name, stored)| (name.as_str(), stored.shape.as_slice()))
    }

    /// The shape of a tensor; `None` if there is no such tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    /// The unusable values found since the last call, in reading order.
    pub(crate) fn take_bad_numbers(&mut self) -> Vec<BadNumbers> {
        std::mem::take(&mut self.bad_numbers)
    }

    /// Reads a tensor in torch's order. It must have as many values as `values`. Unusable values
    /// are read too, and are recorded for [`TensorFile::take_bad_numbers`].
    ///
    /// # Errors
    /// If the tensor cannot be read, or does not hold floating-point numbers.
    pub(crate) fn read(&mut self, name: &str, values: &mut [f32]) -> Result<()> {
        let (source, stored) = self.place(name, values.len())?;
        let outcome = match stored.dtype {
            Dtype::F32 => numbers(source, stored, values, f32::from_le_bytes),
            Dtype::F16 => numbers(source, stored, values, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => numbers(source, stored, values, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => numbers(source, stored, values, |b| f64::from_le_bytes(b) as f32),
            other => {
                let reason = format!("{name} holds {other}, expected F32, F16, BF16 or F64");
                return Err(Error::format(&self.path, reason));
            }
        };
        self.whole(outcome)?;
        let shape = self.shape(name).unwrap_or_default();
        let found = BadNumbers::find(name, shape, values);
        self.bad_numbers.extend(found);
        Ok(())
    }

    /// Reads a tensor that holds one integer.
    ///
    /// # Errors
    /// If the tensor cannot be read, or does not have exactly one value.
    pub(crate) fn integer(&mut self, name: &str) -> Result<i64> {
        let (source, stored) = self.place(name, 1)?;
        if stored.dtype != Dtype::I64 {
            // If a whole file was cast to another type, its counters have that type too.
            let mut value = [0.0];
            self.read(name, &mut value)?;
            return Ok(value[0] as i64);
        }
        let mut value = [0];
        let outcome = numbers(source, stored, &mut value, i64::from_le_bytes);
        self.whole(outcome)?;
        Ok(value[0])
    }

    /// Returns the file and the location of a tensor with `len` values.
    fn place(&mut self, name: &str, len: usize) -> Result<(&mut S, &Stored)> {
        let wrong = |reason: String| Error::format(&self.path, reason);
        let stored = self.tensors.get(name).filter(|stored| stored.len() == len);
        let stored = stored.ok_or_else(|| wrong(format!("it has no {name} of {len} numbers")))?;
        if !stored.is_contiguous() && stored.span().is_none_or(|span| span > MOST_SPREAD / 8) {
            return Err(wrong(format!(
                "{name} is spread over more than {MOST_SPREAD} bytes of the file: make it \
                 contiguous before it is saved, with .contiguous()"
            )));
        }
        Ok((&mut self.source, stored))
    }

    fn whole(&self, outcome: io::Result<()>) -> Result<()> {
        outcome.map_err(Error::file(&self.path))
    }
}

/// A name from a file, escaped for a message.
pub(crate) fn escaped(name: &str) -> String {
    shortened(name, 100)
}

/// Puts a text from a file on one line, and cuts it to `most` characters: names may be as long as
/// the file.
fn shortened(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown.escape_debug().collect()
}

/// Reads the values of `stored`, of `N` bytes each, into `values`.
fn numbers<T, const N: usize>(
    source: &mut (impl Read + Seek),
    stored: &Stored,
    values: &mut [T],
    number: impl Fn([u8; N]) -> T,
) -> io::Result<()> {
    source.seek(SeekFrom::Start(stored.start))?;
    if !stored.is_contiguous() {
        return gather(source, stored, values, number);
    }
    let mut piece = [0; PIECE];
    for values in values.chunks_mut(PIECE / N) {
        let bytes = &mut piece[..values.len() * N];
        source.read_exact(bytes)?;
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
            *value = number(*bytes);
        }
    }
    Ok(())
}

/// Reads the whole span of a tensor and picks the tensor's values from it.
fn gather<T, const N: usize>(
    source: &mut (impl Read + Seek),
    stored: &Stored,
    values: &mut [T],
    number: impl Fn([u8; N]) -> T,
) -> io::Result<()> {
    let span = stored.span().unwrap_or(0) as usize;
    let mut bytes = vec![0; span * N];
    source.read_exact(&mut bytes)?;
    let numbers = bytes.as_chunks().0;
    let mut values = values.iter_mut();
    stored.places(|place| {
        if let Some(value) = values.next() {
            *value = number(numbers[place]);
        }
    });
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests;

//! Files of tensors, read straight to where their numbers belong.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use crate::{Error, Result};

/// Bytes of the length that a safetensors file begins with.
const LENGTH: u64 = 8;

/// Longest header that is read, in bytes: far above that of any file of a network's weights,
/// and little enough for a file that lies.
const LONGEST_HEADER: u64 = 16 << 20;

/// Bytes that are converted at a time.
const PIECE: usize = 16 << 10;

/// An open safetensors file whose header has been read and found whole.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    file: File,
    tensors: BTreeMap<String, Stored>,
    metadata: HashMap<String, String>,
}

/// A tensor in a file.
#[derive(Debug)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Of its first byte in the file.
    start: u64,
}

impl TensorFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// If it cannot be read, is not safetensors, or is longer or shorter than it says.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let of_file = |source| Error::File {
            path: path.into(),
            source,
        };
        let mut file = File::open(path).map_err(of_file)?;
        let size = file.metadata().map_err(of_file)?.len();
        let mut length = [0; LENGTH as usize];
        if size < LENGTH {
            return Err(damaged(path, &format!("it has {size} bytes")));
        }
        file.read_exact(&mut length).map_err(of_file)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST_HEADER.min(size - LENGTH) {
            let says = format!("it announces a header of {length} bytes and has {size} in all");
            return Err(damaged(path, &says));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(of_file)?;
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|e| damaged(path, &format!("header: {e}")))?;
        let (start, data) = (LENGTH + length, header.data_len() as u64);
        if start.checked_add(data) != Some(size) {
            let says = format!("its header describes {data} bytes from {start} on, of {size}");
            return Err(damaged(path, &says));
        }
        let tensors = header.tensors().into_iter().map(|(name, info)| {
            let stored = Stored {
                dtype: info.dtype,
                shape: info.shape.clone(),
                start: start + info.data_offsets.0 as u64,
            };
            (name, stored)
        });
        Ok(TensorFile {
            path: path.into(),
            file,
            tensors: tensors.collect(),
            metadata: header.metadata().clone().unwrap_or_default(),
        })
    }

    /// Where the file lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An entry of the header's texts.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The names of its tensors, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The shape of a tensor; none if there is no such tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    /// Reads a tensor of as many numbers as `values` has, in torch's order.
    ///
    /// # Errors
    /// If it cannot be read, or holds no floating point numbers.
    pub(crate) fn read(&mut self, name: &str, values: &mut [f32]) -> Result<()> {
        let (dtype, start) = self.place(name, values.len())?;
        let file = &mut self.file;
        let outcome = match dtype {
            Dtype::F32 => numbers(file, start, values, f32::from_le_bytes),
            Dtype::F16 => numbers(file, start, values, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => numbers(file, start, values, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => numbers(file, start, values, |b| f64::from_le_bytes(b) as f32),
            other => {
                return Err(Error::Format {
                    path: self.path.clone(),
                    reason: format!("{name} holds {other}, expected F32, F16, BF16 or F64"),
                });
            }
        };
        self.whole(outcome)
    }

    /// Reads a tensor of one integer.
    ///
    /// # Errors
    /// If it cannot be read, or is not one number.
    pub(crate) fn integer(&mut self, name: &str) -> Result<i64> {
        let (dtype, start) = self.place(name, 1)?;
        if dtype != Dtype::I64 {
            // Files cast as a whole have counters of another type.
            let mut value = [0.0];
            self.read(name, &mut value)?;
            return Ok(value[0] as i64);
        }
        let mut value = [0];
        let outcome = numbers(&mut self.file, start, &mut value, i64::from_le_bytes);
        self.whole(outcome)?;
        Ok(value[0])
    }

    /// The type and the first byte of a tensor of `len` numbers.
    fn place(&self, name: &str, len: usize) -> Result<(Dtype, u64)> {
        match self.tensors.get(name) {
            Some(stored) if stored.shape.iter().product::<usize>() == len => {
                Ok((stored.dtype, stored.start))
            }
            _ => Err(Error::Format {
                path: self.path.clone(),
                reason: format!("there is no {name} of {len} numbers in it"),
            }),
        }
    }

    fn whole(&self, outcome: io::Result<()>) -> Result<()> {
        outcome.map_err(|source| Error::File {
            path: self.path.clone(),
            source,
        })
    }
}

/// Reads as many numbers of `N` bytes as `values` has.
fn numbers<T, const N: usize>(
    file: &mut File,
    start: u64,
    values: &mut [T],
    number: impl Fn([u8; N]) -> T,
) -> io::Result<()> {
    let mut piece = [0; PIECE];
    file.seek(SeekFrom::Start(start))?;
    for values in values.chunks_mut(PIECE / N) {
        let bytes = &mut piece[..values.len() * N];
        file.read_exact(bytes)?;
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
            *value = number(*bytes);
        }
    }
    Ok(())
}

fn damaged(path: &Path, says: &str) -> Error {
    Error::Format {
        path: path.into(),
        reason: format!("not a whole safetensors file: {says}"),
    }
}

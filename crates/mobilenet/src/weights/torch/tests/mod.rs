//! Tests with files written by PyTorch, and with files that PyTorch would never write.

mod assemble;
mod broken;
mod fixtures;
mod hostile;
mod names;
mod pretrained;

use std::io::{Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use crate::Result;
use crate::weights::tensor_file::TensorFile;

/// Maximum number of values that a test reads from a tensor.
const MOST: usize = 1 << 16;

/// A file that the generator has written.
fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/torch");
    folder.join(name)
}

fn fixture_bytes(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// The values of the generator's tensors. The formula is the same as in the generator.
fn formula(salt: usize, count: usize) -> Vec<f32> {
    let number = |i| ((i * 37 + salt * 11) % 128) as f32 - 64.0;
    (0..count).map(|i| number(i) / 8.0).collect()
}

/// Opens a file with these bytes.
fn open(bytes: &[u8]) -> Result<TensorFile<Cursor<&[u8]>>> {
    TensorFile::read_from(Path::new("weights"), Cursor::new(bytes), bytes.len() as u64)
}

/// The error for a file with these bytes.
fn refusal(bytes: &[u8]) -> String {
    let error = open(bytes).expect_err("a refusal").to_string();
    assert!(error.contains("weights"), "it names the file: {error}");
    error
}

fn read<S: Read + Seek>(file: &mut TensorFile<S>, name: &str) -> Vec<f32> {
    let len = file.shape(name).unwrap().iter().product();
    let mut values = vec![f32::NAN; len];
    file.read(name, &mut values).unwrap();
    values
}

/// Opens an arbitrary file and reads its tensors. The results do not matter.
fn try_everything(bytes: &[u8]) {
    let Ok(mut file) = open(bytes) else { return };
    let names: Vec<String> = file.names().map(str::to_owned).collect();
    for name in names {
        let shape = file.shape(&name).unwrap();
        let len = shape.iter().fold(1, |len: usize, &n| len.saturating_mul(n));
        if len <= MOST {
            let mut values = vec![0.0; len];
            let _ = file.read(&name, &mut values);
            let _ = file.integer(&name);
        }
    }
}

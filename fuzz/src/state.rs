//! Saved states of runs.

use std::fs;

use files::Checksum;
use trainer::RunDir;

use crate::Scratch;

thread_local! {
    static SCRATCH: Scratch = run();
}

/// The beginning of a state, after eight bytes, up to its checksum.
const START: &[u8] = br#"{"__metadata__":{"checksum":""#;
/// The first digit of the checksum, and the byte after the last one.
const DIGITS: std::ops::Range<usize> = 8 + START.len()..8 + START.len() + 64;

/// The folder of a run.
fn run() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("config.toml", b"");
    fs::create_dir(scratch.0.path().join("state")).expect("a folder");
    scratch
}

/// Reads a file as the only state of a run.
pub(crate) fn state(bytes: &[u8]) -> bool {
    SCRATCH.with(|scratch| {
        scratch.write("state/epoch-1-batch-1.safetensors", bytes);
        let run = RunDir::reopen(scratch.0.path()).expect("the folder of a run");
        matches!(run.state(), Ok(Some(_)))
    })
}

/// A state with the right checksum, since a wrong one ends the reading early. `None` for other files, and if it is right
/// already.
pub(crate) fn sealed(file: &[u8]) -> Option<Vec<u8>> {
    let mut sealed = file.to_vec();
    if file.get(8..DIGITS.start)? != START {
        return None;
    }
    sealed.get_mut(DIGITS)?.fill(b'0');
    let mut checksum = Checksum::default();
    checksum.update(&sealed);
    sealed[DIGITS].copy_from_slice(checksum.finish().as_bytes());
    (sealed != file).then_some(sealed)
}

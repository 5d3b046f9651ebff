//! Looks at a run's folder from outside: its states, temporaries and results.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The beginning of the names of unfinished files.
const UNFINISHED: &str = ".unfinished-";
/// The beginning of a state, after eight bytes: its checksum follows.
const STATE: &[u8] = br#"{"__metadata__":{"checksum":""#;
/// The number of digits of the checksum.
const DIGITS: usize = 64;
/// Fields of `metrics.jsonl` that depend on the machine's speed.
const TIMES: [&str; 3] = ["images_per_second", "seconds", "times"];

/// The kind of an unfinished file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Temporary {
    State,
    Weights,
    /// The configuration, the metrics, the list of images, or a file that is still empty.
    Other,
}

/// The unfinished files of a run, by name.
pub(super) fn temporaries(run: &Path) -> Vec<(String, Temporary)> {
    let states = run.join("state");
    // Before the first state, the list of images is written in the same folder.
    let kind = match states.join("images.csv").exists() {
        true => Temporary::State,
        false => Temporary::Other,
    };
    let states = unfinished(&states).map(|(name, _)| (name, kind));
    let others = unfinished(run).map(|(name, path)| match is_safetensors(&path) {
        true => (name, Temporary::Weights),
        false => (name, Temporary::Other),
    });
    states.chain(others).collect()
}

fn unfinished(dir: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    // Files and the folder itself come and go.
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with(UNFINISHED).then(|| (name, entry.path()))
    })
}

/// Whether a file begins as safetensors do: the length of the header in eight bytes, then the header.
fn is_safetensors(path: &Path) -> bool {
    let mut start = [0; 9];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start[8] == b'{'
}

/// The states of a run with their places, (epoch, batch), oldest first.
pub(super) fn states(run: &Path) -> Vec<((usize, usize), PathBuf)> {
    let entries = fs::read_dir(run.join("state")).into_iter().flatten();
    let places = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let place = name.to_str()?.strip_prefix("epoch-")?;
        let (epoch, batch) = place.strip_suffix(".safetensors")?.split_once("-batch-")?;
        Some(((epoch.parse().ok()?, batch.parse().ok()?), entry.path()))
    });
    let mut states: Vec<_> = places.collect();
    states.sort();
    states
}

/// Checks the checksum of a state: the SHA-256 of the file, in which the digits of the checksum are zeros.
pub(super) fn check_state(path: &Path) -> Result<()> {
    let mut bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let start = 8 + STATE.len();
    let is_state = bytes.get(8..start) == Some(STATE) && bytes.len() >= start + DIGITS;
    ensure!(is_state, "{} is not a state", path.display());
    let expected = bytes[start..start + DIGITS].to_vec();
    bytes[start..start + DIGITS].fill(b'0');
    let digest = Sha256::digest(&bytes);
    let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(
        found.as_bytes() == expected,
        "{} is damaged",
        path.display()
    );
    Ok(())
}

/// The results of a run by file name. Times are left out. States and the record of the run contain times, so only their
/// names count.
pub(super) fn results(run: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut results = BTreeMap::new();
    for dir in [run.to_owned(), run.join("state")] {
        let entries = fs::read_dir(&dir).with_context(|| format!("no folder {}", dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.strip_prefix(run)?.to_string_lossy().into_owned();
            if path.is_dir() || name == ".lock" {
                continue;
            }
            let contents = match name.as_str() {
                "config.toml" => without_saving(&fs::read_to_string(&path)?),
                "metrics.jsonl" => without_times(&fs::read_to_string(&path)?)?,
                // They contain times.
                "report.html" | "metrics.csv" | "MODEL_CARD.md" | "run.json" => Vec::new(),
                name if name.starts_with("state/epoch-") => Vec::new(),
                _ => fs::read(&path)?,
            };
            results.insert(name, contents);
        }
    }
    Ok(results)
}

/// The configuration without the key that differs between runs with the same results.
fn without_saving(config: &str) -> Vec<u8> {
    let lines = config
        .lines()
        .filter(|line| !line.starts_with("save_every"));
    lines
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .into()
}

fn without_times(metrics: &str) -> Result<Vec<u8>> {
    let mut kept = String::new();
    for line in metrics.lines() {
        let mut report: Value = serde_json::from_str(line)
            .with_context(|| format!("metrics.jsonl has a damaged line: {line}"))?;
        let fields = report.as_object_mut().context("a line is no object")?;
        for field in TIMES {
            ensure!(fields.remove(field).is_some(), "no {field} in {line}");
        }
        kept += &format!("{report}\n");
    }
    Ok(kept.into_bytes())
}

/// Compares the results of a run with those of the reference.
pub(super) fn compare(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
) -> Result<()> {
    let names =
        |results: &BTreeMap<String, Vec<u8>>| -> Vec<String> { results.keys().cloned().collect() };
    let (found_names, expected_names) = (names(found), names(expected));
    if found_names != expected_names {
        bail!("the files are {found_names:?}, expected {expected_names:?}");
    }
    for (name, contents) in expected {
        ensure!(
            found[name] == *contents,
            "{name} differs from that of the reference"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_with_a_changed_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        let mut bytes = [&[9; 8], STATE, &[b'0'; DIGITS], b"\"}} and numbers"].concat();
        let digest = Sha256::digest(&bytes);
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let start = 8 + STATE.len();
        bytes[start..start + DIGITS].copy_from_slice(digits.as_bytes());
        fs::write(&path, &bytes).unwrap();
        check_state(&path).unwrap();
        for place in [0, 12, start, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(check_state(&path).is_err(), "byte {place}");
        }
        fs::write(&path, &bytes[..start + 3]).unwrap();
        assert!(check_state(&path).is_err());
    }

    #[test]
    fn temporaries_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        fs::create_dir(run.join("state")).unwrap();
        fs::write(
            run.join(".unfinished-a"),
            b"\x40\0\0\0\0\0\0\0{\"__metadata__\"",
        )
        .unwrap();
        fs::write(run.join(".unfinished-b"), b"[data]\nsource").unwrap();
        fs::write(run.join("state/.unfinished-c"), "").unwrap();
        let kinds = |run: &Path| temporaries(run).into_iter().collect::<BTreeMap<_, _>>();
        let found = kinds(run);
        assert_eq!(found[".unfinished-a"], Temporary::Weights);
        assert_eq!(found[".unfinished-b"], Temporary::Other);
        assert_eq!(found[".unfinished-c"], Temporary::Other);
        fs::write(run.join("state/images.csv"), "").unwrap();
        assert_eq!(kinds(run)[".unfinished-c"], Temporary::State);
    }

    #[test]
    fn differences_are_named() {
        let results = |text: &str| BTreeMap::from([("a".to_owned(), text.as_bytes().to_vec())]);
        compare(&results("x"), &results("x")).unwrap();
        let error = compare(&results("x"), &results("y")).unwrap_err();
        assert!(error.to_string().contains("a differs"), "{error}");
        assert!(compare(&BTreeMap::new(), &results("y")).is_err());
        let line = r#"{"epoch":1,"seconds":2.5,"images_per_second":8,"times":{}}"#;
        assert_eq!(without_times(line).unwrap(), b"{\"epoch\":1}\n");
        assert!(without_times(r#"{"epoch":1}"#).is_err());
        assert!(without_times(r#"{"epo"#).is_err());
    }
}

//! Keeps measured speeds in a file, for later processes with the same processor and build.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::TrainingSpeed;
use super::machine::{self, Machine};
use crate::Result;

/// The name of the file.
const NAME: &str = "training-speeds.json";
/// The most measurements in the file. The newest are kept.
const KEPT: usize = 16;
/// The longest file that is read.
const MAX_BYTES: u64 = 1 << 20;

/// The file of measured speeds, for one processor and build.
pub(super) struct Cache {
    path: PathBuf,
    key: Key,
}

/// What a measurement is valid for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    #[serde(flatten)]
    machine: Machine,
    /// The version of this crate.
    version: String,
    /// The checksum of the program.
    build: String,
}

/// A measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    key: Key,
    speeds: Vec<TrainingSpeed>,
}

impl Entry {
    /// Whether there is a speed for each precision, and no other.
    fn is_whole(&self) -> bool {
        let precisions = self.speeds.iter().map(|speed| speed.precision);
        let is_speed = |speed: &TrainingSpeed| {
            speed.images_per_second.is_finite() && speed.images_per_second > 0.0
        };
        precisions.eq(self.key.machine.precisions.iter().copied())
            && self.speeds.iter().all(is_speed)
    }
}

impl Cache {
    /// The file in `folder`. `None` if the program cannot be read, so that its build is unknown.
    pub(super) fn open(folder: &Path, machine: &Machine) -> Option<Self> {
        match machine::build() {
            Ok(build) => Some(Self::of_build(folder, machine, build)),
            Err(error) => {
                tracing::debug!("measured speeds are not kept: cannot read the program: {error}");
                None
            }
        }
    }

    pub(super) fn of_build(folder: &Path, machine: &Machine, build: String) -> Self {
        Self {
            path: folder.join(NAME),
            key: Key {
                machine: machine.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                build,
            },
        }
    }

    /// The speeds in the file. If they are missing or damaged, they are measured and written.
    pub(super) fn speeds(
        &self,
        measure: impl FnOnce() -> Result<Vec<TrainingSpeed>>,
    ) -> Result<Vec<TrainingSpeed>> {
        let mut entries = self.read().unwrap_or_else(|problem| {
            tracing::debug!("{}: {problem}; measuring", self.path.display());
            Vec::new()
        });
        let mine = |entry: &Entry| entry.key == self.key;
        if let Some(found) = entries
            .iter()
            .find(|&entry| mine(entry) && entry.is_whole())
        {
            return Ok(found.speeds.clone());
        }
        let speeds = measure()?;
        entries.retain(|entry| !mine(entry));
        entries.insert(
            0,
            Entry {
                key: self.key.clone(),
                speeds: speeds.clone(),
            },
        );
        entries.truncate(KEPT);
        if let Err(error) = self.write(&entries) {
            let path = self.path.display();
            tracing::debug!("{path}: measured speeds are not kept: {error}");
        }
        Ok(speeds)
    }

    fn read(&self) -> io::Result<Vec<Entry>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut json = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut json)?;
        Ok(serde_json::from_slice(&json)?)
    }

    fn write(&self, entries: &[Entry]) -> io::Result<()> {
        std::fs::create_dir_all(files::parent(&self.path))?;
        let json = serde_json::to_vec_pretty(entries)?;
        files::write(&self.path, |file| file.write_all(&json))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use mobilenet::Precision;

    use super::*;

    fn machine() -> Machine {
        Machine {
            processor: "A processor".to_owned(),
            instructions: "avx512".to_owned(),
            precisions: vec![Precision::F32, Precision::Bf16Avx512],
            threads: 2,
            executor: "fused".to_owned(),
        }
    }

    fn of(precisions: &[Precision], images_per_second: f64) -> Vec<TrainingSpeed> {
        let speed = |&precision: &Precision| TrainingSpeed {
            precision,
            images_per_second,
        };
        precisions.iter().map(speed).collect()
    }

    /// The speed that a cache gives, and whether it was measured, as `now`.
    fn asked(folder: &Path, machine: &Machine, build: &str, now: f64) -> (f64, bool) {
        let is_measured = Cell::new(false);
        let cache = Cache::of_build(folder, machine, build.to_owned());
        let speeds = cache.speeds(|| {
            is_measured.set(true);
            Ok(of(&machine.precisions, now))
        });
        (speeds.unwrap()[0].images_per_second, is_measured.get())
    }

    #[test]
    fn a_measurement_serves_its_processor_and_build_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("new/folder");
        assert_eq!(asked(&folder, &machine(), "a", 0.1), (0.1, true));
        assert_eq!(asked(&folder, &machine(), "a", 9.0), (0.1, false));
        let others: [fn(&mut Machine); 5] = [
            |other| other.processor.push('2'),
            |other| other.instructions = "avx2".to_owned(),
            |other| other.precisions = vec![Precision::F32, Precision::Bf16Amx],
            |other| other.threads = 3,
            |other| other.executor = "layered".to_owned(),
        ];
        for (number, change) in others.into_iter().enumerate() {
            let (mut other, now) = (machine(), 10.0 + number as f64);
            change(&mut other);
            assert_eq!(asked(&folder, &other, "a", now), (now, true), "{other:?}");
        }
        assert_eq!(asked(&folder, &machine(), "b", 20.0), (20.0, true));
        // The measurements of all of them are in the file.
        assert_eq!(asked(&folder, &machine(), "a", 9.0), (0.1, false));
        assert_eq!(asked(&folder, &machine(), "b", 9.0), (20.0, false));
    }

    #[test]
    fn the_file_stays_small() {
        let dir = tempfile::tempdir().unwrap();
        for build in 0..2 * KEPT {
            asked(dir.path(), &machine(), &build.to_string(), 1.0);
        }
        let cache = Cache::of_build(dir.path(), &machine(), String::new());
        assert_eq!(cache.read().unwrap().len(), KEPT);
        let newest = (2 * KEPT - 1).to_string();
        assert_eq!(asked(dir.path(), &machine(), &newest, 9.0), (1.0, false));
        assert_eq!(asked(dir.path(), &machine(), "0", 9.0), (9.0, true));
    }

    #[test]
    fn a_damaged_file_is_measured_again_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        asked(dir.path(), &machine(), "a", 1.5);
        let whole = std::fs::read_to_string(&path).unwrap();
        let without = |part: &str, instead: &str| {
            let damaged = whole.replace(part, instead);
            assert_ne!(damaged, whole, "{part}");
            damaged
        };
        for damaged in [
            String::new(),
            "[]".to_owned(),
            "[7]".to_owned(),
            whole[..whole.len() / 2].to_owned(),
            without("1.5", "-1.5"),
            without("1.5", "0"),
            without("1.5", "null"),
            without("1.5", "1e999"),
            without("\"precision\": \"bf16_avx512\"", "\"precision\": \"bf17\""),
            without("\"precision\": \"bf16_avx512\"", "\"precision\": \"f32\""),
        ] {
            std::fs::write(&path, &damaged).unwrap();
            let found = asked(dir.path(), &machine(), "a", 2.5);
            assert_eq!(found, (2.5, true), "{damaged}");
            assert_eq!(asked(dir.path(), &machine(), "a", 9.0), (2.5, false));
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_or_read_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        // A folder in place of the file, and a file in place of the folder.
        std::fs::create_dir(dir.path().join(NAME)).unwrap();
        assert_eq!(asked(dir.path(), &machine(), "a", 1.0), (1.0, true));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(asked(&file, &machine(), "a", 2.0), (2.0, true));
    }
}

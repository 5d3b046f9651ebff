//! The folder of a run's states: the newest, and the one before it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::writing::Unwritten;
use super::{Place, RunState, Unreadable};
use crate::{Error, Result};

const ENDING: &str = ".safetensors";

/// The number of states that are kept: if the newest is damaged, the run goes on from the one before.
const KEPT: usize = 2;

/// The states of a run. Files are named after the place in the run: `epoch-3-batch-120.safetensors`.
#[derive(Debug)]
pub(crate) struct StateFolder {
    path: PathBuf,
    /// The states that are not known to be damaged, oldest first.
    sound: Vec<PathBuf>,
}

impl StateFolder {
    /// The states in `path`, which may be missing.
    pub(crate) fn new(path: PathBuf) -> Self {
        let known = places(&path).unwrap_or_default();
        Self {
            path,
            sound: known.into_iter().map(|(_, path)| path).collect(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the newest state that is complete; `None` if none was saved. A warning names each damaged state.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder cannot be listed. [`Error::State`] if every state is damaged, or if the newest is of
    /// another version or cannot be read.
    pub(crate) fn newest(&mut self) -> Result<Option<RunState>> {
        let mut damaged = None;
        has_states(&self.path).map_err(Error::io(&self.path))?;
        while let Some(path) = self.sound.last() {
            match RunState::read(path) {
                Ok(state) => return Ok(Some(state)),
                Err(Unreadable::Refused(problem)) => {
                    let path = path.clone();
                    return Err(Error::State { path, problem });
                }
                Err(Unreadable::Damaged(problem)) => {
                    let path = self.sound.pop().unwrap_or_default();
                    let shown = path.display();
                    tracing::warn!(
                        "{shown}: this state cannot be used: {problem}; trying the one before"
                    );
                    damaged = Some(Error::State { path, problem });
                }
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// Writes a state, then removes all but the newest two. Returns the time without waiting for the disk.
    pub(crate) fn write(&mut self, state: &mut Unwritten) -> io::Result<Duration> {
        fs::create_dir_all(&self.path)?;
        let Place { epoch, batch } = state.place;
        let path = self
            .path
            .join(format!("epoch-{epoch}-batch-{batch}{ENDING}"));
        self.sound.retain(|former| *former != path);
        let busy = state.write(&path)?;
        self.sound.push(path);
        self.keep(KEPT);
        Ok(busy)
    }

    /// Forgets the states after the one from which a run goes on: they are damaged. Without one, all are.
    pub(crate) fn forget_after(&mut self, place: Option<Place>) {
        let is_before = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.and_then(self::place) <= place
        };
        self.sound.retain(is_before);
    }

    /// Removes all states. What cannot be removed stays.
    pub(crate) fn remove(self) {
        let _ = fs::remove_dir_all(self.path);
    }

    /// Removes all states but the newest, after the end of a run.
    pub(crate) fn keep_newest(&mut self) {
        self.keep(1);
    }

    fn keep(&mut self, count: usize) {
        let old = self.sound.len().saturating_sub(count);
        self.sound.drain(..old);
        // Also those of a former process, and damaged ones. If one cannot be removed, the next save tries again.
        for (_, path) in places(&self.path).unwrap_or_default() {
            if !self.sound.contains(&path) {
                let _ = fs::remove_file(path);
            }
        }
    }
}

/// The states in a folder, by their place in the run. Other files are ignored.
fn places(dir: &Path) -> io::Result<Vec<(Place, PathBuf)>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(place) = entry.file_name().to_str().and_then(place) {
            found.push((place, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn place(name: &str) -> Option<Place> {
    let numbers = name.strip_prefix("epoch-")?.strip_suffix(ENDING)?;
    let (epoch, batch) = numbers.split_once("-batch-")?;
    Some(Place {
        epoch: epoch.parse().ok()?,
        batch: batch.parse().ok()?,
    })
}

/// Whether a folder contains states.
pub(crate) fn has_states(dir: &Path) -> io::Result<bool> {
    Ok(!places(dir)?.is_empty())
}

#[cfg(test)]
mod tests {
    use files::Checksum;

    use super::super::file;
    use super::*;

    /// Writes a state with this JSON.
    fn write(dir: &Path, name: &str, json: &str) -> PathBuf {
        let mut header = file::header(&[], json).unwrap();
        let mut checksum = Checksum::default();
        checksum.update(&header);
        file::seal(&mut header, checksum);
        let path = dir.join(format!("{name}{ENDING}"));
        fs::write(&path, header).unwrap();
        path
    }

    #[test]
    fn a_state_of_another_version_is_refused_and_a_damaged_one_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = write(dir.path(), "epoch-2-batch-10", r#"{"version":99,"more":1}"#);
        let damaged = write(dir.path(), "epoch-2-batch-9", r#"{"version":1}"#);
        let newest = || StateFolder::new(dir.path().to_owned()).newest();
        let Err(Error::State { path, problem }) = newest() else {
            panic!("it was accepted");
        };
        assert_eq!(path, foreign);
        assert!(problem.contains("version 99"), "{problem}");
        // Batch 10 is after batch 9, although its name sorts before.
        fs::write(&foreign, "cut").unwrap();
        let Err(Error::State { path, .. }) = newest() else {
            panic!("it was accepted");
        };
        assert_eq!(path, damaged);
        fs::remove_file(&foreign).unwrap();
        fs::remove_file(&damaged).unwrap();
        fs::write(dir.path().join("images.csv"), "").unwrap();
        assert!(newest().unwrap().is_none() && !has_states(dir.path()).unwrap());
    }

    #[test]
    fn states_after_the_one_that_was_read_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["epoch-1-batch-5", "epoch-1-batch-12", "epoch-2-batch-0"] {
            write(dir.path(), name, "{}");
        }
        let left = |place| {
            let mut folder = StateFolder::new(dir.path().to_owned());
            folder.forget_after(place);
            folder.sound.len()
        };
        assert_eq!(
            left(Some(Place {
                epoch: 1,
                batch: 12
            })),
            2
        );
        assert_eq!(left(Some(Place { epoch: 2, batch: 0 })), 3);
        assert_eq!(left(None), 0);
    }
}

//! Paths of feature files, and the limit of their total size.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The extension of a feature file.
const EXTENSION: &str = "features";
/// The number of digits of a key in a file's name. The file itself contains the whole key.
const DIGITS: usize = 16;

/// The feature file of a split in the cache folder. Each key has a separate file.
pub(super) fn path(folder: &Path, split: &str, key: &str) -> PathBuf {
    let key = key.get(..DIGITS).unwrap_or(key);
    folder.join(format!("{split}-{key}.{EXTENSION}"))
}

/// Deletes files of other models and settings beside `newest`, the oldest first, until the total is
/// within `max_bytes`.
///
/// A file that cannot be deleted is no error: it stays.
pub(super) fn make_room(newest: &Path, max_bytes: u64) {
    let folder = newest.parent().and_then(|folder| fs::read_dir(folder).ok());
    let entries = folder.into_iter().flatten().filter_map(Result::ok);
    let mut files: Vec<(SystemTime, PathBuf, u64)> = entries
        .filter(|entry| entry.path().extension().is_some_and(|e| e == EXTENSION))
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, entry.path(), metadata.len()))
        })
        .collect();
    files.sort();
    let mut total: u64 = files.iter().map(|(_, _, bytes)| bytes).sum();
    for (_, path, bytes) in files {
        if total > max_bytes && path != newest && fs::remove_file(&path).is_ok() {
            total -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_features_make_room_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, age: u64| {
            let path = dir.path().join(name);
            fs::write(&path, [0; 100]).unwrap();
            let written = SystemTime::now() - std::time::Duration::from_secs(age);
            fs::File::options()
                .append(true)
                .open(&path)
                .and_then(|file| file.set_modified(written))
                .unwrap();
            path
        };
        let newest = path(dir.path(), "train", "0123456789abcdef0123");
        assert!(newest.ends_with("train-0123456789abcdef.features"));
        write("train-0123456789abcdef.features", 40);
        let oldest = write("val-a.features", 30);
        let older = write("train-b.features", 20);
        let pixels = write("train-32.pixels", 50);
        make_room(&newest, 200);
        let left = [&newest, &oldest, &older, &pixels].map(|path| path.exists());
        assert_eq!(left, [true, false, true, true]);
    }
}

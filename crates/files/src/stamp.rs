//! Detects changed files.

use std::fs::{self, Metadata};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Two changes within one tick of a file system's clock get the same time. Clocks with a resolution
/// finer than a second tick at least this often (Linux: 10 ms) …
const FINE_TICK: Duration = Duration::from_millis(100);
/// … and other clocks this often (FAT: 2 s).
const COARSE_TICK: Duration = Duration::from_secs(2);
const SECOND: i64 = 1_000_000_000;

/// Attributes that change with a file's contents: its length, its modification time, and, on Unix, the time of its last
/// metadata change. Programs can reset the modification time (`cp -p`, `rsync -t`), but not the time of the last
/// metadata change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    bytes: u64,
    /// The modification time, in nanoseconds since 1970.
    modified: i64,
    /// The time of the last metadata change, in nanoseconds since 1970; 0 if the system does not report it.
    changed: i64,
}

impl Stamp {
    /// The stamp as bytes, for comparisons: length, modification time and change time, each little-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.modified.to_le_bytes());
        bytes[16..].copy_from_slice(&self.changed.to_le_bytes());
        bytes
    }

    /// The stamp of a file, if every later change of the file is sure to change the stamp.
    ///
    /// `None` if the file is unreadable, was modified just now, or is on a system without modification times. In these
    /// cases a stamp cannot prove that the contents are unchanged.
    #[must_use]
    pub fn settled(path: &Path) -> Option<Self> {
        let stamp = Self::of(&fs::metadata(path).ok()?)?;
        stamp.is_settled(SystemTime::now()).then_some(stamp)
    }

    /// The stamp of a file with these attributes. `None` if the system reports no modification time.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Option<Self> {
        Some(Self {
            bytes: metadata.len(),
            modified: nanoseconds(metadata.modified().ok()?)?,
            changed: changed(metadata),
        })
    }

    /// Whether every later change of the file is sure to change the stamp. A file modified just now may change again
    /// within the same tick.
    #[must_use]
    pub fn is_settled(&self, now: SystemTime) -> bool {
        let last = self.modified.max(self.changed);
        let tick = if last % SECOND == 0 {
            COARSE_TICK
        } else {
            FINE_TICK
        };
        let age = nanoseconds(now).and_then(|now| now.checked_sub(last));
        age.is_some_and(|age| i128::from(age) > tick.as_nanos() as i128)
    }
}

/// Nanoseconds since 1970, for the years 1970 to 2262.
fn nanoseconds(time: SystemTime) -> Option<i64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

#[cfg(unix)]
fn changed(metadata: &Metadata) -> i64 {
    use std::os::unix::fs::MetadataExt;
    let seconds = metadata.ctime().saturating_mul(SECOND);
    seconds.saturating_add(metadata.ctime_nsec())
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> i64 {
    0
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn stamp(path: &Path) -> Stamp {
        Stamp::of(&fs::metadata(path).unwrap()).unwrap()
    }

    #[test]
    fn any_change_shows_even_where_length_and_time_are_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let first = stamp(&path);
        std::thread::sleep(FINE_TICK);
        assert_eq!(stamp(&path), first);

        fs::write(&path, "two").unwrap();
        assert_ne!(stamp(&path), first);
        let written = SystemTime::UNIX_EPOCH + Duration::from_nanos(first.modified as u64);
        File::open(&path).unwrap().set_modified(written).unwrap();
        let put_back = stamp(&path);
        assert_eq!((put_back.bytes, put_back.modified), (3, first.modified));
        #[cfg(unix)]
        assert_ne!(put_back, first);
    }

    #[test]
    fn a_stamp_settles_when_the_clock_has_ticked() {
        let settled = |changed: Duration, now: Duration| {
            let stamp = Stamp {
                bytes: 1,
                modified: 0,
                changed: changed.as_nanos() as i64,
            };
            stamp.is_settled(SystemTime::UNIX_EPOCH + now)
        };
        let day = Duration::from_secs(86_400);
        let fine = day + Duration::from_nanos(7);
        assert!(!settled(fine, fine));
        assert!(!settled(fine, fine + FINE_TICK));
        assert!(settled(fine, fine + 2 * FINE_TICK));
        assert!(
            !settled(day, day + 2 * FINE_TICK),
            "whole seconds tell less"
        );
        assert!(settled(day, day + 2 * COARSE_TICK));
        assert!(!settled(day + fine, day), "a clock that is ahead");
    }
}

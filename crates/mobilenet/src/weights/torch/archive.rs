//! PyTorch's format since 1.6: a zip file with one entry per storage.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

use super::fault::{Fault, says};
use super::table::{self, StorageId};
use super::{LONGEST_PICKLE, bytes_at, pickle};
use crate::weights::tensor_file::{Stored, escaped};

/// Limit in bytes for a zip file's own records. The records of a checkpoint with a thousand tensors
/// take a fiftieth of this. Each byte takes ten bytes of memory.
const MOST_RECORDS: u64 = 8 << 20;

/// Whether a file that starts with `first` is a zip file.
pub(super) fn is_meant(first: &[u8]) -> bool {
    first.starts_with(b"PK\x03\x04") || first.starts_with(b"PK\x05\x06")
}

/// Finds the tensors of a zip file of `size` bytes.
pub(super) fn tensors<S: Read + Seek>(
    source: &mut S,
    size: u64,
) -> Result<BTreeMap<String, Stored>, Fault> {
    // The zip reader keeps its source, but entries are read from the same source.
    let source = &Shared {
        source: RefCell::new(source),
        left: Cell::new(MOST_RECORDS),
    };
    let mut archive = Archive::open(source, size)?;
    if let Some((start, len)) = archive.find("byteorder")?
        && bytes_at(&mut &*source, start, len.min(6))? != b"little"
    {
        return says("its numbers are big endian; save it again on a little-endian machine");
    }
    let Some((start, len)) = archive.find("data.pkl")? else {
        return says("a zip file without data.pkl in it");
    };
    if len > LONGEST_PICKLE {
        return says(format!(
            "its data.pkl has {len} bytes, at most {LONGEST_PICKLE} are read"
        ));
    }
    let bytes = bytes_at(&mut &*source, start, len)?;
    let pickle = pickle::read(&bytes, 0).map_err(|fault| fault.after(start))?;
    // Remembers found entries: many tensors may share a storage, and finding an entry reads the
    // file.
    let mut found = HashMap::new();
    table::tensors(&pickle, |storage| {
        let (start, len) = match found.get(storage.key) {
            Some(place) => *place,
            None => {
                let place = archive.storage(storage)?;
                found.insert(storage.key, place);
                place
            }
        };
        match storage.bytes() {
            Some(bytes) if bytes <= len => Ok(start),
            _ => says(format!(
                "storage {} should have {} numbers of {}, but has {len} bytes at {start}",
                escaped(storage.key),
                storage.len,
                storage.dtype
            )),
        }
    })
}

struct Archive<'s, S> {
    zip: ZipArchive<BufReader<&'s Shared<'s, S>>>,
    /// The folder that contains all entries, with a trailing slash.
    folder: String,
    size: u64,
}

impl<'s, S: Read + Seek> Archive<'s, S> {
    fn open(source: &'s Shared<'s, S>, size: u64) -> Result<Self, Fault> {
        let config = Config {
            archive_offset: ArchiveOffset::Known(0),
        };
        let zip = ZipArchive::with_config(config, BufReader::new(source));
        let zip = zip.or_else(|e| says(format!("an incomplete zip file: {e}")))?;
        if zip.has_duplicate_names() {
            return says("a zip file with two entries of one name");
        }
        // The directory is now read. From here on, each entry costs only the reading of its header.
        source.left.set(u64::MAX);
        let mut folders = zip
            .file_names_raw()
            .filter_map(|name| str::from_utf8(name).ok()?.strip_suffix("data.pkl"))
            .filter(|folder| folder.is_empty() || folder.ends_with('/'));
        let folder = folders.next().unwrap_or_default().to_owned();
        if folders.next().is_some() {
            return says("a zip file with more than one data.pkl in it");
        }
        drop(folders);
        Ok(Archive { zip, folder, size })
    }

    /// Offset and size of an entry's contents. `None` if there is no such entry.
    fn find(&mut self, name: &str) -> Result<Option<(u64, u64)>, Fault> {
        let name = format!("{}{name}", self.folder);
        let Some(index) = self.zip.index_for_name_raw(name.as_bytes()) else {
            return Ok(None);
        };
        let name = escaped(&name);
        let wrong = |e| Fault::Says(format!("its entry {name}: {e}"));
        let entry = self.zip.by_index_raw(index).map_err(wrong)?;
        if entry.encrypted() || entry.compression() != CompressionMethod::Stored {
            return says(format!(
                "its entry {name} is compressed or encrypted, which torch.save never does"
            ));
        }
        let (start, len) = (entry.data_start(), entry.size());
        let place = start.filter(|start| start.checked_add(len).is_some_and(|e| e <= self.size));
        match place {
            Some(start) if len == entry.compressed_size() => Ok(Some((start, len))),
            _ => says(format!(
                "its entry {name} of {len} bytes is not within the file of {}",
                self.size
            )),
        }
    }

    fn storage(&mut self, storage: &StorageId<'_>) -> Result<(u64, u64), Fault> {
        let place = self.find(&format!("data/{}", storage.key))?;
        place.ok_or_else(|| Fault::Says(format!("it has no storage {}", escaped(storage.key))))
    }
}

/// A file that several readers share. The number of bytes read is limited.
struct Shared<'s, S> {
    source: RefCell<&'s mut S>,
    /// Number of bytes that may still be read.
    left: Cell<u64>,
}

impl<S: Read> Read for &Shared<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.borrow_mut().read(buffer)?;
        match self.left.get().checked_sub(read as u64) {
            Some(left) => self.left.set(left),
            None => {
                return Err(io::Error::other(format!(
                    "its records have more than {MOST_RECORDS} bytes"
                )));
            }
        }
        Ok(read)
    }
}

impl<S: Seek> Seek for &Shared<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.borrow_mut().seek(to)
    }
}

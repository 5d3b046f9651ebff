//! Changes files that the `tiff` crate refuses or reads too slowly.

/// The file's contents, changed if `tiff` would refuse them, and whether the image has a palette.
pub(super) struct Suited {
    pub(super) file: Option<Vec<u8>>,
    pub(super) has_palette: bool,
}

impl Suited {
    /// `tiff` reads no palettes, so palette indices are declared to be gray. `tiff` also requires the offset of the
    /// next image, which a file may lack at its end. For a text longer than the file, `tiff` allocates memory, or
    /// prints; such texts are declared to be empty.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let changed = Self::changed(bytes);
        Self {
            has_palette: changed
                .as_ref()
                .is_some_and(|(_, has_palette)| *has_palette),
            file: changed.map(|(file, _)| file),
        }
    }

    fn changed(bytes: &[u8]) -> Option<(Vec<u8>, bool)> {
        const PHOTOMETRIC: u64 = 262;
        const PALETTE: u64 = 3;
        const TEXT: u64 = 2;
        let is_little = bytes.starts_with(b"II");
        let number = |at: usize, count: usize| {
            let bytes = bytes.get(at..at.checked_add(count)?)?.iter();
            let append = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
            Some(if is_little {
                bytes.rev().fold(0, append)
            } else {
                bytes.fold(0, append)
            })
        };
        // The number of bytes of an offset, of the number of entries, and of an entry.
        let (offset, counted, size) = match number(2, 2)? {
            43 => (8, 8, 20),
            _ => (4, 2, 12),
        };
        let directory = usize::try_from(number(offset, offset)?).ok()?;
        let first = directory.checked_add(counted)?;
        let entries = usize::try_from(number(directory, counted)?).ok()?;
        let end = entries.checked_mul(size)?.checked_add(first)?;
        let places = (first..end.min(bytes.len())).step_by(size);
        let mut photometric = places.clone();
        let photometric = photometric.find(|&entry| number(entry, 2) == Some(PHOTOMETRIC));
        let palette = photometric.map(|entry| entry + 4 + offset);
        let palette = palette.filter(|&value| number(value, 2) == Some(PALETTE));
        let is_long = |&entry: &usize| {
            let length = number(entry + 4, offset);
            number(entry + 2, 2) == Some(TEXT) && length.is_some_and(|n| n > bytes.len() as u64)
        };
        let long: Vec<usize> = places.filter(is_long).collect();
        let is_short = (end..end.saturating_add(offset)).contains(&bytes.len());
        if palette.is_none() && long.is_empty() && !is_short {
            return None;
        }
        let mut file = bytes.to_vec();
        if let Some(value) = palette {
            file[if is_little { value } else { value + 1 }] = 1;
        }
        for entry in long {
            file[entry + 4..entry + 4 + offset].fill(0);
        }
        if is_short {
            file.resize(end + offset, 0);
        }
        Some((file, palette.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_longer_than_the_file_is_declared_empty() {
        // A directory at offset 8 with one entry, a text of `count` bytes.
        let file = |count: u32| {
            let mut file = b"II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0".to_vec();
            file.extend(count.to_le_bytes());
            file.extend([0; 8]);
            file
        };
        assert_eq!(file(26).len(), 26);
        assert!(Suited::new(&file(26)).file.is_none());
        assert_eq!(Suited::new(&file(27)).file, Some(file(0)));
        assert_eq!(Suited::new(&file(u32::MAX)).file, Some(file(0)));
        let big = |count: u64| {
            let mut file =
                b"MM\0+\0\x08\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x01\x01\x0e\0\x02".to_vec();
            file.extend(count.to_be_bytes());
            file.extend([0; 16]);
            file
        };
        assert!(Suited::new(&big(52)).file.is_none());
        assert_eq!(Suited::new(&big(u64::MAX)).file, Some(big(0)));
    }
}

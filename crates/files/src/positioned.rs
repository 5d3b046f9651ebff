//! Reads a file at given offsets, from several threads.

use std::fs::File;
use std::io;

/// A file that is read at explicit offsets, without a shared position.
#[derive(Debug)]
pub struct Positioned(#[cfg(unix)] File, #[cfg(not(unix))] std::sync::Mutex<File>);

impl Positioned {
    /// A reader of this file.
    #[must_use]
    pub fn new(file: File) -> Self {
        #[cfg(not(unix))]
        let file = std::sync::Mutex::new(file);
        Self(file)
    }

    /// Fills `buffer` from the bytes at `offset`.
    ///
    /// # Errors
    /// If the file cannot be read, or ends before.
    #[cfg(unix)]
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, buffer, offset)
    }

    /// Fills `buffer` from the bytes at `offset`.
    ///
    /// # Errors
    /// If the file cannot be read, or ends before.
    #[cfg(not(unix))]
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }
}

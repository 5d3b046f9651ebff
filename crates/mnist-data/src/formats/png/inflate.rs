//! Decompresses the rows of a PNG.

use fdeflate::Decompressor;

use super::Header;
use crate::fault::Fault;

/// The largest distance of a back reference.
const WINDOW: usize = 1 << 15;
/// Bytes decompressed at a time.
const CHUNK: usize = 1 << 16;

/// Decompresses the data of an image piece by piece.
pub(super) struct Inflater<'a> {
    decompressor: Decompressor,
    /// Input that is not decompressed yet.
    data: &'a [&'a [u8]],
    part: &'a [u8],
    buffer: Vec<u8>,
    /// The start of the unread bytes in `buffer`.
    start: usize,
    end: usize,
    /// The number of output bytes still expected.
    missing: usize,
}

impl<'a> Inflater<'a> {
    /// The memory of the decompression, in bytes.
    pub(super) fn memory(header: &Header) -> usize {
        header
            .total()
            .min(WINDOW + CHUNK + 2 * header.row_bytes(header.width))
    }

    pub(super) fn new(header: &Header, data: &'a [&'a [u8]]) -> Self {
        Self {
            decompressor: Decompressor::new(),
            data,
            part: &[],
            buffer: vec![0; Self::memory(header)],
            start: 0,
            end: 0,
            missing: header.total(),
        }
    }

    /// The next row of this many bytes; `None` if the data ends before the row does.
    pub(super) fn row(&mut self, length: usize) -> Result<Option<&[u8]>, Fault> {
        while self.end - self.start < length {
            if !self.fill()? {
                return Ok(None);
            }
        }
        self.start += length;
        Ok(Some(&self.buffer[self.start - length..self.start]))
    }

    /// Whether the compressed stream ends with the row returned last.
    pub(super) fn ends_here(&self) -> bool {
        self.decompressor.is_done() && self.start == self.end
    }

    /// Decompresses more data. Returns whether there was more.
    fn fill(&mut self) -> Result<bool, Fault> {
        if self.end == self.buffer.len() {
            let kept = self.start.min(self.end.saturating_sub(WINDOW));
            self.buffer.copy_within(kept..self.end, 0);
            (self.start, self.end) = (self.start - kept, self.end - kept);
        }
        let room = self.buffer.len().min(self.end + self.missing);
        loop {
            if self.part.is_empty() {
                let Some((part, rest)) = self.data.split_first() else {
                    return Ok(false);
                };
                (self.part, self.data) = (part, rest);
            }
            // As in Pillow, a checksum is verified only if it is in the same piece of data as the last row.
            let (part, _) = self.part.split_at(self.part.len().min(CHUNK));
            let read = self
                .decompressor
                .read(part, &mut self.buffer[..room], self.end, false);
            let (taken, made) = read.map_err(|error| {
                Fault::Damaged(format!("its compressed data is broken: {error:?}"))
            })?;
            self.part = &self.part[taken..];
            self.end += made;
            self.missing -= made;
            if made > 0 {
                return Ok(true);
            }
            if self.decompressor.is_done() {
                return Ok(false);
            }
        }
    }
}

//! Places buffers in one block of memory before it is allocated.

/// First-fit allocation of addresses. The same calls give the same addresses.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    /// Free ranges below the top, sorted.
    free: Vec<(u64, u64)>,
    used: Vec<(u64, u64)>,
    top: u64,
    /// The largest top so far.
    pub(crate) size: u64,
}

/// Every buffer starts at a multiple of this.
const ALIGNMENT: u64 = 256;

impl Heap {
    /// The offset of a new buffer.
    pub(crate) fn take(&mut self, bytes: usize) -> u64 {
        let bytes = (bytes.max(1) as u64).next_multiple_of(ALIGNMENT);
        let found = self
            .free
            .iter()
            .position(|(start, end)| end - start >= bytes);
        let start = match found {
            Some(index) => {
                let (start, end) = self.free[index];
                if end - start == bytes {
                    self.free.remove(index);
                } else {
                    self.free[index].0 += bytes;
                }
                start
            }
            None => {
                let start = self.top;
                self.top += bytes;
                self.size = self.size.max(self.top);
                start
            }
        };
        self.used.push((start, start + bytes));
        start
    }

    /// The offset of a new buffer that no earlier buffer overlaps, for data that is written before everything else.
    pub(crate) fn take_fresh(&mut self, bytes: usize) -> u64 {
        if self.top < self.size {
            self.free.push((self.top, self.size));
        }
        self.top = self.size;
        let bytes = (bytes.max(1) as u64).next_multiple_of(ALIGNMENT);
        let start = self.top;
        self.top += bytes;
        self.size = self.top;
        self.used.push((start, self.top));
        start
    }

    /// Frees a buffer.
    pub(crate) fn release(&mut self, start: u64) {
        let Some(index) = self.used.iter().rposition(|range| range.0 == start) else {
            return;
        };
        let (start, end) = self.used.swap_remove(index);
        let at = self.free.partition_point(|range| range.0 < start);
        self.free.insert(at, (start, end));
        if at + 1 < self.free.len() && self.free[at + 1].0 == end {
            self.free[at].1 = self.free.remove(at + 1).1;
        }
        if at > 0 && self.free[at - 1].1 == start {
            self.free[at - 1].1 = self.free.remove(at).1;
        }
        if let Some(&(start, end)) = self.free.last()
            && end == self.top
        {
            self.top = start;
            self.free.pop();
        }
    }
}

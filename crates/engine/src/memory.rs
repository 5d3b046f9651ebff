//! The memory that kernels work on.
//!
//! Activations lie in planes of 16 channels: `[channels / 16][pixels][16]`, the
//! last plane filled up with channels that nothing reads. A plane is an odd
//! number of cache lines long, so that the same pixel of several planes does
//! not fall into the same cache set.
//!
//! [`Src`] and [`Dst`] are raw pointers that several threads may hold; builds
//! with debug assertions carry their lengths and check every access.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use memmap2::MmapMut;

use crate::simd::LANES;

/// Cache-line aligned f32, zeroed when made.
pub(crate) struct Buffer {
    pointer: NonNull<f32>,
    length: usize,
    memory: Memory,
}

/// Who gives a buffer's memory back.
enum Memory {
    Heap(Layout),
    Pages(#[expect(dead_code, reason = "its end is the end of the mapping")] MmapMut),
}

// SAFETY: it owns plain numbers; who writes where is the business of `Dst`'s users.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

/// Bytes from which on a buffer has pages of its own.
const LARGE: usize = 4 << 20;

impl Buffer {
    pub(crate) fn new(length: usize) -> Self {
        let layout = Self::layout(length);
        if let Some(mut pages) = (layout.size() >= LARGE)
            .then(|| huge_pages(&layout))
            .flatten()
            && let Some(pointer) = NonNull::new(pages.as_mut_ptr().cast())
        {
            return Self {
                pointer,
                length,
                memory: Memory::Pages(pages),
            };
        }
        // SAFETY: the layout is never empty.
        let pointer = unsafe { alloc_zeroed(layout) }.cast::<f32>();
        let Some(pointer) = NonNull::new(pointer) else {
            handle_alloc_error(layout)
        };
        Self {
            pointer,
            length,
            memory: Memory::Heap(layout),
        }
    }

    fn layout(length: usize) -> Layout {
        let numbers = Layout::array::<f32>(length.max(1)).and_then(|l| l.align_to(64));
        match numbers {
            Ok(layout) => layout,
            // Longer than the address space: no allocator has it.
            Err(_) => handle_alloc_error(Layout::new::<f32>()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn src(&self) -> Src {
        self.dst().src()
    }

    /// Where kernels write. The buffer must outlive what is done with it.
    pub(crate) fn dst(&self) -> Dst {
        // SAFETY: the buffer is that long.
        unsafe { Dst::new(self.pointer.as_ptr(), self.length) }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: it is that long, initialised, and no kernel runs while this borrow lives.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Memory::Heap(layout) = self.memory {
            // SAFETY: allocated in `new` with this layout.
            unsafe { dealloc(self.pointer.as_ptr().cast(), layout) }
        }
    }
}

/// Zeroed memory in pages of 2 MiB, where the system has them to give: activations of large
/// images lie in more small pages than the processor keeps addresses of, which costs a
/// twentieth of a training step.
#[cfg(all(target_os = "linux", not(miri)))]
fn huge_pages(layout: &Layout) -> Option<MmapMut> {
    let pages = MmapMut::map_anon(layout.size()).ok()?;
    // Small pages are as good, but for speed.
    let _ = pages.advise(memmap2::Advice::HugePage);
    Some(pages)
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn huge_pages(_: &Layout) -> Option<MmapMut> {
    None
}

/// Where numbers are read.
#[derive(Clone, Copy)]
pub(crate) struct Src {
    start: *const f32,
    #[cfg(debug_assertions)]
    length: usize,
}

/// Where numbers are written.
#[derive(Clone, Copy)]
pub(crate) struct Dst {
    start: *mut f32,
    #[cfg(debug_assertions)]
    length: usize,
}

// SAFETY: plain addresses; every access through them is an unsafe operation.
unsafe impl Send for Src {}
// SAFETY: as above.
unsafe impl Sync for Src {}
// SAFETY: as above.
unsafe impl Send for Dst {}
// SAFETY: as above.
unsafe impl Sync for Dst {}

macro_rules! pointer {
    ($name:ident, $pointer:ty) => {
        impl $name {
            /// # Safety
            /// `start` must be valid for `length` numbers for as long as it is used.
            #[inline(always)]
            pub(crate) unsafe fn new(start: $pointer, length: usize) -> Self {
                let _ = length;
                Self {
                    start,
                    #[cfg(debug_assertions)]
                    length,
                }
            }

            /// The same place, `offset` numbers further on.
            ///
            /// # Safety
            /// `offset` must lie within it, or at its end.
            #[inline(always)]
            pub(crate) unsafe fn at(self, offset: usize) -> Self {
                // SAFETY: as promised by the caller.
                unsafe {
                    Self {
                        start: self.pointer(offset, 0),
                        #[cfg(debug_assertions)]
                        length: self.length - offset,
                    }
                }
            }

            /// The address of `count` numbers at `offset`.
            ///
            /// # Safety
            /// They must lie within it.
            #[inline(always)]
            pub(crate) unsafe fn pointer(self, offset: usize, count: usize) -> $pointer {
                #[cfg(debug_assertions)]
                assert!(
                    offset + count <= self.length,
                    "a kernel reaches {offset} + {count} of {} numbers",
                    self.length
                );
                let _ = count;
                // SAFETY: as promised by the caller.
                unsafe { self.start.add(offset) }
            }
        }
    };
}
pointer!(Src, *const f32);
pointer!(Dst, *mut f32);

impl Src {
    /// A place nothing may be read from.
    pub(crate) fn none() -> Self {
        // SAFETY: no number is promised.
        unsafe { Self::new(std::ptr::null(), 0) }
    }

    pub(crate) fn of(values: &[f32]) -> Self {
        // SAFETY: the slice is that long; the users of `Src` keep to its life.
        unsafe { Self::new(values.as_ptr(), values.len()) }
    }

    /// # Safety
    /// `offset` must lie within it.
    #[inline(always)]
    pub(crate) unsafe fn get(self, offset: usize) -> f32 {
        // SAFETY: as promised by the caller.
        unsafe { *self.pointer(offset, 1) }
    }
}

impl Dst {
    pub(crate) fn of(values: &mut [f32]) -> Self {
        // SAFETY: the slice is that long; the users of `Dst` keep to its life.
        unsafe { Self::new(values.as_mut_ptr(), values.len()) }
    }

    #[inline(always)]
    pub(crate) fn src(self) -> Src {
        Src {
            start: self.start,
            #[cfg(debug_assertions)]
            length: self.length,
        }
    }

    /// # Safety
    /// `count` numbers from here on must be writable.
    #[inline(always)]
    pub(crate) unsafe fn fill_zero(self, count: usize) {
        // SAFETY: as promised by the caller.
        unsafe { std::ptr::write_bytes(self.pointer(0, count), 0, count) }
    }
}

/// Vectors of 16 channels.
pub(crate) fn planes(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// `channels` rounded up to whole planes.
pub(crate) fn padded(channels: usize) -> usize {
    planes(channels) * LANES
}

/// Numbers from one plane of `rows` pixels to the next.
pub(crate) fn plane_stride(rows: usize, pixel: usize) -> usize {
    // An odd number of cache lines, a few more than a multiple of 64.
    ((rows * pixel).div_ceil(LANES).next_multiple_of(64) + 5) * LANES
}

/// Activations of `channels` at some pixels, seen by kernels.
#[derive(Clone, Copy)]
pub(crate) struct Planes {
    pub(crate) start: Dst,
    /// Numbers from one plane to the next.
    pub(crate) stride: usize,
    /// Numbers of a pixel: 16, or 8 (each two bf16).
    pub(crate) pixel: usize,
}

impl Planes {
    /// The same planes from pixel `row` on.
    ///
    /// # Safety
    /// The row must exist.
    #[inline(always)]
    pub(crate) unsafe fn row(self, row: usize) -> Planes {
        Planes {
            // SAFETY: as promised by the caller.
            start: unsafe { self.start.at(row * self.pixel) },
            ..self
        }
    }

    /// The same pixels from plane `plane` on.
    ///
    /// # Safety
    /// The plane must exist.
    #[inline(always)]
    pub(crate) unsafe fn plane(self, plane: usize) -> Planes {
        Planes {
            // SAFETY: as promised by the caller.
            start: unsafe { self.start.at(plane * self.stride) },
            ..self
        }
    }

    #[inline(always)]
    pub(crate) fn src(self) -> Src {
        self.start.src()
    }
}

/// Activations that own their memory.
pub(crate) struct Tensor {
    buffer: Buffer,
    stride: usize,
    pixel: usize,
}

impl Tensor {
    pub(crate) fn new(channels: usize, rows: usize) -> Self {
        Self::of(channels, rows, LANES)
    }

    /// Of pixels of `pixel` numbers.
    pub(crate) fn of(channels: usize, rows: usize, pixel: usize) -> Self {
        let stride = plane_stride(rows, pixel);
        Self {
            buffer: Buffer::new(planes(channels) * stride),
            stride,
            pixel,
        }
    }

    pub(crate) fn planes(&self) -> Planes {
        Planes {
            start: self.buffer.dst(),
            stride: self.stride,
            pixel: self.pixel,
        }
    }

    /// The memory seen as activations of another shape, for scratch that many layers share.
    pub(crate) fn reshaped(&self, channels: usize, rows: usize) -> Planes {
        let stride = plane_stride(rows, self.pixel);
        debug_assert!(planes(channels) * stride <= self.buffer.len());
        Planes {
            start: self.buffer.dst(),
            stride,
            pixel: self.pixel,
        }
    }
}

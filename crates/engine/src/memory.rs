//! The memory of the kernels.
//!
//! Activations are stored in planes of 16 channels: `[channels / 16][pixels][16]`, the last plane
//! padded with unused channels. A plane is an odd number of cache lines long, so that the same
//! pixel of several planes falls into different cache sets.
//!
//! [`Src`] and [`Dst`] are raw pointers that several threads may hold. Builds with debug assertions
//! store their lengths and check every access.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use memmap2::MmapMut;

use crate::simd::LANES;

/// Cache-line aligned f32, initially zero.
pub(crate) struct Buffer {
    pointer: NonNull<f32>,
    length: usize,
    memory: Memory,
}

/// The allocation of a buffer, for its release.
enum Memory {
    Heap(Layout),
    Pages(#[expect(dead_code, reason = "dropping it ends the mapping")] MmapMut),
}

// SAFETY: it owns plain values; the users of `Dst` avoid data races.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

/// Buffers from this size in bytes on have their own pages.
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
            // Longer than the address space: no allocator can provide it.
            Err(_) => handle_alloc_error(Layout::new::<f32>()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn src(&self) -> Src {
        self.dst().src()
    }

    /// The buffer as a target for kernels. The buffer must outlive its use.
    pub(crate) fn dst(&self) -> Dst {
        // SAFETY: the buffer has this length.
        unsafe { Dst::new(self.pointer.as_ptr(), self.length) }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: it has this length, is initialised, and no kernel runs during this borrow.
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

/// Zeroed memory in pages of 2 MiB, if the system provides them. Activations of large images span
/// more small pages than the TLB holds; the misses cost a twentieth of a training step.
#[cfg(all(target_os = "linux", not(miri)))]
fn huge_pages(layout: &Layout) -> Option<MmapMut> {
    let pages = MmapMut::map_anon(layout.size()).ok()?;
    // Small pages work too, only slower.
    let _ = pages.advise(memmap2::Advice::HugePage);
    Some(pages)
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn huge_pages(_: &Layout) -> Option<MmapMut> {
    None
}

/// A pointer for reading.
#[derive(Clone, Copy)]
pub(crate) struct Src {
    start: *const f32,
    #[cfg(debug_assertions)]
    length: usize,
}

/// A pointer for writing.
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
            /// `start` must be valid for `length` values for as long as it is used.
            #[inline(always)]
            pub(crate) unsafe fn new(start: $pointer, length: usize) -> Self {
                let _ = length;
                Self {
                    start,
                    #[cfg(debug_assertions)]
                    length,
                }
            }

            /// The pointer advanced by `offset` values.
            ///
            /// # Safety
            /// `offset` must be within its memory, or at the end.
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

            /// The address of `count` values at `offset`.
            ///
            /// # Safety
            /// They must be within its memory.
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
    /// A pointer that may not be read.
    pub(crate) fn none() -> Self {
        // SAFETY: its length is 0.
        unsafe { Self::new(std::ptr::null(), 0) }
    }

    pub(crate) fn of(values: &[f32]) -> Self {
        // SAFETY: the slice has this length; the users of `Src` respect its lifetime.
        unsafe { Self::new(values.as_ptr(), values.len()) }
    }

    /// # Safety
    /// `offset` must be within its memory.
    #[inline(always)]
    pub(crate) unsafe fn get(self, offset: usize) -> f32 {
        // SAFETY: as promised by the caller.
        unsafe { *self.pointer(offset, 1) }
    }
}

impl Dst {
    pub(crate) fn of(values: &mut [f32]) -> Self {
        // SAFETY: the slice has this length; the users of `Dst` respect its lifetime.
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
    /// `count` values from here on must be writable.
    #[inline(always)]
    pub(crate) unsafe fn fill_zero(self, count: usize) {
        // SAFETY: as promised by the caller.
        unsafe { std::ptr::write_bytes(self.pointer(0, count), 0, count) }
    }
}

/// Number of planes of 16 channels.
pub(crate) fn planes(channels: usize) -> usize {
    channels.div_ceil(LANES)
}

/// `channels` rounded up to whole planes.
pub(crate) fn padded(channels: usize) -> usize {
    planes(channels) * LANES
}

/// Values from one plane of `rows` pixels to the next.
pub(crate) fn plane_stride(rows: usize, pixel: usize) -> usize {
    // An odd number of cache lines, a few more than a multiple of 64.
    ((rows * pixel).div_ceil(LANES).next_multiple_of(64) + 5) * LANES
}

/// A kernel's view of activations: `channels` at some pixels.
#[derive(Clone, Copy)]
pub(crate) struct Planes {
    pub(crate) start: Dst,
    /// Values from one plane to the next.
    pub(crate) stride: usize,
    /// Values per pixel: 16, or 8 that each hold two bf16.
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

    /// For pixels of `pixel` values.
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

    /// The memory viewed as activations of another shape; many layers share it as scratch.
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

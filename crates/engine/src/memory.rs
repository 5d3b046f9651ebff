//! The memory of the kernels.
//!
//! Activations are stored in planes of 16 channels: `[channels / 16][pixels][16]`. The last plane
//! is padded with unused channels. A plane is an odd number of cache lines long, so that the same
//! pixel of different planes falls into different cache sets.
//!
//! [`Src`] and [`Dst`] are raw pointers, so several threads can hold them at once. Builds with
//! debug assertions store their lengths and check every access.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use memmap2::MmapMut;

use crate::simd::LANES;

/// A buffer of f32, aligned to cache lines and initially zero.
pub(crate) struct Buffer {
    pointer: NonNull<f32>,
    length: usize,
    memory: Memory,
}

/// How a buffer was allocated; needed to free it.
enum Memory {
    Heap(Layout),
    Pages(#[expect(dead_code, reason = "dropping it ends the mapping")] MmapMut),
}

// SAFETY: the buffer owns plain values; the users of `Dst` avoid data races.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

/// Buffers of at least this many bytes have their own pages.
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

    /// The buffer as a target for kernels. The buffer must outlive the pointer's use.
    pub(crate) fn dst(&self) -> Dst {
        // SAFETY: the buffer has this length.
        unsafe { Dst::new(self.pointer.as_ptr(), self.length) }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: the buffer has this length and is initialised, and no kernel runs during this
        // borrow.
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
/// more small pages than the TLB holds, and TLB misses take a twentieth of a training step.
#[cfg(all(target_os = "linux", not(miri)))]
fn huge_pages(layout: &Layout) -> Option<MmapMut> {
    let pages = MmapMut::map_anon(layout.size()).ok()?;
    // Without huge pages everything works, but slower.
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
            /// `start` must stay valid for `length` values while the pointer is in use.
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
            /// `offset` must be within the pointer's memory, or at its end.
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
            /// These values must be within the pointer's memory.
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
        // SAFETY: the length is 0.
        unsafe { Self::new(std::ptr::null(), 0) }
    }

    pub(crate) fn of(values: &[f32]) -> Self {
        // SAFETY: the slice has this length; the users of `Src` respect its lifetime.
        unsafe { Self::new(values.as_ptr(), values.len()) }
    }

    /// The address at `offset`, which may be beyond the pointer's memory. It may be fetched into a cache, but not read.
    #[inline(always)]
    pub(crate) fn beyond(self, offset: usize) -> *const f32 {
        self.start.wrapping_add(offset)
    }

    /// # Safety
    /// `offset` must be within the pointer's memory.
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
    /// The pointer must be valid for writing `count` values.
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

/// Distance in values from one plane of `rows` pixels to the next.
pub(crate) fn plane_stride(rows: usize, pixel: usize) -> usize {
    // An odd number of cache lines, a few more than a multiple of 64.
    ((rows * pixel).div_ceil(LANES).next_multiple_of(64) + 5) * LANES
}

/// A kernel's view of activations: `channels` channels of some pixels.
#[derive(Clone, Copy)]
pub(crate) struct Planes {
    pub(crate) start: Dst,
    /// Distance in values from one plane to the next.
    pub(crate) stride: usize,
    /// Values per pixel: 16 f32, or 8 values that hold two bf16 each.
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

    /// Activations with `pixel` values for each pixel of a plane.
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

    /// The memory viewed as activations of another shape. Many layers share one tensor as scratch
    /// memory.
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

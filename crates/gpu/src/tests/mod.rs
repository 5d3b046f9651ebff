//! Compares each kernel, on the shim, with plain loops in f64, on shapes that fit no tile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attention;
mod depthwise;
mod layer_norm;
mod maps;
mod norms;
mod operands;
mod optimizer;
mod packing;
mod pooling;
mod products;
mod reference;

use std::alloc::{Layout, alloc, dealloc};

use half::{bf16, f16};

use crate::args::{Args, At};
use crate::device::{Device, Launch, Storage};
use crate::shim::Shim;

const STORAGES: [Storage; 3] = [Storage::F32, Storage::Bf16, Storage::F16];

/// Bytes before and after each buffer. A kernel that writes there is found, and what it reads there is NaN.
/// AddressSanitizer finds more without them. Buffers start at odd multiples of 16.
const GUARD: usize = match option_env!("GPU_SHIM_ASAN") {
    Some(_) => 0,
    None => 272,
};

/// The bytes of memory that nothing was written to: NaN in every type.
const FILL: u8 = 0xff;

/// Memory of its own allocation, of exactly the size that the kernels may use.
struct Buffer {
    start: *mut u8,
    layout: Layout,
    len: usize,
}

impl Buffer {
    fn new(len: usize) -> Buffer {
        let layout = Layout::from_size_align((len + 2 * GUARD).max(1), 16).unwrap();
        // SAFETY: the size is not 0.
        let start = unsafe { alloc(layout) };
        assert!(!start.is_null());
        let mut buffer = Buffer { start, layout, len };
        buffer.bytes_mut().fill(FILL);
        buffer
    }

    fn at(&self) -> At {
        self.start as u64 + GUARD as u64
    }

    /// All bytes, guards included.
    fn bytes(&self) -> &[u8] {
        // SAFETY: allocated with this size, and filled.
        unsafe { std::slice::from_raw_parts(self.start, self.len + 2 * GUARD) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: allocated with this size, and filled.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len + 2 * GUARD) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start, self.layout) }
    }
}

/// The memory of a test, and its random numbers.
struct Bench {
    storage: Storage,
    state: u64,
    buffers: Vec<Buffer>,
}

impl Bench {
    fn new(storage: Storage) -> Bench {
        Bench {
            storage,
            state: 7,
            buffers: Vec::new(),
        }
    }

    /// A random whole number below a limit (Steele et al. 2014, SplitMix64).
    fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 16) as usize % limit
    }

    /// Random f32 numbers in [-scale, scale).
    fn numbers(&mut self, count: usize, scale: f64) -> Vec<f64> {
        let mut number = || self.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0;
        (0..count)
            .map(|_| f64::from((number() * scale) as f32))
            .collect()
    }

    /// Random numbers of the storage type in [-scale, scale).
    fn values(&mut self, count: usize, scale: f64) -> Vec<f64> {
        let mut numbers = self.numbers(count, scale);
        self.round(&mut numbers);
        numbers
    }

    /// Rounds to the storage type.
    fn round(&self, numbers: &mut [f64]) {
        for x in numbers {
            *x = self.rounded(*x);
        }
    }

    fn rounded(&self, x: f64) -> f64 {
        match self.storage {
            Storage::F32 => f64::from(x as f32),
            Storage::Bf16 => bf16::from_f32(x as f32).to_f64(),
            Storage::F16 => f16::from_f32(x as f32).to_f64(),
        }
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> At {
        let mut buffer = Buffer::new(bytes.len());
        buffer.bytes_mut()[GUARD..GUARD + bytes.len()].copy_from_slice(bytes);
        let at = buffer.at();
        self.buffers.push(buffer);
        at
    }

    /// Numbers of the storage type.
    fn put(&mut self, values: &[f64]) -> At {
        let bytes: Vec<u8> = match self.storage {
            Storage::F32 => return self.put_f32(values),
            Storage::Bf16 => (values.iter())
                .flat_map(|&x| bf16::from_f32(x as f32).to_ne_bytes())
                .collect(),
            Storage::F16 => (values.iter())
                .flat_map(|&x| f16::from_f32(x as f32).to_ne_bytes())
                .collect(),
        };
        self.put_bytes(&bytes)
    }

    fn put_f32(&mut self, values: &[f64]) -> At {
        let bytes: Vec<u8> = (values.iter())
            .flat_map(|&x| (x as f32).to_ne_bytes())
            .collect();
        self.put_bytes(&bytes)
    }

    fn put_i32(&mut self, values: &[i32]) -> At {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_ne_bytes()).collect();
        self.put_bytes(&bytes)
    }

    /// Space for numbers of the storage type, full of NaN.
    fn space(&mut self, count: usize) -> At {
        self.put_bytes(&vec![FILL; count * self.storage.bytes()])
    }

    fn space_f32(&mut self, count: usize) -> At {
        self.put_bytes(&vec![FILL; 4 * count])
    }

    /// The bytes from an address to the end of its buffer.
    fn bytes(&self, at: At) -> &[u8] {
        let holds = |buffer: &&Buffer| (buffer.at()..buffer.at() + buffer.len as u64).contains(&at);
        let buffer = self.buffers.iter().find(holds).unwrap();
        &buffer.bytes()[GUARD + (at - buffer.at()) as usize..GUARD + buffer.len]
    }

    /// Numbers of the storage type from an address to the end of its buffer.
    fn get(&self, at: At) -> Vec<f64> {
        let pairs = self.bytes(at).as_chunks().0.iter();
        match self.storage {
            Storage::F32 => self.get_f32(at),
            Storage::Bf16 => pairs.map(|&x| bf16::from_ne_bytes(x).to_f64()).collect(),
            Storage::F16 => pairs.map(|&x| f16::from_ne_bytes(x).to_f64()).collect(),
        }
    }

    fn get_f32(&self, at: At) -> Vec<f64> {
        let all = self.bytes(at).as_chunks().0.iter();
        all.map(|&x| f64::from(f32::from_ne_bytes(x))).collect()
    }

    /// Runs a kernel with threads in both orders, which must write the same bytes, and those within buffers only.
    fn run<A: Args>(&mut self, kernel: &'static str, threads: u32, grid: [usize; 3], args: &A) {
        let copy = |buffers: &[Buffer]| -> Vec<Vec<u8>> {
            buffers.iter().map(|b| b.bytes().to_vec()).collect()
        };
        let before = copy(&self.buffers);
        let mut first = Vec::new();
        for reverse in [false, true] {
            for (buffer, before) in self.buffers.iter_mut().zip(&before) {
                buffer.bytes_mut().copy_from_slice(before);
            }
            let launch = Launch::new(kernel, threads, grid, args);
            // SAFETY: the test placed all operands in the buffers.
            unsafe { Shim::new(self.storage, reverse).run(&vec![launch]) }.unwrap();
            if !reverse {
                first = copy(&self.buffers);
            }
        }
        assert!(
            first == copy(&self.buffers),
            "{kernel}: the order of threads matters"
        );
        for bytes in &first {
            let guards = bytes[..GUARD].iter().chain(&bytes[bytes.len() - GUARD..]);
            assert!(
                guards.copied().all(|b| b == FILL),
                "{kernel} wrote outside of its buffers"
            );
        }
    }

    /// How far results of this storage type may be off, in parts of the largest one.
    fn tolerance(&self) -> f64 {
        match self.storage {
            Storage::F32 => 1e-5,
            Storage::Bf16 => 1e-2,
            Storage::F16 => 1.3e-3,
        }
    }
}

/// Compares results, in parts of the largest expected one. NaN is only like NaN.
fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3f64, |most, x| most.max(x.abs()));
    for (index, (f, e)) in found.iter().zip(expected).enumerate() {
        let near = (f - e).abs() <= tolerance * largest || (f.is_nan() && e.is_nan());
        assert!(near, "{what}, number {index}: {f} instead of {e}");
    }
}

//! The arguments of kernels. Each struct has a twin of the same name in `kernels/`.

use engine::Activation;

/// The address of device memory; 0 for none.
pub(crate) type At = u64;

/// Arguments that a kernel takes by value.
///
/// # Safety
/// The type must be `repr(C)` without padding, and the twin of the kernel's struct.
pub(crate) unsafe trait Args: Copy {}

/// The bytes of arguments.
pub(crate) fn bytes<A: Args>(args: &A) -> Vec<u8> {
    // SAFETY: the type has no padding.
    unsafe { std::slice::from_raw_parts((&raw const *args).cast(), size_of::<A>()) }.to_vec()
}

macro_rules! args {
    ($($(#[$doc:meta])* struct $name:ident { $($field:ident: $kind:ty,)* })*) => {$(
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct $name {
            $(pub(crate) $field: $kind,)*
        }

        // SAFETY: the sizes of the fields add up to that of the struct, so it has no padding.
        unsafe impl Args for $name {}
        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$kind>())*);
    )*};
}

args! {
    /// How an operand is read.
    struct Read {
        x: At, z: At, a: At, b: At, c: At, factors: At,
        ldx: i32, ldz: i32, ldf: i32, pixels: i32,
        alpha: f32,
        act: i32, broadcast: i32, unused: i32,
    }
    /// How a result is written.
    struct Write {
        y: At, addend: At, bias: At, z: At, scale: At, shift: At, sums: At,
        ldy: i32, lda: i32, ldz: i32, act: i32, dact: i32, wide: i32,
    }
    /// The geometry of windows. `unused` is the padding of the struct around it.
    struct Windows {
        height: i32, width: i32, ih: i32, iw: i32, kernel: i32, stride: i32, above: i32, left: i32, transposed: i32,
    }
    struct Product {
        x: Read, w: At, out: Write, windows: Windows, rows: i32, n: i32, k: i32, channels: i32, unused: i32,
    }
    struct Weight {
        d: Read, x: Read, out: At, windows: Windows,
        rows: i32, n: i32, k: i32, channels: i32, rows_per_split: i32,
    }
    struct Packing {
        from: At, to: At, scale: At,
        outputs: i32, inputs: i32, taps: i32, merged: i32, n: i32, channels: i32,
        groups: i32, transposed: i32, splits: i32, unused: i32,
    }
    struct Depthwise {
        x: Read, w: At, out: Write, gradient: At, d: Read, windows: Windows,
        images: i32, channels: i32, width8: i32,
    }
    struct Rows {
        rows: At, out: At, count: i32, width: i32, chunk: i32, stride: i32, add: i32, unused: i32,
    }
    struct Norm {
        sums: At, weight: At, bias: At, running_mean: At, running_variance: At, momentum: At,
        scale: At, shift: At, mean: At, deviation: At, a: At, b: At, c: At,
        weight_gradient: At, bias_gradient: At, before: At,
        blocks: i32, channels: i32, width8: i32, rows: f32, epsilon: f32, unused: i32,
    }
    struct Clear {
        at: At, count: u64,
    }
    struct Map {
        x: Read, y: Read, out: Write, rows: i32, width8: i32, rows_per_block: i32, unused: i32,
    }
    struct Pixels {
        x: Read, y: Read, out: Write, pixels: i32, width8: i32, alpha: f32, unused: i32,
    }
    struct Gather {
        x: Read, out: Write, channels: At, rows: i32, width8: i32, rows_per_block: i32, unused: i32,
    }
    struct Pool {
        x: Read, d: Read, out: Write, windows: Windows,
        rows: i32, width8: i32, largest: i32, rows_per_block: i32, unused: i32,
    }
    struct LayerNorm {
        x: Read, d: Read, out: Write, weight: At, bias: At, moments: At, sums: At,
        rows: i32, channels: i32, width8: i32, rows_per_block: i32, epsilon: f32, unused: i32,
    }
    struct Merge {
        x: Read, out: Write, height: i32, width: i32, rows: i32, channels: i32, transposed: i32, unused: i32,
    }
    struct Attention {
        qkv: At, mixed: At, d: At, d_qkv: At, bias: At, table: At, d_table: At, d_bias: At,
        height: i32, width: i32, channels: i32, heads: i32, side: i32, shift_rows: i32, shift_columns: i32, unused: i32,
    }
    struct Average {
        values: At, average: At, count: u64, weight: f32, unused: i32,
    }
    /// How a step changes a gradient before it uses it.
    struct Change {
        scale: f32, limit: f32, factor: f32,
    }
    struct GradientSize {
        gradient: At, out: At, count: u64, change: Change, unused: i32,
    }
    struct Stretch {
        first: u32, end: u32, group: u32, row: u32,
    }
    struct OptimizerStep {
        parameters: At, gradient: At, first: At, second: At, third: At, stretches: At, groups: At,
        change: Change, unused: i32,
    }
    struct Image {
        pixels: At, table: At, out: At, rows: i32, unused: i32,
    }
}

impl Windows {
    /// The same windows seen from the input: rows are its pixels.
    pub(crate) fn transposed(self) -> Windows {
        Windows {
            height: self.ih,
            width: self.iw,
            ih: self.height,
            iw: self.width,
            transposed: 1,
            ..self
        }
    }
}

/// The number of an activation in the kernels.
pub(crate) fn number(activation: Activation) -> i32 {
    match activation {
        Activation::Identity => 0,
        Activation::Relu => 1,
        Activation::Relu6 => 2,
        Activation::Hardswish => 3,
        Activation::Silu => 4,
        Activation::Gelu => 5,
        Activation::Sigmoid => 6,
        Activation::Hardsigmoid => 7,
    }
}

//! Matrices of reference values, and conversion to and from the memory layout of the kernels.

use std::ops::{Index, IndexMut};

use super::real::{Noise, Real};
use crate::isa::Isa;
use crate::kernels::{Affine, NormBackward, Sums};
use crate::memory::{Buffer, Planes, Src, padded, planes};
use crate::simd::LANES;

/// A matrix `[rows][channels]`, in double precision.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) channels: usize,
    values: Vec<Real>,
}

impl Matrix {
    /// A matrix filled with the results of `f`, in memory order.
    pub(super) fn fill(rows: usize, channels: usize, mut f: impl FnMut() -> Real) -> Self {
        Matrix::from_fn(rows, channels, |_, _| f())
    }

    pub(super) fn from_fn(
        rows: usize,
        channels: usize,
        mut f: impl FnMut(usize, usize) -> Real,
    ) -> Self {
        let values = (0..rows * channels).map(|at| f(at / channels, at % channels));
        Matrix {
            rows,
            channels,
            values: values.collect(),
        }
    }

    pub(super) fn zeros(rows: usize, channels: usize) -> Self {
        Matrix::fill(rows, channels, Real::default)
    }

    /// Random values that are exact in an [`Operand`] of every instruction set.
    pub(super) fn noise(noise: &mut Noise, rows: usize, channels: usize) -> Self {
        Matrix::fill(rows, channels, || noise.activation())
    }

    /// Random values for f32 operands, with more digits than bf16 has.
    pub(super) fn noise_f32(noise: &mut Noise, rows: usize, channels: usize) -> Self {
        Matrix::fill(rows, channels, || noise.value())
    }

    /// The values as a dense f32 matrix.
    pub(super) fn dense(&self) -> Vec<f32> {
        self.values.iter().map(|real| real.value as f32).collect()
    }

    /// A row of sixteen channels.
    pub(super) fn row(&self, row: usize) -> [f32; LANES] {
        assert_eq!(self.channels, LANES);
        std::array::from_fn(|channel| self[(row, channel)].value as f32)
    }

    /// Asserts that a dense matrix holds these values.
    #[track_caller]
    pub(super) fn assert_dense(&self, actual: &[f32], what: &str) {
        assert_eq!(actual.len(), self.values.len(), "{what}");
        for (at, (&actual, expected)) in actual.iter().zip(&self.values).enumerate() {
            expected.assert_near(actual, || format!("{what}, number {at}"));
        }
    }

    /// Sums these values, and their products with `others`, over the rows. Adds both to `sums`,
    /// starting at channel `at`.
    pub(super) fn add_sums(&self, others: &Matrix, sums: &mut ExpectedSums, at: usize) {
        for row in 0..self.rows {
            for channel in 0..self.channels {
                let value = self[(row, channel)];
                sums.first[at + channel] += value;
                sums.second[at + channel] += value * others[(row, channel)];
            }
        }
    }
}

impl Index<(usize, usize)> for Matrix {
    type Output = Real;
    fn index(&self, (row, channel): (usize, usize)) -> &Real {
        &self.values[row * self.channels + channel]
    }
}

impl IndexMut<(usize, usize)> for Matrix {
    fn index_mut(&mut self, (row, channel): (usize, usize)) -> &mut Real {
        &mut self.values[row * self.channels + channel]
    }
}

/// Marks memory without a value. It is NaN both as an f32 and as two bf16, so reading it spoils a
/// kernel's result.
pub(super) const NOTHING: f32 = f32::from_bits(0x7FC5_7FC5);

#[track_caller]
pub(super) fn assert_nothing(value: f32, what: impl FnOnce() -> String) {
    // A bf16 has only the upper half of the bits.
    assert_eq!(value.to_bits() >> 16, NOTHING.to_bits() >> 16, "{}", what());
}

/// The two bf16 values in the memory of an f32, in order.
pub(super) fn halves(pair: f32) -> [f32; 2] {
    let bits = pair.to_bits();
    [bits << 16, bits & 0xFFFF_0000].map(f32::from_bits)
}

/// Activations in planes, in the memory layout of an instruction set. There are spare rows before
/// and after each plane. The memory ends with the last plane.
pub(super) struct Operand {
    buffer: Buffer,
    /// Number of f32 values in the buffer per pixel.
    pixel: usize,
    rows: usize,
    channels: usize,
}

/// Number of spare rows before a plane, and again after it.
const BEFORE: usize = 2;
const BEHIND: usize = 3;

impl Operand {
    /// An operand without values.
    pub(super) fn blank(isa: Isa, rows: usize, channels: usize) -> Self {
        let pixels = planes(channels) * (BEFORE + rows + BEHIND) - BEHIND;
        let operand = Operand {
            buffer: Buffer::new(pixels * isa.pixel()),
            pixel: isa.pixel(),
            rows,
            channels,
        };
        (0..pixels * LANES).for_each(|at| operand.set(at, NOTHING));
        operand
    }

    /// Creates an operand from a matrix. Unused channels of the last rank are 0, as products
    /// require.
    pub(super) fn of(isa: Isa, matrix: &Matrix) -> Self {
        let operand = Operand::blank(isa, matrix.rows, matrix.channels);
        for row in 0..matrix.rows {
            for channel in 0..matrix.channels.next_multiple_of(isa.rank()) {
                let at = operand.at(channel / LANES, row) + channel % LANES;
                let value = if channel < matrix.channels {
                    matrix[(row, channel)].value as f32
                } else {
                    0.0
                };
                operand.set(at, value);
            }
        }
        operand
    }

    fn is_bf16(&self) -> bool {
        self.pixel < LANES
    }

    /// Sets a lane. Lanes are counted over the whole memory.
    fn set(&self, at: usize, value: f32) {
        let start = self.buffer.dst();
        assert!(at * self.pixel / LANES < self.buffer.len());
        if self.is_bf16() {
            let bits = value.to_bits();
            assert!(value.is_nan() || bits & 0xFFFF == 0, "bf16 has no {value}");
            // SAFETY: the lane is within the buffer, and no slice of the buffer exists.
            unsafe { *start.pointer(0, 0).cast::<u16>().add(at) = (bits >> 16) as u16 };
        } else {
            // SAFETY: as above.
            unsafe { *start.pointer(at, 1) = value };
        }
    }

    /// All lanes of the memory.
    fn lanes(&self) -> Vec<f32> {
        let numbers = self.buffer.as_slice();
        if self.is_bf16() {
            numbers.iter().copied().flat_map(halves).collect()
        } else {
            numbers.to_vec()
        }
    }

    /// Distance in pixels from one plane to the next.
    fn pitch(&self) -> usize {
        BEFORE + self.rows + BEHIND
    }

    /// Index of a row's first lane.
    fn at(&self, plane: usize, row: usize) -> usize {
        (plane * self.pitch() + BEFORE + row) * LANES
    }

    pub(super) fn planes(&self) -> Planes {
        Planes {
            // SAFETY: these rows are within the buffer.
            start: unsafe { self.buffer.dst().at(BEFORE * self.pixel) },
            stride: self.pitch() * self.pixel,
            pixel: self.pixel,
        }
    }

    pub(super) fn src(&self) -> Src {
        self.planes().src()
    }

    /// Asserts that a kernel has written these values, and has written nothing elsewhere.
    #[track_caller]
    pub(super) fn assert_near(&self, expected: &Matrix, what: &str) {
        assert_eq!(
            (expected.rows, expected.channels),
            (self.rows, self.channels),
            "{what}"
        );
        // Half the distance from 1 to the next bf16.
        let rounding = if self.is_bf16() { 1.0 / 256.0 } else { 0.0 };
        for (row, channel, actual) in self.written(what) {
            // The lanes beyond the last channel may hold anything.
            if channel < self.channels {
                let place = || format!("{what}, row {row}, channel {channel}");
                expected[(row, channel)].assert_stored(actual, rounding, place);
            }
        }
    }

    /// The lanes beyond the last channel, of all rows.
    pub(super) fn padding(&self) -> Vec<f32> {
        let written = self.written("padding").into_iter();
        let behind = written.filter(|(_, channel, _)| *channel >= self.channels);
        behind.map(|(_, _, value)| value).collect()
    }

    #[track_caller]
    pub(super) fn assert_nothing_around(&self, what: &str) {
        self.written(what);
    }

    /// Row, channel and value of all lanes of the rows, including lanes beyond the last channel.
    /// Asserts that the memory around the rows is unchanged.
    #[track_caller]
    pub(super) fn written(&self, what: &str) -> Vec<(usize, usize, f32)> {
        let mut written = Vec::new();
        for (index, value) in self.lanes().into_iter().enumerate() {
            let (pixel, lane) = (index / LANES, index % LANES);
            let (plane, row) = (pixel / self.pitch(), pixel % self.pitch());
            match row.checked_sub(BEFORE) {
                Some(row) if row < self.rows => written.push((row, plane * LANES + lane, value)),
                row => assert_nothing(value, || {
                    format!("{what}, plane {plane}, lane {lane}, outside at {row:?}")
                }),
            }
        }
        written
    }
}

/// One value per channel, and [`NOTHING`] in the lanes beyond the last channel.
pub(super) fn per_channel(values: &[Real]) -> Vec<f32> {
    let mut numbers: Vec<f32> = values.iter().map(|real| real.value as f32).collect();
    numbers.resize(padded(values.len()), NOTHING);
    numbers
}

/// Scale and shift of each channel. Channel 0 is not changed, so that its values hit the kinks of
/// activations.
pub(super) struct Norm {
    scale: Vec<Real>,
    shift: Vec<Real>,
    packed: [Vec<f32>; 2],
}

impl Norm {
    pub(super) fn noise(noise: &mut Noise, channels: usize) -> Self {
        let mut scale: Vec<_> = (0..channels).map(|_| noise.scale()).collect();
        let mut shift: Vec<_> = (0..channels).map(|_| noise.value()).collect();
        (scale[0], shift[0]) = (1.0.into(), 0.0.into());
        let packed = [per_channel(&scale), per_channel(&shift)];
        Norm {
            scale,
            shift,
            packed,
        }
    }

    pub(super) fn affine(&self) -> Affine {
        let [scale, shift] = &self.packed;
        Affine {
            scale: Src::of(scale),
            shift: Src::of(shift),
        }
    }

    pub(super) fn apply(&self, z: &Matrix) -> Matrix {
        Matrix::from_fn(z.rows, z.channels, |row, channel| {
            z[(row, channel)] * self.scale[channel] + self.shift[channel]
        })
    }
}

/// For each channel, the three coefficients that compute a gradient from `d` and `z`.
pub(super) struct Mix {
    factors: [Vec<Real>; 3],
    packed: [Vec<f32>; 3],
}

impl Mix {
    pub(super) fn noise(noise: &mut Noise, channels: usize) -> Self {
        let factors = [(); 3].map(|()| (0..channels).map(|_| noise.scale()).collect::<Vec<_>>());
        let packed = [0, 1, 2].map(|index| per_channel(&factors[index]));
        Mix { factors, packed }
    }

    pub(super) fn operand(&self) -> NormBackward {
        let [a, b, c] = &self.packed;
        NormBackward {
            a: Src::of(a),
            b: Src::of(b),
            c: Src::of(c),
        }
    }

    pub(super) fn apply(&self, d: &Matrix, z: &Matrix) -> Matrix {
        let [a, b, c] = &self.factors;
        Matrix::from_fn(z.rows, z.channels, |row, channel| {
            let at = (row, channel);
            a[channel] * d[at] + b[channel] * z[at] + c[channel]
        })
    }
}

/// The expected values of a kernel's [`Sums`].
#[derive(Clone)]
pub(super) struct ExpectedSums {
    first: Vec<Real>,
    second: Vec<Real>,
}

impl ExpectedSums {
    /// Sums over this many channels. They start with random values, to check that a kernel adds to
    /// them.
    pub(super) fn noise(noise: &mut Noise, channels: usize) -> Self {
        let mut numbers = || (0..channels).map(|_| noise.value()).collect();
        ExpectedSums {
            first: numbers(),
            second: numbers(),
        }
    }

    /// The initial sums for a kernel, padded to whole planes.
    pub(super) fn before(&self) -> Sums {
        let mut sums = Sums::default();
        sums.reset(padded(self.first.len()));
        for (to, from) in [
            (&mut sums.first, &self.first),
            (&mut sums.second, &self.second),
        ] {
            for (to, from) in to.iter_mut().zip(from) {
                *to = from.value;
            }
        }
        sums
    }

    #[track_caller]
    pub(super) fn assert_near(&self, actual: &Sums, what: &str) {
        for (name, expected, actual) in [
            ("first", &self.first, &actual.first),
            ("second", &self.second, &actual.second),
        ] {
            assert_eq!(actual.len(), padded(expected.len()), "{what}");
            for (channel, expected) in expected.iter().enumerate() {
                let what = || format!("{what}, {name} sum of channel {channel}");
                expected.assert_near(actual[channel], what);
            }
        }
    }

    pub(super) fn first(&self) -> &[Real] {
        &self.first
    }

    pub(super) fn second(&self) -> &[Real] {
        &self.second
    }
}

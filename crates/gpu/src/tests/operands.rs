//! Random operands and results with everything that `Read` and `Write` can do, and what they mean.

use super::reference::{activation, derivative};
use super::{Bench, assert_near};
use crate::args::{At, Read, Write};

/// What an operand is read with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// With `a` and `c`.
    pub(super) scaled: bool,
    /// With `b` and `z`.
    pub(super) second: bool,
    pub(super) act: usize,
    pub(super) factors: bool,
    pub(super) broadcast: bool,
    pub(super) alpha: Option<f64>,
}

impl Reading {
    pub(super) const PLAIN: Reading = Reading {
        scaled: false,
        second: false,
        act: 0,
        factors: false,
        broadcast: false,
        alpha: None,
    };

    /// The combinations, in an order that soon has all of them once.
    pub(super) fn number(index: usize) -> Reading {
        Reading {
            scaled: index % 2 == 1,
            second: index % 3 == 1,
            act: index % 8,
            factors: index % 5 >= 3,
            broadcast: false,
            alpha: (index % 7 == 3).then_some(0.625),
        }
    }
}

/// An operand in memory, and what kernels shall read.
pub(super) struct Operand {
    pub(super) read: Read,
    pub(super) values: Vec<f64>,
    pub(super) width: usize,
}

impl Operand {
    pub(super) fn value(&self, row: usize, channel: usize) -> f64 {
        self.values[row * self.width + channel]
    }
}

impl Bench {
    /// Rows of the storage type, which are 16 numbers apart and start 8 numbers after the buffer. Returns the address
    /// and the distance of rows.
    pub(super) fn put_rows(&mut self, values: &[f64], width: usize) -> (At, i32) {
        let stride = width + 16;
        let mut padded = vec![f64::NAN; values.len() / width * stride];
        for (to, from) in padded.chunks_mut(stride).zip(values.chunks(width)) {
            to[8..8 + width].copy_from_slice(from);
        }
        let at = self.put(&padded) + 8 * self.storage.bytes() as u64;
        (at, stride as i32)
    }

    /// A random operand of `images` maps of `pixels` rows.
    pub(super) fn operand(
        &mut self,
        reading: Reading,
        images: usize,
        pixels: usize,
        width: usize,
    ) -> Operand {
        let rows = if reading.broadcast {
            images
        } else {
            images * pixels
        };
        let x = self.values(rows * width, 2.0);
        self.operand_of(reading, &x, images, pixels, width)
    }

    /// An operand of these numbers.
    pub(super) fn operand_of(
        &mut self,
        reading: Reading,
        x: &[f64],
        images: usize,
        pixels: usize,
        width: usize,
    ) -> Operand {
        let rows = images * pixels;
        let mut read = Read {
            pixels: pixels as i32,
            alpha: reading.alpha.unwrap_or(1.0) as f32,
            act: reading.act as i32,
            broadcast: reading.broadcast.into(),
            ..Read::default()
        };
        (read.x, read.ldx) = self.put_rows(x, width);
        let (mut a, mut b, mut c) = (vec![1.0; width], vec![0.0; width], vec![0.0; width]);
        if reading.scaled {
            (a, c) = (self.numbers(width, 2.0), self.numbers(width, 1.5));
            (read.a, read.c) = (self.put_f32(&a), self.put_f32(&c));
        }
        let z = self.values(rows * width, 2.0);
        if reading.second {
            b = self.numbers(width, 1.0);
            read.b = self.put_f32(&b);
            (read.z, read.ldz) = self.put_rows(&z, width);
        }
        let factors = self.values(images * width, 1.5);
        if reading.factors {
            (read.factors, read.ldf) = self.put_rows(&factors, width);
        }
        let mut values = Vec::new();
        for row in 0..rows {
            for channel in 0..width {
                let from = if reading.broadcast { row / pixels } else { row };
                let x = x[from * width + channel];
                let sum = a[channel] * x + b[channel] * z[row * width + channel] + c[channel];
                let mut value = activation(reading.act, sum) * f64::from(read.alpha);
                if reading.factors {
                    value *= factors[row / pixels * width + channel];
                }
                values.push(value);
            }
        }
        Operand {
            read,
            values,
            width,
        }
    }
}

/// How a result is written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Writing {
    pub(super) bias: bool,
    /// `Some(true)`: what is already there.
    pub(super) addend: Option<bool>,
    /// The activation of the value whose gradient the result is, and whether it was normalised.
    pub(super) z: Option<(usize, bool)>,
    pub(super) sums: bool,
    pub(super) act: usize,
    pub(super) wide: bool,
    /// Only the sums are wanted.
    pub(super) unwritten: bool,
}

impl Writing {
    pub(super) const PLAIN: Writing = Writing {
        bias: false,
        addend: None,
        z: None,
        sums: false,
        act: 0,
        wide: false,
        unwritten: false,
    };

    /// The combinations, in an order that soon has all of them once.
    pub(super) fn number(index: usize) -> Writing {
        Writing {
            bias: index % 2 == 1,
            addend: [None, Some(true), Some(false)][index % 3],
            z: (index % 5 >= 2).then_some((index % 8, index % 4 >= 2)),
            sums: index % 7 != 2,
            act: if index % 5 >= 2 { 0 } else { index % 8 },
            wide: false,
            unwritten: false,
        }
    }
}

/// Space for a result, and what it is made of.
pub(super) struct Output {
    pub(super) write: Write,
    writing: Writing,
    width: usize,
    base: At,
    bias: Vec<f64>,
    addend: Vec<f64>,
    z: Vec<f64>,
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl Bench {
    /// Space for a result of some rows. Sums are those of `blocks` blocks.
    pub(super) fn output(
        &mut self,
        writing: Writing,
        rows: usize,
        width: usize,
        blocks: usize,
    ) -> Output {
        let mut write = Write {
            act: writing.act as i32,
            wide: writing.wide.into(),
            ..Write::default()
        };
        let mut output = Output {
            writing,
            width,
            base: 0,
            bias: self.numbers(width, 1.0),
            addend: self.values(rows * width, 2.0),
            z: self.values(rows * width, 2.0),
            scale: vec![1.0; width],
            shift: vec![0.0; width],
            write,
        };
        let stride = width + 16;
        write.ldy = stride as i32;
        let bytes = self.storage.bytes() as u64;
        if writing.wide {
            output.base = self.space_f32(rows * stride);
            write.y = output.base + 32;
        } else if writing.addend == Some(true) {
            (write.y, _) = self.put_rows(&output.addend, width);
            output.base = write.y - 8 * bytes;
        } else if !writing.unwritten {
            output.base = self.space(rows * stride);
            write.y = output.base + 8 * bytes;
        }
        match writing.addend {
            Some(true) => (write.addend, write.lda) = (write.y, write.ldy),
            Some(false) => (write.addend, write.lda) = self.put_rows(&output.addend, width),
            None => output.addend.fill(0.0),
        }
        if writing.bias {
            write.bias = self.put_f32(&output.bias);
        } else {
            output.bias.fill(0.0);
        }
        if let Some((act, scaled)) = writing.z {
            write.dact = act as i32;
            (write.z, write.ldz) = self.put_rows(&output.z, width);
            if scaled {
                output.scale = self.numbers(width, 1.5);
                output.shift = self.numbers(width, 1.5);
                write.scale = self.put_f32(&output.scale);
                write.shift = self.put_f32(&output.shift);
            }
        }
        if writing.sums {
            write.sums = self.space_f32(2 * blocks * width);
        }
        Output { write, ..output }
    }

    /// Compares what was written with what is expected of the results `v`, and the sums with those of what was written.
    pub(super) fn check(&self, output: &Output, v: &[f64], what: &str) {
        let (width, writing) = (output.width, output.writing);
        let finish = |(index, v): (usize, &f64)| {
            let channel = index % width;
            let u = output.scale[channel] * output.z[index] + output.shift[channel];
            let slope = writing.z.map_or(1.0, |(act, _)| derivative(act, u));
            let sum = (v + output.bias[channel]) * slope + output.addend[index];
            activation(writing.act, sum)
        };
        let expected: Vec<f64> = v.iter().enumerate().map(finish).collect();
        let mut found = expected.clone();
        if !writing.unwritten {
            let all = match writing.wide {
                true => self.get_f32(output.base),
                false => self.get(output.base),
            };
            found.clear();
            for row in all.chunks(width + 16) {
                let outside = row[..8].iter().chain(&row[8 + width..]);
                assert!(
                    outside.copied().all(f64::is_nan),
                    "{what}: other channels changed"
                );
                found.extend(&row[8..8 + width]);
            }
            assert_near(&found, &expected, self.tolerance(), what);
        }
        if writing.sums {
            let blocks = self.get_f32(output.write.sums);
            let (mut sums, mut totals) = (vec![0.0; 2 * width], vec![0.0; 2 * width]);
            for block in blocks.chunks(2 * width) {
                sums.iter_mut().zip(block).for_each(|(sum, x)| *sum += x);
            }
            for (index, y) in found.iter().enumerate() {
                let other = writing.z.map_or(*y, |_| output.z[index]);
                totals[index % width] += y;
                totals[width + index % width] += y * other;
            }
            // The sums of large and small numbers cancel.
            assert_near(&sums, &totals, 3e-5, &format!("{what}: sums"));
        }
    }
}

//! Mutated copies of valid files, the same ones in every run.

use fastrand::Rng;

/// Numbers that break careless readers, as 64 bits; a shorter field takes their low bits.
const NUMBERS: [u64; 32] = [
    0,
    1,
    2,
    7,
    0x0F,
    0x10,
    0x20,
    0x3F,
    0x40,
    0x7F,
    0x80,
    0xFE,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0x8001,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFF0,
    0xFFFF_FFFF,
    0x1_0000_0000,
    0x7FFF_FFFF_FFFF_FFFF,
    u64::MAX,
    // two sides of 4096, 8192 and 13,312 pixels, in fields of two and of four bytes
    0x1000_1000,
    0x2000_2000,
    0x3400_3400,
    0x0000_1000_0000_1000,
    0x0000_2000_0000_2000,
    0x0000_3400_0000_3400,
];

/// Words of the text formats, and characters that confuse their readers.
const WORDS: [&str; 40] = [
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "(",
    ")",
    ",",
    ",,",
    "=",
    ":",
    "#",
    "\\",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\t",
    "\u{feff}",
    "\u{301}",
    "\u{202e}",
    "é",
    "🦀",
    "nan",
    "inf",
    "-0.0",
    "1e999",
    "9223372036854775808",
    "-1",
    "None",
    "True",
    "..",
    "/",
    "*",
    "**",
    "type",
];

/// The number of bytes of a file in which a number is placed everywhere.
const HEADER: usize = 192;

/// The longest mutated file in bytes.
const LONGEST: usize = 1 << 16;

/// Mutates `seeds`.
pub(super) struct Mutator {
    seeds: Vec<Vec<u8>>,
    rng: Rng,
}

impl Mutator {
    pub(super) fn new(seeds: Vec<Vec<u8>>) -> Self {
        Self {
            seeds,
            rng: Rng::with_seed(0),
        }
    }

    /// Writes mutated file `index` to `file`; call it with 0, 1, 2, …. Every third file has a single number changed, so
    /// that every place in the header of every valid file gets some. The others have one or a few changes of any kind.
    pub(super) fn next(&mut self, index: u64, file: &mut Vec<u8>) {
        file.clear();
        if index % 3 == 0 {
            let turn = (index / 3) as usize;
            file.extend(&self.seeds[turn % self.seeds.len()]);
            let place = turn / self.seeds.len() % file.len().clamp(1, HEADER);
            let number = NUMBERS[self.rng.usize(..NUMBERS.len())];
            self.number(file, place, number);
        } else {
            let seed = self.rng.usize(..self.seeds.len());
            file.extend(&self.seeds[seed]);
            let changes = [1, 1, 1, 2, 3, 6][self.rng.usize(..6)];
            for _ in 0..changes {
                self.change(file);
            }
        }
        file.truncate(LONGEST);
    }

    /// A place in a file, often in its header.
    fn place(&mut self, file: &[u8]) -> usize {
        let end = match self.rng.bool() {
            true => file.len(),
            false => file.len().min(HEADER),
        };
        self.rng.usize(..end.max(1))
    }

    /// A range of a file, often short.
    fn range(&mut self, file: &[u8]) -> std::ops::Range<usize> {
        let start = self.place(file).min(file.len());
        let most = [4, 16, file.len()][self.rng.usize(..3)];
        start..(start + self.rng.usize(..=most)).min(file.len())
    }

    /// Overwrites a field of one to eight bytes, of either byte order. Mostly the number fits the field.
    fn number(&mut self, file: &mut [u8], place: usize, number: u64) {
        let bytes = (64 - number.leading_zeros()).div_ceil(8).max(1) as usize;
        let size = match self.rng.u8(..4) {
            0 => 1 << self.rng.u32(..4),
            1 => (2 * bytes.next_power_of_two()).min(8),
            _ => bytes.next_power_of_two(),
        };
        let mut bytes = number.to_le_bytes();
        if self.rng.bool() {
            bytes[..size].reverse();
        }
        for (byte, new) in file.iter_mut().skip(place).zip(&bytes[..size]) {
            *byte = *new;
        }
    }

    fn change(&mut self, file: &mut Vec<u8>) {
        let place = self.place(file);
        match self.rng.u8(..10) {
            0 | 1 => {
                if let Some(byte) = file.get_mut(place) {
                    *byte ^= 1 << self.rng.u8(..8);
                }
            }
            2 | 3 => {
                let number = NUMBERS[self.rng.usize(..NUMBERS.len())];
                self.number(file, place, number);
            }
            4 => {
                if let Some(byte) = file.get_mut(place) {
                    *byte = self.rng.u8(..);
                }
            }
            5 => file.truncate(place),
            6 => {
                file.drain(self.range(file));
            }
            7 => self.splice(file),
            8 => self.repeat(file),
            _ => {
                let word = WORDS[self.rng.usize(..WORDS.len())];
                let place = place.min(file.len());
                file.splice(place..place, word.bytes());
            }
        }
    }

    /// Replaces the end of a file by the end of another.
    fn splice(&mut self, file: &mut Vec<u8>) {
        let other = self.rng.usize(..self.seeds.len());
        let other = self.seeds[other].clone();
        file.truncate(self.place(file));
        file.extend(&other[self.place(&other).min(other.len())..]);
    }

    /// Repeats a part of a file, mostly a few times.
    fn repeat(&mut self, file: &mut Vec<u8>) {
        let range = self.range(file);
        let times = [1, 2, 10, 1000][self.rng.usize(..4)];
        let most = LONGEST.saturating_sub(file.len()) / range.len().max(1);
        let repeated = file[range.clone()].repeat(times.min(most));
        file.splice(range.end..range.end, repeated);
    }
}

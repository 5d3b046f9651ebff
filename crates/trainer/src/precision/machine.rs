//! The processor and the build whose speed is measured.

use std::fs::File;
use std::io::{self, Read};

use files::Checksum;
use mobilenet::{Isa, Precision};
use serde::{Deserialize, Serialize};

/// Bytes of the executable that are read at a time.
const PIECE: usize = 1 << 20;

/// What the speed of training depends on, apart from the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    /// Vendor, family, model, stepping and name of the processor.
    pub(super) processor: String,
    /// The instruction set for f32.
    pub(super) instructions: String,
    /// f32, and bf16 with each of the processor's instruction sets.
    pub(super) precisions: Vec<Precision>,
    /// The number of threads.
    pub(super) threads: usize,
    /// The code that runs the network: `fused` or `layered`.
    pub(super) executor: String,
}

impl Machine {
    /// This processor, with the threads that the engine uses here, for an executor.
    pub(super) fn here(executor: &str) -> Self {
        let bf16 = Precision::bf16_of_this_processor();
        Self {
            processor: processor(),
            instructions: Isa::best().to_string(),
            precisions: [Precision::F32].into_iter().chain(bf16).collect(),
            threads: rayon::current_num_threads(),
            executor: executor.to_owned(),
        }
    }
}

/// A SHA-256 of the program that runs. A time or a length does not tell builds apart: in an image of a container, all
/// files may have the same time.
pub(super) fn build() -> io::Result<String> {
    // On Linux, this is the running program even if its file was replaced meanwhile.
    let mut file = match cfg!(target_os = "linux") {
        true => File::open("/proc/self/exe")?,
        false => File::open(std::env::current_exe()?)?,
    };
    let mut checksum = Checksum::default();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(checksum.finish()),
            read => checksum.update(&piece[..read]),
        }
    }
}

/// Vendor, family, model, stepping and name.
#[cfg(target_arch = "x86_64")]
fn processor() -> String {
    use std::arch::x86_64::{__cpuid, CpuidResult};

    let bytes = |numbers: &[u32]| -> Vec<u8> {
        let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
        bytes.filter(|byte| *byte != 0).collect()
    };
    let first = __cpuid(0);
    let vendor = bytes(&[first.ebx, first.edx, first.ecx]);
    let signature = __cpuid(1).eax;
    let bits = |from: u32, count: u32| signature >> from & ((1 << count) - 1);
    // The extended parts count for the families whose short numbers are used up.
    let (family, model) = (bits(8, 4), bits(4, 4));
    let family = family + if family == 15 { bits(20, 8) } else { 0 };
    let model = model
        + if family >= 15 || family == 6 {
            bits(16, 4) << 4
        } else {
            0
        };
    let mut name = Vec::new();
    if __cpuid(0x8000_0000).eax >= 0x8000_0004 {
        for leaf in 0x8000_0002..=0x8000_0004 {
            let CpuidResult { eax, ebx, ecx, edx } = __cpuid(leaf);
            name.extend(bytes(&[eax, ebx, ecx, edx]));
        }
    }
    format!(
        "{} family {family} model {model} stepping {}, {}",
        String::from_utf8_lossy(&vendor),
        bits(0, 4),
        String::from_utf8_lossy(&name).trim()
    )
}

/// Other processors have no bf16 instructions that the engine uses, so nothing is measured on them.
#[cfg(not(target_arch = "x86_64"))]
fn processor() -> String {
    std::env::consts::ARCH.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_the_build_are_the_same_when_asked_again() {
        let machine = Machine::here("fused");
        assert_eq!(machine, Machine::here("fused"));
        assert_ne!(machine, Machine::here("layered"));
        assert_eq!(machine.precisions[0], Precision::F32);
        assert_eq!(build().unwrap(), build().unwrap());
    }

    /// The kernel reads the same numbers.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn the_processor_is_named_as_the_kernel_names_it() {
        let Ok(text) = std::fs::read_to_string("/proc/cpuinfo") else {
            return;
        };
        let of = |key: &str| {
            let line = text.lines().find(|line| {
                let name = line.split(':').next();
                name.is_some_and(|name| name.trim() == key)
            });
            let value = line.and_then(|line| line.split_once(':'));
            value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let expected = format!(
            "{} family {} model {} stepping {}, {}",
            of("vendor_id"),
            of("cpu family"),
            of("model"),
            of("stepping"),
            of("model name")
        );
        assert_eq!(processor(), expected);
    }
}

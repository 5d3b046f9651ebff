//! The tiles of AMX: Intel's processors since Sapphire Rapids.
//!
//! Eight registers hold tiles of 16 rows of 64 bytes: 16 f32, or 16 ranks of two bf16. Four are sums, two hold tiles of
//! `a`, and two of `b`. The system gives tiles to processes that ask for them. A thread configures its tiles before its
//! first product, and releases them when it ends. Nothing else may configure or release tiles in these threads.

use std::arch::asm;
use std::sync::OnceLock;

use super::{LANES, TILE, TileProduct};
use crate::memory::Dst;

/// Whether the processor has tiles of bf16, and the system lets this process use them.
pub(crate) fn has_amx() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| reported() && permitted())
}

/// Whether the processor reports AMX.
fn reported() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    let most = std::arch::x86_64::__cpuid(0).eax;
    let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
    most >= 7 && features & AMX_BF16 != 0 && features & AMX_TILE != 0
}

/// Asks the system for the registers. Linux grants them to a process once, for all its threads.
#[cfg(all(target_os = "linux", not(miri)))]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call reads no memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        )
    };
    result == 0
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn permitted() -> bool {
    false
}

/// The configuration of a thread's tiles, as `ldtilecfg` reads it.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes of a row, for each tile.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// The configured tiles of a thread.
struct Configured;

impl Configured {
    fn new() -> Self {
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        configuration.row_bytes[..8].fill(64);
        configuration.rows[..8].fill(LANES as u8);
        // SAFETY: an `Isa` with AMX exists only if the process may use tiles.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack)) };
        Configured
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: as in `new`.
        unsafe { asm!("tilerelease", options(nomem, nostack)) };
    }
}

thread_local! {
    static CONFIGURED: Configured = Configured::new();
}

/// Defines the assembler of a product. Sums are `tmm0` to `tmm3`: two of the first tile of columns, two of the second.
macro_rules! product {
    ($o:ident, $c:ident, zero: [$($zero:literal),+], step: [$($step:literal),+], store: [$($store:literal),+]) => {
        asm!(
            $($zero,)+
            "2:",
            "mov {t}, [{steps}]",
            "lea {t}, [{a} + 4*{t}]",
            $($step,)+
            "add {b}, {depth}",
            "add {steps}, 8",
            "dec {n}",
            "jnz 2b",
            $($store,)+
            t = out(reg) _,
            a = in(reg) $o.a.beyond(0),
            steps = inout(reg) $o.steps.as_ptr() => _,
            n = inout(reg) $o.steps.len() => _,
            // Bytes between rows of `a` and `c`.
            line = in(reg) 64_usize,
            rows = in(reg) 4 * $o.rows,
            b = inout(reg) $o.b.beyond(0) => _,
            pitch = in(reg) 4 * $o.pitch,
            depth = in(reg) 4 * LANES * $o.pitch,
            columns = in(reg) 4 * $o.columns,
            c = in(reg) $c,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        )
    };
}

/// See [`super::Simd::multiply_tiles`].
///
/// # Safety
/// As there; the processor must have AMX, and the process may use it.
pub(super) unsafe fn multiply(o: &TileProduct<'_>, [height, width]: [usize; 2], c: Dst) {
    CONFIGURED.with(|_| ());
    // SAFETY: the caller promises that the operands hold their tiles, and `c` the result. The code keeps to them.
    unsafe {
        o.check(height, width);
        let c = c.pointer(0, height * width * TILE);
        match (height, width) {
            (1, 1) => product!(o, c,
                zero: ["tilezero tmm0"],
                step: [
                    "tileloadd tmm4, [{t} + {line}]",
                    "tileloadd tmm6, [{b} + {pitch}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "/* {rows} {columns} */"
                ],
                store: ["tilestored [{c} + {line}], tmm0"]
            ),
            (2, 1) => product!(o, c,
                zero: ["tilezero tmm0", "tilezero tmm1"],
                step: [
                    "tileloadd tmm4, [{t} + {line}]",
                    "tileloadd tmm6, [{b} + {pitch}]",
                    "add {t}, {rows}",
                    "tileloadd tmm5, [{t} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm5, tmm6",
                    "/* {columns} */"
                ],
                store: [
                    "tilestored [{c} + {line}], tmm0",
                    "tilestored [{c} + {line} + 1024], tmm1"
                ]
            ),
            (1, 2) => product!(o, c,
                zero: ["tilezero tmm0", "tilezero tmm2"],
                step: [
                    "tileloadd tmm4, [{t} + {line}]",
                    "tileloadd tmm6, [{b} + {pitch}]",
                    "lea {t}, [{b} + {columns}]",
                    "tileloadd tmm7, [{t} + {pitch}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm2, tmm4, tmm7",
                    "/* {rows} */"
                ],
                store: [
                    "tilestored [{c} + {line}], tmm0",
                    "tilestored [{c} + {line} + 1024], tmm2"
                ]
            ),
            (2, 2) => product!(o, c,
                zero: ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
                step: [
                    "tileloadd tmm4, [{t} + {line}]",
                    "tileloadd tmm6, [{b} + {pitch}]",
                    "add {t}, {rows}",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{t} + {line}]",
                    "lea {t}, [{b} + {columns}]",
                    "tdpbf16ps tmm1, tmm5, tmm6",
                    "tileloadd tmm7, [{t} + {pitch}]",
                    "tdpbf16ps tmm2, tmm4, tmm7",
                    "tdpbf16ps tmm3, tmm5, tmm7"
                ],
                store: [
                    "tilestored [{c} + {line}], tmm0",
                    "tilestored [{c} + {line} + 1024], tmm1",
                    "tilestored [{c} + {line} + 2048], tmm2",
                    "tilestored [{c} + {line} + 3072], tmm3"
                ]
            ),
            _ => unreachable!("a product has one or two tiles each way"),
        }
    }
}

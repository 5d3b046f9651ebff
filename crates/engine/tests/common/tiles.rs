//! Runs the code for AMX on processors without it: the signal for an unknown instruction carries out what the instruction
//! means, on tiles in memory. The machine code under test stays the same.
//!
//! Source of formats and meanings: Intel's Software Developer's Manual, volume 2, TILELOADD, TDPBF16PS and others.

use crate::Isa;

/// The instruction sets of `isa` with activations in bf16, and AMX where this processor needs its emulation.
#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
pub(crate) fn with_amx(isa: Isa) -> Vec<Isa> {
    use std::io::Write;
    use std::sync::Once;
    static NOTE: Once = Once::new();
    let mut isas = isa.bf16();
    let has_amx = isas.iter().any(|isa| isa.to_string() == "amx_bf16");
    let reported = std::arch::x86_64::__cpuid_count(7, 0).edx & 1 << 24 != 0;
    let note = match (isas.is_empty(), has_amx) {
        (false, false) if reported => "AMX is not tested: the system does not permit it\n",
        (true, _) => "AMX is not tested: emulating it needs AVX-512 BF16\n",
        (false, true) => "AMX is tested on this processor\n",
        (false, false) => {
            emulator::install();
            // SAFETY: the processor has AVX-512 BF16, and the signal handles the instructions that it lacks.
            isas.insert(0, unsafe { Isa::assume_amx() });
            "this processor has no AMX: the tests emulate its instructions\n"
        }
    };
    NOTE.call_once(|| drop(std::io::stderr().write_all(note.as_bytes())));
    isas
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux", not(miri))))]
pub(crate) fn with_amx(isa: Isa) -> Vec<Isa> {
    isa.bf16()
}

#[cfg(all(target_arch = "x86_64", target_os = "linux", not(miri)))]
mod emulator {
    use std::cell::UnsafeCell;
    use std::sync::Once;

    const ROWS: usize = 16;
    const WORDS: usize = 16;
    type Tile = [[u32; WORDS]; ROWS];

    /// The tiles of a thread.
    struct Tiles {
        configured: bool,
        tiles: [Tile; 8],
    }

    thread_local! {
        static TILES: UnsafeCell<Tiles> = const {
            UnsafeCell::new(Tiles { configured: false, tiles: [[[0; WORDS]; ROWS]; 8] })
        };
    }

    /// Handles the signal of unknown instructions, in all threads.
    pub(super) fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: the structure is valid, and the handler calls only functions that are allowed in signals.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = handle as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
                assert_eq!(
                    libc::sigaction(libc::SIGILL, &action, std::ptr::null_mut()),
                    0
                );
            }
        });
    }

    extern "C" fn handle(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the system passes the interrupted thread's registers, and its next instruction can be read.
        unsafe {
            let registers = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs;
            let at = registers[libc::REG_RIP as usize] as *const u8;
            match run(at, registers) {
                Some(length) => registers[libc::REG_RIP as usize] += length as i64,
                // Not one of AMX: end the process as without this handler.
                None => {
                    libc::signal(libc::SIGILL, libc::SIG_DFL);
                }
            }
        }
    }

    /// The numbers of the general registers, in the order of their codes.
    const REGISTERS: [i32; 16] = [
        libc::REG_RAX,
        libc::REG_RCX,
        libc::REG_RDX,
        libc::REG_RBX,
        libc::REG_RSP,
        libc::REG_RBP,
        libc::REG_RSI,
        libc::REG_RDI,
        libc::REG_R8,
        libc::REG_R9,
        libc::REG_R10,
        libc::REG_R11,
        libc::REG_R12,
        libc::REG_R13,
        libc::REG_R14,
        libc::REG_R15,
    ];

    /// An operand in memory: its address, the index register's value, and the length of its encoding.
    struct Memory {
        address: usize,
        index: usize,
        length: usize,
    }

    /// Carries out the instruction at `at`, and returns its length. `None` if it is not of AMX.
    unsafe fn run(at: *const u8, registers: &[i64; 23]) -> Option<usize> {
        // SAFETY: the processor has just read these bytes, and the caller vouches for the thread's memory.
        unsafe {
            let byte = |offset: usize| *at.add(offset);
            // VEX in three bytes, opcodes 0F 38, W0, 128 bits.
            if byte(0) != 0xc4 || byte(1) & 0x1f != 2 || byte(2) & 0x84 != 0 {
                return None;
            }
            let extensions = !byte(1) >> 5;
            let third = usize::from(!byte(2) >> 3 & 7);
            let prefix = byte(2) & 3;
            let modrm = byte(4);
            let (mode, first, second) = (
                modrm >> 6,
                usize::from(modrm >> 3 & 7),
                usize::from(modrm & 7),
            );
            let memory = || operand(at.add(4), extensions, registers);
            TILES.with(|state| {
                let state = &mut *state.get();
                if (byte(3), prefix) != (0x49, 0) && !state.configured {
                    return None;
                }
                match (byte(3), prefix, mode) {
                    (0x49, 0, 3) => {
                        state.configured = false;
                        Some(5)
                    }
                    (0x49, 0, _) => {
                        let memory = memory();
                        let configuration = *(memory.address as *const [u8; 64]);
                        let full = (0..8).all(|tile| {
                            configuration[16 + 2 * tile..18 + 2 * tile] == [64, 0]
                                && configuration[48 + tile] == 16
                        });
                        if configuration[0] != 1 || !full {
                            return None;
                        }
                        *state = Tiles {
                            configured: true,
                            tiles: [[[0; WORDS]; ROWS]; 8],
                        };
                        Some(4 + memory.length)
                    }
                    (0x49, 3, 3) => {
                        state.tiles[first] = [[0; WORDS]; ROWS];
                        Some(5)
                    }
                    (0x4b, 3, 0..=2) => {
                        let memory = memory();
                        for (row, words) in state.tiles[first].iter_mut().enumerate() {
                            let from = memory.address + row * memory.index;
                            *words = (from as *const [u32; WORDS]).read_unaligned();
                        }
                        Some(4 + memory.length)
                    }
                    (0x4b, 2, 0..=2) => {
                        let memory = memory();
                        for (row, words) in state.tiles[first].iter().enumerate() {
                            let to = memory.address + row * memory.index;
                            (to as *mut [u32; WORDS]).write_unaligned(*words);
                        }
                        Some(4 + memory.length)
                    }
                    (0x5c, 2, 3) => {
                        let (a, b) = (state.tiles[second], state.tiles[third]);
                        multiply(&mut state.tiles[first], &a, &b);
                        Some(5)
                    }
                    _ => None,
                }
            })
        }
    }

    /// Reads an operand in memory. `extensions` are the bits R, X and B of the registers.
    unsafe fn operand(at: *const u8, extensions: u8, registers: &[i64; 23]) -> Memory {
        // SAFETY: as in `run`.
        unsafe {
            let value = |code: u8, extension: u8| {
                registers[REGISTERS[usize::from(code | extension << 3)] as usize] as usize
            };
            let (base_extension, index_extension) = (extensions & 1, extensions >> 1 & 1);
            let (mode, mut base) = (*at >> 6, *at & 7);
            let (mut length, mut index, mut scale) = (1, 0, 0);
            if base == 4 {
                let sib = *at.add(1);
                length += 1;
                base = sib & 7;
                scale = sib >> 6;
                let code = sib >> 3 & 7;
                if (code, index_extension) != (4, 0) {
                    index = value(code, index_extension);
                }
            }
            assert!(mode != 0 || base != 5, "an address without a base register");
            let distance = match mode {
                1 => isize::from(*at.add(length).cast::<i8>()),
                2 => at.add(length).cast::<i32>().read_unaligned() as isize,
                _ => 0,
            };
            length += [0, 1, 4][usize::from(mode)];
            let tile = value(base, base_extension).wrapping_add_signed(distance);
            // The index of a tile is the distance between its rows.
            Memory {
                address: tile,
                index: index << scale,
                length,
            }
        }
    }

    /// TDPBF16PS: the products of even and of odd halves are added up apart. Denormal values are 0. Products are rounded
    /// before they are added, which the instruction does not do; a fused operation is slow where it is a library call.
    fn multiply(sums: &mut Tile, a: &Tile, b: &Tile) {
        let half = |word: u32, odd: bool| {
            let value = f32::from_bits(if odd { word & 0xffff_0000 } else { word << 16 });
            if value.is_subnormal() { 0.0 } else { value }
        };
        let mut parts = [[[0.0_f32; WORDS]; ROWS]; 2];
        for (parts, odd) in parts.iter_mut().zip([false, true]) {
            let b = b.map(|ranks| ranks.map(|word| half(word, odd)));
            for (parts, a) in parts.iter_mut().zip(a) {
                for (word, b) in a.iter().zip(&b) {
                    let a = half(*word, odd);
                    for (part, b) in parts.iter_mut().zip(b) {
                        *part += a * b;
                    }
                }
            }
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            for (column, sum) in sums.iter_mut().enumerate() {
                let added = parts[0][row][column] + parts[1][row][column];
                *sum = (f32::from_bits(*sum) + added).to_bits();
            }
        }
    }
}

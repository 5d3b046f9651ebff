//! Tests every kernel, on every instruction set of this machine, against its definition in double
//! precision.
//!
//! Memory that a kernel must not read or write holds [`operand::NOTHING`]: the lanes beyond the
//! last channel, and the rows before and after the operand's own. The allocation ends where the
//! operand ends, so that builds with checks detect accesses beyond it.
//!
//! For activations in bf16, the references use values rounded to bf16. Kernels may round once more
//! when they store.

mod conv;
mod conv_images;
mod depthwise;
mod differences;
mod drop_path;
mod elementwise;
mod gather;
mod inference;
mod operand;
mod pack;
mod pooled;
mod pooling;
mod product;
mod ranks;
mod real;
mod stem;
#[path = "../../../tests/common/tiles.rs"]
mod tiles;
mod weight_gradient;

use std::io::Write;
use std::sync::Once;

use proptest::prelude::ProptestConfig;

use crate::isa::Isa;
use crate::spec::Activation;

/// The activations of maps.
const ACTIVATIONS: [Activation; 5] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::Hardswish,
    Activation::Silu,
];

/// The instruction sets with activations in bf16.
const BF16: [&str; 3] = ["amx_bf16", "avx512_bf16", "portable_tiles"];

/// The instruction sets to test. Miri, an interpreter, runs the portable kernels only. A processor
/// without bf16 is reported, but is not a failure: the scalar twin of AMX runs everywhere.
fn isas() -> Vec<Isa> {
    static NOTE: Once = Once::new();
    let mut isas = Isa::available();
    isas.push(Isa::portable_tiles());
    if cfg!(miri) {
        isas.retain(|isa| isa.to_string().starts_with("portable"));
        return isas;
    }
    let best = isas[0];
    if let Err(error) = best.with_bf16() {
        // One write, and no print macro: the test harness would capture its output.
        let note = format!("kernels not tested in bf16: {error}\n");
        NOTE.call_once(|| drop(std::io::stderr().write_all(note.as_bytes())));
    }
    isas.splice(0..0, tiles::with_amx(best));
    isas
}

/// The memory layouts to test for operands that may be f32 although other activations are bf16, for
/// a kernel of `isa`.
fn layouts(isa: Isa) -> Vec<Isa> {
    let mut layouts = vec![isa, isa.with_f32()];
    layouts.dedup();
    layouts
}

/// Step width in a sweep over a kernel's options. Miri runs only a few of the cases, so that it
/// takes minutes.
const STEP: usize = if cfg!(miri) { 41 } else { 1 };

/// All combinations of the sizes. Under Miri only the small ones.
fn grid(a: &[usize], b: &[usize], c: &[usize]) -> impl Iterator<Item = [usize; 3]> {
    let pairs = a.iter().flat_map(|a| b.iter().map(|b| (*a, *b)));
    let all = pairs.flat_map(|(a, b)| c.iter().map(move |c| [a, b, *c]));
    let largest = if cfg!(miri) { 17 } else { usize::MAX };
    all.filter(move |sizes| sizes.iter().all(|size| *size <= largest))
        .step_by(STEP)
}

/// Numbers of rows of the matrices.
const ROWS: [usize; 9] = [1, 2, 3, 7, 13, 14, 15, 29, 97];
/// Numbers of channels.
const CHANNELS: [usize; 10] = [1, 3, 8, 10, 16, 17, 24, 40, 72, 200];

/// Number of cases of a property test.
fn properties(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

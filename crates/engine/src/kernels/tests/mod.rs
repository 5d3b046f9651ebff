//! Every kernel, on every instruction set of this machine, against its definition in
//! double precision.
//!
//! Wherever a kernel has no business to read or write lies [`operand::NOTHING`]: the
//! lanes behind the last channel, the rows around its own. Memory ends where
//! operands do, so that checked builds see what reaches beyond.
//!
//! With activations in bf16 the references are given numbers that bf16 has, and kernels may
//! round once more: what they store.

mod depthwise;
mod differences;
mod elementwise;
mod inference;
mod operand;
mod pack;
mod pooled;
mod product;
mod ranks;
mod real;
mod stem;
mod weight_gradient;

use std::io::Write;
use std::sync::Once;

use proptest::prelude::ProptestConfig;

use crate::isa::Isa;
use crate::spec::Activation;

const ACTIVATIONS: [Activation; 4] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::Hardswish,
];

/// What to run on: under Miri, which interprets, the portable kernels only. A processor
/// without bf16 is no failure, but said.
fn isas() -> Vec<Isa> {
    static NOTE: Once = Once::new();
    let mut isas = Isa::available();
    if cfg!(miri) {
        isas.retain(|isa| isa.to_string() == "portable");
        return isas;
    }
    match isas[0].with_bf16() {
        Ok(bf16) => isas.insert(0, bf16),
        Err(error) => NOTE.call_once(|| {
            // Not by a macro, whose output the test harness keeps to itself; in one piece.
            let note = format!("kernels not tested in bf16: {error}\n");
            let _ = std::io::stderr().write_all(note.as_bytes());
        }),
    }
    isas
}

/// Those whose memory a kernel of `isa` takes where it lets pixels be f32 though other
/// activations are not.
fn layouts(isa: Isa) -> Vec<Isa> {
    let mut layouts = vec![isa, isa.with_f32()];
    layouts.dedup();
    layouts
}

/// Of a sweep that calls a kernel in ever other ways, every case is tried; under Miri
/// so few that it takes minutes.
const STEP: usize = if cfg!(miri) { 41 } else { 1 };

/// All combinations of sizes, under Miri of the small ones, for a sweep.
fn grid(a: &[usize], b: &[usize], c: &[usize]) -> impl Iterator<Item = [usize; 3]> {
    let pairs = a.iter().flat_map(|a| b.iter().map(|b| (*a, *b)));
    let all = pairs.flat_map(|(a, b)| c.iter().map(move |c| [a, b, *c]));
    let largest = if cfg!(miri) { 17 } else { usize::MAX };
    all.filter(move |sizes| sizes.iter().all(|size| *size <= largest))
        .step_by(STEP)
}

/// What a matrix may have of rows.
const ROWS: [usize; 9] = [1, 2, 3, 7, 13, 14, 15, 29, 97];
/// And of channels.
const CHANNELS: [usize; 10] = [1, 3, 8, 10, 16, 17, 24, 40, 72, 200];

/// How often to try a property.
fn properties(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

//! Every kernel, on every instruction set of this machine, against its definition in
//! double precision.
//!
//! Wherever a kernel has no business to read or write lies [`operand::NOTHING`]: the
//! lanes behind the last channel, the rows around its own. Memory ends where
//! operands do, so that checked builds see what reaches beyond.

mod depthwise;
mod differences;
mod elementwise;
mod operand;
mod pack;
mod pooled;
mod product;
mod real;
mod stem;
mod weight_gradient;

use proptest::prelude::ProptestConfig;

use crate::isa::Isa;
use crate::spec::Activation;

const ACTIVATIONS: [Activation; 3] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Hardswish,
];

/// What to run on: under Miri, which interprets, the portable kernels only.
fn isas() -> Vec<Isa> {
    let mut isas = Isa::available();
    if cfg!(miri) {
        isas.retain(|isa| isa.to_string() == "portable");
    }
    isas
}

/// Sizes to try: under Miri the small ones.
fn sizes(all: &[usize]) -> Vec<usize> {
    let largest = if cfg!(miri) { 17 } else { usize::MAX };
    all.iter()
        .copied()
        .filter(|size| *size <= largest)
        .collect()
}

/// How often to try a property. Miri has no folder to remember failures in.
fn properties(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases: if cfg!(miri) { 2 } else { cases },
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

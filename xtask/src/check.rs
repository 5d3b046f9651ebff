//! The checks of continuous integration.

use anyhow::{Result, bail};

use crate::shell::{cargo, root, run};
use crate::{consumers, tidy};

/// Every crate, with every feature that this machine can build. All commands use the same options,
/// so that dependencies are built only once.
pub(crate) const EVERYTHING: [&str; 4] =
    ["--workspace", "--locked", "--features", "zoo,gpu,gpu/shim"];

/// `cargo xtask check`: runs all checks, quick ones first.
pub(crate) fn check() -> Result<()> {
    run(&mut cargo(&["fmt", "--all", "--", "--check"])?)?;
    let violations = tidy::violations(root()?)?;
    for violation in &violations {
        eprintln!("tidy: {violation}");
    }
    if !violations.is_empty() {
        bail!("tidy found {} violations", violations.len());
    }
    // Docs need only the metadata of the dependencies, which clippy has already built.
    let clippy = ["clippy", "--all-targets"];
    run(cargo(&clippy)?
        .args(EVERYTHING)
        .args(["--", "-D", "warnings"]))?;
    let doc = ["doc", "--no-deps"];
    run(cargo(&doc)?
        .args(EVERYTHING)
        .env("RUSTDOCFLAGS", "-D warnings"))
}

/// `cargo xtask test`
pub(crate) fn test() -> Result<()> {
    run(cargo(&["test"])?.args(EVERYTHING))?;
    consumers::run_all()
}

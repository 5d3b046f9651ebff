//! What continuous integration runs.

use anyhow::{Result, bail};

use crate::shell::{cargo, root, run};
use crate::{consumers, tidy};

/// `cargo xtask check`: the quick ones first.
pub(crate) fn check() -> Result<()> {
    run(&mut cargo(&["fmt", "--all", "--", "--check"])?)?;
    let violations = tidy::violations(root()?)?;
    for violation in &violations {
        eprintln!("tidy: {violation}");
    }
    if !violations.is_empty() {
        bail!("tidy found {} violations", violations.len());
    }
    // Docs need only the metadata of the dependencies that clippy has made.
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked"];
    run(cargo(&clippy)?.args(["--", "-D", "warnings"]))?;
    let doc = ["doc", "--workspace", "--no-deps", "--locked"];
    run(cargo(&doc)?.env("RUSTDOCFLAGS", "-D warnings"))
}

/// `cargo xtask test`
pub(crate) fn test() -> Result<()> {
    run(&mut cargo(&["test", "--workspace", "--locked"])?)?;
    consumers::run_all()
}

//! Checks the server's protocols with Triton's client, and its OpenAPI document with schemathesis.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Trained;
use crate::server::Server;
use crate::shell::{root, run};

/// Packages of PyPI.
const PACKAGES: [&str; 4] = [
    "numpy==2.4.6",
    "pillow==13.0.0",
    "schemathesis==4.32.5",
    "tritonclient[http]==2.73.0",
];
/// The name of the model.
const MODEL: &str = "digits";

/// Starts a server with the trained weights, and runs both clients against it.
pub(super) fn check(dir: &Path, classify: &Path, trained: &Trained) -> Result<()> {
    let python = python(dir)?;
    let clients = root()?.join("xtask/clients");
    let mut serve = Command::new(classify);
    let weights = format!("{MODEL}={}", trained.weights.display());
    serve.args(["serve", "--port", "0", "--weights", &weights]);
    let mut server = Server::start(serve)?;
    let address = server.address.to_string();
    run(Command::new(&python)
        .arg("-B")
        .arg(clients.join("protocols.py"))
        .args([&address, MODEL])
        .arg(&trained.weights)
        .arg(trained.data.join("test")))?;
    run(Command::new(python.with_file_name("schemathesis"))
        .arg("--config-file")
        .arg(clients.join("schemathesis.toml"))
        .args(["run", "--checks", "all"])
        .arg(format!("http://{address}/openapi.json"))
        .current_dir(dir)
        .env("SCHEMATHESIS_HOOKS", clients.join("schemathesis_hooks.py"))
        .env("SERVER", &address)
        .env("PYTHONDONTWRITEBYTECODE", "1"))?;
    server.still_runs()?;
    server.stop()
}

/// A Python environment of its own, since the packages of other checks need other versions.
fn python(dir: &Path) -> Result<PathBuf> {
    let venv = dir.join("protocols");
    let python = venv.join("bin/python");
    if !python.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let install = ["-m", "pip", "install", "--quiet"];
    run(Command::new(&python).args(install).args(PACKAGES))?;
    Ok(python)
}

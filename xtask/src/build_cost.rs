//! `cargo xtask build-cost`: measures the cost of a build from scratch.
//!
//! The cost is the CPU time of the whole build, divided by the CPU time of candle-core in the same
//! build. So it is about the same on slow and fast machines.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::programs::executable;
use crate::shell::{cargo, root, run, target_dir};

/// Maximum CPU time of the build, as a multiple of candle-core's. Reports take a quarter of it: mostly resvg with its
/// fonts and text shaping, which draws SVG as PNG. The server takes a twentieth: tokio, hyper, axum and its own code. So do
/// the layers of networks other than MobileNets: their kernels, families and names.
const LIMIT: f64 = 15.1;
/// Maximum size of the binary in bytes.
const LARGEST_BINARY: u64 = 28_300_000;
const YARDSTICK: &str = "candle_core";

/// Environment variable with the path of the log file for CPU times. If it is set, this program
/// acts as a wrapper of rustc.
const LOG: &str = "XTASK_BUILD_COST_LOG";

/// Builds `classify` in a separate, empty folder; the binary stays there. Then runs the first
/// command of the README with that binary, on the sample of MNIST.
pub(crate) fn measure() -> Result<()> {
    let target = target_dir()?.join("cold");
    if target.exists() {
        fs::remove_dir_all(&target)
            .with_context(|| format!("cannot empty {}", target.display()))?;
    }
    fs::create_dir_all(&target)?;
    let log = target.join("seconds.txt");
    let before = children_seconds()?;
    let mut build = cargo(&["build", "--release", "--locked", "--quiet"])?;
    build.env("CARGO_TARGET_DIR", &target).env(LOG, &log);
    run(build.env("RUSTC_WRAPPER", env::current_exe()?))?;
    let total = children_seconds()? - before;
    let text =
        fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let crates = sums(&text)?;
    let binary = target.join("release").join(executable("classify"));
    let bytes = fs::metadata(&binary)?.len();

    let mut dearest: Vec<_> = crates.iter().collect();
    dearest.sort_by(|a, b| b.1.total_cmp(a.1));
    for (name, seconds) in dearest.iter().take(15) {
        println!("{seconds:8.1} s  {name}");
    }
    let yardstick = crates
        .get(YARDSTICK)
        .with_context(|| format!("{YARDSTICK} was not built"))?;
    let ratio = total / yardstick;
    println!(
        "{total:.0} CPU seconds, {} crates, {:.1} MB; {ratio:.1} times candle-core's own {yardstick:.1}",
        crates.len(),
        bytes as f64 / 1e6,
    );
    first_command(&binary)?;
    ensure!(
        ratio <= LIMIT,
        "a build from scratch costs {ratio:.1} times what candle-core alone does, at most {LIMIT} \
         are allowed: see which crates grew, and Cargo.toml's profiles"
    );
    ensure!(
        bytes <= LARGEST_BINARY,
        "{} has {bytes} bytes, at most {LARGEST_BINARY} are allowed",
        binary.display()
    );
    Ok(())
}

/// Runs `classify train` on the sample, with all output in a temporary folder.
fn first_command(binary: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = root()?;
    let setting = |key: &str, path: &Path| format!("{key}={}", path.display());
    let mut train = Command::new(binary);
    train
        .current_dir(folder.path())
        .arg("train")
        .arg("--config");
    train.arg(root.join("configs/smoke.toml"));
    train.args(["--set", &setting("data.idx_dir", &root.join("data/sample"))]);
    train.args([
        "--set",
        &setting("data.root", &folder.path().join("digits")),
    ]);
    run(&mut train)
}

/// Acts as a wrapper of rustc if the variable is set. Runs the compiler that cargo requested, logs
/// its CPU time, and returns its exit code.
pub(crate) fn as_rustc_wrapper() -> Option<Result<ExitCode>> {
    Some(compile(env::var_os(LOG)?))
}

fn compile(log: OsString) -> Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let rustc = arguments.next().context("no compiler to run")?;
    let arguments: Vec<OsString> = arguments.collect();
    let status = Command::new(rustc).args(&arguments).status()?;
    let name = arguments
        .iter()
        .skip_while(|word| *word != "--crate-name")
        .nth(1);
    if let Some(name) = name {
        // A single write of a short line, so that parallel compilers do not mix their lines.
        let line = format!("{} {}\n", children_seconds()?, name.to_string_lossy());
        let mut file = OpenOptions::new().create(true).append(true).open(log)?;
        file.write_all(line.as_bytes())?;
    }
    Ok(ExitCode::from(
        u8::try_from(status.code().unwrap_or(1)).unwrap_or(1),
    ))
}

/// CPU seconds of all finished child processes.
fn children_seconds() -> Result<f64> {
    let path = "/proc/self/stat";
    let stat = fs::read_to_string(path).context("CPU time is read from /proc, which Linux has")?;
    children_of(&stat).with_context(|| format!("{path} does not match proc(5)"))
}

/// The sum of `cutime` and `cstime`, which are in hundredths of a second; see proc(5).
fn children_of(stat: &str) -> Option<f64> {
    // The second field is a program name in parentheses, which may contain any character.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    Some((ticks(16)? + ticks(17)?) / 100.0)
}

/// Adds up the seconds of each crate, from lines of the form `seconds crate`.
fn sums(text: &str) -> Result<BTreeMap<&str, f64>> {
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let (seconds, name) = line.split_once(' ').with_context(|| format!("{line:?}"))?;
        *sums.entry(name).or_insert(0.0) += seconds.parse::<f64>()?;
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 150 50 20 0";
        assert_eq!(children_of(stat), Some(2.0));
        assert_eq!(children_of("12 (a"), None);
        assert_eq!(children_of("12 (a) S 1 2"), None);
    }

    #[test]
    fn a_crate_that_is_built_twice_counts_twice() {
        let sums = sums("1.5 a\n2 b\n0.25 a\n").unwrap();
        assert_eq!(sums, BTreeMap::from([("a", 1.75), ("b", 2.0)]));
        assert!(super::sums("1.5\n").is_err());
    }
}

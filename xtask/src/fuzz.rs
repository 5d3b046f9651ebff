//! Runs the fuzz targets, which are a separate workspace in `fuzz`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

use crate::programs::executable;
use crate::shell::{cargo, command, output, root, run, target_dir};

/// The most resident memory of a target in MB. Its readers use at most 512; the rest is the sanitizer's.
const MEMORY: u64 = 2048;

/// The most seconds for one input. Under the sanitizer, readers take about ten times as long.
const SECONDS: u64 = 30;

#[derive(clap::Args)]
pub(crate) struct Fuzz {
    /// Only this target; otherwise all of them, one after the other
    target: Option<String>,
    /// Minutes for each target
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Instead read 100,000 mutated files of every kind and measure time and memory; needs no nightly compiler
    #[arg(long, conflicts_with_all = ["target", "minutes"])]
    measure: bool,
}

/// `cargo xtask fuzz`
pub(crate) fn fuzz(options: &Fuzz) -> Result<()> {
    if options.measure {
        let measure = ["run", "--release", "--locked", "--bin", "measure"];
        return run(cargo(&measure)?
            .current_dir(root()?.join("fuzz"))
            .env("CARGO_TARGET_DIR", target_folder()?));
    }
    let targets = targets()?;
    let names: Vec<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
    if let Some(name) = &options.target {
        ensure!(
            names.contains(&name.as_str()),
            "no target {name:?}; expected one of {}",
            names.join(", ")
        );
    }
    let host = nightly_host()?;
    for (name, seeds) in &targets {
        if options.target.as_ref().is_none_or(|only| only == name) {
            run_target(name, seeds, &host, options.minutes)?;
        }
    }
    Ok(())
}

/// The folder for everything that is built and found.
fn target_folder() -> Result<PathBuf> {
    Ok(target_dir()?.join("fuzz"))
}

/// The targets, with the folders of their valid files.
fn targets() -> Result<Vec<(String, Vec<PathBuf>)>> {
    let folder = root()?.join("fuzz");
    let manifest: Table = fs::read_to_string(folder.join("Cargo.toml"))?.parse()?;
    let seeds = manifest["package"]["metadata"]["seeds"].as_table();
    let seeds = seeds.context("fuzz/Cargo.toml lists no seeds")?;
    let paths = |value: &Value| {
        let folders = value.as_array().into_iter().flatten();
        folders
            .filter_map(Value::as_str)
            .map(|path| folder.join(path))
            .collect()
    };
    Ok(seeds
        .iter()
        .map(|(name, value)| (name.clone(), paths(value)))
        .collect())
}

/// A command of the nightly toolchain.
fn nightly(arguments: &[&str]) -> Result<Command> {
    command("rustup", &[&["run", "nightly"], arguments].concat())
}

/// The target triple of this machine. Fails if something is not installed.
fn nightly_host() -> Result<String> {
    let version = output(&mut nightly(&["rustc", "-vV"])?).context(
        "fuzzing needs a nightly compiler; install it with `rustup toolchain install nightly`",
    )?;
    output(&mut nightly(&["cargo", "fuzz", "--version"])?)
        .context("fuzzing needs cargo-fuzz; install it with `cargo install cargo-fuzz --locked`")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

/// Builds a target and runs it. Inputs that it finds interesting are kept for the next run.
fn run_target(name: &str, seeds: &[PathBuf], host: &str, minutes: u64) -> Result<()> {
    let folder = target_folder()?;
    let built = folder.to_str().context("the target folder is not UTF-8")?;
    let build = ["cargo", "fuzz", "build", "--fuzz-dir", "fuzz"];
    run(nightly(&build)?.args(["--target", host, "--target-dir", built, name]))?;
    let [corpus, found] = ["corpus", "found"].map(|kind| folder.join(kind).join(name));
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder)?;
    }
    let program = folder.join(host).join("release").join(executable(name));
    let mut target = Command::new(program);
    // Each target would otherwise keep 256 MB of freed memory.
    target.env(
        "ASAN_OPTIONS",
        "detect_odr_violation=0:quarantine_size_mb=16",
    );
    target.arg(corpus).args(seeds).args([
        format!("-max_total_time={}", 60 * minutes),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-timeout={SECONDS}"),
        format!("-artifact_prefix={}/", found.display()),
        "-print_final_stats=1".to_owned(),
    ]);
    run(&mut target).with_context(|| format!("{name}: the input is in {}", found.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_program_and_valid_files() {
        let folder = root().unwrap().join("fuzz");
        let mut programs: Vec<_> = fs::read_dir(folder.join("targets"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        programs.sort();
        let targets = targets().unwrap();
        let names: Vec<_> = targets
            .iter()
            .map(|(name, _)| format!("{name}.rs"))
            .collect();
        assert_eq!(programs, names);
        for seeds in targets.iter().flat_map(|(_, seeds)| seeds) {
            assert!(
                fs::read_dir(seeds).unwrap().count() > 0,
                "{}",
                seeds.display()
            );
        }
    }
}

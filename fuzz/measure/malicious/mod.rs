//! Measures the readers of weights files on malicious files, which take as much time or memory as possible. Each file is
//! read in a separate process with 512 MB of address space.

#[path = "../../../crates/mobilenet/src/weights/torch/tests/assemble.rs"]
#[allow(dead_code, reason = "the unit tests use more of it")]
mod assemble;
mod cases;

use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use super::TIME;

/// Address space of a process that reads a file, in kB.
const MEMORY: u64 = 512 << 10;

/// The argument that makes this program read one file.
pub(super) const CHILD: &str = "--malicious";

/// Measures every file. Returns whether all stayed within the limits.
pub(super) fn measure_all() -> Result<bool, Box<dyn Error>> {
    println!(
        "{:>8} {:>8}  malicious weights file: outcome",
        "seconds", "peak MB"
    );
    let path = std::env::temp_dir().join(format!("measure-{}", std::process::id()));
    let mut good = true;
    for (name, make) in cases::CASES {
        make(&path)?;
        good &= measure(name, &path)?;
        std::fs::remove_file(&path)?;
    }
    Ok(good)
}

/// Reads a file in a new process. Returns whether the process stayed within the limits.
fn measure(name: &str, path: &Path) -> Result<bool, Box<dyn Error>> {
    let limited = format!("ulimit -v {MEMORY}; exec \"$0\" {CHILD} \"$1\"");
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(limited)
        .arg(std::env::current_exe()?)
        .arg(path);
    let output = command.output()?;
    let says = String::from_utf8_lossy(&output.stdout);
    let mut parts = says.trim_end().splitn(3, '\t');
    let (Some(seconds), Some(memory), Some(outcome)) = (parts.next(), parts.next(), parts.next())
    else {
        println!("{:>8} {:>8}  {name}: died: {}", "", "", output.status);
        return Ok(false);
    };
    let seconds: f64 = seconds.parse()?;
    println!("{seconds:>8.3} {memory:>8}  {name}: {outcome}");
    Ok(seconds <= TIME)
}

/// Reads one file, recognises its network, and prints the result.
pub(super) fn child(path: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let start = Instant::now();
    let outcome = fuzz::read_path(path);
    let known = if fuzz::recognise_path(path) {
        " of a known network"
    } else {
        ""
    };
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = peak
        .and_then(|peak| peak.trim().strip_suffix(" kB"))
        .unwrap_or("0")
        .parse()?;
    let outcome = match outcome {
        Ok(count) => format!("{count} tensors{known}"),
        Err(error) => match error {
            fuzz::Error::File { source, .. } => source.to_string(),
            fuzz::Error::Format { reason, .. } => reason,
        },
    };
    println!("{seconds}\t{}\t{outcome}", kilobytes >> 10);
    Ok(ExitCode::SUCCESS)
}

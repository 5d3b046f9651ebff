//! Measures time and memory of the readers on malicious files.
//!
//!     cargo run --release --bin measure            # the built-in files
//!     cargo run --release --bin measure FILE...    # these files
//!
//! Each file is read in a separate process with 512 MB of address space. The exit status is zero if
//! each process ends within a second without being killed.

#[path = "../../src/torch/tests/assemble.rs"]
#[allow(dead_code, reason = "the unit tests use more of it")]
mod assemble;
mod cases;

use std::error::Error;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// Address space of a process that reads a file, in kB.
const MEMORY: u64 = 512 << 10;

/// Time limit in seconds.
const TIME: f64 = 1.0;

/// The argument that makes this program read one file.
const CHILD: &str = "--child";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if let [first, path] = &arguments[..]
        && first.as_os_str() == OsStr::new(CHILD)
    {
        return child(path);
    }
    println!("{:>8} {:>8}  file: outcome", "seconds", "peak MB");
    let mut good = true;
    for path in &arguments {
        good &= measure(&path.display().to_string(), path)?;
    }
    if arguments.is_empty() {
        let path = std::env::temp_dir().join(format!("measure-{}", std::process::id()));
        for (name, make) in cases::CASES {
            make(&path)?;
            good &= measure(name, &path)?;
            std::fs::remove_file(&path)?;
        }
    }
    println!(
        "{}",
        if good {
            "all within bounds"
        } else {
            "NOT within bounds"
        }
    );
    Ok(ExitCode::from(u8::from(!good)))
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

fn child(path: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let start = Instant::now();
    let outcome = mobilenet_fuzz::read_path(path);
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = peak
        .and_then(|peak| peak.trim().strip_suffix(" kB"))
        .unwrap_or("0")
        .parse()?;
    let outcome = match outcome {
        Ok(count) => format!("{count} tensors"),
        Err(error) => match error {
            mobilenet_fuzz::Error::File { source, .. } => source.to_string(),
            mobilenet_fuzz::Error::Format { reason, .. } => reason,
        },
    };
    println!("{seconds}\t{}\t{outcome}", kilobytes >> 10);
    Ok(ExitCode::SUCCESS)
}

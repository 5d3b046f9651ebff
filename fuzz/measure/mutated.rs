//! Measures the readers on mutated files. Each kind of file is read by one process, so that a reader that ends its
//! process is noticed too.

use std::alloc::System;
use std::error::Error;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use cap::Cap;
use cpu_time::ProcessTime;
use fuzz::{Kind, with_checksums};

use super::TIME;
use super::mutate::Mutator;

/// The argument that makes this program read mutated files of one kind.
pub(super) const CHILD: &str = "--mutated";

/// The most memory for reading one file, in bytes.
const MEMORY: usize = 512 << 20;

/// Memory beyond which a process ends, in bytes. It protects the machine.
const END: usize = 4 << 30;

/// Seconds after which a process ends.
const HANGS: u64 = 30;

/// A file that exceeds the time limit is read up to this number of times, since other processes slow it down a little.
const TRIES: usize = 5;

#[global_allocator]
static MEMORY_IN_USE: Cap<System> = Cap::new(System, END);

/// Measures `count` mutated files of each kind. Returns whether all stayed within the limits.
pub(super) fn measure(kinds: &[&Kind], count: u64) -> Result<bool, Box<dyn Error>> {
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>9}  kind of file",
        "files", "accepted", "refused", "CPU ms", "peak MiB"
    );
    let mut good = true;
    for kind in kinds {
        let folder = std::env::temp_dir().join(format!("measure-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let mut child = Command::new(std::env::current_exe()?);
        child.args([CHILD, kind.name, &count.to_string()]);
        let status = child.arg(&folder).status()?;
        if status.success() {
            fs::remove_dir_all(&folder)?;
        } else {
            println!("{}: {status}; {}", kind.name, current(&folder).display());
            good = false;
        }
    }
    Ok(good)
}

/// The file that is being read.
fn current(folder: &Path) -> PathBuf {
    folder.join("file")
}

/// Measures one file, and prints the result.
pub(super) fn measure_file(kind: &Kind, path: &Path) -> Result<bool, Box<dyn Error>> {
    let mut worst = Worst::default();
    let problem = worst.read(kind, &fs::read(path)?);
    worst.print(kind, 1);
    if let Some(problem) = &problem {
        println!("{}: {problem}", path.display());
    }
    Ok(problem.is_none())
}

/// Reads `count` mutated files and prints the result. The current file is kept in `folder`; the process ends at the
/// first that exceeds a limit.
pub(super) fn child(kind: &Kind, count: u64, folder: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let mut mutator = Mutator::new(kind.seeds()?);
    let mut worst = Worst::default();
    let mut file = Vec::new();
    end_if_it_hangs();
    for index in 0..count {
        mutator.next(index, &mut file);
        // Half of the files keep wrong checksums.
        if index % 2 == 0 {
            file = with_checksums(&file).unwrap_or(file);
        }
        fs::write(current(folder), &file)?;
        NOW.store(index + 1, Ordering::Relaxed);
        if let Some(problem) = worst.read(kind, &file) {
            println!("{}: file {index}: {problem}", kind.name);
            return Ok(ExitCode::FAILURE);
        }
    }
    worst.print(kind, count);
    Ok(ExitCode::SUCCESS)
}

/// The number of the current file.
static NOW: AtomicU64 = AtomicU64::new(0);

fn end_if_it_hangs() {
    thread::spawn(|| {
        loop {
            let before = NOW.load(Ordering::Relaxed);
            thread::sleep(Duration::from_secs(HANGS));
            if before == NOW.load(Ordering::Relaxed) {
                println!("file {before} takes more than {HANGS} seconds");
                std::process::exit(2);
            }
        }
    });
}

/// The largest figures so far. Unlike wall time, processor time depends little on other processes.
#[derive(Default)]
struct Worst {
    accepted: u64,
    seconds: f64,
    bytes: usize,
}

impl Worst {
    /// Reads a file with every reader. Returns the problem if one exceeds a limit.
    fn read(&mut self, kind: &Kind, file: &[u8]) -> Option<String> {
        let mut is_accepted = false;
        for read in kind.reads {
            let before = MEMORY_IN_USE.allocated();
            let mut seconds = f64::INFINITY;
            for _ in 0..TRIES {
                let start = ProcessTime::now();
                let Ok(accepted) = catch_unwind(AssertUnwindSafe(|| read(file))) else {
                    return Some("panics".to_owned());
                };
                seconds = seconds.min(start.elapsed().as_secs_f64());
                is_accepted |= accepted;
                if seconds <= TIME {
                    break;
                }
            }
            // The peak of the process never decreases, so it is this file's only if it is the largest one.
            let bytes = MEMORY_IN_USE.max_allocated().saturating_sub(before);
            self.seconds = self.seconds.max(seconds);
            self.bytes = self.bytes.max(bytes);
            if seconds > TIME {
                return Some(format!("takes {seconds:.2} s; the most is {TIME} s"));
            }
            if bytes > MEMORY {
                let (mib, most) = (bytes >> 20, MEMORY >> 20);
                return Some(format!("takes {mib} MiB; the most is {most} MiB"));
            }
        }
        self.accepted += u64::from(is_accepted);
        None
    }

    fn print(&self, kind: &Kind, files: u64) {
        println!(
            "{files:>9} {:>9} {:>9} {:>9.1} {:>9.1}  {}",
            self.accepted,
            files - self.accepted,
            self.seconds * 1e3,
            self.bytes as f64 / f64::from(1 << 20),
            kind.name
        );
    }
}

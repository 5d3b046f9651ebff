//! More connections than a server may have.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};

use super::target::{Answers, Target};

pub(super) const NAME: &str = "10,000 idle connections";
pub(super) const FEW_FILES: &str = "400 idle connections, 64 open files";
pub(super) const MANY: usize = 10_000;

const THREADS: usize = 8;

/// Opens connections and sends nothing.
pub(super) fn attack(target: &Target, count: usize) -> Result<Answers> {
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let files = files.and_then(|line| line.split_whitespace().next());
    let files: usize = files
        .context("no limit of open files")?
        .parse()
        .unwrap_or(usize::MAX);
    ensure!(
        files > count + 100,
        "the siege needs more open files: ulimit -n {}",
        count + 1000
    );
    let opened = AtomicUsize::new(0);
    let streams: Vec<_> = std::thread::scope(|scope| {
        let open = || {
            let mut streams = Vec::new();
            while opened.fetch_add(1, Ordering::Relaxed) < count {
                streams.push(target.connect());
            }
            streams
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(open)).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .flatten()
            .collect()
    });
    let mut answers = Answers::default();
    for stream in &streams {
        match stream {
            Ok(_) => answers.count("connected"),
            Err(error) => answers.count(error.kind().to_string()),
        }
    }
    Ok(answers)
}

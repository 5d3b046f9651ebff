//! Measures time and memory of every reader on damaged and malicious files.
//!
//!     cargo run --release --bin measure                # everything
//!     cargo run --release --bin measure KIND [COUNT]   # mutated files of one kind
//!     cargo run --release --bin measure KIND FILE      # one file
//!
//! The exit status is zero if no file makes a reader panic, or exceeds a second or 512 MiB.

mod malicious;
mod mutate;
mod mutated;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use fuzz::{KINDS, Kind};

/// Time limit in seconds, of the processor for mutated files.
const TIME: f64 = 1.0;

/// The number of mutated files of each kind.
const COUNT: u64 = 100_000;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let good = match arguments[..] {
        [malicious::CHILD, path] => return malicious::child(Path::new(path)),
        [mutated::CHILD, name, count, folder] => {
            return mutated::child(kind(name)?, count.parse()?, Path::new(folder));
        }
        [] => {
            let malicious = malicious::measure_all()?;
            mutated::measure(&KINDS.each_ref(), COUNT)? && malicious
        }
        [name] => mutated::measure(&[kind(name)?], COUNT)?,
        [name, last] => match last.parse() {
            Ok(count) => mutated::measure(&[kind(name)?], count)?,
            Err(_) => mutated::measure_file(kind(name)?, Path::new(last))?,
        },
        _ => return Err("expected a kind, and a number of files or one file".into()),
    };
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

fn kind(name: &str) -> Result<&'static Kind, String> {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let found = KINDS.iter().find(|kind| kind.name == name);
    found.ok_or_else(|| format!("no kind {name:?}; expected one of {names:?}"))
}

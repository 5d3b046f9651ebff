//! Fetches a data set by name: `cargo run -p mnist-data --example fetch mnist data/mnist/raw`.

// An example prints its results.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;

use mnist_data::{Progress, Unit};

struct Lines;

impl Progress for Lines {
    fn start(&self, what: &str, total: Option<u64>, _unit: Unit) {
        eprintln!(
            "{what} {}",
            total.map(|total| total.to_string()).unwrap_or_default()
        );
    }
    fn advance(&self, _by: u64) {}
    fn note(&self, message: &str) {
        eprintln!("{message}");
    }
    fn finish(&self) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, dir] = arguments.as_slice() else {
        return Err("usage: fetch NAME DIR".into());
    };
    let report = mnist_data::fetch(name.parse()?, Path::new(dir), &Lines)?;
    Lines.note(&format!("{report:#?}"));
    Ok(())
}

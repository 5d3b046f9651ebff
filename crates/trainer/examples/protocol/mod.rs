//! The protocol of the runners of `cargo xtask bench`.
//!
//! A runner prints `ready`. For each line `run K` on stdin it takes K steps and prints their seconds; `quit` ends it.
//! Any other line is the name of a fact about the runner, which it prints.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, Write};
use std::str::FromStr;
use std::time::Instant;

/// The runner's options, given as `--name value`.
pub(crate) struct Arguments(BTreeMap<String, String>);

impl Arguments {
    /// Parses the command line; only options with these names are allowed.
    pub(crate) fn read(known: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut values = BTreeMap::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            if !known.contains(&name.as_str()) {
                return Err(format!("{name}; expected one of {}", known.join(", ")).into());
            }
            let value = arguments.next();
            let value = value.ok_or_else(|| format!("{name} needs a value"))?;
            values.insert(name, value);
        }
        Ok(Self(values))
    }

    /// The value of an optional argument.
    pub(crate) fn get<T>(&self, name: &str) -> Result<Option<T>, Box<dyn Error>>
    where
        T: FromStr<Err: std::fmt::Display>,
    {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(format!("{name} {value}: {error}").into()),
        }
    }
}

/// Answers commands until `quit`. `steps(count)` takes `count` steps.
pub(crate) fn serve(
    facts: &[(&str, f64)],
    mut steps: impl FnMut(usize) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let fact = facts.iter().find(|(name, _)| *name == line);
        match (line.split_once(' '), fact) {
            (_, Some((_, value))) => writeln!(out, "{value}")?,
            (Some(("run", count)), _) => {
                let count = count.parse()?;
                let started = Instant::now();
                steps(count)?;
                writeln!(out, "{}", started.elapsed().as_secs_f64())?;
            }
            _ if line == "quit" => return Ok(()),
            _ => return Err(format!("{line:?}; expected `run K` or `quit`").into()),
        }
        out.flush()?;
    }
    Ok(())
}

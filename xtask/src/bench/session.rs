//! Measures cases, prints their rows, and keeps them in a file.

use std::path::PathBuf;

use anyhow::Result;

use super::Options;
use super::case::{Case, select};
use super::kind::{Benchmark, Kind};
use super::machine::Machine;
use super::provenance::Run;
use super::record::Record;
use super::report::{Row, Table};

/// The file of results, and the run that adds rows to it.
pub(super) struct Session {
    pub(super) path: PathBuf,
    pub(super) record: Record,
    pub(super) run: Run,
}

impl Session {
    /// Opens the file at this path, or begins one.
    pub(super) fn open(path: PathBuf, machine: Machine, options: &Options) -> Result<Self> {
        Ok(Self {
            record: Record::open(&path, machine)?,
            run: Run::now(options)?,
            path,
        })
    }

    /// Puts the rows of a case in the place of older ones. The file is written at once, so that an
    /// interrupted run keeps them.
    pub(super) fn keep(&mut self, kind: Kind, rows: Vec<Row>, command: &str) -> Result<()> {
        self.record.put(&self.run, kind, rows, command);
        self.record.write(&self.path)
    }
}

/// Measures a case and prints its rows.
pub(super) fn measured(benchmark: &Benchmark, case: &Case, table: &mut Table) -> Result<Vec<Row>> {
    let rows = (benchmark.rows)(case)?;
    for row in &rows {
        println!("{}", table.lines(row));
    }
    Ok(rows)
}

/// Runs one benchmark: the selected cases in order.
pub(super) fn alone(kind: Kind, options: &Options, seconds: u64) -> Result<()> {
    options.validate()?;
    let machine = Machine::detect();
    let name = machine.to_string();
    let mut session = match &options.json {
        Some(path) => Some(Session::open(path.clone(), machine, options)?),
        None => None,
    };
    let mut benchmark = kind.prepare(options, seconds)?;
    let cases = std::mem::take(&mut benchmark.cases);
    let mut table = Table::default();
    for case in select(cases, options.case.as_deref())? {
        let rows = measured(&benchmark, &case, &mut table)?;
        if let Some(session) = &mut session {
            session.keep(kind, rows, &kind.command(options, &case.name, seconds))?;
        }
    }
    println!(
        "medians of {} rounds, {} threads; {name}",
        options.rounds, options.threads
    );
    Ok(())
}

//! The file of results: a machine, the runs on it, and a row for each case.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::bars::bar;
use super::kind::Kind;
use super::machine::Machine;
use super::provenance::Run;
use super::report::Row;

/// The contents of a `--json` file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) machine: Machine,
    pub(super) runs: Vec<Run>,
    pub(super) rows: Vec<Entry>,
}

/// A row, and what is needed to judge and repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The index of its run.
    pub(super) run: usize,
    pub(super) bench: String,
    #[serde(flatten)]
    pub(super) row: Row,
    pub(super) at_least: Option<f64>,
    pub(super) goal: Option<f64>,
    pub(super) command: String,
}

impl Record {
    /// The file at this path, or an empty record if there is none. The file must be of this machine.
    pub(super) fn open(path: &Path, machine: Machine) -> Result<Self> {
        if !path.exists() {
            return Ok(Self {
                machine,
                runs: Vec::new(),
                rows: Vec::new(),
            });
        }
        let found = Self::read(path)?;
        ensure!(
            found.machine.fits(&machine),
            "{} has rows of another machine, {}; this one is {machine}; name another file",
            path.display(),
            found.machine
        );
        Ok(Self { machine, ..found })
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| {
            let path = path.display();
            format!("{path} is not a file of `cargo xtask bench … --json`")
        })
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut record: Self = serde_json::from_str(text)?;
        record.judge();
        for entry in &record.rows {
            let (run, case) = (entry.run, &entry.row.case);
            ensure!(run < record.runs.len(), "{case}: there is no run {run}");
        }
        Ok(record)
    }

    /// Whether the file has rows of this case, by this command, from a run like this one, with all peers that are
    /// installed.
    pub(super) fn has(&self, run: &Run, kind: Kind, case: &str, command: &str) -> bool {
        let rows: Vec<_> = (self.rows.iter())
            .filter(|entry| entry.is(kind, case))
            .collect();
        let failed = |entry: &Entry| {
            let mut absent = entry.row.absent();
            absent.any(|side| run.has_peer_of(side))
        };
        !rows.is_empty()
            && rows.iter().all(|entry| {
                let repeats = self.runs[entry.run].repeats(run);
                repeats && entry.command == command && !failed(entry)
            })
    }

    /// The names of the rows whose cases are not in a list.
    pub(super) fn without_case(&self, known: &[(Kind, String)]) -> Vec<String> {
        let is_known = |entry: &Entry| known.iter().any(|(kind, case)| entry.is(*kind, case));
        let unknown = self.rows.iter().filter(|entry| !is_known(entry));
        unknown
            .map(|entry| format!("{}/{}", entry.bench, entry.row.case))
            .collect()
    }

    /// Whether a row compares several sides.
    pub(super) fn has_ratios(&self) -> bool {
        self.rows.iter().any(|entry| entry.row.figures.len() > 1)
    }

    /// Puts the rows of a case in the place of older ones, or at the end.
    pub(super) fn put(&mut self, run: &Run, kind: Kind, rows: Vec<Row>, command: &str) {
        let Some(case) = rows.first().map(|row| row.case.clone()) else {
            return;
        };
        let known = self.runs.iter().position(|other| other == run);
        let index = known.unwrap_or_else(|| {
            self.runs.push(run.clone());
            self.runs.len() - 1
        });
        let older = self.rows.iter().position(|entry| entry.is(kind, &case));
        self.rows.retain(|entry| !entry.is(kind, &case));
        let at = older.unwrap_or(self.rows.len());
        let entries = rows.into_iter().map(|row| Entry {
            run: index,
            bench: kind.name().to_owned(),
            row,
            at_least: None,
            goal: None,
            command: command.to_owned(),
        });
        self.rows.splice(at..at, entries);
        self.forget_empty_runs();
        self.judge();
    }

    /// Sorts rows by the position of their benchmark and case in a list. Unknown ones come last.
    pub(super) fn sort(&mut self, order: &[(Kind, String)]) {
        self.rows.sort_by_key(|entry| {
            let mut known = order.iter();
            let at = known.position(|(kind, case)| entry.is(*kind, case));
            at.unwrap_or(order.len())
        });
    }

    fn forget_empty_runs(&mut self) {
        let used: Vec<usize> = (0..self.runs.len())
            .filter(|index| self.rows.iter().any(|entry| entry.run == *index))
            .collect();
        self.runs = used.iter().map(|index| self.runs[*index].clone()).collect();
        for entry in &mut self.rows {
            if let Ok(index) = used.binary_search(&entry.run) {
                entry.run = index;
            }
        }
    }

    /// Sets the bars of all rows to today's.
    fn judge(&mut self) {
        let vendor = self.machine.vendor.as_deref();
        for entry in &mut self.rows {
            let found = bar(&entry.bench, &entry.row.case, vendor);
            entry.at_least = found.map(|bar| bar.at_least);
            entry.goal = found.map(|bar| bar.goal);
        }
    }

    /// The text of the file. Each run and each row is a line, so that a new row changes one line.
    pub(super) fn text(&self) -> Result<String> {
        fn lines<T: Serialize>(all: &[T]) -> Result<String> {
            let lines: Vec<_> = all
                .iter()
                .map(serde_json::to_string)
                .collect::<Result<_, _>>()?;
            Ok(lines.join(",\n"))
        }
        Ok(format!(
            "{{\n\"machine\": {},\n\"runs\": [\n{}\n],\n\"rows\": [\n{}\n]\n}}\n",
            serde_json::to_string(&self.machine)?,
            lines(&self.runs)?,
            lines(&self.rows)?
        ))
    }

    /// Writes the file. A killed process leaves the old file or the new one.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let write = || -> Result<()> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let unfinished = path.with_extension("unfinished");
            fs::write(&unfinished, self.text()?)?;
            Ok(fs::rename(&unfinished, path)?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Entry {
    fn is(&self, kind: Kind, case: &str) -> bool {
        self.bench == kind.name() && self.row.case == case
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::case::{Case, Unit, Work};
    use crate::bench::report::Figure;

    fn row(case: &str, value: f64) -> Row {
        let case = Case::new(
            case,
            Unit::ImagesPerSecond,
            Work::new("large", 224, 16),
            |_| Ok(vec![]),
        );
        let figures = vec![
            Figure::of("ours", Some(value)),
            Figure::of("torch", Some(2.0)),
        ];
        Row::new(&case, figures)
    }

    fn run(commit: &str) -> Run {
        Run {
            commit: Some(commit.to_owned()),
            ..Run::default()
        }
    }

    fn cases(record: &Record) -> Vec<(&str, &str, usize)> {
        (record.rows.iter())
            .map(|entry| (entry.bench.as_str(), entry.row.case.as_str(), entry.run))
            .collect()
    }

    #[test]
    fn a_file_keeps_the_rows_of_interrupted_runs_and_knows_what_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/a.json");
        let machine = Machine::default();
        let mut record = Record::open(&path, machine.clone()).unwrap();
        record.put(&run("a"), Kind::Train, vec![row("large-224", 7.0)], "x");
        record.put(&run("a"), Kind::Gemm, vec![row("large-224", 7.0)], "x");
        record.write(&path).unwrap();

        let mut record = Record::open(&path, machine).unwrap();
        assert!(record.has(&run("a"), Kind::Train, "large-224", "x"));
        assert!(!record.has(&run("a"), Kind::Train, "large-224", "x --rounds 1"));
        assert!(!record.has(&run("b"), Kind::Train, "large-224", "x"));
        assert!(!record.has(&run("a"), Kind::Train, "large-32", "x"));
        assert!(!record.has(&run("a"), Kind::Infer, "large-224", "x"));
        record.put(&run("b"), Kind::Train, vec![row("large-32", 1.0)], "x");
        record.put(&run("b"), Kind::Train, vec![row("large-224", 8.0)], "x");
        assert_eq!(
            cases(&record),
            [
                ("train", "large-224", 1),
                ("gemm", "large-224", 0),
                ("train", "large-32", 1)
            ]
        );
        assert_eq!(record.rows[0].row.ratio, Some(4.0));
        assert_eq!(record.rows[0].at_least, Some(2.8));
        // The last row of a run takes the run with it.
        record.put(&run("b"), Kind::Gemm, vec![row("large-224", 1.0)], "x");
        assert_eq!(record.runs, [run("b")]);
        assert!(record.rows.iter().all(|entry| entry.run == 0));
        record.sort(&[
            (Kind::Train, "large-32".to_owned()),
            (Kind::Train, "large-224".to_owned()),
        ]);
        assert_eq!(
            cases(&record),
            [
                ("train", "large-32", 0),
                ("train", "large-224", 0),
                ("gemm", "large-224", 0)
            ]
        );
        assert_eq!(Record::parse(&record.text().unwrap()).unwrap(), record);
    }

    #[test]
    fn a_row_whose_peer_failed_is_measured_again() {
        let with_torch = |version: Option<&str>| Run {
            peers: BTreeMap::from([("torch".to_owned(), version.map(ToOwned::to_owned))]),
            ..run("a")
        };
        for (version, side, is_kept) in [
            (Some("2.15"), "torch_compile", false),
            (None, "torch_compile", true),
            (Some("2.15"), "ours_bf16_amx", true),
        ] {
            let run = with_torch(version);
            let mut record = Record::open(Path::new("/no/file"), Machine::default()).unwrap();
            let mut failed = row("large-224", 7.0);
            failed.figures.push(Figure::of(side, None));
            record.put(&run, Kind::Train, vec![failed], "x");
            assert_eq!(record.has(&run, Kind::Train, "large-224", "x"), is_kept);
        }
    }

    #[test]
    fn rows_of_removed_cases_are_named() {
        let mut record = Record::open(Path::new("/no/file"), Machine::default()).unwrap();
        for case in ["large-224", "large-32"] {
            record.put(&run("a"), Kind::Train, vec![row(case, 7.0)], "x");
        }
        let known = [(Kind::Train, "large-32".to_owned())];
        assert_eq!(record.without_case(&known), ["train/large-224"]);
    }

    #[test]
    fn a_file_of_another_machine_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let machine = |cores| Machine {
            cores: Some(cores),
            ..Machine::default()
        };
        Record::open(&path, machine(2))
            .unwrap()
            .write(&path)
            .unwrap();
        assert!(Record::open(&path, machine(2)).is_ok());
        let error = format!("{:#}", Record::open(&path, machine(4)).unwrap_err());
        assert!(
            error.contains("2 cores") && error.contains("4 cores"),
            "{error}"
        );
        fs::write(&path, "{}").unwrap();
        assert!(Record::open(&path, machine(2)).is_err());
        let lost = r#"{"machine":{"processor":"","caches_kib":{},"flags":[]},"runs":[],"rows":[
            {"run":0,"bench":"train","case":"a","image_size":1,"batch":1,"unit":"s","figures":[],"command":"x"}]}"#;
        let error = format!("{:#}", Record::parse(lost).unwrap_err());
        assert!(error.contains("no run 0"), "{error}");
    }
}

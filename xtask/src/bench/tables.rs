//! The rows of a file of results as Markdown.

use std::path::PathBuf;

use anyhow::Result;

use super::provenance::Run;
use super::record::{Entry, Record};
use super::report::shown;

/// The rows of a file that form one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Figures of sides, and their ratios.
    Figures,
    /// Series, and their exponents.
    Growth,
}

impl Part {
    pub(super) const ALL: [Part; 2] = [Part::Figures, Part::Growth];

    pub(super) fn name(self) -> &'static str {
        match self {
            Part::Figures => "figures",
            Part::Growth => "growth",
        }
    }

    fn has(self, entry: &Entry) -> bool {
        entry.row.exponent.is_some() == (self == Part::Growth)
    }

    fn columns(self) -> &'static [&'static str] {
        match self {
            Part::Figures => &[
                "case", "batch", "figures", "unit", "ratio", "at least", "goal", "command",
            ],
            Part::Growth => &["series", "batch", "figures", "unit", "exponent", "command"],
        }
    }
}

/// `cargo xtask bench report`: prints the tables of files.
pub(super) fn print(files: &[PathBuf]) -> Result<()> {
    for path in files {
        let record = Record::read(path)?;
        for table in Part::ALL.iter().filter_map(|part| table(&record, *part)) {
            println!("{table}");
        }
    }
    Ok(())
}

/// A table of one part of the rows, and where they come from; `None` without such rows.
pub(super) fn table(record: &Record, part: Part) -> Option<String> {
    let entries: Vec<_> = record.rows.iter().filter(|entry| part.has(entry)).collect();
    if entries.is_empty() {
        return None;
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let columns: Vec<_> = part
        .columns()
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    let mut text = line(&columns) + "|" + &"---|".repeat(columns.len()) + "\n";
    for entry in &entries {
        text += &line(&cells(entry, part));
    }
    text += &format!("\n{}\n\n", record.machine);
    for (index, run) in record.runs.iter().enumerate() {
        let count = entries.iter().filter(|entry| entry.run == index).count();
        let rows = if count == 1 { "row" } else { "rows" };
        if count > 0 {
            text += &format!("- {count} {rows}: {}\n", provenance(run));
        }
    }
    Some(text)
}

fn cells(entry: &Entry, part: Part) -> Vec<String> {
    let row = &entry.row;
    let two = |value: f64| format!("{value:.2}");
    let figures: Vec<_> = (row.figures.iter())
        .map(|figure| match figure.value {
            Some(_) => format!("{} {}", figure.side, shown(figure.value)),
            None => format!("{} not run", figure.side),
        })
        .collect();
    let mut cells = vec![
        row.case.clone(),
        row.work.batch.to_string(),
        figures.join(", "),
        row.unit.name().to_owned(),
        row.exponent.or(row.ratio).map_or("-".to_owned(), two),
    ];
    if part == Part::Figures {
        // A ratio is compared with both.
        let bar = |value: Option<f64>| value.map_or("-".to_owned(), |value| value.to_string());
        cells.extend([bar(entry.at_least), bar(entry.goal)]);
    }
    let (bench, case) = (&entry.bench, &row.case);
    cells.push(format!("`cargo xtask bench {bench} --case {case}`"));
    cells
}

fn provenance(run: &Run) -> String {
    let mut parts = vec![match &run.commit {
        Some(commit) => format!("commit {commit}"),
        None => "commit not recorded".to_owned(),
    }];
    parts.extend(run.date.clone());
    parts.extend(run.threads.map(|threads| format!("{threads} threads")));
    parts.extend(
        run.rounds
            .map(|rounds| format!("medians of {rounds} rounds")),
    );
    let peers = run.peers.iter();
    parts.extend(peers.filter_map(|(name, version)| Some(format!("{name} {}", version.as_ref()?))));
    let missing = run.missing();
    if !missing.is_empty() {
        parts.push(format!("not installed: {}", missing.join(" ")));
    }
    parts.join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::bench) const FILE: &str = r#"{
"machine": {"processor":"A chip","design":null,"vendor":"AuthenticAMD","family":25,"model":17,"cores":2,"caches_kib":{"L2":1024},"flags":["avx2"],"memory_mib":null,"os":null},
"runs": [
{"commit":null,"date":null,"threads":2,"rounds":null,"peers":{"torch":"2.15"}},
{"commit":"abc","date":"2026-01-02","threads":2,"rounds":9,"peers":{"openvino":null,"torch":"2.16"}}
],
"rows": [
{"run":0,"bench":"train","case":"large-224","model":"large","image_size":224,"batch":16,"precision":"f32","unit":"images/s","figures":[{"side":"ours","value":96.83},{"side":"torch","value":36.34},{"side":"torch_compile","value":null}],"ratio":2.66,"at_least":2.8,"goal":3.5,"command":"cargo xtask bench train --case large-224"},
{"run":1,"bench":"startup","case":"small-32","model":"small","image_size":32,"batch":1,"precision":"f32","unit":"s","figures":[{"side":"ours","value":0.019}],"ratio":null,"at_least":null,"goal":null,"command":"cargo xtask bench startup --case small-32 --threads 2 --rounds 9"},
{"run":1,"bench":"scaling","case":"threads","model":"large","image_size":224,"batch":16,"precision":"f32","unit":"ms","figures":[{"side":"1","value":387.5},{"side":"2","value":241.6}],"ratio":null,"exponent":-0.68,"at_least":null,"goal":null,"command":"cargo xtask bench scaling --case threads --threads 2 --rounds 9"}
]
}
"#;

    #[test]
    fn a_file_becomes_a_table_of_figures_and_one_of_growth() {
        let record = Record::parse(FILE).unwrap();
        assert_eq!(record.text().unwrap(), FILE);
        let figures = "\
| case | batch | figures | unit | ratio | at least | goal | command |
|---|---|---|---|---|---|---|---|
| large-224 | 16 | ours 96.83, torch 36.34, torch_compile not run | images/s | 2.66 | 2.8 | 3.5 | `cargo xtask bench train --case large-224` |
| small-32 | 1 | ours 0.019 | s | - | - | - | `cargo xtask bench startup --case small-32` |

A chip, family 25, model 17, 2 cores, L2 1024 KiB, avx2

- 1 row: commit not recorded, 2 threads, torch 2.15
- 1 row: commit abc, 2026-01-02, 2 threads, medians of 9 rounds, torch 2.16, not installed: openvino
";
        assert_eq!(table(&record, Part::Figures).unwrap(), figures);
        let growth = "\
| series | batch | figures | unit | exponent | command |
|---|---|---|---|---|---|
| threads | 16 | 1 387.5, 2 241.6 | ms | -0.68 | `cargo xtask bench scaling --case threads` |

A chip, family 25, model 17, 2 cores, L2 1024 KiB, avx2

- 1 row: commit abc, 2026-01-02, 2 threads, medians of 9 rounds, torch 2.16, not installed: openvino
";
        assert_eq!(table(&record, Part::Growth).unwrap(), growth);
        let empty = Record {
            rows: Vec::new(),
            ..record
        };
        assert_eq!(table(&empty, Part::Figures), None);
    }
}

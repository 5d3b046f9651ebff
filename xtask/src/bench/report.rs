//! Prints results on the terminal, as JSON, and as rows of a Markdown table.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::case::{Case, Unit, Work};

/// The median result of one side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) side: String,
    /// `None` if the side did not run.
    pub(super) value: Option<f64>,
    pub(super) peak_megabytes: Option<f64>,
}

impl Figure {
    pub(super) fn of(side: &str, value: Option<f64>) -> Self {
        Self {
            side: side.to_owned(),
            value,
            peak_megabytes: None,
        }
    }
}

/// The results of one case. In JSON, each result is an entry with the name of its side. It is
/// `null` if the side did not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub(super) struct Row {
    pub(super) case: String,
    pub(super) work: Work,
    pub(super) unit: Unit,
    /// The results, in the order in which the sides run.
    pub(super) figures: Vec<Figure>,
    /// The first result divided by the best of the other results.
    pub(super) ratio: Option<f64>,
    /// The exponent of `figure ~ x^exponent`, in which `x` is the number in the name of each side.
    pub(super) exponent: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    case: String,
    #[serde(flatten)]
    work: Work,
    unit: Unit,
    ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    exponent: Option<f64>,
    sides: Vec<String>,
    peak_megabytes: Map<String, Value>,
    #[serde(flatten)]
    figures: Map<String, Value>,
}

impl Row {
    pub(super) fn new(case: &Case, figures: Vec<Figure>) -> Self {
        Self::compared(case, case.unit, figures)
    }

    /// Results of a case in this unit, with the ratio of the first to the best of the others.
    pub(super) fn compared(case: &Case, unit: Unit, figures: Vec<Figure>) -> Self {
        Self {
            ratio: ratio(unit, &figures),
            ..Self::plain(case, unit, figures)
        }
    }

    /// Results without a ratio.
    pub(super) fn plain(case: &Case, unit: Unit, figures: Vec<Figure>) -> Self {
        Self {
            case: case.name.clone(),
            work: case.work.clone(),
            unit,
            figures,
            ratio: None,
            exponent: None,
        }
    }
}

fn ratio(unit: Unit, figures: &[Figure]) -> Option<f64> {
    let (first, others) = figures.split_first()?;
    let others = others.iter().filter_map(|figure| figure.value);
    let best = match unit.more_is_better() {
        true => others.reduce(f64::max),
        false => others.reduce(f64::min),
    };
    Some(first.value? / best?)
}

impl From<Row> for Written {
    fn from(row: Row) -> Self {
        let by_side = |value: fn(&Figure) -> Option<f64>| -> Map<String, Value> {
            let entry = |figure: &Figure| (figure.side.clone(), value(figure).into());
            row.figures.iter().map(entry).collect()
        };
        Self {
            ratio: row.ratio,
            exponent: row.exponent,
            sides: row.figures.iter().map(|f| f.side.clone()).collect(),
            peak_megabytes: by_side(|figure| figure.peak_megabytes),
            figures: by_side(|figure| figure.value),
            case: row.case,
            work: row.work,
            unit: row.unit,
        }
    }
}

impl From<Written> for Row {
    fn from(written: Written) -> Self {
        let of = |values: &Map<String, Value>, side: &str| values.get(side)?.as_f64();
        let figure = |side: &String| Figure {
            side: side.clone(),
            value: of(&written.figures, side),
            peak_megabytes: of(&written.peak_megabytes, side),
        };
        Self {
            figures: written.sides.iter().map(figure).collect(),
            case: written.case,
            work: written.work,
            unit: written.unit,
            ratio: written.ratio,
            exponent: written.exponent,
        }
    }
}

/// The contents of a `--json` file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) bench: String,
    /// The benchmark's command, without machine-specific options.
    pub(super) command: String,
    pub(super) machine: String,
    pub(super) threads: usize,
    pub(super) rounds: usize,
    pub(super) results: Vec<Row>,
}

impl Report {
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Name of the processor, and number of available cores.
pub(super) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim()))
        .unwrap_or(std::env::consts::ARCH);
    format!("{name}, {cores} cores")
}

/// Prints rows on a terminal, with a new header whenever the sides change.
#[derive(Default)]
pub(super) struct Table {
    header: Vec<String>,
}

impl Table {
    pub(super) fn lines(&mut self, row: &Row) -> String {
        let mut names = vec!["case".to_owned(), "batch".to_owned()];
        names.extend(row.figures.iter().map(|figure| figure.side.clone()));
        names.push(row.unit.name().to_owned());
        let (last, value) = match row.exponent {
            Some(exponent) => ("exponent", Some(exponent)),
            None => ("ratio", row.ratio),
        };
        names.push(last.to_owned());
        let mut cells = vec![row.case.clone(), row.work.batch.to_string()];
        cells.extend(row.figures.iter().map(|figure| shown(figure.value)));
        cells.push(String::new());
        cells.push(value.map_or("-".to_owned(), |value| format!("{value:.2}")));
        let line = |cells: &[String]| -> String {
            let mut text = format!("{:<24}", cells[0]);
            for (cell, name) in cells.iter().zip(&names).skip(1) {
                text += &format!("  {cell:>width$}", width = name.chars().count().max(8));
            }
            text.trim_end().to_owned()
        };
        let body = line(&cells);
        if self.header == names {
            return body;
        }
        let head = line(&names);
        self.header = names;
        head + "\n" + &body
    }
}

/// Formats a number with four digits, or as a whole number if that has more digits.
fn shown(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let digits = match value.abs() {
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// `cargo xtask bench report`: prints the rows of `--json` files as Markdown.
pub(super) fn print(files: &[PathBuf]) -> Result<()> {
    for path in files {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let report: Report = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is not a file of `cargo xtask bench … --json`",
                path.display()
            )
        })?;
        println!("{}", markdown(&report));
    }
    Ok(())
}

fn markdown(report: &Report) -> String {
    let exponents = report.results.iter().any(|row| row.exponent.is_some());
    let last = if exponents { "exponent" } else { "ratio" };
    let mut text = format!(
        "| case | batch | figures | unit | {last} | command |\n|---|---|---|---|---|---|\n"
    );
    for row in &report.results {
        let figure = |figure: &Figure| format!("{} {}", figure.side, shown(figure.value));
        let figures: Vec<_> = row.figures.iter().map(figure).collect();
        let value = row.exponent.or(row.ratio);
        text += &format!(
            "| {} | {} | {} | {} | {} | `cargo xtask bench {} --case {}` |\n",
            row.case,
            row.work.batch,
            figures.join(", "),
            row.unit.name(),
            value.map_or("-".to_owned(), |value| format!("{value:.2}")),
            report.bench,
            row.case,
        );
    }
    text + &format!(
        "\n{}; {} threads, medians of {} rounds: `{}`\n",
        report.machine, report.threads, report.rounds, report.command
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[(&str, Option<f64>)]) -> Row {
        let case = Case::new(
            "small-32",
            Unit::ImagesPerSecond,
            Work::new("small", 32, 128),
            |_| Ok(vec![]),
        );
        let figure = |&(side, value): &(&str, Option<f64>)| Figure {
            side: side.to_owned(),
            value,
            peak_megabytes: Some(12.5),
        };
        Row::new(&case, values.iter().map(figure).collect())
    }

    fn report(results: Vec<Row>) -> Report {
        Report {
            bench: "train".to_owned(),
            command: "cargo xtask bench train".to_owned(),
            machine: "a processor, 2 cores".to_owned(),
            threads: 2,
            rounds: 9,
            results,
        }
    }

    #[test]
    fn json_names_figures_like_their_sides_and_is_read_again() {
        let row = row(&[("torch", Some(2048.0)), ("ours", Some(512.0)), ("x", None)]);
        let expected = serde_json::json!({
            "case": "small-32", "model": "small", "image_size": 32, "batch": 128,
            "precision": "f32", "unit": "images/s", "ratio": 4.0,
            "sides": ["torch", "ours", "x"], "ours": 512.0, "torch": 2048.0, "x": null,
            "peak_megabytes": {"torch": 12.5, "ours": 12.5, "x": 12.5},
        });
        assert_eq!(serde_json::to_value(&row).unwrap(), expected);
        let report = report(vec![row]);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn a_ratio_needs_two_figures() {
        assert_eq!(row(&[("ours", Some(1.0))]).ratio, None);
        assert_eq!(row(&[("ours", Some(1.0)), ("torch", None)]).ratio, None);
        assert_eq!(row(&[("ours", None), ("torch", Some(1.0))]).ratio, None);
        assert_eq!(row(&[]).ratio, None);
    }

    #[test]
    fn a_header_comes_where_the_sides_change() {
        let mut table = Table::default();
        let both = row(&[("ours", Some(512.25)), ("torch_compile", Some(2048.0))]);
        let text = table.lines(&both);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            [
                "case",
                "batch",
                "ours",
                "torch_compile",
                "images/s",
                "ratio"
            ]
        );
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            ["small-32", "128", "512.2", "2048", "0.25"]
        );
        assert_eq!(lines[0].len(), lines[1].len(), "{text}");
        assert_eq!(table.lines(&both).lines().count(), 1);
        let alone = table.lines(&row(&[("ours", None)]));
        assert_eq!(alone.lines().count(), 2);
        assert!(alone.ends_with('-'), "{alone}");
    }

    #[test]
    fn markdown_has_a_command_for_each_row() {
        let mut grown = row(&[("ours", Some(0.512)), ("torch", None)]);
        let text = markdown(&report(vec![grown.clone()]));
        assert!(text.contains(
            "| small-32 | 128 | ours 0.512, torch - | images/s | - | `cargo xtask bench train --case small-32` |"
        ), "{text}");
        assert!(
            text.contains("a processor, 2 cores; 2 threads, medians of 9 rounds"),
            "{text}"
        );
        grown.exponent = Some(0.957);
        let text = markdown(&report(vec![grown]));
        assert!(
            text.contains("| unit | exponent |") && text.contains("| 0.96 |"),
            "{text}"
        );
    }

    #[test]
    fn the_machine_has_a_name_and_cores() {
        let (name, cores) = machine()
            .rsplit_once(", ")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        assert!(!name.is_empty() && cores.ends_with("cores"));
    }
}

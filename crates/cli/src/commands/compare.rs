use std::io::{self, Write};

use report::{Comparison, Paired, RunSummary};

use crate::args::CompareArgs;
use crate::drawing;
use crate::escape::escaped;
use crate::terminal::Terminal;

/// What stands for a missing figure.
const NONE: &str = "–";
/// The longest value of a setting, in characters.
const LONGEST: usize = 40;

pub(crate) fn compare(args: &CompareArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let comparison = Comparison::of(&args.runs)?;
    if let Some(file) = &args.curves {
        drawing::write(file, &comparison.curves())?;
    }
    let mut out = super::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &comparison).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        tables(&mut out, &comparison)?;
    }
    out.flush()?;
    if let Some(file) = &args.curves {
        terminal.line(&format!("curves are in {}", file.path.display()));
    }
    Ok(())
}

fn tables(out: &mut impl Write, comparison: &Comparison) -> io::Result<()> {
    let runs = &comparison.runs;
    let mut rows = vec![row("", runs, |run| Some(run.name.clone()))];
    rows.extend(figures(runs));
    rows.push(Vec::new());
    match &comparison.settings[..] {
        [] => rows.push(vec!["all settings are equal".to_owned()]),
        settings => {
            rows.push(vec!["settings that differ".to_owned()]);
            rows.extend(settings.iter().map(|setting| {
                let values = setting.values.iter();
                let values =
                    values.map(|value| value.as_deref().map_or(NONE.to_owned(), shortened));
                [setting.key.clone()].into_iter().chain(values).collect()
            }));
        }
    }
    columns(out, rows)?;
    for run in runs {
        for missing in &run.missing {
            writeln!(out, "{}: {}", escaped(&run.name), escaped(missing))?;
        }
    }
    writeln!(out)?;
    comparison
        .tests
        .iter()
        .try_for_each(|test| tested(out, test))
}

fn figures(runs: &[RunSummary]) -> Vec<Vec<String>> {
    let four = |value: f64| format!("{value:.4}");
    vec![
        row("model", runs, |run| Some(run.model.clone())),
        row("parameters", runs, |run| Some(run.parameters?.to_string())),
        row("epochs", runs, |run| Some(run.epochs.to_string())),
        row("best epoch", runs, |run| Some(run.best_epoch?.to_string())),
        row("validation accuracy", runs, |run| {
            Some(four(run.validation?.accuracy))
        }),
        row("validation macro F1", runs, |run| {
            Some(four(run.validation?.macro_f1))
        }),
        row("validation loss", runs, |run| {
            Some(four(run.validation?.loss))
        }),
        row("test images", runs, |run| {
            Some(run.test?.images.to_string())
        }),
        row("test accuracy", runs, |run| Some(four(run.test?.accuracy))),
        row("  95 % interval", runs, |run| {
            let interval = run.test?.accuracy_interval;
            Some(format!("{:.4}–{:.4}", interval.low, interval.high))
        }),
        row("test macro F1", runs, |run| Some(four(run.test?.macro_f1))),
        row("test loss", runs, |run| Some(four(run.test?.loss))),
        row("seconds per epoch", runs, |run| {
            Some(format!("{:.1}", run.seconds_per_epoch?))
        }),
        row("images per second", runs, |run| {
            Some(format!("{:.0}", run.images_per_second?))
        }),
    ]
}

fn row(
    name: &str,
    runs: &[RunSummary],
    value: impl Fn(&RunSummary) -> Option<String>,
) -> Vec<String> {
    let values = runs
        .iter()
        .map(|run| value(run).unwrap_or_else(|| NONE.to_owned()));
    [name.to_owned()].into_iter().chain(values).collect()
}

/// Writes rows with aligned columns. A row of one cell does not widen its column.
fn columns(out: &mut impl Write, rows: Vec<Vec<String>>) -> io::Result<()> {
    let safe = |row: Vec<String>| row.iter().map(|cell| escaped(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.into_iter().map(safe).collect();
    let mut widths = Vec::new();
    for row in rows.iter().filter(|row| row.len() > 1) {
        widths.resize(row.len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(LONGEST) {
        None => value.to_owned(),
        Some((end, _)) => format!("{}…", &value[..end]),
    }
}

fn tested(out: &mut impl Write, test: &Paired) -> io::Result<()> {
    let [run, against] = [&test.run, &test.against].map(|name| escaped(name));
    match &test.mcnemar {
        None => writeln!(out, "{run} against {against}: not tested")?,
        Some(found) => {
            let kind = match found.is_exact {
                true => "exact",
                false => "χ² with continuity correction",
            };
            let verdict = match found.p_value < 0.05 {
                true => "more than chance explains",
                false => "may be chance",
            };
            writeln!(
                out,
                "{run} against {against}: of {} images, {} only right in {run}, {} only right in {against}; McNemar's \
                 test ({kind}): p = {}; the difference {verdict}",
                test.images,
                found.only_second,
                found.only_first,
                p_value(found.p_value)
            )?;
        }
    }
    for note in &test.notes {
        writeln!(out, "  {}", escaped(note))?;
    }
    Ok(())
}

fn p_value(p: f64) -> String {
    match p < 0.0001 {
        true => format!("{p:.1e}"),
        false => format!("{p:.4}"),
    }
}

//! The curves of several runs in one picture.

use trainer::EpochReport;

use super::plot::{Plot, Series};
use crate::svg::Svg;
use crate::svg::axis::Scale;

/// The curves of a run.
pub(crate) struct Curves<'a> {
    pub(crate) name: &'a str,
    pub(crate) epochs: &'a [EpochReport],
}

/// Validation loss and accuracy of all runs over the epochs, side by side. Of a run with averaged weights, the scores of
/// the average are drawn.
pub(crate) fn of_runs(runs: &[Curves]) -> Svg {
    let of = |report: &EpochReport| report.ema.unwrap_or_else(|| report.scores());
    let plots = [
        plot(runs, "Validation loss", "cross-entropy", &|report| {
            of(report).loss
        }),
        plot(runs, "Validation accuracy", "share of images", &|report| {
            of(report).accuracy
        }),
    ];
    Svg::side_by_side("Curves of the runs", &plots)
}

fn plot(runs: &[Curves], title: &str, unit: &str, value: &dyn Fn(&EpochReport) -> f64) -> Svg {
    let line = |(style, run): (usize, &Curves)| Series {
        name: run.name.to_owned(),
        points: run
            .epochs
            .iter()
            .map(|report| [report.epoch as f64, value(report)])
            .collect(),
        style,
        markers: true,
        is_faint: false,
    };
    let series: Vec<Series> = runs.iter().enumerate().map(line).collect();
    let points = || series.iter().flat_map(|series| &series.points);
    let epochs = points().map(|point| point[0]);
    let (first, last) = epochs.fold((f64::INFINITY, 0.0_f64), |(low, high), epoch| {
        (low.min(epoch), high.max(epoch))
    });
    Plot {
        title,
        description: &in_words(title, &series),
        x: (Scale::epochs(first, last), "epoch"),
        y: (Scale::around(points().map(|point| point[1])), unit),
        mark: None,
        diagonal: false,
        size: [480.0, 320.0],
        series,
    }
    .draw()
}

/// The last value of each run, for readers who cannot see the plot.
fn in_words(title: &str, series: &[Series]) -> String {
    let last = series.iter().filter_map(|series| {
        let [epoch, value] = series.points.last()?;
        Some(format!("{}: {value:.4} after epoch {epoch}", series.name))
    });
    format!(
        "{title} of each run. {}.",
        last.collect::<Vec<_>>().join("; ")
    )
}

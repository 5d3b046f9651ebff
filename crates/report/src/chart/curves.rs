//! Loss, accuracy and learning rate over the epochs.

use trainer::EpochReport;

use super::plot::{Mark, Plot, Series};
use crate::svg::Svg;
use crate::svg::axis::Scale;

/// The three plots of a run, side by side, as one picture.
pub(crate) fn together(epochs: &[EpochReport], best: Option<usize>) -> Svg {
    Svg::side_by_side("Learning curves", &apart(epochs, best))
}

/// The plots of the loss, of the accuracy and of the learning rate.
pub(crate) fn apart(epochs: &[EpochReport], best: Option<usize>) -> Vec<Svg> {
    let line = |name: &str, style, value: &dyn Fn(&EpochReport) -> Option<f64>| Series {
        name: name.to_owned(),
        points: (epochs.iter())
            .filter_map(|report| Some([report.epoch as f64, value(report)?]))
            .collect(),
        style,
        markers: true,
        is_faint: false,
    };
    let mut losses = vec![
        line("training", 0, &|report| Some(report.train_loss)),
        line("validation", 1, &|report| Some(report.val_loss)),
    ];
    let mut accuracies = vec![
        line("training", 0, &|report| Some(report.train_accuracy)),
        line("validation", 1, &|report| Some(report.val_accuracy)),
    ];
    if epochs.iter().any(|report| report.ema.is_some()) {
        losses.push(line("average", 2, &|report| Some(report.ema?.loss)));
        accuracies.push(line("average", 2, &|report| Some(report.ema?.accuracy)));
    }
    let rates = vec![line("at the end of the epoch", 3, &|report| {
        Some(report.learning_rate)
    })];
    let of = |title, unit, series: Vec<Series>| {
        let values = series
            .iter()
            .flat_map(|series| series.points.iter().map(|point| point[1]));
        let description = in_words(title, &series, best);
        Plot {
            title,
            description: &description,
            x: (across(epochs), "epoch"),
            y: (Scale::around(values), unit),
            series,
            mark: best.map(|epoch| Mark {
                x: epoch as f64,
                label: format!("best: {epoch}"),
            }),
            diagonal: false,
            size: [400.0, 280.0],
        }
        .draw()
    };
    vec![
        of("Loss", "cross-entropy", losses),
        of("Accuracy", "share of images", accuracies),
        of("Learning rate", "learning rate", rates),
    ]
}

fn across(epochs: &[EpochReport]) -> Scale {
    let first = epochs.first().map_or(0.0, |report| report.epoch as f64);
    let last = epochs.last().map_or(1.0, |report| report.epoch as f64);
    Scale::epochs(first, last)
}

/// The first and last values, for readers who cannot see the plot.
fn in_words(title: &str, series: &[Series], best: Option<usize>) -> String {
    let mut text = format!("{title} over the epochs.");
    for series in series {
        if let (Some(first), Some(last)) = (series.points.first(), series.points.last()) {
            text += &format!(
                " {}: {} in epoch {}, {} in epoch {}.",
                series.name,
                figures(first[1]),
                first[0],
                figures(last[1]),
                last[0]
            );
        }
    }
    if let Some(best) = best {
        text += &format!(" Epoch {best} is the best.");
    }
    text
}

/// The value with four significant digits.
fn figures(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        small if small < 1e-3 => format!("{value:.3e}"),
        small if small < 1.0 => format!("{value:.4}"),
        _ => format!("{value:.3}"),
    }
}

//! Learning curves, and how the time divides.

use trainer::EpochTimes;

use super::Context;
use super::html::{chart, details, grouped, missing, section as wrapped, table};
use crate::chart::{bars, curves as drawn};

/// `None` for an evaluation without a run.
pub(super) fn curves(context: &Context) -> Option<String> {
    context.material.run.as_ref()?;
    let epochs = &context.material.epochs;
    let body = match epochs.is_empty() {
        true => missing(
            "No epoch was completed, so there are no curves. To go on:",
            context.resume().as_deref(),
        ),
        false => {
            let plots = drawn::apart(epochs, context.material.best_epoch());
            let plots = plots.iter().enumerate();
            let charts: String = plots
                .map(|(index, plot)| chart(plot, &format!("curve{index}"), ""))
                .collect();
            let average = match epochs.iter().any(|report| report.ema.is_some()) {
                true => {
                    "<p class=\"note\">Average: validation with the moving average of the weights.</p>\n"
                }
                false => "",
            };
            format!(
                "<div class=\"charts\">{charts}</div>\n{average}{}",
                numbers(context)
            )
        }
    };
    Some(wrapped(
        "curves",
        "Learning curves",
        "The loss should fall and the accuracy rise. If the training curve goes on improving while validation does not, the \
         network learns its images by heart.",
        &body,
    ))
}

fn numbers(context: &Context) -> String {
    let epochs = &context.material.epochs;
    let with_average = epochs.iter().any(|report| report.ema.is_some());
    let mut head = vec![
        "epoch",
        "training loss",
        "validation loss",
        "training accuracy",
        "validation accuracy",
        "validation macro F1",
        "learning rate",
    ];
    if with_average {
        head.extend(["averaged weights: loss", "averaged weights: accuracy"]);
    }
    let rows = epochs.iter().map(|report| {
        let mut row = vec![report.epoch.to_string()];
        row.extend(
            [
                report.train_loss,
                report.val_loss,
                report.train_accuracy,
                report.val_accuracy,
                report.val_macro_f1,
            ]
            .map(|value| format!("{value:.4}")),
        );
        row.push(format!("{:.2e}", report.learning_rate));
        if with_average {
            let none = String::new;
            row.push(
                report
                    .ema
                    .map_or_else(none, |ema| format!("{:.4}", ema.loss)),
            );
            row.push(
                report
                    .ema
                    .map_or_else(none, |ema| format!("{:.4}", ema.accuracy)),
            );
        }
        row
    });
    details(
        "The curves as a table",
        &table(
            "Measurements of each epoch",
            &head,
            &rows.collect::<Vec<_>>(),
        ),
    )
}

/// `None` without epochs.
pub(super) fn time(context: &Context) -> Option<String> {
    let epochs = &context.material.epochs;
    if epochs.is_empty() {
        return None;
    }
    let mut times = EpochTimes::default();
    epochs.iter().for_each(|report| times += report.times);
    let seconds: f64 = epochs.iter().map(|report| report.seconds).sum();
    let mut speeds: Vec<f64> = epochs
        .iter()
        .map(|report| report.images_per_second)
        .collect();
    speeds.sort_by(f64::total_cmp);
    let median = speeds[speeds.len() / 2];
    let mut body = format!(
        "<p>{} epochs took {}. In training, {} images a second went through the network (median of the epochs).</p>\n",
        epochs.len(),
        duration(seconds),
        grouped(median.round() as u64)
    );
    if let Some(bars) = bars::shares("Parts of the training time", "s", &times.parts()) {
        let rows: Vec<Vec<String>> = times
            .parts()
            .iter()
            .map(|(name, value)| vec![(*name).to_owned(), format!("{value:.1}")])
            .collect();
        body += &chart(&bars, "times", "");
        body += &details(
            "The parts as a table",
            &table("Parts of the training time", &["part", "seconds"], &rows),
        );
    }
    Some(wrapped(
        "time",
        "Time",
        "Where the time went. If \"data\" is large, reading images is slower than the network.",
        &body,
    ))
}

/// Seconds in words.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

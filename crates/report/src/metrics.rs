//! `metrics.csv`: the measurements of each epoch, for a spreadsheet.

use trainer::{EpochReport, EpochTimes};

use crate::Result;

/// The table, one row per epoch. Averaged weights have empty cells if there is no average.
///
/// # Errors
///
/// [`Error::Picture`](crate::Error::Picture), if a row cannot be formatted.
pub(crate) fn table(epochs: &[EpochReport]) -> Result<Vec<u8>> {
    let failed = |error: csv::Error| crate::Error::Picture {
        problem: error.to_string(),
    };
    let mut table = csv::Writer::from_writer(Vec::new());
    let parts = EpochTimes::default()
        .parts()
        .map(|(name, _)| format!("seconds_{name}"));
    let head = [
        "epoch",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "val_macro_f1",
        "ema_val_loss",
        "ema_val_accuracy",
        "ema_val_macro_f1",
        "learning_rate",
        "images_per_second",
        "seconds",
    ];
    table
        .write_record(head.into_iter().chain(parts.iter().map(|part| &part[..])))
        .map_err(failed)?;
    for report in epochs {
        let ema = |value: fn(&trainer::ValidationScores) -> f64| {
            report
                .ema
                .as_ref()
                .map_or(String::new(), |ema| value(ema).to_string())
        };
        let mut row = vec![report.epoch.to_string()];
        row.extend(
            [
                report.train_loss,
                report.train_accuracy,
                report.val_loss,
                report.val_accuracy,
                report.val_macro_f1,
            ]
            .map(|value| value.to_string()),
        );
        row.extend([
            ema(|ema| ema.loss),
            ema(|ema| ema.accuracy),
            ema(|ema| ema.macro_f1),
        ]);
        row.extend(
            [
                report.learning_rate,
                report.images_per_second,
                report.seconds,
            ]
            .map(|value| value.to_string()),
        );
        row.extend(report.times.parts().map(|(_, value)| value.to_string()));
        table.write_record(&row).map_err(failed)?;
    }
    table
        .into_inner()
        .map_err(|error| failed(error.into_error().into()))
}

//! The scores of each class, the ROC and precision–recall curves, and the reliability of the probabilities.

use super::Context;
use super::html::{chart, count, details, figure, score, score_or_none, section as wrapped, table};
use crate::chart::{ranking as ranked, reliability as calibrated};
use crate::escape::escaped;

/// Up to this number of classes, the table is open.
const OPEN: usize = 50;

/// `None` without scores.
pub(super) fn section(context: &Context) -> Option<String> {
    let (scores, _) = context.scores()?;
    let head = [
        "class",
        "images",
        "precision",
        "recall",
        "F1",
        "specificity",
        "average precision",
        "ROC AUC",
    ];
    let rows = scores.classes.iter().enumerate().map(|(label, class)| {
        let at = |name: &str| format!("/classes/{label}/{name}");
        vec![
            escaped(&class.name).into_owned(),
            count(&at("support"), class.support),
            score(&at("precision"), class.precision),
            score(&at("recall"), class.recall),
            score(&at("f1"), class.f1),
            score_or_none(&at("specificity"), class.specificity),
            score_or_none(&at("average_precision"), class.average_precision),
            score_or_none(&at("roc_auc"), class.roc_auc),
        ]
    });
    let table = table("Scores of each class", &head, &rows.collect::<Vec<_>>());
    let body = match scores.classes.len() <= OPEN {
        true => table,
        false => details("Scores of each class", &table),
    };
    Some(wrapped(
        "classes",
        "Classes",
        "Precision: of the images that are called this class, the share that is right. Recall: of the images of this class, the \
         share that is found. F1 is high only if both are.",
        &body,
    ))
}

/// `None` without curves.
pub(super) fn ranking(context: &Context) -> Option<String> {
    let (scores, _) = context.scores()?;
    let (roc, precision) = (ranked::roc(scores)?, ranked::precision_recall(scores)?);
    let mut body = format!(
        "<div class=\"charts\">{}{}</div>\n",
        chart(
            &roc,
            "roc",
            "Nearer to the upper left corner is better. The dashed diagonal is guessing."
        ),
        chart(
            &precision,
            "pr",
            "Nearer to the upper right corner is better."
        )
    );
    if ranked::is_partial(scores) {
        body += "<p class=\"note\">Only the classes with the smallest areas are drawn.</p>\n";
    }
    body += "<p>The areas of all classes are in the table above.</p>\n";
    Some(wrapped(
        "ranking",
        "ROC and precision–recall",
        "How well the probability of a class separates its images from all others, whatever threshold one chooses. An area of 1 \
         is perfect.",
        &body,
    ))
}

/// `None` without a calibration.
pub(super) fn reliability(context: &Context) -> Option<String> {
    let (scores, _) = context.scores()?;
    let calibration = scores.calibration.as_ref()?;
    let error = calibration.expected_error;
    let mut body = format!(
        "<p>Expected calibration error: {}. On average, the stated probability and the share of right answers differ by so much.</p>\n",
        figure(
            "/calibration/expected_error",
            error,
            format_args!("{error:.4}")
        )
    );
    body += &chart(
        &calibrated::draw(calibration),
        "calibration",
        "Bars: share of right answers among the images with this confidence. Short lines: their mean confidence. A bar below its \
         line is overconfident. Beneath: the number of images.",
    );
    let rows = calibration
        .bins
        .iter()
        .enumerate()
        .filter(|(_, bin)| bin.images > 0);
    let rows = rows.map(|(index, bin)| {
        let at = |name: &str| format!("/calibration/bins/{index}/{name}");
        vec![
            format!("{:.2} to {:.2}", bin.low, bin.high),
            count(&at("images"), bin.images),
            score(&at("confidence"), bin.confidence),
            score(&at("accuracy"), bin.accuracy),
        ]
    });
    let head = ["confidence", "images", "mean confidence", "accuracy"];
    body += &details(
        "The diagram as a table",
        &table("Accuracy by confidence", &head, &rows.collect::<Vec<_>>()),
    );
    Some(wrapped(
        "reliability",
        "Reliability",
        "Whether a probability means what it says: of the answers given with 90 %, nine of ten should be right.",
        &body,
    ))
}

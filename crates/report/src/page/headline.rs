//! The scores in front, and what they mean.

use trainer::{Ending, Evaluation, Interval, Measured, RunRecord};

use super::Context;
use super::html::{
    count, facts, figure, grouped, missing, percent, score, score_or_none, section as wrapped,
};
use crate::escape::escaped;

pub(super) fn subtitle(context: &Context) -> String {
    let Some(record) = &context.material.record else {
        return String::new();
    };
    let images: u64 = record.splits.iter().map(|split| split.images).sum();
    format!(
        "{} with {} parameters, {} classes, {} images",
        escaped(&record.model),
        grouped(record.parameters as u64),
        record.classes.len(),
        grouped(images)
    )
}

pub(super) fn section(context: &Context) -> String {
    let mut body = String::new();
    if let Some(text) = unfinished(context) {
        body += &missing(&text, context.resume().as_deref());
    }
    match context.scores() {
        Some((scores, measured)) => body += &shown(scores, measured),
        None => body += &without_scores(context),
    }
    body += &chosen_epoch(context);
    wrapped(
        "result",
        "Result",
        "How often the network is right on images that it has not learned from.",
        &body,
    )
}

/// The sentence about a run that has not reached its end.
fn unfinished(context: &Context) -> Option<String> {
    let record = context.material.record.as_ref()?;
    match record.ending {
        Some(Ending::Interrupted) => Some(
            "This run was interrupted, so it has not been trained to its end. To go on:".to_owned(),
        ),
        None => Some(
            "This run is still active, or it was ended by force. If it has ended, go on with:"
                .to_owned(),
        ),
        Some(Ending::Completed | Ending::StoppedEarly) => None,
    }
}

fn without_scores(context: &Context) -> String {
    let material = context.material;
    let weights = material
        .record
        .as_ref()
        .and_then(|record| record.weights.as_ref())
        .zip(material.run.as_ref());
    match weights {
        Some((weights, run)) => missing(
            "The weights of this run were not evaluated. To evaluate them, with a report of its own:",
            Some(&format!(
                "classify evaluate --weights {} --data TEST_IMAGES --report evaluation.html",
                crate::quoted(&run.join(weights))
            )),
        ),
        None => missing(
            "There are no scores yet: no weights of this run were evaluated. A run evaluates its best weights at its end.",
            None,
        ),
    }
}

fn shown(scores: &Evaluation, measured: Measured) -> String {
    let interval = |name: &str, interval: &Interval| {
        format!(
            "95\u{a0}% interval {} to {}",
            percent(&format!("/{name}/low"), interval.low),
            percent(&format!("/{name}/high"), interval.high)
        )
    };
    let f1 = &scores.macro_f1_interval;
    let f1_interval = format!(
        "95\u{a0}% interval {} to {}",
        score("/macro_f1_interval/low", f1.low),
        score("/macro_f1_interval/high", f1.high)
    );
    let mut cards = vec![
        card(
            "Accuracy",
            &percent("/accuracy", scores.accuracy),
            &interval("accuracy_interval", &scores.accuracy_interval),
        ),
        card(
            "Macro F1",
            &score("/macro_f1", scores.macro_f1),
            &f1_interval,
        ),
        card(
            &format!(
                "{} images",
                if measured == Measured::Test {
                    "Test"
                } else {
                    "Validation"
                }
            ),
            &count("/images", scores.images),
            &match scores.skipped {
                0 => "all could be read".to_owned(),
                skipped => format!("{skipped} more could not be read"),
            },
        ),
    ];
    if let Some((index, top)) = scores.top_k.iter().enumerate().next_back() {
        let pointer = format!("/top_k/{index}/accuracy");
        cards.push(card(
            &format!("Top-{} accuracy", top.k),
            &percent(&pointer, top.accuracy),
            &format!("the true class is among the {} most probable", top.k),
        ));
    }
    let mut out = format!("<dl class=\"big\">{}</dl>\n", cards.concat());
    out += &sentence(scores, measured);
    out += &facts(&rest(scores));
    if !scores.classes_left_out.is_empty() {
        let names: Vec<_> = scores
            .classes_left_out
            .iter()
            .take(20)
            .map(|name| escaped(name))
            .collect();
        out += &format!(
            "<p class=\"note\">Left out of the averages, without images or predictions: {}.</p>\n",
            names.join(", ")
        );
    }
    out
}

fn card(name: &str, value: &str, more: &str) -> String {
    format!(
        "<div><dt>{}</dt><dd><span class=\"value\">{value}</span><br><span class=\"more\">{more}</span></dd></div>",
        escaped(name)
    )
}

fn sentence(scores: &Evaluation, measured: Measured) -> String {
    let all: u64 = scores.classes.iter().map(|class| class.support).sum();
    let most = scores
        .classes
        .iter()
        .map(|class| class.support)
        .max()
        .unwrap_or(0);
    let chance = 100.0 * most as f64 / all.max(1) as f64;
    let mut out = format!(
        "<p>If the network saw many more images of this kind, its accuracy would probably lie within the interval. Always \
         answering with the most frequent class would give {chance:.1}\u{a0}%.</p>\n"
    );
    if measured == Measured::Validation {
        out += "<p>These images have also chosen the best epoch, so the figures are somewhat too good. A test split gives fair \
                ones.</p>\n";
    }
    out
}

/// The other scores of the whole network.
fn rest(scores: &Evaluation) -> Vec<(&'static str, String)> {
    let mut rest = Vec::new();
    for (index, top) in scores.top_k.iter().enumerate().rev().skip(1).rev() {
        let name = match top.k {
            2 => "Top-2 accuracy",
            3 => "Top-3 accuracy",
            _ => "Top-5 accuracy",
        };
        rest.push((
            name,
            percent(&format!("/top_k/{index}/accuracy"), top.accuracy),
        ));
    }
    rest.extend([
        (
            "Balanced accuracy: mean recall of the classes",
            score_or_none("/balanced_accuracy", scores.balanced_accuracy),
        ),
        (
            "Cohen's kappa: agreement beyond chance",
            score_or_none("/cohen_kappa", scores.cohen_kappa),
        ),
        (
            "Macro precision",
            score("/macro_precision", scores.macro_precision),
        ),
        ("Macro recall", score("/macro_recall", scores.macro_recall)),
        (
            "Mean area under the ROC curves",
            score_or_none("/macro_roc_auc", scores.macro_roc_auc),
        ),
        (
            "Mean average precision",
            score_or_none("/macro_average_precision", scores.macro_average_precision),
        ),
        (
            "Loss: mean cross-entropy",
            figure("/loss", scores.loss, format_args!("{:.4}", scores.loss)),
        ),
    ]);
    if let Some(temperature) = scores.temperature {
        let text = figure(
            "/temperature",
            temperature,
            format_args!("{temperature:.3}"),
        );
        rest.push(("Temperature of the probabilities", text));
    }
    rest
}

/// Which epoch the weights are from, and why.
fn chosen_epoch(context: &Context) -> String {
    let Some(record) = &context.material.record else {
        return match context.material.run {
            Some(_) => missing(
                "This run has no run.json, since an older version of classify made it. So the report lacks the best epoch, the \
                 numbers of images and the machine. Training it again writes them.",
                None,
            ),
            None => String::new(),
        };
    };
    let (Some(epoch), Some(best)) = (record.best_epoch, record.best_score) else {
        return "<p>No epoch was completed, so there are no best weights.</p>\n".to_owned();
    };
    let epochs = context.material.epochs.len();
    format!(
        "<p>Best epoch: {epoch} of {epochs}. It had the {} ({best:.4}). Of equal epochs, the one with the lower validation loss \
         wins.{}</p>\n",
        escaped(&monitored(record)),
        match record.ending {
            Some(Ending::StoppedEarly) =>
                " Training stopped early, since later epochs were not better.",
            _ => "",
        }
    )
}

/// The monitored score in words.
pub(crate) fn monitored(record: &RunRecord) -> String {
    match &record.monitor[..] {
        "val_accuracy" => "highest validation accuracy".to_owned(),
        "val_loss" => "lowest validation loss".to_owned(),
        "val_macro_f1" => "highest macro F1 in validation".to_owned(),
        other => format!("best {other}"),
    }
}

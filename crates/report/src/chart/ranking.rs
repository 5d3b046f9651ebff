//! ROC and precision–recall curves.

use trainer::Evaluation;

use super::plot::{Plot, Series};
use crate::svg::Svg;
use crate::svg::axis::Scale;

/// The most lines in a plot: more cannot be told apart.
const LINES: usize = 10;

/// The ROC curves of the classes, one against the rest. `None` without curves.
pub(crate) fn roc(scores: &Evaluation) -> Option<Svg> {
    let lines = lines(
        scores,
        "AUC",
        |class| scores.classes.get(class)?.roc_auc,
        |curves| &curves.roc,
    );
    draw(
        lines,
        "ROC curves",
        ("false positive rate", "true positive rate"),
        true,
    )
}

/// The precision–recall curves of the classes, one against the rest. `None` without curves.
pub(crate) fn precision_recall(scores: &Evaluation) -> Option<Svg> {
    let average = |class: usize| scores.classes.get(class)?.average_precision;
    let lines = lines(scores, "AP", average, |curves| &curves.precision_recall);
    draw(
        lines,
        "Precision–recall curves",
        ("recall", "precision"),
        false,
    )
}

/// Whether the plots leave out classes.
pub(crate) fn is_partial(scores: &Evaluation) -> bool {
    scores.curves.len().min(LINES) < scores.classes.len()
}

/// The lines of the classes with the smallest areas, the smallest first.
fn lines(
    scores: &Evaluation,
    area_name: &str,
    area: impl Fn(usize) -> Option<f64>,
    points: impl Fn(&trainer::ClassCurves) -> &Vec<[f64; 2]>,
) -> Vec<Series> {
    let mut curves: Vec<_> = scores
        .curves
        .iter()
        .filter(|curves| !points(curves).is_empty())
        .collect();
    if curves.len() > LINES {
        let key = |class| area(class).unwrap_or(2.0);
        curves.sort_by(|a, b| key(a.class).total_cmp(&key(b.class)));
        curves.truncate(LINES);
    }
    let line = |(style, curves): (usize, &&trainer::ClassCurves)| {
        let name = scores
            .classes
            .get(curves.class)
            .map_or("", |class| &class.name[..]);
        let area =
            area(curves.class).map_or(String::new(), |area| format!(" ({area_name} {area:.3})"));
        Series {
            name: format!("{}{area}", crate::escape::shortened(name, 16)),
            points: points(curves).clone(),
            style,
            markers: false,
            is_faint: false,
        }
    };
    curves.iter().enumerate().map(line).collect()
}

fn draw(series: Vec<Series>, title: &str, (x, y): (&str, &str), diagonal: bool) -> Option<Svg> {
    if series.is_empty() {
        return None;
    }
    let names: Vec<&str> = series.iter().map(|series| &series.name[..]).collect();
    let description = format!("{title}, one class against the rest: {}.", names.join(", "));
    Some(
        Plot {
            title,
            description: &description,
            x: (Scale::linear(0.0, 1.0), x),
            y: (Scale::linear(0.0, 1.0), y),
            series,
            mark: None,
            diagonal,
            size: [480.0, 400.0],
        }
        .draw(),
    )
}

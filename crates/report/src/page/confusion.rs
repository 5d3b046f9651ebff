//! The confusion matrix, and the images behind its cells.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use trainer::Evaluation;

use super::Context;
use super::html::{count, details, section as wrapped, table};
use super::mistakes::picture;
use crate::Result;
use crate::chart::confusion::{NUMBERED, Pair, Shades, pairs, pixels};
use crate::escape::escaped;
use crate::picture::{png, png_uri};

/// The most pairs of classes in the list.
const PAIRS: usize = 10;
/// The pairs with pictures beside them.
const PICTURED: usize = 6;

/// `None` without scores.
pub(super) fn section(context: &Context) -> Result<Option<String>> {
    let Some((scores, _)) = context.scores() else {
        return Ok(None);
    };
    let map = match scores.classes.len() <= NUMBERED {
        true => matrix(context, scores),
        false => heat(scores)?,
    };
    let confused = confused(context, scores);
    let mut body = format!("<div class=\"side\"><div>{map}</div><div>{confused}</div></div>\n");
    body += "<div id=\"cell-images\" role=\"region\" aria-live=\"polite\" aria-label=\"Images of the chosen cell\"><p class=\"note\">Choose \
             an underlined number to see images behind it.</p></div>\n";
    body += &pictured(context, scores);
    Ok(Some(wrapped(
        "confusion",
        "Confusion",
        "Which classes are taken for which. A row is a true class, a column a predicted class; the diagonal is right, and everything else is \
         an error.",
        &body,
    )))
}

fn matrix(context: &Context, scores: &Evaluation) -> String {
    let shades = Shades::of(&scores.confusion);
    let mut out = String::from(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Confusion matrix\"><table class=\"matrix\"><caption>Number of images</caption><thead><tr><td></td>",
    );
    for class in &scores.classes {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(&class.name));
    }
    out.push_str("</tr></thead><tbody>\n");
    for (label, row) in scores.confusion.iter().enumerate() {
        let all = row.iter().sum();
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th>",
            escaped(context.name(label))
        );
        for (predicted, &number) in row.iter().enumerate() {
            let is_right = label == predicted;
            let class = shades.class(is_right, number, all);
            let right = if is_right { " right" } else { "" };
            let value = count(&format!("/confusion/{label}/{predicted}"), number);
            let _ = write!(
                out,
                "<td class=\"{class}{right}\">{}</td>",
                button(context, (label, predicted), &value)
            );
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// The contents of a cell, as a button if images are behind it.
fn button(context: &Context, (label, predicted): (usize, usize), value: &str) -> String {
    match context.chosen.cells.contains_key(&(label, predicted)) {
        true => format!(
            "<button type=\"button\" aria-pressed=\"false\" aria-label=\"{}\" data-cell=\"{label},{predicted}\">{value}</button>",
            escaped(&spoken(context, label, predicted))
        ),
        false => value.to_owned(),
    }
}

fn spoken(context: &Context, label: usize, predicted: usize) -> String {
    let scores = context.scores().map(|(scores, _)| scores);
    let number = scores
        .and_then(|scores| scores.confusion.get(label)?.get(predicted))
        .copied()
        .unwrap_or(0);
    let (truth, answer) = (context.name(label), context.name(predicted));
    match label == predicted {
        true => format!("{number} images of {truth}, recognised. Show some."),
        false => format!("{number} images of {truth}, taken for {answer}. Show some."),
    }
}

fn heat(scores: &Evaluation) -> Result<String> {
    let (side, bytes) = pixels(&scores.confusion);
    let failed = |error: mnist_data::Error| crate::Error::Picture {
        problem: error.to_string(),
    };
    let image = mnist_data::Image::from_rgb(side as u32, side as u32, bytes).map_err(failed)?;
    Ok(format!(
        "<figure><img class=\"heat\" width=\"{side}\" height=\"{side}\" src=\"{}\" alt=\"Heat map of the confusion of {} classes. The list of \
         the most confused pairs follows.\"><figcaption>Each pixel is a pair of classes, in the order of the classes. Blue, on the \
         diagonal: right. Orange: wrong; darker is more frequent.</figcaption></figure>\n",
        png_uri(&png(&image)?),
        scores.classes.len()
    ))
}

fn confused(context: &Context, scores: &Evaluation) -> String {
    let pairs = pairs(&scores.confusion, PAIRS);
    if pairs.is_empty() {
        return "<p>No image was taken for another class.</p>\n".to_owned();
    }
    let is_large = scores.classes.len() > NUMBERED;
    let row = |pair: &Pair| {
        let all: u64 = scores.confusion[pair.label].iter().sum();
        let value = count(
            &format!("/confusion/{}/{}", pair.label, pair.predicted),
            pair.count,
        );
        vec![
            escaped(context.name(pair.label)).into_owned(),
            escaped(context.name(pair.predicted)).into_owned(),
            match is_large {
                true => button(context, (pair.label, pair.predicted), &value),
                false => value,
            },
            format!(
                "{:.1}\u{a0}%",
                100.0 * pair.count as f64 / all.max(1) as f64
            ),
        ]
    };
    let rows: Vec<Vec<String>> = pairs.iter().map(row).collect();
    let head = ["true class", "taken for", "images", "share of the class"];
    table("Most confused pairs", &head, &rows)
}

/// Pictures of the most confused pairs, also for readers without the page's script.
fn pictured(context: &Context, scores: &Evaluation) -> String {
    let pairs = pairs(&scores.confusion, PICTURED);
    let pictured: String = pairs
        .iter()
        .map(|pair| pair_pictures(context, pair))
        .collect();
    match pictured.is_empty() {
        true => String::new(),
        false => details("Pictures of the most confused pairs", &pictured),
    }
}

fn pair_pictures(context: &Context, pair: &Pair) -> String {
    let Some(shown) = context.chosen.cells.get(&(pair.label, pair.predicted)) else {
        return String::new();
    };
    // An image among the mistakes is in the page already.
    let is_known = |id: &str| {
        context
            .chosen
            .mistakes
            .iter()
            .any(|mistake| mistake.id == id)
    };
    let fresh: Vec<_> = shown.iter().filter(|shown| !is_known(&shown.id)).collect();
    if fresh.is_empty() {
        return String::new();
    }
    let pictures: String = fresh
        .iter()
        .map(|shown| picture(context, shown, "wrong"))
        .collect();
    format!(
        "<h4>{}, taken for {}</h4><div class=\"row\">{pictures}</div>\n",
        escaped(context.name(pair.label)),
        escaped(context.name(pair.predicted))
    )
}

/// The images behind the cells, as JSON for the page's script: cells, and pictures that the page does not show elsewhere.
pub(super) fn cells(context: &Context) -> String {
    let mut images = Map::new();
    let placed = context.placed.borrow();
    for thumb in context
        .thumbs
        .all()
        .into_iter()
        .filter(|thumb| !placed.contains(&thumb.number))
    {
        images.insert(thumb.number.to_string(), json!(thumb.uri));
    }
    let is_large = context
        .scores()
        .is_some_and(|(scores, _)| scores.classes.len() > NUMBERED);
    let listed: Vec<(usize, usize)> = match (context.scores(), is_large) {
        (Some((scores, _)), true) => {
            let pairs = pairs(&scores.confusion, PAIRS);
            pairs
                .iter()
                .map(|pair| (pair.label, pair.predicted))
                .collect()
        }
        _ => context.chosen.cells.keys().copied().collect(),
    };
    let mut cells = Map::new();
    for (label, predicted) in listed {
        let Some(shown) = context.chosen.cells.get(&(label, predicted)) else {
            continue;
        };
        let with_picture = shown
            .iter()
            .any(|shown| context.thumbs.get(&shown.id).is_some());
        let rows = shown
            .iter()
            .filter(|shown| !with_picture || context.thumbs.get(&shown.id).is_some());
        let rows: Vec<Value> = rows
            .map(|shown| {
                let number = context.thumbs.get(&shown.id).map(|thumb| thumb.number);
                let text = format!(
                    "{} ({:.1}\u{a0}%)",
                    context.name(predicted),
                    100.0 * shown.probability
                );
                json!([number, text, shown.id])
            })
            .collect();
        let title = match label == predicted {
            true => format!(
                "{}: the least sure of the right answers",
                context.name(label)
            ),
            false => format!(
                "{}, taken for {}: the most confident",
                context.name(label),
                context.name(predicted)
            ),
        };
        cells.insert(
            format!("{label},{predicted}"),
            json!({ "title": title, "right": label == predicted, "images": rows }),
        );
    }
    // No `<` can end the element.
    json!({ "images": images, "cells": cells })
        .to_string()
        .replace('<', "\\u003c")
}

//! Pictures of wrong and of unsure answers.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use mnist_data::Image;

use super::Context;
use super::html::{missing, section as wrapped};
use crate::answers::Shown;
use crate::escape::escaped;
use crate::picture::{data_uri, within};

/// `None` without scores.
pub(super) fn section(context: &Context) -> Option<String> {
    let (scores, measured) = context.scores()?;
    if context.material.answers.is_none() {
        let command = context
            .material
            .run
            .as_ref()
            .map(|run| format!("classify report {}", crate::quoted(run)));
        let text = format!(
            "The answers for each image (predictions-{}.csv) are missing, so no pictures can be shown. Train or evaluate again, then:",
            measured.name()
        );
        return Some(wrapped(
            "mistakes",
            "Mistakes",
            "Images on which the network is wrong.",
            &missing(&text, command.as_deref()),
        ));
    }
    let explanations = context
        .material
        .explanations
        .as_deref()
        .map(Explanations::read)
        .unwrap_or_default();
    let mut body = String::new();
    if context.thumbs.missing() > 0 {
        body += &missing(
            &format!(
                "{} images are not at their place any more, or cannot be read, so they are not shown.",
                context.thumbs.missing()
            ),
            None,
        );
    }
    let mistakes = &context.chosen.mistakes;
    body += "<h3>Most confident mistakes</h3>\n";
    body += &match mistakes.is_empty() {
        true => "<p>There is no mistake among these images.</p>\n".to_owned(),
        false => gallery(context, mistakes, &explanations),
    };
    body += "<h3>Least sure right answers</h3>\n";
    body += &match context.chosen.unsure.is_empty() {
        true => "<p>There is no right answer among these images.</p>\n".to_owned(),
        false => gallery(context, &context.chosen.unsure, &Explanations::default()),
    };
    let right = (scores.accuracy * scores.images as f64).round() as u64;
    Some(wrapped(
        "mistakes",
        "Mistakes",
        &format!(
            "{} of {} answers are wrong. The most confident mistakes often show wrong labels, unusual images, or a trait that misleads \
             the network.",
            scores.images - right.min(scores.images),
            scores.images
        ),
        &body,
    ))
}

fn gallery(context: &Context, answers: &[Shown], explanations: &Explanations) -> String {
    let mut out = String::from("<ul class=\"gallery\">\n");
    for answer in answers {
        let kind = if answer.is_right() { "right" } else { "wrong" };
        let _ = write!(
            out,
            "<li>{}{}",
            picture(context, answer, kind),
            caption(context, answer)
        );
        if let Some((uri, layer, class)) = explanations.of(&answer.id) {
            let _ = write!(
                out,
                "<br><img class=\"thumb\" src=\"{uri}\" alt=\"Grad-CAM of {}: where the network looked for {}\"><span class=\"id\">where it \
                 looked for {} (layer {})</span>",
                escaped(&answer.id),
                escaped(class),
                escaped(class),
                escaped(layer)
            );
        }
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n");
    out
}

/// The picture of an image, or a placeholder.
pub(super) fn picture(context: &Context, answer: &Shown, kind: &str) -> String {
    match context.thumbs.get(&answer.id) {
        Some(thumb) => {
            context.placed.borrow_mut().insert(thumb.number);
            format!(
                "<img class=\"thumb {kind}\" data-image=\"{}\" src=\"{}\" alt=\"Image {}\">",
                thumb.number,
                thumb.uri,
                escaped(&answer.id)
            )
        }
        None => format!("<span class=\"thumb {kind} gone\">image not found</span>"),
    }
}

/// The answer in words, as HTML.
fn caption(context: &Context, answer: &Shown) -> String {
    let percent = |value: f32| format!("{:.1}\u{a0}%", 100.0 * value);
    let mut out = format!(
        "{} <strong>{}</strong> ({})",
        if answer.is_right() { "✓" } else { "✗" },
        escaped(context.name(answer.predicted)),
        percent(answer.probability)
    );
    if !answer.is_right() {
        let _ = write!(
            out,
            "<br>true: <strong>{}</strong>",
            escaped(context.name(answer.label))
        );
    }
    if let Some((second, probability)) = answer.second
        && (answer.is_right() || second != answer.label)
    {
        let _ = write!(
            out,
            "<br>second: {} ({})",
            escaped(context.name(second)),
            percent(probability)
        );
    } else if let Some((_, probability)) = answer.second {
        let _ = write!(out, " ({})", percent(probability));
    }
    let _ = write!(out, "<br><span class=\"id\">{}</span>", escaped(&answer.id));
    out
}

/// Grad-CAM overlays by image.
#[derive(Default)]
struct Explanations(HashMap<String, (String, String, String)>);

impl Explanations {
    /// Reads `index.csv` and its pictures. Unreadable ones are left out: they are an addition.
    fn read(folder: &Path) -> Self {
        let Ok(mut reader) = csv::Reader::from_path(folder.join("index.csv")) else {
            return Self::default();
        };
        let rows = reader.records().filter_map(std::result::Result::ok);
        let of = |row: csv::StringRecord| {
            let [id, file, layer, class] =
                std::array::from_fn(|column| row.get(column).map(str::to_owned));
            // Only names of files within the folder are accepted.
            let file = Path::new(&file?).file_name()?.to_owned();
            let image = Image::read(&folder.join(file)).ok()?;
            let uri = data_uri(&within(image, 128).ok()?).ok()?;
            Some((id?, (uri, layer?, class?)))
        };
        Self(rows.take(100).filter_map(of).collect())
    }

    fn of(&self, id: &str) -> Option<(&str, &str, &str)> {
        let (uri, layer, class) = self.0.get(id)?;
        Some((uri, layer, class))
    }
}

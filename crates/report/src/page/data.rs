//! What was trained on what.

use std::fmt::Write as _;

use trainer::RunRecord;

use super::Context;
use super::html::{details, grouped, missing, section as wrapped, table};
use crate::Result;
use crate::escape::escaped;
use crate::thumbs::{augmented, samples};

/// The most classes with sample images.
const CLASSES: usize = 20;
/// Sample images of each class.
const EACH: usize = 6;
/// Up to this number of classes, the table of counts is open.
const OPEN: usize = 30;

/// `None` for an evaluation without a run.
pub(super) fn section(context: &Context) -> Result<Option<String>> {
    if context.material.run.is_none() {
        return Ok(None);
    }
    let mut body = match &context.material.record {
        Some(record) => counts(record),
        None => missing(
            "The numbers of images are not known: this run has no run.json.",
            None,
        ),
    };
    body += &pictures(context);
    body += &augmentation(context)?;
    Ok(Some(wrapped(
        "data",
        "Images",
        "What the network learned from. A class with few images is learned less well.",
        &body,
    )))
}

fn counts(record: &RunRecord) -> String {
    let names = record.splits.iter().map(|split| match &split.name[..] {
        "train" => "training",
        "val" => "validation",
        other => other,
    });
    let mut head = vec!["class"];
    head.extend(names);
    let of_class = |(label, name): (usize, &String)| {
        let counts = record.splits.iter().map(|split| {
            let count = split.per_class.get(label).copied().unwrap_or(0);
            grouped(count)
        });
        std::iter::once(escaped(name).into_owned())
            .chain(counts)
            .collect()
    };
    let mut rows: Vec<Vec<String>> = record.classes.iter().enumerate().map(of_class).collect();
    let total = record.splits.iter().map(|split| grouped(split.images));
    rows.push(std::iter::once("all".to_owned()).chain(total).collect());
    let table = table("Number of images per class and split", &head, &rows);
    match record.classes.len() <= OPEN {
        true => table,
        false => details("Number of images per class and split", &table),
    }
}

fn pictures(context: &Context) -> String {
    let (Some(training), Some(view)) = (context.images.training, &context.images.view) else {
        return missing(
            "The training images are not at their place any more, so none is shown.",
            None,
        );
    };
    let all = samples(training, view, CLASSES, EACH);
    let names = training.classes.names();
    let mut out = String::from(
        "<h3>Training images of each class</h3>\n<p class=\"note\">As the network sees them.</p>\n",
    );
    for class in &all {
        let name = escaped(&names[class.label]);
        let _ = write!(
            out,
            "<div class=\"class\"><h4>{name}</h4><div class=\"row\">"
        );
        for (id, uri) in &class.pictures {
            out += &match uri {
                Some(uri) => format!(
                    "<img class=\"thumb\" src=\"{uri}\" alt=\"{name}: {}\">",
                    escaped(id)
                ),
                None => "<span class=\"thumb gone\">not found</span>".to_owned(),
            };
        }
        out.push_str("</div></div>\n");
    }
    if names.len() > CLASSES {
        let _ = writeln!(
            out,
            "<p class=\"note\">The first {CLASSES} of {} classes are shown.</p>",
            names.len()
        );
    }
    out
}

fn augmentation(context: &Context) -> Result<String> {
    let (Some(training), Some(view), Some((config, _))) = (
        context.images.training,
        &context.images.view,
        &context.material.config,
    ) else {
        return Ok(String::new());
    };
    let heading = "<h3>Augmentation</h3>\n";
    if config.augment.is_none() {
        return Ok(format!(
            "{heading}<p>The training images are not augmented.</p>\n"
        ));
    }
    let made = augmented(training, view, (&config.augment, config.train.seed), (4, 5))?;
    let mut out = format!(
        "{heading}<p class=\"note\">An image, and what the network sees of it in five epochs. The changes are random and teach \
         the network what does not matter.</p>\n"
    );
    for image in &made {
        let id = escaped(&image.id);
        let _ = write!(
            out,
            "<div class=\"row\"><img class=\"thumb right\" src=\"{}\" alt=\"{id}, unchanged\">",
            image.before
        );
        for (index, uri) in image.after.iter().enumerate() {
            let _ = write!(
                out,
                "<img class=\"thumb\" src=\"{uri}\" alt=\"{id}, augmented, epoch {}\">",
                index + 1
            );
        }
        out.push_str("</div>\n");
    }
    Ok(out)
}

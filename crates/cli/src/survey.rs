//! Shows a survey of the images before the first epoch.

use mnist_data::ImageSizes;
use trainer::{RunConfig, Survey, SurveyedSplit};

use crate::terminal::Terminal;

/// The most classes that are listed by name.
const LISTED: usize = 20;
/// A class with fewer images deserves a warning.
const FEW: usize = 15;
/// Small classes that are named.
const NAMED: usize = 5;
/// An image size this many times larger than the photos gives a warning.
const FAR_ABOVE: usize = 4;

/// Shows the survey as a table with remarks.
pub(crate) fn show(survey: &Survey, config: &RunConfig, terminal: &Terminal) {
    for line in table(survey).into_iter().chain(remarks(survey)) {
        terminal.line(&line);
    }
    for warning in warnings(survey, config) {
        terminal.line(&format!("warning: {warning}"));
    }
}

fn table(survey: &Survey) -> Vec<String> {
    let names = survey.classes.iter().take(LISTED);
    let width = names.clone().map(|name| name.chars().count()).max();
    let width = width.unwrap_or(0).max("all classes".len());
    let row = |name: &str, counts: &mut dyn Iterator<Item = String>| {
        let padding = width - name.chars().count().min(width);
        let cells: String = counts.map(|count| format!("{count:>8}")).collect();
        format!("  {name}{}{cells}", " ".repeat(padding))
    };
    let splits = &survey.splits;
    let mut lines = vec![row(
        "images",
        &mut splits.iter().map(|split| split.split.to_owned()),
    )];
    for (label, name) in names.enumerate() {
        lines.push(row(
            name,
            &mut splits.iter().map(|split| split.counts[label].to_string()),
        ));
    }
    if survey.classes.len() > LISTED {
        lines.push(format!(
            "  … {} more classes",
            survey.classes.len() - LISTED
        ));
    }
    lines.push(row(
        "all classes",
        &mut splits.iter().map(|split| split.images().to_string()),
    ));
    lines
}

fn remarks(survey: &Survey) -> Vec<String> {
    let mut remarks: Vec<String> = survey.sizes.iter().map(sizes).collect();
    if survey.is_divided {
        let bursts = match survey.in_bursts {
            0 => String::new(),
            count => format!("; {count} near-identical neighbours by name stay together"),
        };
        remarks.push(format!(
            "the images are divided the same way each time (data.split){bursts}"
        ));
    }
    if survey.repeated > 0 {
        remarks.push(format!(
            "{} are exact copies of another image of their split and class",
            images(survey.repeated)
        ));
    }
    if !survey.is_decoded {
        remarks.push(
            "more than 20,000 images are not looked at one by one: unreadable images and near-identical neighbours show later"
                .to_owned(),
        );
    }
    remarks
}

fn sizes(sizes: &ImageSizes) -> String {
    let of = |(width, height): (u32, u32)| format!("{width} × {height}");
    match sizes.smallest == sizes.largest {
        true => format!("all images have {} pixels", of(sizes.smallest)),
        false => format!(
            "images have {} to {} pixels; the median is {}",
            of(sizes.smallest),
            of(sizes.largest),
            of(sizes.median)
        ),
    }
}

fn warnings(survey: &Survey, config: &RunConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some((_, reason)) = survey.unreadable.first() {
        warnings.push(match survey.unreadable.len() {
            1 => format!("1 image cannot be read and is left out: {reason}"),
            count => format!("{count} images cannot be read and are left out; the first: {reason}"),
        });
    }
    warnings.extend(small_classes(survey));
    warnings.extend(
        survey
            .splits
            .iter()
            .filter_map(|split| absent_classes(survey, split)),
    );
    for shared in &survey.shared {
        let [one, other] =
            [shared.splits.0, shared.splits.1].map(|index| survey.splits[index].split);
        warnings.push(format!(
            "{} of {other} are also in {one}, such as {} (in {one}: {}): scores on {other} look too good; remove \
             them from one of the two",
            images(shared.images),
            shared.example.1.display(),
            shared.example.0.display()
        ));
    }
    if let Some((one, other)) = survey.contradicting.first() {
        warnings.push(format!(
            "{} in several classes, such as {} and {}: remove the wrong ones",
            match survey.contradicting.len() {
                1 => "1 image is".to_owned(),
                count => format!("{count} images are"),
            },
            one.display(),
            other.display()
        ));
    }
    let side = survey
        .sizes
        .map_or(usize::MAX, |sizes| sizes.shorter_side as usize);
    if config.data.image_size.longest() as usize / FAR_ABOVE > side {
        warnings.push(format!(
            "data.image_size is {}, but half of the images have a side of {side} pixels or less: enlarging costs time \
             and adds nothing; {} is enough",
            config.data.image_size,
            side.max(8) * 3
        ));
    }
    warnings
}

/// Classes without an image in a split.
fn absent_classes(survey: &Survey, split: &SurveyedSplit) -> Option<String> {
    let counted = survey.classes.iter().zip(&split.counts);
    let absent = counted.filter(|&(_, &count)| count == 0);
    let names = first_few(absent.map(|(name, _)| name.clone()))?;
    Some(format!(
        "no image in {} of: {names}; its scores say nothing about that class",
        split.split
    ))
}

/// Classes with too few images to learn from.
fn small_classes(survey: &Survey) -> Option<String> {
    let of =
        |label: usize| -> usize { survey.splits.iter().map(|split| split.counts[label]).sum() };
    let counted = survey.classes.iter().enumerate();
    let counted = counted.map(|(label, name)| (name, of(label)));
    let small = counted.filter(|&(_, count)| count < FEW);
    let names = first_few(small.map(|(name, count)| format!("{name} ({count})")))?;
    Some(format!(
        "too few images to learn a class from or to measure it: {names}; 30 may do, 100 are a good start"
    ))
}

/// The first names in a list, with an ellipsis for more; `None` without any.
fn first_few(names: impl Iterator<Item = String>) -> Option<String> {
    let mut names: Vec<String> = names.collect();
    if names.len() > NAMED {
        names.truncate(NAMED);
        names.push("…".to_owned());
    }
    (!names.is_empty()).then(|| names.join(", "))
}

fn images(count: usize) -> String {
    match count {
        1 => "1 image".to_owned(),
        count => format!("{count} images"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use trainer::Shared;

    use super::*;

    fn survey() -> Survey {
        let split = |split, counts| SurveyedSplit {
            split,
            name: split.to_owned(),
            counts,
        };
        Survey {
            classes: vec!["cat".to_owned(), "été".to_owned()],
            splits: vec![split("train", vec![10, 5]), split("val", vec![2, 1])],
            sizes: Some(ImageSizes {
                smallest: (10, 20),
                median: (30, 20),
                largest: (400, 300),
                shorter_side: 20,
                images: 18,
            }),
            unreadable: Vec::new(),
            is_decoded: true,
            in_bursts: 0,
            is_divided: false,
            repeated: 0,
            shared: Vec::new(),
            contradicting: Vec::new(),
        }
    }

    #[test]
    fn classes_and_splits_form_a_table() {
        assert_eq!(
            table(&survey()),
            [
                "  images        train     val",
                "  cat              10       2",
                "  été               5       1",
                "  all classes      15       3",
            ]
        );
        let many = Survey {
            classes: (0..25).map(|class| class.to_string()).collect(),
            splits: vec![SurveyedSplit {
                counts: vec![1; 25],
                ..survey().splits[0].clone()
            }],
            ..survey()
        };
        let lines = table(&many);
        assert_eq!(
            (lines.len(), lines[21].as_str()),
            (23, "  … 5 more classes")
        );
    }

    #[test]
    fn faults_of_the_images_are_warnings() {
        let config = RunConfig::default();
        let large = Survey {
            splits: vec![SurveyedSplit {
                counts: vec![15, 15],
                ..survey().splits[0].clone()
            }],
            ..survey()
        };
        assert!(warnings(&large, &config).is_empty());
        let faulty = Survey {
            unreadable: vec![("a.jpg".into(), "a.jpg is cut".to_owned())],
            shared: vec![Shared {
                splits: (0, 1),
                images: 3,
                example: (PathBuf::from("t.jpg"), PathBuf::from("v.jpg")),
            }],
            contradicting: vec![("c.jpg".into(), "d.jpg".into())],
            sizes: survey().sizes.map(|sizes| ImageSizes {
                shorter_side: 7,
                ..sizes
            }),
            ..survey()
        };
        let said = warnings(&faulty, &config);
        for (text, parts) in said.iter().zip([
            ["1 image cannot be read", "a.jpg is cut"],
            ["too few images", "cat (12), été (6)"],
            ["3 images of val", "v.jpg (in train: t.jpg)"],
            ["1 image is", "c.jpg and d.jpg"],
            ["data.image_size is 32", "24 is enough"],
        ]) {
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        }
        assert_eq!(said.len(), 5);
    }
}

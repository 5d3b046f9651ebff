//! Tests of two runs' answers for the same images.

use std::collections::HashMap;

use serde::Serialize;
use trainer::{Answer, AnswersFile, McNemar, Measured};

use crate::Result;
use crate::material::Material;

/// A run, tested against the first one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// The name of the run.
    pub run: String,
    /// The name of the first run.
    pub against: String,
    /// The number of images in the test: those that both runs have measured, under the same label.
    pub images: u64,
    /// The test; `only_first` counts the images that only the first run classifies correctly. `None` if there is nothing
    /// to test.
    pub mcnemar: Option<McNemar>,
    /// Limits of the test, or the reasons for having none.
    pub notes: Vec<String>,
}

/// The first run's answer for an image.
struct Known {
    label: String,
    is_right: bool,
}

pub(super) fn against(first: &Material, others: &[Material]) -> Result<Vec<Paired>> {
    let known = match others.iter().any(|other| obstacle(first, other).is_none()) {
        true => read(first)?,
        false => HashMap::new(),
    };
    others
        .iter()
        .map(|other| pair(first, other, &known))
        .collect()
}

fn pair(first: &Material, other: &Material, known: &HashMap<String, Known>) -> Result<Paired> {
    let mut paired = Paired {
        run: other.name.clone(),
        against: first.name.clone(),
        images: 0,
        mcnemar: None,
        notes: Vec::new(),
    };
    if let Some(obstacle) = obstacle(first, other) {
        paired.notes.push(obstacle);
        return Ok(paired);
    }
    let (mut all, mut relabelled, mut only_first, mut only_second) = (0_u64, 0_u64, 0, 0);
    for answer in answers(other)? {
        let answer = answer?;
        all += 1;
        let Some(known) = known.get(&answer.image_id) else {
            continue;
        };
        if known.label != answer.label {
            relabelled += 1;
            continue;
        }
        paired.images += 1;
        match (known.is_right, is_right(&answer)) {
            (true, false) => only_first += 1,
            (false, true) => only_second += 1,
            (true, true) | (false, false) => {}
        }
    }
    if relabelled > 0 {
        paired.notes.push(format!(
            "{relabelled} images with another label are left out"
        ));
    }
    let count = known.len() as u64;
    if paired.images + relabelled < all.max(count) {
        paired.notes.push(format!(
            "the runs have measured different images: {count} and {all}, {} of them in common",
            paired.images + relabelled
        ));
    }
    if paired.images > 0 {
        paired.mcnemar = Some(McNemar::of(only_first, only_second));
        paired.notes.extend(doubts(first, other));
    }
    Ok(paired)
}

/// The reason why the answers of two runs cannot be compared, if any.
fn obstacle(first: &Material, other: &Material) -> Option<String> {
    for run in [first, other] {
        if run.answers.is_none() {
            return Some(format!(
                "{} has no predictions-test.csv, the answers for each image",
                run.name
            ));
        }
    }
    let measured = |run: &Material| run.scores().map(|(_, measured)| measured);
    if measured(first) != measured(other) {
        return Some(
            "one run was measured on test images, the other on validation images".to_owned(),
        );
    }
    let classes = |run: &Material| -> Option<Vec<String>> {
        let (scores, _) = run.scores.as_ref()?;
        let mut names: Vec<_> = scores
            .classes
            .iter()
            .map(|class| class.name.clone())
            .collect();
        names.sort_unstable();
        Some(names)
    };
    (classes(first) != classes(other)).then(|| "the runs have different classes".to_owned())
}

/// Reasons to doubt a test.
fn doubts(first: &Material, other: &Material) -> Vec<String> {
    let mut doubts = Vec::new();
    if matches!(first.scores, Some((_, Measured::Validation))) {
        doubts.push("these are validation images, which have chosen the epochs".to_owned());
    }
    let places = |run: &Material| {
        let (config, _) = run.config.as_ref()?;
        Some((config.data.folder(), config.data.test.clone()))
    };
    if places(first) != places(other) {
        doubts.push(
            "the images come from different folders; equal names are taken for equal images"
                .to_owned(),
        );
    }
    doubts
}

fn read(run: &Material) -> Result<HashMap<String, Known>> {
    let known = answers(run)?.map(|answer| {
        let answer = answer?;
        let is_right = is_right(&answer);
        let Answer {
            image_id, label, ..
        } = answer;
        Ok((image_id, Known { label, is_right }))
    });
    known.collect()
}

fn answers(run: &Material) -> Result<impl Iterator<Item = trainer::Result<Answer>> + use<>> {
    let file = run.answers.as_deref().map(AnswersFile::read).transpose()?;
    Ok(file.into_iter().flatten())
}

fn is_right(answer: &Answer) -> bool {
    answer.label == answer.predicted
}

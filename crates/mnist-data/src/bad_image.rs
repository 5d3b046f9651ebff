//! Images that cannot be read: how many may be left out, and the messages about them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::classes::Classes;
use crate::error::{Error, NAMED, Result, with_causes};
use crate::sample::Sample;

/// Treatment of an image that cannot be read or decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadImage {
    /// Leaves it out of its batch, as long as [`BadImageLimit`] allows it. Warnings name the first few.
    Skip,
    /// Ends the epoch with an error that names it.
    #[default]
    Fail,
}

/// How many images a loader may leave out, under [`BadImage::Skip`].
#[derive(Debug, Clone, PartialEq)]
pub struct BadImageLimit {
    /// The largest share of the samples, from 0 to 1. One sample may always be left out, so that a single file does
    /// not end a small set. At 0 none may be left out.
    pub share: f64,
    /// The classes of the samples. If given, no class may lose all its samples.
    pub classes: Option<Classes>,
    /// The name of the samples in messages, such as the split's folder.
    pub split: String,
    /// Whether images are left out without a warning: for callers that report them.
    pub is_quiet: bool,
}

impl Default for BadImageLimit {
    /// No limit.
    fn default() -> Self {
        Self {
            share: 1.0,
            classes: None,
            split: "images".into(),
            is_quiet: false,
        }
    }
}

impl BadImageLimit {
    /// The most samples that may be left out of this number.
    fn most(&self, samples: usize) -> usize {
        if self.share == 0.0 {
            return 0;
        }
        // A product that should be whole may be slightly too small.
        ((self.share * samples as f64 + 1e-9) as usize).max(1)
    }

    /// The name of a class in messages.
    fn class(&self, label: usize) -> String {
        let names = self.classes.as_ref().map(Classes::names);
        let name = names.and_then(|names| names.get(label));
        name.map_or_else(|| label.to_string(), Clone::clone)
    }
}

/// The images that a loader has left out so far.
pub(crate) struct LeftOut {
    on_bad_image: BadImage,
    limit: BadImageLimit,
    /// The number of samples of each label.
    of_label: Vec<usize>,
    samples: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the sample's index: its label and the reason.
    images: BTreeMap<usize, (usize, String)>,
    by_label: BTreeMap<usize, usize>,
    /// The number in the last warning.
    told: usize,
}

impl LeftOut {
    pub(crate) fn new(on_bad_image: BadImage, limit: BadImageLimit, samples: &[Sample]) -> Self {
        let mut of_label = Vec::new();
        if limit.classes.is_some() {
            for sample in samples {
                if of_label.len() <= sample.label {
                    of_label.resize(sample.label + 1, 0);
                }
                of_label[sample.label] += 1;
            }
        }
        Self {
            on_bad_image,
            limit,
            of_label,
            samples: samples.len(),
            state: Mutex::default(),
        }
    }

    /// Leaves out a sample because of `error`, if the limit allows it.
    pub(crate) fn add(&self, place: usize, label: usize, error: Error) -> Result<()> {
        if self.on_bad_image == BadImage::Fail {
            return Err(error);
        }
        let mut state = self.state();
        if !state.images.contains_key(&place) {
            let reason = with_causes(&error);
            if state.images.len() < NAMED && !self.limit.is_quiet {
                tracing::warn!("left out: {reason}");
                state.told += 1;
            }
            state.images.insert(place, (label, reason));
            *state.by_label.entry(label).or_default() += 1;
        }
        self.check(&state, label)
    }

    /// Counts a sample that was left out before, without a warning.
    pub(crate) fn restore(&self, place: usize, label: usize, reason: String) {
        let mut state = self.state();
        if state.images.insert(place, (label, reason)).is_none() {
            *state.by_label.entry(label).or_default() += 1;
            state.told += 1;
        }
    }

    fn check(&self, state: &State, label: usize) -> Result<()> {
        let (count, most) = (state.images.len(), self.limit.most(self.samples));
        let lost = state.by_label.get(&label) == self.of_label.get(label);
        let (problem, remedy) = if lost && self.limit.classes.is_some() {
            let class = self.limit.class(label);
            let problem = match self.of_label[label] {
                1 => format!("the one image of class `{class}` cannot be read"),
                all => format!("not one of the {all} images of class `{class}` can be read"),
            };
            (problem, "a class without images has to be left out")
        } else if count > most {
            let problem = format!(
                "more than {most} of {} images cannot be read (the limit is {}){}",
                self.samples,
                self.limit.share,
                self.by_class(state)
            );
            (problem, "to allow this, raise bad_image_limit")
        } else {
            return Ok(());
        };
        // Images of the lost class come first.
        let lost = |&(of, _): &&(usize, String)| lost && *of != label;
        let (others, own): (Vec<_>, Vec<_>) = state.images.values().partition(lost);
        let first = own.into_iter().chain(others).take(3);
        Err(Error::TooManyBadImages {
            split: self.limit.split.clone(),
            problem,
            first: first.map(|(_, reason)| reason.clone()).collect(),
            remedy,
        })
    }

    /// `, 3 of class a, 2 of class b`, the most frequent first.
    fn by_class(&self, state: &State) -> String {
        if self.limit.classes.is_none() {
            return String::new();
        }
        let mut counts: Vec<_> = state.by_label.iter().collect();
        counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let named = counts
            .iter()
            .map(|&(&label, count)| format!("{count} of class `{}`", self.limit.class(label)));
        format!(", {}", crate::error::first_few(named))
    }

    /// Counts in one line the images that no warning named. For the end of a pass over the samples.
    pub(crate) fn pass_ended(&self) {
        let mut state = self.state();
        let count = state.images.len();
        if count > state.told && !self.limit.is_quiet {
            state.told = count;
            tracing::warn!(
                "{}: {count} of {} images cannot be read and are left out{}; the first are named above",
                self.limit.split,
                self.samples,
                self.by_class(&state)
            );
        }
    }

    /// Their indices, each with the reason.
    pub(crate) fn images(&self) -> Vec<(usize, String)> {
        let state = self.state();
        let images = state.images.iter();
        images
            .map(|(&place, (_, reason))| (place, reason.clone()))
            .collect()
    }

    /// The number of images of each label that has some.
    pub(crate) fn by_label(&self) -> BTreeMap<usize, usize> {
        self.state().by_label.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_a_share_and_one_at_least() {
        let most = |share, samples| {
            BadImageLimit {
                share,
                ..BadImageLimit::default()
            }
            .most(samples)
        };
        assert_eq!([most(0.05, 10), most(0.05, 39), most(0.05, 40)], [1, 1, 2]);
        assert_eq!([most(0.29, 100), most(0.07, 100)], [29, 7]);
        assert_eq!([most(0.0, 1000), most(1.0, 7)], [0, 7]);
    }
}

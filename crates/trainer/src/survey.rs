//! Surveys the images of a run before its first epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use mnist_data::{ImageSizes, Progress, Sample, duplicates, image_sizes};

use crate::splits::{Looked, look};
use crate::{Result, RunConfig, Splits};

/// Facts about the images of a run: their numbers, sizes and faults.
///
/// [`Survey::of`] collects them from [`Splits`].
#[derive(Clone, Debug, PartialEq)]
pub struct Survey {
    /// Class names in label order.
    pub classes: Vec<String>,
    /// Training, validation and, if there is one, test split.
    pub splits: Vec<SurveyedSplit>,
    /// Sizes of the images, from their headers; `None` if no header can be read.
    pub sizes: Option<ImageSizes>,
    /// Images that cannot be decoded, with the reason. Empty if the images were not decoded.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Whether every image was decoded; sets of more than 20,000 images are not.
    pub is_decoded: bool,
    /// Number of images in groups of near-identical neighbours that the division kept together; 0 without a division.
    pub in_bursts: usize,
    /// Whether the splits were made by dividing one set of images.
    pub is_divided: bool,
    /// Number of images that are exact copies of another image in the same split and class.
    pub repeated: usize,
    /// Pairs of splits with common images.
    pub shared: Vec<Shared>,
    /// Files with equal contents in different classes.
    pub contradicting: Vec<(PathBuf, PathBuf)>,
}

/// One split of a [`Survey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedSplit {
    /// `train`, `val` or `test`.
    pub split: &'static str,
    /// Its folder or file in messages.
    pub name: String,
    /// Images of each class, in label order.
    pub counts: Vec<usize>,
}

impl SurveyedSplit {
    /// The number of its images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.counts.iter().sum()
    }
}

/// Images that two splits have in common. They make scores on the second split too good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Indices into [`Survey::splits`], in rising order.
    pub splits: (usize, usize),
    /// The number of images of the second split that are also in the first.
    pub images: usize,
    /// A common image: its file in each split.
    pub example: (PathBuf, PathBuf),
}

/// The names of the splits in the order of [`Survey::splits`].
const SPLITS: [&str; 3] = [mnist_data::TRAIN, mnist_data::VALIDATION, mnist_data::TEST];

impl Survey {
    /// Surveys the images of a run. Up to 20,000 are decoded, small. If the configuration allows a disk cache, the small
    /// images are stored there for the next survey. Files of equal length are compared by their SHA-256.
    ///
    /// # Errors
    ///
    /// For an image that cannot be read, if `data.on_bad_image` is `"fail"`.
    pub fn of(splits: &Splits, config: &RunConfig, progress: &dyn Progress) -> Result<Self> {
        let looked = match &splits.looked {
            Some(looked) => looked.clone(),
            None => look_at_each(splits, config, progress)?,
        };
        let parts = || splits.each().map(|(images, _, _)| images);
        let samples: Vec<(usize, &Sample)> = parts()
            .enumerate()
            .flat_map(|(split, images)| images.samples.iter().map(move |sample| (split, sample)))
            .collect();
        let lost = looked.lost();
        let readable = samples
            .iter()
            .filter(|(_, sample)| !lost.contains(&*sample.path()));
        let copies = Copies::among(&readable.copied().collect::<Vec<_>>());
        let surveyed = SPLITS.into_iter().zip(splits.each());
        Ok(Self {
            classes: splits.class_names(),
            splits: surveyed
                .map(|(split, (images, name, _))| SurveyedSplit {
                    split,
                    name: name.to_owned(),
                    counts: images.class_counts(),
                })
                .collect(),
            sizes: image_sizes(samples.iter().map(|(_, sample)| sample.path())),
            unreadable: looked.unreadable,
            is_decoded: looked.is_decoded,
            in_bursts: looked.in_bursts,
            is_divided: splits.looked.is_some(),
            repeated: copies.repeated,
            shared: copies.shared.into_values().collect(),
            contradicting: copies.contradicting,
        })
    }
}

/// Decodes the images of each split separately.
fn look_at_each(splits: &Splits, config: &RunConfig, progress: &dyn Progress) -> Result<Looked> {
    let mut all = Looked {
        is_decoded: true,
        ..Looked::default()
    };
    for split in splits.each().filter(|split| !split.0.samples.is_empty()) {
        let looked = look(config, split, progress)?;
        all.is_decoded &= looked.is_decoded;
        all.unreadable.extend(looked.unreadable);
    }
    Ok(all)
}

/// Files with equal contents.
#[derive(Default)]
struct Copies {
    repeated: usize,
    shared: BTreeMap<(usize, usize), Shared>,
    contradicting: Vec<(PathBuf, PathBuf)>,
}

impl Copies {
    fn among(samples: &[(usize, &Sample)]) -> Self {
        let all: Vec<&Sample> = samples.iter().map(|&(_, sample)| sample).collect();
        let mut copies = Self::default();
        for equal in duplicates(&all) {
            copies.add(
                &equal
                    .iter()
                    .map(|&place| samples[place])
                    .collect::<Vec<_>>(),
            );
        }
        copies
    }

    /// Adds a set of samples with equal contents, each with its split.
    fn add(&mut self, equal: &[(usize, &Sample)]) {
        let known: BTreeSet<(usize, usize)> =
            equal.iter().map(|(split, s)| (*split, s.label)).collect();
        self.repeated += equal.len() - known.len();
        let (_, first) = equal[0];
        if let Some((_, other)) = equal.iter().find(|(_, sample)| sample.label != first.label) {
            self.contradicting.push((first.path(), other.path()));
        }
        for one in 0..SPLITS.len() {
            for other in one + 1..SPLITS.len() {
                let of = |split: usize| equal.iter().filter(move |(of, _)| *of == split);
                let (Some((_, a)), Some((_, b))) = (of(one).next(), of(other).next()) else {
                    continue;
                };
                let shared = self.shared.entry((one, other)).or_insert_with(|| Shared {
                    splits: (one, other),
                    images: 0,
                    example: (a.path(), b.path()),
                });
                shared.images += of(other).count();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_by_where_they_are() {
        let sample = |id: &str, label| Sample::new(id.into(), id.into(), label);
        let [a, b, c, d, e] =
            [("a", 0), ("b", 0), ("c", 1), ("d", 0), ("e", 0)].map(|(id, label)| sample(id, label));
        let mut copies = Copies::default();
        copies.add(&[(0, &a), (0, &b), (1, &c)]);
        copies.add(&[(1, &d), (2, &e)]);
        assert_eq!(copies.repeated, 1);
        assert_eq!(
            copies.contradicting,
            [(PathBuf::from("a"), PathBuf::from("c"))]
        );
        let shared: Vec<_> = copies.shared.into_values().collect();
        assert_eq!(shared.len(), 2);
        assert_eq!((shared[0].splits, shared[0].images), ((0, 1), 1));
        assert_eq!(shared[1].example, (PathBuf::from("d"), PathBuf::from("e")));
    }
}

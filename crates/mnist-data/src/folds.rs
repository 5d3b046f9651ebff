//! Divides samples into folds for cross-validation.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::partition::by_group;
use crate::shuffle::shuffle;

/// One fold: the samples for training and for validation, as indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// The indices for training, ascending.
    pub train: Vec<usize>,
    /// The indices for validation, ascending.
    pub val: Vec<usize>,
}

/// Divides samples with these labels into training and validation `k` times. Each sample is in the validation part of
/// exactly one fold: scikit-learn's `StratifiedKFold(k, shuffle=True)`.
///
/// The sizes of two folds' validation parts differ by at most one, and so do their counts of each class. A class of
/// fewer than `k` samples gets a warning, since some folds then have no validation sample of it.
///
/// # Errors
/// [`Error::Setting`] for `k` below 2, and if every class has fewer than `k` samples.
///
/// ```
/// let labels = [0, 0, 0, 0, 1, 1];
/// let folds = mnist_data::folds(&labels, 2, 42)?;
/// for fold in &folds {
///     assert_eq!((fold.train.len(), fold.val.len()), (3, 3));
///     assert_eq!(fold.val.iter().filter(|&&place| labels[place] == 0).count(), 2);
/// }
/// # Ok::<(), mnist_data::Error>(())
/// ```
pub fn folds(labels: &[usize], k: usize, seed: u64) -> Result<Vec<Fold>> {
    let fold_of = deal(labels, k, seed)?;
    Ok((0..k).map(|number| Fold::of(&fold_of, number)).collect())
}

/// The first of the [`folds`] of these samples, without the memory of the others: one part of `k` is held out.
///
/// # Errors
/// Those of `folds`.
pub fn first_fold(labels: &[usize], k: usize, seed: u64) -> Result<Fold> {
    Ok(Fold::of(&deal(labels, k, seed)?, 0))
}

impl Fold {
    fn of(fold_of: &[usize], number: usize) -> Self {
        let places = 0..fold_of.len();
        let (val, train) = places.partition(|&place| fold_of[place] == number);
        Self { train, val }
    }
}

/// The number of the fold that each sample is validated in.
fn deal(labels: &[usize], k: usize, seed: u64) -> Result<Vec<usize>> {
    let refuse = |problem| {
        Err(Error::Setting {
            setting: "folds",
            problem,
        })
    };
    if k < 2 {
        return refuse(format!("found {k}, expected at least 2"));
    }
    let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(place);
    }
    let largest = classes.values().map(Vec::len).max().unwrap_or(0);
    if largest < k {
        return refuse(format!(
            "found {k}, but no class has more than {largest} samples; take fewer folds"
        ));
    }
    for (label, places) in &classes {
        if places.len() < k {
            tracing::warn!(
                "class number {label} has {} samples for {k} folds: some validate on none of it",
                places.len()
            );
        }
    }
    // Samples are dealt to the folds in turn, one class after the other. The next class continues at the next fold,
    // which also balances the totals.
    let mut fold_of = vec![0; labels.len()];
    let mut next = 0;
    for (&label, places) in &mut classes {
        shuffle(places, seed, label as u64);
        for &place in places.iter() {
            fold_of[place] = next;
            next = (next + 1) % k;
        }
    }
    Ok(fold_of)
}

/// Divides samples as [`folds`] does, but keeps the samples of a group together, such as copies of an image. Each class
/// is spread as evenly as its groups allow. The class of a group is the class of its first sample.
///
/// # Errors
/// The errors of [`folds`], with groups counted instead of samples.
pub fn folds_of_groups(
    labels: &[usize],
    groups: &[usize],
    k: usize,
    seed: u64,
) -> Result<Vec<Fold>> {
    let places = by_group(groups);
    let groups = places.chunk_by(|&one, &other| groups[one] == groups[other]);
    let groups: Vec<&[usize]> = groups.collect();
    let labels_of_groups: Vec<usize> = groups.iter().map(|group| labels[group[0]]).collect();
    let of_groups = folds(&labels_of_groups, k, seed)?;
    let fold = |fold: &Fold| {
        let mut val: Vec<usize> = fold
            .val
            .iter()
            .flat_map(|&group| groups[group].iter().copied())
            .collect();
        val.sort_unstable();
        let train = (0..labels.len()).filter(|index| val.binary_search(index).is_err());
        Fold {
            train: train.collect(),
            val,
        }
    };
    Ok(of_groups.iter().map(fold).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The number of `places` with this label.
    fn count(labels: &[usize], places: &[usize], label: usize) -> usize {
        places
            .iter()
            .filter(|&&place| labels[place] == label)
            .count()
    }

    fn differ_by_one_at_most(counts: impl Iterator<Item = usize>) -> bool {
        let counts: Vec<usize> = counts.collect();
        counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1
    }

    #[test]
    fn too_many_and_too_few_folds_are_refused() {
        for (labels, k, problem) in [
            (vec![0, 0, 1, 1], 1, "at least 2"),
            (vec![0, 0, 1, 1], 0, "at least 2"),
            (vec![0, 0, 1, 1], 3, "more than 2 samples"),
            (vec![], 2, "more than 0 samples"),
        ] {
            let error = folds(&labels, k, 0).unwrap_err().to_string();
            assert!(
                error.contains("folds") && error.contains(problem),
                "{error}"
            );
        }
        // A class may be too small if another one is large enough.
        let uneven = folds(&[0, 0, 0, 1], 3, 0).unwrap();
        assert_eq!(uneven.len(), 3);
    }

    #[test]
    fn another_seed_deals_otherwise() {
        let labels: Vec<usize> = (0..60).map(|place| place % 3).collect();
        let one = folds(&labels, 4, 1).unwrap();
        assert_eq!(folds(&labels, 4, 1).unwrap(), one);
        assert_ne!(folds(&labels, 4, 2).unwrap(), one);
    }

    #[test]
    fn groups_are_never_divided() {
        let labels: Vec<usize> = (0..60).map(|index| index / 30).collect();
        let groups: Vec<usize> = (0..60).map(|index| index / 3).collect();
        let folds = folds_of_groups(&labels, &groups, 5, 1).unwrap();
        let mut validated: Vec<usize> = Vec::new();
        for fold in &folds {
            assert_eq!((fold.val.len(), count(&labels, &fold.val, 0)), (12, 6));
            assert!(
                fold.val
                    .chunks(3)
                    .all(|group| groups[group[0]] == groups[group[2]])
            );
            validated.extend(&fold.val);
        }
        validated.sort_unstable();
        assert_eq!(validated, (0..60).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn every_sample_is_validated_on_once_and_classes_keep_their_shares(
            labels in proptest::collection::vec(0_usize..5, 10..120), k in 2_usize..8, seed: u64,
        ) {
            let largest = (0..5).map(|label| labels.iter().filter(|&&l| l == label).count()).max().unwrap();
            prop_assume!(largest >= k);
            let folds = folds(&labels, k, seed).unwrap();
            prop_assert_eq!(folds.len(), k);
            let mut validated: Vec<usize> = folds.iter().flat_map(|fold| fold.val.clone()).collect();
            validated.sort_unstable();
            prop_assert_eq!(validated, (0..labels.len()).collect::<Vec<_>>());
            for fold in &folds {
                let mut all = [fold.train.clone(), fold.val.clone()].concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
            }
            for label in 0..5 {
                prop_assert!(differ_by_one_at_most(folds.iter().map(|fold| count(&labels, &fold.val, label))));
            }
            prop_assert!(differ_by_one_at_most(folds.iter().map(|fold| fold.val.len())));
        }
    }
}

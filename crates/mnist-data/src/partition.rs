//! Divides one set of images into three splits, reproducibly by a seed.

use std::collections::BTreeMap;

use crate::shuffle::shuffle;

/// The samples of each split, as ascending indices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partition {
    /// The training split.
    pub train: Vec<usize>,
    /// The validation split, for choosing the best epoch.
    pub val: Vec<usize>,
    /// The test split, for the final score.
    pub test: Vec<usize>,
}

/// Divides samples into splits with the same share of every class. Samples of one group stay in one split. The class of
/// a group is the class of its first sample.
///
/// `val` and `test` are shares of the samples; their sum is below 1. A class with at least three groups has samples in
/// every split whose share is above 0. A class with two groups has training and validation samples. `seed` determines
/// the division, separately for each class.
///
/// ```
/// let labels = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1];
/// let groups = [0, 0, 2, 3, 4, 5, 6, 7, 8, 9];
/// let parts = mnist_data::partition(&labels, &groups, 0.2, 0.2, 1);
/// assert_eq!((parts.train.len(), parts.val.len(), parts.test.len()), (6, 2, 2));
/// assert_eq!(parts.train.contains(&0), parts.train.contains(&1));
/// ```
#[must_use]
pub fn partition(labels: &[usize], groups: &[usize], val: f64, test: f64, seed: u64) -> Partition {
    let places = by_group(groups);
    let mut classes: BTreeMap<usize, Vec<&[usize]>> = BTreeMap::new();
    for group in places.chunk_by(|&one, &other| groups[one] == groups[other]) {
        classes.entry(labels[group[0]]).or_default().push(group);
    }
    let mut parts = Partition::default();
    for (label, mut groups) in classes {
        shuffle(&mut groups, seed, label as u64);
        divide(groups, [test, val], &mut parts);
    }
    for part in [&mut parts.train, &mut parts.val, &mut parts.test] {
        part.sort_unstable();
    }
    parts
}

/// The indices of samples with these groups, ordered by group, then ascending.
pub(crate) fn by_group(groups: &[usize]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..groups.len()).collect();
    places.sort_unstable_by_key(|&place| (groups[place], place));
    places
}

/// Divides the groups of one class. `shares` are the shares of test and validation.
fn divide(groups: Vec<&[usize]>, shares: [f64; 2], parts: &mut Partition) {
    let samples: usize = groups.iter().map(|group| group.len()).sum();
    let most = groups.len();
    // With too few groups for both, validation takes precedence over the test.
    let wanted = [(shares[0], most > 2), (shares[1], most > 1)].map(|(share, has)| {
        match has && share > 0.0 {
            true => ((share * samples as f64).round() as usize).max(1),
            false => 0,
        }
    });
    let mut left = groups;
    for (wanted, part) in wanted.into_iter().zip([&mut parts.test, &mut parts.val]) {
        let mut taken = 0;
        let mut others = Vec::new();
        for group in left {
            match taken + group.len() <= wanted {
                true => {
                    taken += group.len();
                    part.extend(group);
                }
                false => others.push(group),
            }
        }
        if wanted > 0 && taken == 0 {
            // Every group is larger than the share, so the smallest group is the closest to it.
            let smallest = (0..others.len()).min_by_key(|&index| others[index].len());
            part.extend(
                smallest
                    .map(|index| others.remove(index))
                    .unwrap_or_default(),
            );
        }
        left = others;
    }
    parts.train.extend(left.concat());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_classes_keep_images_to_train_on() {
        let sizes = |count: usize| {
            let parts = partition(
                &vec![0; count],
                &(0..count).collect::<Vec<_>>(),
                0.15,
                0.15,
                0,
            );
            [parts.train.len(), parts.val.len(), parts.test.len()]
        };
        assert_eq!(sizes(1), [1, 0, 0]);
        assert_eq!(sizes(2), [1, 1, 0]);
        assert_eq!(sizes(3), [1, 1, 1]);
        assert_eq!(sizes(20), [14, 3, 3]);
        assert_eq!(sizes(300), [210, 45, 45]);
        // Three large bursts: one for each split.
        let groups = [vec![0; 30], vec![1; 20], vec![2; 10]].concat();
        let parts = partition(&[0; 60], &groups, 0.15, 0.15, 0);
        assert_eq!(
            [parts.train.len(), parts.val.len(), parts.test.len()],
            [30, 20, 10]
        );
    }

    proptest! {
        #[test]
        fn groups_stay_together_and_every_sample_is_in_one_part(
            labels in proptest::collection::vec(0_usize..4, 1..150),
            width in 1_usize..5, seed: u64, val in 0.0..0.4, test in 0.0..0.4,
        ) {
            let mut labels = labels;
            labels.sort_unstable();
            let groups: Vec<usize> = (0..labels.len()).map(|place| place / width).collect();
            let parts = partition(&labels, &groups, val, test, seed);
            let mut all = [&parts.train[..], &parts.val, &parts.test].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
            for part in [&parts.train, &parts.val, &parts.test] {
                for &place in part {
                    let whole = (0..labels.len()).filter(|&other| groups[other] == groups[place]);
                    prop_assert!(whole.into_iter().all(|other| part.contains(&other)));
                }
            }
            prop_assert_eq!(partition(&labels, &groups, val, test, seed), parts);
        }

        #[test]
        fn single_images_give_every_class_its_share(count in 3_usize..200, val in 0.01..0.4, test in 0.01..0.4, seed: u64) {
            let labels: Vec<usize> = (0..2 * count).map(|place| place % 2).collect();
            let groups: Vec<usize> = (0..labels.len()).collect();
            let parts = partition(&labels, &groups, val, test, seed);
            for (part, share) in [(&parts.val, val), (&parts.test, test)] {
                let of_each = ((share * count as f64).round() as usize).max(1);
                for label in 0..2 {
                    prop_assert_eq!(part.iter().filter(|&&place| labels[place] == label).count(), of_each);
                }
            }
        }
    }
}

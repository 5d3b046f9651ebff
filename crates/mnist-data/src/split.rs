//! Chooses the validation images of a training set.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::shuffle::shuffle;

/// Which training images become the validation split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// The number of validation images; 0 for no validation split.
    pub count: usize,
    /// If `false`, the last `count` images are used. If `true`, they are drawn at random, each class in proportion to
    /// its share.
    pub stratified: bool,
    /// The seed of a stratified draw.
    pub seed: u64,
}

impl Default for Validation {
    /// The last 1,000 images.
    fn default() -> Self {
        Self {
            count: 1000,
            stratified: false,
            seed: 0,
        }
    }
}

/// The indices of the training and of the validation images, each ascending.
///
/// # Errors
/// [`Error::Setting`] if no image remains for training.
pub fn split_validation(
    labels: &[u8],
    validation: &Validation,
) -> Result<(Vec<usize>, Vec<usize>)> {
    if validation.count >= labels.len() {
        return Err(Error::Setting {
            setting: "validation.count",
            problem: format!(
                "{} of {} images leaves none to train on",
                validation.count,
                labels.len()
            ),
        });
    }
    if !validation.stratified {
        let first = labels.len() - validation.count;
        return Ok(((0..first).collect(), (first..labels.len()).collect()));
    }
    let held_out = stratified_sample(labels, validation.count, validation.seed);
    let train = (0..labels.len())
        .filter(|index| held_out.binary_search(index).is_err())
        .collect();
    Ok((train, held_out))
}

/// The ascending indices of `count` images drawn at random, each class in proportion to its share
/// (largest remainders); all images if there are not more than `count`.
#[must_use]
pub fn stratified_sample(labels: &[u8], count: usize, seed: u64) -> Vec<usize> {
    let count = count.min(labels.len());
    let mut classes: Vec<Vec<usize>> = vec![Vec::new(); 256];
    for (index, &label) in labels.iter().enumerate() {
        classes[usize::from(label)].push(index);
    }
    // Each class gets count * members / labels images: first the whole part ...
    let share = |members: usize| (count as u128 * members as u128) / labels.len().max(1) as u128;
    let rest = |members: usize| (count as u128 * members as u128) % labels.len().max(1) as u128;
    let mut quotas: Vec<usize> = classes
        .iter()
        .map(|class| share(class.len()) as usize)
        .collect();
    // ... then the remaining images, by the largest fractions.
    let mut by_rest: Vec<usize> = (0..classes.len()).collect();
    by_rest.sort_by_key(|&class| (std::cmp::Reverse(rest(classes[class].len())), class));
    let free = count - quotas.iter().sum::<usize>();
    for &class in &by_rest[..free] {
        quotas[class] += 1;
    }
    let mut drawn = Vec::with_capacity(count);
    for (class, (members, quota)) in classes.iter_mut().zip(quotas).enumerate() {
        shuffle(members, seed, class as u64);
        drawn.extend(&members[..quota]);
    }
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<u8> {
        // 60 images of class 0, 30 of class 1 and 10 of class 7, mixed.
        (0..100)
            .map(|index| match index % 10 {
                0..6 => 0,
                6..9 => 1,
                _ => 7,
            })
            .collect()
    }

    fn count(labels: &[u8], indices: &[usize], class: u8) -> usize {
        indices
            .iter()
            .filter(|&&index| labels[index] == class)
            .count()
    }

    #[test]
    fn the_default_holds_out_the_last() {
        let validation = Validation {
            count: 3,
            ..Validation::default()
        };
        let (train, held_out) = split_validation(&labels(), &validation).unwrap();
        assert_eq!(held_out, [97, 98, 99]);
        assert_eq!(train, (0..97).collect::<Vec<_>>());
    }

    #[test]
    fn stratified_keeps_the_shares() {
        let labels = labels();
        let validation = Validation {
            count: 21,
            stratified: true,
            seed: 5,
        };
        let (train, held_out) = split_validation(&labels, &validation).unwrap();
        // Shares of 12.6, 6.3 and 2.1: the largest fraction gets the remaining image.
        assert_eq!(
            [0, 1, 7].map(|class| count(&labels, &held_out, class)),
            [13, 6, 2]
        );
        let mut all = [train, held_out.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_ne!(held_out, stratified_sample(&labels, 21, 6));
        assert_eq!(held_out, stratified_sample(&labels, 21, 5));
    }

    #[test]
    fn a_split_that_leaves_nothing_to_train_on_is_refused() {
        for count in [100, 101, usize::MAX] {
            let validation = Validation {
                count,
                ..Validation::default()
            };
            let error = split_validation(&labels(), &validation).unwrap_err();
            assert!(error.to_string().contains("validation.count"), "{error}");
        }
        assert_eq!(stratified_sample(&labels(), 1000, 0).len(), 100);
        assert!(stratified_sample(&[], 3, 0).is_empty());
    }
}

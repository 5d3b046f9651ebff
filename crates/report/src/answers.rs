//! The answers that a report shows, chosen from those of all images.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use trainer::{AnswersFile, Evaluation};

use crate::Result;

/// The answer for an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) label: usize,
    pub(crate) predicted: usize,
    pub(crate) probability: f32,
    pub(crate) second: Option<(usize, f32)>,
}

/// The most images per cell of the confusion matrix.
pub(crate) const PER_CELL: usize = 6;
/// The most mistakes.
pub(crate) const MISTAKES: usize = 24;
/// The most right answers.
pub(crate) const UNSURE: usize = 12;

/// The answers that are worth a look. Memory is bounded by the number of cells that occur, not by the number of images.
#[derive(Debug, Default)]
pub(crate) struct Chosen {
    /// For each (label, predicted): the most confident of the wrong answers, or the least sure of the right ones.
    pub(crate) cells: BTreeMap<(usize, usize), Vec<Shown>>,
    /// The wrong answers with the largest probability.
    pub(crate) mistakes: Vec<Shown>,
    /// The right answers with the smallest probability.
    pub(crate) unsure: Vec<Shown>,
}

impl Chosen {
    /// Reads a file of answers.
    ///
    /// # Errors
    ///
    /// Those of [`AnswersFile::read`]. Rows of unknown classes are left out.
    pub(crate) fn read(path: &Path, scores: &Evaluation) -> Result<Self> {
        let names = scores.classes.iter().enumerate();
        let labels: HashMap<&str, usize> = names
            .map(|(label, class)| (&class.name[..], label))
            .collect();
        let mut chosen = Self::default();
        for answer in AnswersFile::read(path)? {
            let answer = answer?;
            let label = |name: &str| labels.get(name).copied();
            if let (Some(truth), Some(predicted)) = (label(&answer.label), label(&answer.predicted))
            {
                chosen.add(Shown {
                    id: answer.image_id,
                    label: truth,
                    predicted,
                    probability: answer.probability,
                    second: label(&answer.second).zip(answer.second_probability),
                });
            }
        }
        Ok(chosen)
    }

    fn add(&mut self, shown: Shown) {
        let cell = self
            .cells
            .entry((shown.label, shown.predicted))
            .or_default();
        let order = if shown.is_right() {
            least_sure
        } else {
            most_sure
        };
        keep(cell, &shown, PER_CELL, order);
        match shown.is_right() {
            true => keep(&mut self.unsure, &shown, UNSURE, least_sure),
            false => keep(&mut self.mistakes, &shown, MISTAKES, most_sure),
        }
    }

    /// The first ids, in the order of their importance, at most `most`: mistakes, unsure answers, then cells by the number of
    /// their images.
    pub(crate) fn ids(&self, confusion: &[Vec<u64>], most: usize) -> Vec<&str> {
        let mut cells: Vec<(&(usize, usize), &Vec<Shown>)> = self.cells.iter().collect();
        let count = |&(label, predicted): &(usize, usize)| {
            confusion
                .get(label)
                .and_then(|row| row.get(predicted))
                .copied()
                .unwrap_or(0)
        };
        // Errors come first, and of right answers three images are enough.
        cells.sort_by_key(|((label, predicted), _)| {
            (
                label == predicted,
                std::cmp::Reverse(count(&(*label, *predicted))),
            )
        });
        let of_cells = cells.iter().flat_map(|((label, predicted), shown)| {
            let most = if label == predicted {
                PER_CELL / 2
            } else {
                PER_CELL
            };
            shown.iter().take(most)
        });
        let all = self.mistakes.iter().chain(&self.unsure).chain(of_cells);
        let mut seen = std::collections::HashSet::new();
        let fresh = all.map(|shown| &shown.id[..]).filter(|id| seen.insert(*id));
        fresh.take(most).collect()
    }
}

impl Shown {
    pub(crate) fn is_right(&self) -> bool {
        self.label == self.predicted
    }
}

fn least_sure(a: &Shown, b: &Shown) -> Ordering {
    a.probability
        .total_cmp(&b.probability)
        .then_with(|| a.id.cmp(&b.id))
}

fn most_sure(a: &Shown, b: &Shown) -> Ordering {
    b.probability
        .total_cmp(&a.probability)
        .then_with(|| a.id.cmp(&b.id))
}

/// Inserts an answer into a sorted list of at most `most`.
fn keep(list: &mut Vec<Shown>, shown: &Shown, most: usize, order: fn(&Shown, &Shown) -> Ordering) {
    let at = list.partition_point(|other| order(other, shown).is_lt());
    if at < most {
        list.insert(at, shown.clone());
        list.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extreme_answers_are_kept_in_order() {
        let mut chosen = Chosen::default();
        for number in 0..50u8 {
            let label = usize::from(number % 2);
            chosen.add(Shown {
                id: format!("{number:02}"),
                label,
                predicted: 0,
                probability: 0.5 + f32::from(number) / 100.0,
                second: None,
            });
        }
        let ids = |list: &[Shown]| {
            list.iter()
                .map(|shown| shown.id.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(&chosen.mistakes)[..3], ["49", "47", "45"]);
        assert_eq!(chosen.mistakes.len(), MISTAKES);
        assert_eq!(ids(&chosen.unsure)[..3], ["00", "02", "04"]);
        assert_eq!(
            ids(&chosen.cells[&(1, 0)]),
            ["49", "47", "45", "43", "41", "39"]
        );
        let confusion = vec![vec![25, 0], vec![25, 0]];
        let all = chosen.ids(&confusion, 1000);
        assert_eq!(all.len(), MISTAKES + UNSURE);
        assert_eq!(chosen.ids(&confusion, 3), ["49", "47", "45"]);
    }
}

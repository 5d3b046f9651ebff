//! Finds the order of a network's classes if its weights file does not contain it.

use std::path::Path;

use mnist_data::{Classes, ImageFolder};
use mobilenet::ClassOrder;
use mobilenet::weights::WeightsMetadata;

use crate::{ConfusionMatrix, Error, Result};

/// The assumed order is refused if another order's accuracy is higher by this margin …
const MARGIN: f64 = 0.05;
/// … and by this many standard errors.
const DEVIATIONS: f64 = 3.0;

/// The fewest images per class for inferring an order from the labels.
const ENOUGH: usize = 5;

/// The class of each output of a network.
pub(crate) struct Order {
    pub(crate) classes: Classes,
    pub(crate) known: ClassOrder,
}

impl Order {
    /// The class names in the weights; without them, the class names of the data, sorted as text.
    ///
    /// # Errors
    ///
    /// [`Error::UnnamedClasses`] if the weights have no class names and the numbers of outputs and classes differ.
    pub(crate) fn of(metadata: &WeightsMetadata, data: &Path) -> Result<Self> {
        if let Some(names) = metadata.named_classes() {
            return Ok(Self {
                classes: Classes::new(names.to_vec())?,
                known: ClassOrder::Named,
            });
        }
        let found = match data.is_file() {
            true => ImageFolder::from_csv(data, None, None)?.classes,
            false => Classes::of_folders(data)?,
        };
        let numbers = &metadata.class_names;
        if found.len() == numbers.len() {
            return Ok(Self {
                classes: found,
                known: ClassOrder::SortedNames,
            });
        }
        // Single digits sort alike as text and by value, even with gaps.
        if numbers.is_sorted() && found.names().iter().all(|name| numbers.contains(name)) {
            return Ok(Self {
                classes: Classes::new(numbers.clone())?,
                known: ClassOrder::Numbered,
            });
        }
        Err(Error::UnnamedClasses {
            data: data.to_owned(),
            found: found.len(),
            outputs: numbers.len(),
        })
    }

    /// Refuses an assumed order if the labels of `data` contradict it. The alternatives are the
    /// numerical order of the names, and the most frequent label of each output.
    ///
    /// # Errors
    ///
    /// [`Error::ClassOrder`] with the accuracies of both orders.
    pub(crate) fn check(&self, confusion: &ConfusionMatrix, data: &Path) -> Result<()> {
        if self.known != ClassOrder::SortedNames {
            return Ok(());
        }
        let by_number = (
            by_number(self.classes.names()),
            "the numbers in them sorted by value",
        );
        let mut orders = vec![by_number];
        if let Some(order) = by_majority(confusion, self.classes.len()) {
            orders.push((order, "each output as its most frequent label"));
        }
        for (labels, order) in orders {
            let other = accuracy_in(&labels, confusion);
            if let Some(other) = other {
                return Err(Error::ClassOrder {
                    data: data.to_owned(),
                    as_text: confusion.accuracy(),
                    order,
                    other,
                });
            }
        }
        Ok(())
    }
}

/// The accuracy with these labels for the outputs, if it is significantly better than with the assumed ones.
fn accuracy_in(labels: &[usize], confusion: &ConfusionMatrix) -> Option<f64> {
    let moved = labels.iter().enumerate();
    let moved = moved.filter(|(output, label)| output != *label);
    let (mut gained, mut lost) = (0, 0);
    for (output, &label) in moved {
        gained += confusion.count(label, output);
        lost += confusion.count(output, output);
    }
    let (total, difference) = (confusion.total() as f64, gained as f64 - lost as f64);
    // McNemar's test, on the images that are right under exactly one of the two orders. By chance, each order would get
    // half of them.
    let chance = ((gained + lost) as f64).sqrt();
    let is_better = difference > MARGIN * total && difference > DEVIATIONS * chance;
    is_better.then(|| confusion.accuracy() + difference / total)
}

/// The most frequent label of each output. `None` if these labels are not distinct, the images are too few, or the
/// accuracy with them is at most a half: there are many orders, so one would fit a poor network by chance.
fn by_majority(confusion: &ConfusionMatrix, classes: usize) -> Option<Vec<usize>> {
    if confusion.total() < (ENOUGH * classes) as u64 {
        return None;
    }
    let mut is_taken = vec![false; classes];
    let mut right = 0;
    let mut labels = Vec::with_capacity(classes);
    for output in 0..classes {
        let label = (0..classes).max_by_key(|&label| confusion.count(label, output))?;
        if std::mem::replace(&mut is_taken[label], true) {
            return None;
        }
        right += confusion.count(label, output);
        labels.push(label);
    }
    (2 * right > confusion.total()).then_some(labels)
}

/// The indices that sort names in natural order: runs of digits are compared by value.
fn by_number(names: &[String]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..names.len()).collect();
    places.sort_by_cached_key(|&place| parts(&names[place]));
    places
}

/// A part of a name: a run of digits, or text without digits.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'a> {
    /// Digits without leading zeros, so that a longer number is larger.
    Number(usize, &'a str),
    Text(&'a str),
}

fn parts(name: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let is_number = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_number);
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        parts.push(match is_number {
            true => {
                let digits = part.trim_start_matches('0');
                Part::Number(digits.len(), digits)
            }
            false => Part::Text(part),
        });
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn numbers_in_names_are_compared_by_value() {
        for (sorted, expected) in [
            (vec!["1", "10", "11", "2"], vec![0, 3, 1, 2]),
            (vec!["00", "01", "10"], vec![0, 1, 2]),
            (vec!["class-10", "class-9", "other"], vec![1, 0, 2]),
            (vec!["a10b2", "a10b11", "a9"], vec![2, 0, 1]),
            (vec!["cat", "dog", "fox"], vec![0, 1, 2]),
            (
                vec!["18446744073709551616", "18446744073709551617", "3"],
                vec![2, 0, 1],
            ),
        ] {
            assert_eq!(by_number(&names(&sorted)), expected, "{sorted:?}");
        }
    }

    /// The numbers 0 to 11 sorted as text, and the value of each.
    const AS_TEXT: [&str; 12] = ["0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"];
    const BY_VALUE: [usize; 12] = [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 2, 3];

    /// Checks the assumed order on `each` images per output. All of them have the label that `order` gives the output.
    fn judged(order: &[usize], each: usize) -> Result<()> {
        let mut confusion = ConfusionMatrix::new(AS_TEXT.len());
        for (output, &label) in order.iter().enumerate() {
            let (label, output) = (vec![label as u32; each], vec![output as u32; each]);
            confusion.add(&label, &output).unwrap();
        }
        let order = Order {
            classes: Classes::new(names(&AS_TEXT)).unwrap(),
            known: ClassOrder::SortedNames,
        };
        order.check(&confusion, Path::new("data"))
    }

    #[test]
    fn labels_refute_an_order_only_beyond_chance() {
        let in_order: Vec<usize> = (0..12).collect();
        judged(&in_order, 50).unwrap();
        let error = judged(&BY_VALUE, 50).unwrap_err();
        let Error::ClassOrder { as_text, other, .. } = error else {
            panic!("{error}");
        };
        assert!((as_text - 2.0 / 12.0).abs() < 1e-12, "{as_text}");
        assert!((other - 1.0).abs() < 1e-12, "{other}");
        // Any other order is inferred from the labels, if there are enough images.
        let turned: Vec<usize> = (0..12).map(|output| (output + 5) % 12).collect();
        judged(&turned, 4).unwrap();
        let error = judged(&turned, 5).unwrap_err().to_string();
        assert!(error.contains("1.0000 with each output"), "{error}");
        // Ten images are 3.2 standard errors, and nine are 3.0.
        judged(&BY_VALUE, 1).unwrap_err();
        judged(&BY_VALUE[..11], 1).unwrap();
    }
}

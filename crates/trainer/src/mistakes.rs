//! Lists the images that a network classifies wrongly.

use std::path::Path;

use crate::Result;
use crate::table::Table;

/// An image with a wrong answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// The image's id.
    pub id: String,
    /// The image's true class.
    pub label: usize,
    /// The most probable class, and its probability.
    pub first: (usize, f32),
    /// The second most probable class, and its probability. The second class is often the true one.
    pub second: (usize, f32),
}

impl Mistake {
    /// The mistakes in a batch with probabilities `[n][classes]`.
    pub(crate) fn among<'a>(
        ids: &'a [String],
        labels: &'a [u32],
        probabilities: &'a [Vec<f32>],
    ) -> impl Iterator<Item = Self> + 'a {
        let images = ids.iter().zip(labels).zip(probabilities);
        images.filter_map(|((id, &label), row)| {
            let label = label as usize;
            let [Some(first), Some(second)] = two_largest(row) else {
                return None;
            };
            (first.0 != label).then(|| Self {
                id: id.clone(),
                label,
                first,
                second,
            })
        })
    }

    /// The mistakes, the most confident first.
    pub fn by_confidence(mistakes: &[Self]) -> Vec<&Self> {
        let mut sorted: Vec<&Self> = mistakes.iter().collect();
        sorted.sort_by(|a, b| {
            b.first
                .1
                .total_cmp(&a.first.1)
                .then_with(|| a.id.cmp(&b.id))
        });
        sorted
    }

    /// Writes `image_id,label,predicted,probability,second,second_probability`: one row for each mistake, the most
    /// confident first. The file appears only when it is complete.
    ///
    /// # Errors
    ///
    /// [`Error::Io`](crate::Error::Io) naming the file.
    pub fn write_csv(path: &Path, mistakes: &[Self], class_names: &[String]) -> Result<()> {
        let header = [
            "image_id",
            "label",
            "predicted",
            "probability",
            "second",
            "second_probability",
        ];
        let mut table = Table::create(path, header)?;
        let name = |label: usize| class_names.get(label).map_or("", String::as_str);
        for mistake in Self::by_confidence(mistakes) {
            let [first, second] = [mistake.first, mistake.second];
            table.row([
                &mistake.id,
                name(mistake.label),
                name(first.0),
                &format!("{:.6}", first.1),
                name(second.0),
                &format!("{:.6}", second.1),
            ])?;
        }
        table.finish()
    }
}

/// The most probable class of a row and the second most probable one, with their probabilities. Of equal
/// probabilities, the first counts.
pub(crate) fn two_largest(row: &[f32]) -> [Option<(usize, f32)>; 2] {
    let first = largest(row, None);
    [
        first,
        first.and_then(|(class, _)| largest(row, Some(class))),
    ]
}

/// The most probable class of a row, apart from the class `without`, and its probability. Of equal probabilities, the
/// first counts.
pub(crate) fn largest(row: &[f32], without: Option<usize>) -> Option<(usize, f32)> {
    let classes = row.iter().copied().enumerate();
    let others = classes.filter(|&(class, _)| Some(class) != without);
    others.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_come_with_their_second_choice_the_surest_first() {
        let ids = ["a/1", "a,2", "b/3"].map(str::to_owned);
        let rows = [
            vec![0.2, 0.5, 0.3],
            vec![0.1, 0.1, 0.8],
            vec![0.3, 0.4, 0.3],
        ];
        let mistakes: Vec<Mistake> = Mistake::among(&ids, &[2, 0, 1], &rows).collect();
        assert_eq!(mistakes.len(), 2);
        assert_eq!(
            (mistakes[0].first, mistakes[0].second),
            ((1, 0.5), (2, 0.3))
        );
        assert_eq!((mistakes[1].first.0, mistakes[1].second.0), (2, 0));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wrong.csv");
        let names = ["cat", "dog", "emu"].map(str::to_owned);
        Mistake::write_csv(&path, &mistakes, &names).unwrap();
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "image_id,label,predicted,probability,second,second_probability\n\
             \"a,2\",cat,emu,0.800000,cat,0.100000\n\
             a/1,emu,dog,0.500000,emu,0.300000\n"
        );
    }
}

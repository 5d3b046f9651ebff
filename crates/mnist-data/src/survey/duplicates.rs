//! Finds files with equal contents.

use std::collections::HashMap;
use std::fs;

use rayon::prelude::*;

use crate::checksum::content_checksum;
use crate::sample::Sample;

/// The samples with equal files, as indices: one list for each set of two or more equal files. Lists and indices are in
/// the order of `samples`. Only files of equal length are read. An unreadable file equals no other file.
#[must_use]
pub fn duplicates(samples: &[&Sample]) -> Vec<Vec<usize>> {
    let mut by_length: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, sample) in samples.iter().enumerate() {
        if let Ok(metadata) = fs::metadata(sample.path()) {
            by_length.entry(metadata.len()).or_default().push(index);
        }
    }
    let candidates: Vec<usize> = by_length
        .into_values()
        .filter(|places| places.len() > 1)
        .flatten()
        .collect();
    let checksums = candidates.par_iter().filter_map(|&index| {
        let checksum = content_checksum(&samples[index].path()).ok()?;
        // The number takes less memory than the text.
        let (start, end) = checksum.split_at_checked(32)?;
        let half = |digits| u128::from_str_radix(digits, 16).ok();
        Some(([half(start)?, half(end)?], index))
    });
    let mut checksums: Vec<([u128; 2], usize)> = checksums.collect();
    checksums.sort_unstable();
    let equal = checksums.chunk_by(|(one, _), (other, _)| one == other);
    let sets = equal.filter(|set| set.len() > 1);
    let mut sets: Vec<Vec<usize>> = sets
        .map(|set| set.iter().map(|&(_, index)| index).collect())
        .collect();
    sets.sort_unstable();
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_contents_are_found_whatever_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let contents = ["one", "two", "one", "three", "two", "one", "six"];
        let samples: Vec<Sample> = contents
            .iter()
            .enumerate()
            .map(|(index, content)| {
                let path = dir.path().join(format!("{index}.png"));
                fs::write(&path, content).unwrap();
                Sample::new(index.to_string(), path, index)
            })
            .chain([Sample::new("gone".into(), dir.path().join("gone"), 0)])
            .collect();
        let samples: Vec<&Sample> = samples.iter().collect();
        assert_eq!(duplicates(&samples), [vec![0, 2, 5], vec![1, 4]]);
    }
}

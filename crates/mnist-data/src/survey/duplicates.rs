//! Finds files with equal contents.

use std::collections::HashMap;
use std::fs;

use rayon::prelude::*;

use crate::checksum::content_checksum;
use crate::folder::Sample;

/// The samples with equal files, as indices: one list for each set of two or more equal files. Lists and indices are in
/// the order of `samples`. Only files of equal length are read. An unreadable file equals no other file.
#[must_use]
pub fn duplicates(samples: &[&Sample]) -> Vec<Vec<usize>> {
    let mut by_length: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, sample) in samples.iter().enumerate() {
        if let Ok(metadata) = fs::metadata(&sample.path) {
            by_length.entry(metadata.len()).or_default().push(index);
        }
    }
    let candidates: Vec<usize> = by_length
        .into_values()
        .filter(|places| places.len() > 1)
        .flatten()
        .collect();
    let checksums = candidates.par_iter().filter_map(|&index| {
        let checksum = content_checksum(&samples[index].path).ok()?;
        Some((checksum, index))
    });
    let mut by_content: HashMap<String, Vec<usize>> = HashMap::new();
    for (checksum, index) in checksums.collect::<Vec<_>>() {
        by_content.entry(checksum).or_default().push(index);
    }
    let sets = by_content.into_values().filter(|places| places.len() > 1);
    let mut sets: Vec<Vec<usize>> = sets.collect();
    sets.iter_mut().for_each(|places| places.sort_unstable());
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

//! For tensors that a file lacks, the ones that may have been meant.

use crate::tensor_file::TensorFile;

/// Most tensors that are looked for.
const WANTED: usize = 3;

/// Most names of a file that are compared, so that a hostile file takes no time.
const COMPARED: usize = 2000;

/// Longer names are those of no network.
const LONGEST: usize = 200;

/// The first wanted names with the file's nearest to each.
pub(crate) fn nearest<'a>(
    wanted: impl Iterator<Item = &'a str>,
    file: &TensorFile,
) -> Vec<(String, String)> {
    let near = |wanted: &str| {
        let names = file
            .names()
            .take(COMPARED)
            .filter(|name| name.len() <= LONGEST);
        names
            .map(|name| (strsim::normalized_levenshtein(wanted, name), name))
            .max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, name)| (wanted.to_owned(), name.to_owned()))
    };
    wanted.take(WANTED).filter_map(near).collect()
}

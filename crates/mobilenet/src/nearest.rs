//! The names of a file that may have been meant by one that it lacks.

/// Most names that are compared, so that a hostile file takes no time.
const COMPARED: usize = 2000;

/// Longer names are those of no network.
const LONGEST: usize = 200;

/// The `count` of `names` that are the most like `wanted`, the nearest first.
pub(crate) fn nearest<'a>(
    wanted: &str,
    names: impl Iterator<Item = &'a str>,
    count: usize,
) -> Vec<&'a str> {
    let names = names.filter(|name| name.len() <= LONGEST).take(COMPARED);
    let mut names: Vec<(usize, &str)> = names
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .collect();
    names.sort_unstable();
    names.truncate(count);
    names.into_iter().map(|(_, name)| name).collect()
}

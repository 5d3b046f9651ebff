//! Suggests similar names from a file for a missing name.

/// Most names that are compared, so that a hostile file costs no time.
const COMPARED: usize = 2000;

/// Longer names belong to no network and are ignored.
const LONGEST: usize = 200;

/// The `count` of `names` most similar to `wanted`, most similar first.
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

//! Suggestions for a missing name: the most similar names in a file.

/// Maximum number of names that are compared, so that a malicious file takes no time.
const COMPARED: usize = 2000;

/// Maximum length of a name. No network has longer names, so they are ignored.
const LONGEST: usize = 200;

/// The `count` of `names` that are most similar to `wanted`, most similar first.
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

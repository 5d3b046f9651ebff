//! The tables of docs/performance.md, which are made from the files in docs/performance/.
//!
//! A table stands between the lines `<!-- generated: FILE PART -->` and `<!-- end -->`. FILE is a
//! file's name without `.json`. PART is `figures` or `growth`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::record::Record;
use super::tables::{Part, table};
use crate::shell::root;

pub(crate) const PAGE: &str = "docs/performance.md";
/// The folder of the results: a file for each processor.
pub(super) const FOLDER: &str = "docs/performance";
const BEGIN: &str = "<!-- generated: ";
const END: &str = "<!-- end -->";

/// `cargo xtask bench report --update`
pub(super) fn update() -> Result<()> {
    for (path, text) in texts(root()?)? {
        fs::write(root()?.join(&path), text).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}

/// The page and the files, where they are not as `update` would write them. A table that nobody
/// makes from measurements grows old.
pub(crate) fn violations(root: &Path) -> Vec<String> {
    let expected = match texts(root) {
        Ok(expected) => expected,
        Err(error) => return vec![format!("{error:#}")],
    };
    let differs = |(path, text): &(String, String)| {
        let found = fs::read_to_string(root.join(path)).unwrap_or_default();
        found != *text
    };
    let changed = expected.into_iter().filter(differs);
    let violation = |(path, _)| {
        format!(
            "{path}: not as the measurements in {FOLDER}/ say; run `cargo xtask bench report --update`"
        )
    };
    changed.map(violation).collect()
}

/// The lines of a page that are not inside of a table between markers.
pub(crate) fn without_tables(page: &str) -> impl Iterator<Item = &str> {
    let mut is_inside = false;
    page.lines().filter(move |line| {
        is_inside = (is_inside || line.starts_with(BEGIN)) && *line != END;
        !is_inside
    })
}

/// The paths and texts of the page and the files.
fn texts(root: &Path) -> Result<Vec<(String, String)>> {
    let folder = root.join(FOLDER);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {FOLDER}"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".json").map(str::to_owned));
    }
    names.sort();
    let mut texts = Vec::new();
    let mut records = Vec::new();
    for name in names {
        let path = format!("{FOLDER}/{name}.json");
        let record = Record::read(&root.join(&path))?;
        texts.push((path, record.text()?));
        records.push((name, record));
    }
    let page =
        fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let page = filled(&page, &records).with_context(|| PAGE.to_owned())?;
    texts.push((PAGE.to_owned(), page));
    Ok(texts)
}

/// The page with a table after each marker.
fn filled(page: &str, records: &[(String, Record)]) -> Result<String> {
    let mut wanted = Vec::new();
    for (name, record) in records {
        for part in Part::ALL {
            if let Some(table) = table(record, part) {
                wanted.push((format!("{BEGIN}{name} {} -->", part.name()), table));
            }
        }
    }
    let mut text = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        text += line;
        text += "\n";
        if !line.starts_with(BEGIN) {
            continue;
        }
        let found = wanted.iter().position(|(marker, _)| marker == line);
        let found = found.with_context(|| format!("{line}: no such rows, or a second marker"))?;
        let (_, table) = wanted.swap_remove(found);
        ensure!(
            lines.any(|line| line == END),
            "{line}: no line {END} after it"
        );
        text += &format!("\n{table}\n{END}\n");
    }
    if let Some((marker, _)) = wanted.first() {
        bail!(
            "no table for rows in {FOLDER}/; add the lines {marker} and {END} where it is to stand"
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::tables::tests::FILE;

    const MARKERS: &str = "# A\n\n<!-- generated: a figures -->\nold\n<!-- end -->\n\nb\n\n\
        <!-- generated: a growth -->\n<!-- end -->\nc\n";

    fn tree(page: &str, file: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(FOLDER)).unwrap();
        fs::write(dir.path().join(FOLDER).join("a.json"), file).unwrap();
        fs::write(dir.path().join(PAGE), page).unwrap();
        dir
    }

    fn found(page: &str, file: &str) -> Vec<String> {
        violations(tree(page, file).path())
    }

    #[test]
    fn a_page_has_the_tables_of_the_files() {
        let dir = tree(MARKERS, FILE);
        let texts = texts(dir.path()).unwrap();
        assert_eq!(texts[0], (format!("{FOLDER}/a.json"), FILE.to_owned()));
        let page = &texts[1].1;
        let record = Record::parse(FILE).unwrap();
        let [figures, growth] = Part::ALL.map(|part| table(&record, part).unwrap());
        let expected = format!(
            "# A\n\n<!-- generated: a figures -->\n\n{figures}\n<!-- end -->\n\nb\n\n\
             <!-- generated: a growth -->\n\n{growth}\n<!-- end -->\nc\n"
        );
        assert_eq!(*page, expected);
        assert_eq!(found(page, FILE), [""; 0]);
        let outside: Vec<_> = without_tables(page).collect();
        assert_eq!(outside, ["# A", "", END, "", "b", "", END, "c"]);
    }

    #[test]
    fn a_page_or_a_file_that_was_changed_is_a_violation() {
        let page = filled(MARKERS, &[("a".to_owned(), Record::parse(FILE).unwrap())]).unwrap();
        for (page, file) in [
            (page.replace("96.83", "99.99"), FILE.to_owned()),
            (page.clone(), FILE.replace("96.83", "99.99")),
            (page.clone(), FILE.replace("\"goal\":3.5", "\"goal\":3.0")),
        ] {
            let found = found(&page, &file);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].contains("cargo xtask bench report --update"),
                "{found:?}"
            );
        }
        assert!(found(&page, "{}")[0].contains("a.json"));
    }

    #[test]
    fn every_table_has_one_place() {
        for page in [
            MARKERS.replace("a growth", "b growth"),
            MARKERS.replace("a growth", "a figures"),
            MARKERS.replace("<!-- end -->\nc", "c"),
            MARKERS.replace("<!-- generated: a growth -->", ""),
        ] {
            let found = found(&page, FILE);
            assert!(found.len() == 1 && found[0].starts_with(PAGE), "{found:?}");
        }
        // A workspace without results has nothing to check.
        assert_eq!(violations(tempfile::tempdir().unwrap().path()), [""; 0]);
    }
}

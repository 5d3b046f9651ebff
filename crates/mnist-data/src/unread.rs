//! Files in image folders that are not read.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::error::first_few;

/// Extensions of images that cannot be read: formats without a decoder here, and raw files from cameras.
const CONVERTIBLE: [&str; 24] = [
    "ai", "arw", "avif", "cr2", "cr3", "dds", "dng", "exr", "hdr", "heic", "heif", "ico", "j2k",
    "jp2", "jxl", "nef", "orf", "pdf", "psd", "qoi", "raf", "rw2", "svg", "tga",
];

/// The raw formats of cameras among them.
const RAW: [&str; 8] = ["arw", "cr2", "cr3", "dng", "nef", "orf", "raf", "rw2"];

/// Files that are not read, counted by kind.
#[derive(Debug, Default)]
pub(crate) struct Unread(BTreeMap<Kind, Counted>);

/// The reason a file is not read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Its extension (here in lower case) is not an image format's.
    Ending(String),
    /// Its name has no extension.
    NoEnding,
    /// It is a pipe, a socket or a device.
    Special(&'static str),
    /// It is a broken link.
    Dangling,
    /// It is a link to a folder above it.
    LinkAbove,
}

#[derive(Debug)]
struct Counted {
    count: usize,
    first: String,
}

impl Kind {
    /// The kind of a regular file without an image's extension.
    pub(crate) fn of_name(path: &Path) -> Self {
        match path.extension() {
            Some(ending) => Self::Ending(ending.to_string_lossy().to_lowercase()),
            None => Self::NoEnding,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ending(ending) => write!(f, ".{ending}"),
            Self::NoEnding => f.write_str("without an ending"),
            Self::Special(kind) => f.write_str(kind),
            Self::Dangling => f.write_str("broken link"),
            Self::LinkAbove => f.write_str("link to a folder above"),
        }
    }
}

impl Unread {
    /// Counts a file; messages call it `id`.
    pub(crate) fn add(&mut self, kind: Kind, id: impl FnOnce() -> String) {
        let counted = self.0.entry(kind).or_insert_with(|| Counted {
            count: 0,
            first: id(),
        });
        counted.count += 1;
    }

    /// Adds the counts of another search.
    pub(crate) fn extend(&mut self, other: Self) {
        for (kind, counted) in other.0 {
            let own = self.0.entry(kind).or_insert(Counted {
                count: 0,
                first: counted.first,
            });
            own.count += counted.count;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Warns about all of them in one line.
    pub(crate) fn warn(&self, dir: &Path) {
        if !self.is_empty() {
            tracing::warn!("{}: not read: {self}", dir.display());
        }
    }
}

/// `10 .heic (a/1.heic, …), 1 pipe (a/2.png); convert …`
impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.0.iter().collect();
        kinds.sort_by_key(|(_, counted)| Reverse(counted.count));
        let shown = kinds.iter().map(|(kind, Counted { count, first })| {
            let more = if *count > 1 { ", …" } else { "" };
            format!("{count} {kind} ({first}{more})")
        });
        f.write_str(&first_few(shown))?;
        let convertible = self.0.keys().find_map(|kind| match kind {
            Kind::Ending(ending) if CONVERTIBLE.contains(&ending.as_str()) => Some(ending),
            _ => None,
        });
        if let Some(ending) = convertible {
            let remedy = remedy(ending);
            write!(
                f,
                "; convert the images among them to JPEG or PNG, with this command in their folder: {remedy}"
            )?;
        }
        Ok(())
    }
}

/// A command that converts the files with this extension below the current folder.
fn remedy(ending: &str) -> String {
    let each = |program: &str, to: &str, package: &str| {
        let convert = format!("{program} \"$1\" \"${{1%.*}}.{to}\"");
        format!(
            "find . -iname '*.{ending}' -exec sh -c '{convert}' _ {{}} \\; (Debian: package {package})"
        )
    };
    match ending {
        "heic" | "heif" => each("heif-convert", "jpg", "libheif-examples"),
        "avif" => each("avifdec", "png", "libavif-bin"),
        "jxl" => each("djxl", "png", "libjxl-tools"),
        raw if RAW.contains(&raw) => format!(
            "find . -iname '*.{raw}' -exec dcraw_emu -T {{}} \\; (Debian: package libraw-bin)"
        ),
        other => format!(
            "find . -iname '*.{other}' -exec magick mogrify -format png {{}} \\; (ImageMagick)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_number_with_an_example_each() {
        let mut unread = Unread::default();
        for name in ["a/1.HEIC", "a/notes.txt", "b/2.heic", "b/3.heic"] {
            unread.add(Kind::of_name(Path::new(name)), || name.to_owned());
        }
        let mut other = Unread::default();
        other.add(Kind::Special("pipe"), || "c.png".to_owned());
        other.add(Kind::of_name(Path::new("c/4.txt")), || "c/4.txt".to_owned());
        unread.extend(other);
        assert_eq!(
            unread.to_string(),
            "3 .heic (a/1.HEIC, …), 2 .txt (a/notes.txt, …), 1 pipe (c.png); \
             convert the images among them to JPEG or PNG, with this command in their folder: \
             find . -iname '*.heic' -exec sh -c 'heif-convert \"$1\" \"${1%.*}.jpg\"' _ {} \\; \
             (Debian: package libheif-examples)"
        );
        for (ending, program) in [
            ("avif", "avifdec"),
            ("jxl", "djxl"),
            ("cr2", "dcraw_emu -T {}"),
            ("psd", "magick mogrify -format png {}"),
        ] {
            let mut unread = Unread::default();
            unread.add(Kind::Ending(ending.into()), || format!("a.{ending}"));
            let text = unread.to_string();
            assert!(text.contains(program), "{text}");
        }
        let mut plain = Unread::default();
        plain.add(Kind::NoEnding, || "README".to_owned());
        assert_eq!(plain.to_string(), "1 without an ending (README)");
    }

    #[test]
    fn of_many_kinds_the_most_frequent_are_told() {
        let mut unread = Unread::default();
        for number in 0..9 {
            unread.add(Kind::Ending(format!("{number}")), || format!("x.{number}"));
        }
        unread.add(Kind::Ending("7".into()), String::new);
        let text = unread.to_string();
        assert!(text.starts_with("2 .7 (x.7, …), 1 .0 (x.0)"), "{text}");
        assert!(text.ends_with("1 .3 (x.3), …"), "{text}");
    }
}

//! The images to classify, with their true classes where these are known.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use mnist_data::{BadImage, Classes, ImageFolder, Listing, Sample};

/// The images of all inputs, in order.
pub(super) struct Inputs {
    pub(super) samples: Arc<[Sample]>,
    origins: Vec<Origin>,
}

/// One input.
struct Origin {
    path: PathBuf,
    kind: Kind,
    /// The index after its last image.
    end: usize,
    /// The length of the ids' part that names the input.
    prefix: usize,
    /// The name of the input among several, different from those of the others.
    name: Option<PathBuf>,
}

enum Kind {
    File,
    Folder,
    /// A CSV file, with the classes that its labels index.
    Table(Classes),
}

/// An image with the input that it comes from.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) sample: &'a Sample,
    origin: &'a Origin,
}

impl Inputs {
    /// Lists the images. With several inputs, ids begin with the input's path, so that equal names stay distinct.
    pub(super) fn list(inputs: &[PathBuf], on_bad_name: BadImage) -> anyhow::Result<Self> {
        let is_one = inputs.len() == 1;
        let (mut samples, mut origins) = (Vec::new(), Vec::new());
        let mut names = HashSet::new();
        for input in inputs {
            let (kind, listed) = list(input, on_bad_name)?;
            let shown = input.display().to_string();
            let prefix = match (is_one, &kind) {
                (true, _) => String::new(),
                // The id of a single file is its name, which the path already contains.
                (false, Kind::File) => shown.clone(),
                (false, _) => format!("{}/", shown.trim_end_matches('/')),
            };
            samples.extend(listed.into_iter().map(|sample| match kind {
                Kind::File if !is_one => Sample::new(shown.clone(), sample.path(), 0),
                _ if is_one => sample,
                _ => sample.prefixed(&prefix),
            }));
            origins.push(Origin {
                path: input.clone(),
                kind,
                end: samples.len(),
                prefix: prefix.len(),
                name: (!is_one).then(|| unique(input, &mut names)),
            });
        }
        Ok(Self {
            samples: samples.into(),
            origins,
        })
    }

    /// All images, each with its input.
    pub(super) fn iter(&self) -> impl Iterator<Item = Found<'_>> {
        let starts = std::iter::once(0).chain(self.origins.iter().map(|origin| origin.end));
        let inputs = self.origins.iter().zip(starts);
        inputs.flat_map(|(origin, start)| {
            let samples = self.samples[start..origin.end].iter();
            samples.map(move |sample| Found { sample, origin })
        })
    }

    /// The folders among the inputs.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        let folders = self.origins.iter();
        let folders = folders.filter(|origin| matches!(origin.kind, Kind::Folder));
        folders.map(|origin| origin.path.as_path())
    }
}

/// The next image with this id. Predictions come in the order of the images; unreadable images have none.
pub(super) fn next<'a>(
    images: &mut impl Iterator<Item = Found<'a>>,
    id: &str,
) -> anyhow::Result<Found<'a>> {
    let found = images.find(|found| found.sample.id() == id);
    found.with_context(|| format!("the prediction for {id} belongs to no image"))
}

impl Found<'_> {
    /// The true class, if it is known: the label in a table; the folder with a class's name that is nearest to the input,
    /// or the input itself; the folder of a single file.
    pub(super) fn truth(&self, classes: &Classes) -> Option<String> {
        let named = |name: &OsStr| {
            let label = classes.index_of(name.to_str()?)?;
            Some(classes.names()[label].clone())
        };
        let path = self.sample.path();
        match &self.origin.kind {
            Kind::Table(labels) => {
                let label = labels.names().get(self.sample.label)?;
                // An equivalent name is the same class.
                Some(named(label.as_ref()).unwrap_or_else(|| label.clone()))
            }
            Kind::File => named(&last_name(files::parent(&path))?),
            Kind::Folder => {
                let below = path.parent()?.strip_prefix(&self.origin.path).ok()?;
                let mut folders = below.components();
                let within = folders.find_map(|folder| named(folder.as_os_str()));
                within.or_else(|| named(&last_name(&self.origin.path)?))
            }
        }
    }

    /// The image's path within a folder of images from all inputs: different for every image. Parts that lead out of the
    /// folder are written as `%XX`.
    pub(super) fn place(&self) -> PathBuf {
        let mut place = self.origin.name.clone().unwrap_or_default();
        let path = self.sample.path();
        let rest = match &self.origin.kind {
            Kind::File if self.origin.name.is_some() => return place,
            Kind::File => path.file_name().map(Path::new),
            Kind::Folder => path.strip_prefix(&self.origin.path).ok(),
            Kind::Table(_) => None,
        };
        let id = self.sample.id();
        let rest = rest.unwrap_or(Path::new(id.get(self.origin.prefix..).unwrap_or(id)));
        for part in rest.components() {
            match part {
                Component::Normal(name) => place.push(name),
                Component::ParentDir => place.push("%2E%2E"),
                Component::RootDir => place.push("%2F"),
                Component::Prefix(drive) => {
                    place.push(
                        drive
                            .as_os_str()
                            .to_string_lossy()
                            .replace([':', '\\', '?'], "%"),
                    );
                }
                Component::CurDir => {}
            }
        }
        place
    }
}

fn list(input: &Path, on_bad_name: BadImage) -> anyhow::Result<(Kind, Vec<Sample>)> {
    let ending = input.extension().unwrap_or_default();
    if ending.eq_ignore_ascii_case("csv") && input.is_file() {
        let ImageFolder { classes, samples } = ImageFolder::from_csv(input, None, None)?;
        return Ok((Kind::Table(classes), samples.to_vec()));
    }
    let kind = match input.is_dir() {
        true => Kind::Folder,
        false => Kind::File,
    };
    Ok((kind, Listing { on_bad_name }.images(input)?))
}

/// The last name in a path, also for `.` and `..`.
fn last_name(path: &Path) -> Option<std::ffi::OsString> {
    match path.file_name() {
        Some(name) => Some(name.to_owned()),
        None => Some(std::fs::canonicalize(path).ok()?.file_name()?.to_owned()),
    }
}

/// The last name of an input, with a number if an earlier input has the same.
fn unique(input: &Path, names: &mut HashSet<PathBuf>) -> PathBuf {
    let name = PathBuf::from(last_name(input).unwrap_or_else(|| "input".into()));
    let numbered = (2..).map(|number: usize| {
        let mut numbered = name.file_stem().unwrap_or_default().to_owned();
        numbered.push(format!("-{number}"));
        if let Some(ending) = name.extension() {
            numbered.push(".");
            numbered.push(ending);
        }
        PathBuf::from(numbered)
    });
    let mut candidates = std::iter::once(name.clone()).chain(numbered);
    let free = candidates.find(|name| !names.contains(name));
    let free = free.unwrap_or(name);
    names.insert(free.clone());
    free
}

/// Fails if the true class of no image is known.
pub(super) fn check_known(inputs: &Inputs, classes: &Classes) -> anyhow::Result<()> {
    if inputs.iter().any(|found| found.truth(classes).is_some()) {
        return Ok(());
    }
    bail!(
        "--wrong needs the true classes, and none is known; expected images in folders named after the classes of the \
         weights, or a CSV file with the columns path and label"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(dir: &Path, inputs: &[&str]) -> Inputs {
        let inputs: Vec<_> = inputs.iter().map(|input| dir.join(input)).collect();
        Inputs::list(&inputs, BadImage::Fail).unwrap()
    }

    fn touch(dir: &Path, names: &[&str]) {
        for name in names {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
    }

    fn of<T>(inputs: &Inputs, value: impl Fn(&Found) -> T) -> Vec<T> {
        inputs.iter().map(|found| value(&found)).collect()
    }

    #[test]
    fn truth_comes_from_folders_and_tables() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        touch(
            dir,
            &[
                "a/cat/dog/1.png",
                "a/x/dog/2.png",
                "a/x/3.png",
                "cat/4.png",
                "cat/dog/5.png",
            ],
        );
        std::fs::write(
            dir.join("t.csv"),
            "path,label\na/x/3.png,emu\ncat/4.png,dog\n",
        )
        .unwrap();
        let classes = Classes::new(["cat", "dog"].map(str::to_owned).to_vec()).unwrap();
        let truths = |inputs: &[&str]| -> Vec<String> {
            let truths = of(&listed(dir, inputs), |found| found.truth(&classes));
            truths.into_iter().map(Option::unwrap_or_default).collect()
        };
        assert_eq!(truths(&["a"]), ["cat", "", "dog"]);
        assert_eq!(truths(&["cat"]), ["cat", "dog"]);
        assert_eq!(truths(&["cat/4.png", "a/x/3.png"]), ["cat", ""]);
        assert_eq!(truths(&["t.csv"]), ["dog", "emu"]);
        assert_eq!(truths(&["t.csv", "cat/4.png"]), ["dog", "emu", "cat"]);
    }

    #[test]
    fn places_differ() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        touch(
            dir,
            &["a/p/1.png", "a/q/1.png", "b/p/1.png", "b/1.png", "t/x/../y"],
        );
        let csv = "path,label\n../a/p/1.png,x\n../b/1.png,x\n";
        std::fs::write(dir.join("t/t.csv"), csv).unwrap();
        let places = |inputs: &[&str]| -> Vec<String> {
            let places = of(&listed(dir, inputs), |found| found.place());
            places
                .iter()
                .map(|place| place.display().to_string().replace('\\', "/"))
                .collect()
        };
        assert_eq!(places(&["a"]), ["p/1.png", "q/1.png"]);
        assert_eq!(places(&["a/p", "b/p"]), ["p/1.png", "p-2/1.png"]);
        assert_eq!(
            places(&["a/p/1.png", "a/q/1.png", "b/1.png"]),
            ["1.png", "1-2.png", "1-3.png"]
        );
        assert_eq!(places(&["a/p/1.png"]), ["1.png"]);
        assert_eq!(places(&["t/t.csv"]), ["%2E%2E/a/p/1.png", "%2E%2E/b/1.png"]);
        assert_eq!(
            places(&["t/t.csv", "b"]),
            [
                "t.csv/%2E%2E/a/p/1.png",
                "t.csv/%2E%2E/b/1.png",
                "b/1.png",
                "b/p/1.png"
            ]
        );
    }
}

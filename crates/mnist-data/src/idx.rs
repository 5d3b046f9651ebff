//! The IDX format of the MNIST files (Y. LeCun, "The MNIST database"): a
//! big-endian header, then raw bytes.
//!
//! | bytes | images | labels |
//! |---|---|---|
//! | 0..4 | magic `0x00000803` | magic `0x00000801` |
//! | 4..8 | count | count |
//! | 8..12, 12..16 | rows, columns | |
//! | then | `[count, rows, cols]` u8 | `[count]` u8 |

use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::error::{Error, Result};
use crate::{atomic, regular};

const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;
/// The most bytes of contents. A file with a header that declares more is treated as damaged.
const MAX_BYTES: u64 = 4 << 30;
/// The largest expansion of DEFLATE (1032:1, RFC 1951). This limits the declared contents of a gzip file before it is
/// inflated.
const MAX_INFLATION: u64 = 1032;

/// How an IDX file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Uncompressed.
    None,
    /// Compressed by gzip at its best level.
    Gzip,
}

/// Gray images of one size: `[count, rows, cols]` u8, 0 is black.
///
/// ```
/// use mnist_data::IdxImages;
///
/// let images = IdxImages::new(2, 3, vec![0, 1, 2, 3, 4, 5])?;
/// assert_eq!(images.count(), 1);
/// assert_eq!(images.image(0), [0, 1, 2, 3, 4, 5]);
/// # Ok::<(), mnist_data::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxImages {
    rows: usize,
    cols: usize,
    pixels: Vec<u8>,
}

impl IdxImages {
    /// Makes images of `rows` × `cols` from the pixels, one image after the other.
    ///
    /// # Errors
    /// If a side is 0, or the pixels are not a whole number of images.
    pub fn new(rows: usize, cols: usize, pixels: Vec<u8>) -> Result<Self> {
        let size = rows.checked_mul(cols).filter(|&size| size > 0);
        match size {
            Some(size) if pixels.len().is_multiple_of(size) => Ok(Self { rows, cols, pixels }),
            _ => Err(Error::Idx {
                path: "<memory>".into(),
                offset: 0,
                problem: format!(
                    "{} pixels are not a whole number of {rows} × {cols} images",
                    pixels.len()
                ),
            }),
        }
    }

    /// Reads an image file, plain or gzip (detected from the content).
    ///
    /// # Errors
    /// [`Error::Idx`] for anything but a complete image file: another magic number, a length that
    /// differs from the header's, a header beyond 4 GiB.
    pub fn read(path: &Path) -> Result<Self> {
        let (dims, pixels) = read(path, IMAGES_MAGIC)?;
        let &[_, rows, cols] = dims.as_slice() else {
            return Err(idx_error(
                path,
                0,
                "an image header has three dimensions".into(),
            ));
        };
        if rows == 0 || cols == 0 {
            return Err(idx_error(
                path,
                8,
                format!("images of {rows} × {cols} pixels are empty"),
            ));
        }
        Ok(Self {
            rows: rows as usize,
            cols: cols as usize,
            pixels,
        })
    }

    /// Writes an image file atomically.
    ///
    /// # Errors
    /// If a number does not fit the header's 32 bits, or the write fails.
    pub fn write(&self, path: &Path, compression: Compression) -> Result<()> {
        write(
            path,
            IMAGES_MAGIC,
            &[self.count(), self.rows, self.cols],
            &self.pixels,
            compression,
        )
    }

    /// The number of images.
    #[must_use]
    pub fn count(&self) -> usize {
        self.pixels.len() / (self.rows * self.cols)
    }

    /// The height of each image in pixels.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The width of each image in pixels.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Image `index`, row by row (`rows * cols` bytes); empty beyond the last.
    #[must_use]
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.rows * self.cols;
        index
            .checked_mul(size)
            .and_then(|start| self.pixels.get(start..start.checked_add(size)?))
            .unwrap_or_default()
    }

    /// The pixels of all images, one image after the other.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}

/// One class index for each image of an image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxLabels(Vec<u8>);

impl IdxLabels {
    /// Labels from memory.
    #[must_use]
    pub fn new(labels: Vec<u8>) -> Self {
        Self(labels)
    }

    /// Reads a label file, plain or gzip (detected from the content).
    ///
    /// # Errors
    /// As [`IdxImages::read`].
    pub fn read(path: &Path) -> Result<Self> {
        read(path, LABELS_MAGIC).map(|(_, labels)| Self(labels))
    }

    /// Writes a label file atomically.
    ///
    /// # Errors
    /// As [`IdxImages::write`].
    pub fn write(&self, path: &Path, compression: Compression) -> Result<()> {
        write(path, LABELS_MAGIC, &[self.len()], &self.0, compression)
    }

    /// The number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The labels in file order.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// Reads an image file and its label file, and checks that their counts match.
///
/// # Errors
/// Those of the two readers, and [`Error::CountMismatch`].
pub fn read_pair(images_path: &Path, labels_path: &Path) -> Result<(IdxImages, IdxLabels)> {
    let (images, labels) = (IdxImages::read(images_path)?, IdxLabels::read(labels_path)?);
    if images.count() == labels.len() {
        return Ok((images, labels));
    }
    Err(Error::CountMismatch {
        images_path: images_path.into(),
        images: images.count(),
        labels_path: labels_path.into(),
        labels: labels.len(),
    })
}

fn idx_error(path: &Path, offset: u64, problem: String) -> Error {
    Error::Idx {
        path: path.into(),
        offset,
        problem,
    }
}

/// The dimensions and the contents of the IDX file with this magic number.
fn read(path: &Path, magic: u32) -> Result<(Vec<u32>, Vec<u8>)> {
    let (mut file, metadata) = regular::open(path, u64::MAX)?;
    let stored = metadata.len();
    let mut start = Vec::new();
    (&mut file)
        .take(2)
        .read_to_end(&mut start)
        .and_then(|_| file.seek(SeekFrom::Start(0)))
        .map_err(Error::io("read", path))?;
    let file = BufReader::new(file);
    if is_gzip(&start) {
        let most = stored.saturating_mul(MAX_INFLATION);
        read_from(path, MultiGzDecoder::new(file), magic, most, false)
    } else {
        read_from(path, file, magic, stored, true)
    }
}

/// Whether contents that begin with `start` are a gzip stream (RFC 1952).
pub(crate) fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b])
}

/// Reads the dimensions and contents from `source`. `available` is an upper bound of its raw length, or with `exact`
/// the length itself. A header that declares more is refused before memory is allocated.
fn read_from(
    path: &Path,
    mut source: impl Read,
    magic: u32,
    available: u64,
    exact: bool,
) -> Result<(Vec<u32>, Vec<u8>)> {
    let io = |error| Error::io("read", path)(error);
    let mut words = [0_u32; 4];
    // The magic number's last byte is the number of dimensions.
    let header = &mut words[..1 + (magic & 0xff) as usize];
    for (index, word) in header.iter_mut().enumerate() {
        let mut bytes = Vec::with_capacity(4);
        (&mut source).take(4).read_to_end(&mut bytes).map_err(io)?;
        let offset = 4 * index as u64;
        let Ok(bytes) = <[u8; 4]>::try_from(bytes.as_slice()) else {
            let end = offset + bytes.len() as u64;
            return Err(idx_error(
                path,
                end,
                "the file ends inside the IDX header; fetch it again".into(),
            ));
        };
        *word = u32::from_be_bytes(bytes);
        if index == 0 && *word != magic {
            return Err(idx_error(path, 0, wrong_magic(*word, magic)));
        }
    }
    let dims = header[1..].to_vec();
    let header_len = 4 * header.len() as u64;
    let declared = dims
        .iter()
        .try_fold(1_u64, |product, &dim| product.checked_mul(u64::from(dim)))
        .filter(|&len| len <= MAX_BYTES)
        .ok_or_else(|| {
            idx_error(
                path,
                4,
                format!(
                    "the header declares {dims:?} bytes, beyond the limit of 4 GiB; it is damaged"
                ),
            )
        })?;
    let expected = header_len + declared;
    let ends_early = |end: u64| {
        let problem = format!(
            "the file ends here, but its header {dims:?} declares {expected} bytes; fetch it again"
        );
        idx_error(path, end, problem)
    };
    let runs_on = || {
        let problem = format!(
            "the header {dims:?} ends the file here, but more bytes follow; fetch it again"
        );
        idx_error(path, expected, problem)
    };
    if available < expected {
        return Err(ends_early(available));
    }
    if exact && available > expected {
        return Err(runs_on());
    }
    let size = usize::try_from(declared).map_err(|_| {
        idx_error(
            path,
            4,
            format!("{declared} bytes do not fit this machine's memory"),
        )
    })?;
    let mut contents = Vec::new();
    contents.try_reserve_exact(size).map_err(|_| {
        idx_error(
            path,
            4,
            format!("no memory for the {declared} bytes the header declares"),
        )
    })?;
    // One byte beyond the declared end is read to notice files that are too long. More is not read, since the file may
    // be a gzip bomb.
    (&mut source)
        .take(declared)
        .read_to_end(&mut contents)
        .map_err(io)?;
    if contents.len() as u64 != declared {
        return Err(ends_early(header_len + contents.len() as u64));
    }
    let mut beyond = Vec::new();
    if source.take(1).read_to_end(&mut beyond).map_err(io)? != 0 {
        return Err(runs_on());
    }
    Ok((dims, contents))
}

fn wrong_magic(found: u32, expected: u32) -> String {
    let name = |magic| match magic {
        IMAGES_MAGIC => Some("an IDX image file".to_owned()),
        LABELS_MAGIC => Some("an IDX label file".to_owned()),
        _ => None,
    };
    let [zero0, zero1, element, dims] = found.to_be_bytes();
    let element = match element {
        0x08 => Some("u8"),
        0x09 => Some("i8"),
        0x0b => Some("i16"),
        0x0c => Some("i32"),
        0x0d => Some("f32"),
        0x0e => Some("f64"),
        _ => None,
    };
    let is = match (name(found), element) {
        (Some(name), _) => name,
        (None, Some(element)) if (zero0, zero1) == (0, 0) => {
            format!("an IDX file of {element} in {dims} dimensions")
        }
        _ => "not an IDX file".to_owned(),
    };
    let wanted = name(expected).unwrap_or_default();
    format!("magic number {found:#010x}: this is {is}; expected {wanted} ({expected:#010x})")
}

fn write(
    path: &Path,
    magic: u32,
    dims: &[usize],
    contents: &[u8],
    compression: Compression,
) -> Result<()> {
    let mut header = magic.to_be_bytes().to_vec();
    for &dim in dims {
        let dim = u32::try_from(dim).map_err(|_| {
            idx_error(
                path,
                header.len() as u64,
                format!("{dim} does not fit the header's 32 bits"),
            )
        })?;
        header.extend(dim.to_be_bytes());
    }
    atomic::write(path, |writer| match compression {
        Compression::None => writer
            .write_all(&header)
            .and_then(|()| writer.write_all(contents)),
        Compression::Gzip => {
            let mut gzip = GzEncoder::new(writer, flate2::Compression::best());
            gzip.write_all(&header)?;
            gzip.write_all(contents)?;
            gzip.finish().map(|_| ())
        }
    })
}

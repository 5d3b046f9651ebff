//! Measures whether explanations point at the right place: digits of MNIST are pasted at random places of larger, black
//! canvases, a network learns them, and the maxima of its Grad-CAM maps are compared with the places of the digits.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::data::{fetch, idx_dir};
use crate::programs::{classify, scratch};
use crate::shell::{output, run};

/// Side of an MNIST image.
const DIGIT: usize = 28;
/// Side of a canvas.
const CANVAS: usize = 96;
/// Number of places for the digit's first row, or column.
const PLACES: usize = CANVAS - DIGIT + 1;
/// One in this many places is kept for the test.
const KEPT: u64 = 5;
/// Validation canvases.
const VALIDATION: usize = 500;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Folder of MNIST's IDX files [default: data/mnist/idx, fetched first]
    #[arg(long, value_name = "DIR")]
    idx: Option<PathBuf>,
    /// A built `classify` [default: a release build]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Number of training canvases
    #[arg(long, default_value_t = 10_000)]
    train: usize,
    /// Number of test canvases
    #[arg(long, default_value_t = 200)]
    test: usize,
    /// A setting of the training run, as in `classify train --set`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

pub(super) fn measure(options: &Options) -> Result<()> {
    let idx = match &options.idx {
        Some(dir) => dir.clone(),
        None => {
            fetch(&["mnist".into()])?;
            idx_dir("mnist")?
        }
    };
    let program = match &options.program {
        Some(program) => program.clone(),
        None => classify()?,
    };
    let dir = scratch("explain")?;
    for part in ["train", "val", "test", "run", "explained"] {
        let path = dir.join(part);
        if path.exists() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    let digits = Digits::read(&idx, "train", 60_000)?;
    let count = options.train;
    ensure!(
        count + VALIDATION <= digits.labels.len(),
        "MNIST has no {count} digits for training and {VALIDATION} for validation"
    );
    paste(&digits, 0..count, Use::Training, &dir.join("train"))?;
    let validation = digits.labels.len() - VALIDATION..digits.labels.len();
    paste(&digits, validation, Use::Training, &dir.join("val"))?;
    let unseen = Digits::read(&idx, "t10k", 10_000)?;
    let tested = 0..options.test;
    let boxes = paste(&unseen, tested, Use::Test, &dir.join("test"))?;

    let mut train = Command::new(&program);
    train.arg("train").arg("--run-dir").arg(dir.join("run"));
    let mut settings = vec![
        "data.source=\"folder\"".to_owned(),
        format!("data.root={:?}", dir.display().to_string()),
        "data.test=\"auto\"".to_owned(),
        format!("data.image_size={CANVAS}"),
    ];
    settings.extend(options.settings.iter().cloned());
    for setting in settings {
        train.arg("--set").arg(setting);
    }
    let ends = output(&mut train)?;
    println!("{ends}");
    let weights = ends
        .lines()
        .find_map(|line| line.strip_prefix("weights "))
        .context("the training names no weights")?;
    let explained = dir.join("explained");
    let mut predict = Command::new(&program);
    predict.args(["predict", "--weights", weights, "--out"]);
    predict.arg(&explained).arg("--explain").arg(&explained);
    run(predict.arg(dir.join("test")))?;
    let text = fs::read_to_string(explained.join("index.csv"))?;
    let tally = Tally::of(&text, &boxes)?;
    println!(
        "{} of {} maxima are on the digit ({:.1} %), {} maps are blank; layers: {}",
        tally.hits,
        tally.maps,
        100.0 * tally.hits as f64 / tally.maps.max(1) as f64,
        tally.blank,
        tally.layers.join(", ")
    );
    Ok(())
}

/// The purpose of canvases. Places of one purpose are never used for the other.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Training,
    Test,
}

/// A digit on a canvas: the first and the last row and column that are not black.
#[derive(Clone, Debug, PartialEq)]
struct Placed {
    id: String,
    rows: [usize; 2],
    columns: [usize; 2],
}

struct Digits {
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl Digits {
    fn read(idx: &Path, part: &str, count: usize) -> Result<Self> {
        let contents = |name: String, header: usize| -> Result<Vec<u8>> {
            let path = idx.join(name);
            let bytes =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let contents = bytes.get(header..).unwrap_or_default();
            Ok(contents.to_vec())
        };
        let digits = Self {
            pixels: contents(format!("{part}-images-idx3-ubyte"), 16)?,
            labels: contents(format!("{part}-labels-idx1-ubyte"), 8)?,
        };
        if digits.labels.len() != count || digits.pixels.len() != count * DIGIT * DIGIT {
            bail!("{} does not hold {count} digits of {part}", idx.display());
        }
        Ok(digits)
    }

    fn digit(&self, index: usize) -> &[u8] {
        &self.pixels[index * DIGIT * DIGIT..][..DIGIT * DIGIT]
    }
}

/// Writes digits on canvases into class folders, as PGM.
fn paste(digits: &Digits, indices: Range<usize>, used: Use, dir: &Path) -> Result<Vec<Placed>> {
    for class in 0..10 {
        let class = dir.join(class.to_string());
        fs::create_dir_all(&class).with_context(|| format!("cannot make {}", class.display()))?;
    }
    let mut boxes = Vec::new();
    for index in indices {
        let place = place(index as u64, used);
        let (canvas, [rows, columns]) = canvas(digits.digit(index), place);
        let id = format!("{}/{index:05}.pgm", digits.labels[index]);
        let mut file = format!("P5 {CANVAS} {CANVAS} 255\n").into_bytes();
        file.extend(canvas);
        fs::write(dir.join(&id), file)?;
        boxes.push(Placed { id, rows, columns });
    }
    Ok(boxes)
}

/// First row and column of a digit on its canvas, among the places for this use.
fn place(index: u64, used: Use) -> [usize; 2] {
    let mut draw = mixed(index);
    loop {
        draw = mixed(draw);
        let number = (draw % (PLACES * PLACES) as u64) as usize;
        let is_kept = mixed(number as u64 + 1).is_multiple_of(KEPT);
        if is_kept == (used == Use::Test) {
            return [number / PLACES, number % PLACES];
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014).
fn mixed(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A canvas with a digit, and the first and last of its rows and columns that are not black.
fn canvas(digit: &[u8], [top, left]: [usize; 2]) -> (Vec<u8>, [[usize; 2]; 2]) {
    let mut canvas = vec![0; CANVAS * CANVAS];
    let (mut rows, mut columns) = ([CANVAS, 0], [CANVAS, 0]);
    for (index, &pixel) in digit.iter().enumerate() {
        let (row, column) = (top + index / DIGIT, left + index % DIGIT);
        canvas[row * CANVAS + column] = pixel;
        if pixel > 0 {
            rows = [rows[0].min(row), rows[1].max(row)];
            columns = [columns[0].min(column), columns[1].max(column)];
        }
    }
    (canvas, [rows, columns])
}

#[derive(Debug, Default, PartialEq)]
struct Tally {
    maps: usize,
    hits: usize,
    blank: usize,
    layers: Vec<String>,
}

impl Tally {
    /// Counts the maxima of an `index.csv` that lie on the digits. A blank map is no hit.
    fn of(index: &str, boxes: &[Placed]) -> Result<Self> {
        let mut tally = Self::default();
        let columns = "image_id,file,layer,class,probability,row,column";
        let mut lines = index.lines();
        ensure!(
            lines.next() == Some(columns),
            "the index has other columns than {columns}"
        );
        for line in lines {
            let [id, _, layer, _, _, row, column] = line.split(',').collect::<Vec<_>>()[..] else {
                bail!("{line}: expected the columns {columns}");
            };
            let found = boxes.iter().find(|placed| placed.id == id);
            let placed = found.with_context(|| format!("{id} is no canvas"))?;
            tally.maps += 1;
            if !tally.layers.iter().any(|known| known == layer) {
                tally.layers.push(layer.to_owned());
            }
            if row.is_empty() {
                tally.blank += 1;
                continue;
            }
            let within = |at: &str, [first, last]: [usize; 2]| -> Result<bool> {
                let at = at.parse::<f64>()? * CANVAS as f64;
                Ok(at >= first as f64 && at <= (last + 1) as f64)
            };
            tally.hits += usize::from(within(row, placed.rows)? && within(column, placed.columns)?);
        }
        ensure!(
            tally.maps == boxes.len(),
            "{} of {} canvases are explained",
            tally.maps,
            boxes.len()
        );
        Ok(tally)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_test_are_never_trained_on() {
        let places = |used| {
            let places = (0..3000).map(move |index| place(index, used));
            places.collect::<std::collections::HashSet<_>>()
        };
        let (trained, tested) = (places(Use::Training), places(Use::Test));
        assert!(trained.is_disjoint(&tested));
        assert!(trained.len() > 1500 && tested.len() > 500);
    }

    #[test]
    fn maxima_on_the_digit_count() {
        let mut digit = vec![0; DIGIT * DIGIT];
        digit[5 * DIGIT + 4] = 9;
        digit[14 * DIGIT + 13] = 9;
        let (pixels, [rows, columns]) = canvas(&digit, [10, 20]);
        assert_eq!((rows, columns), ([15, 24], [24, 33]));
        assert_eq!(pixels[15 * CANVAS + 24], 9);
        let placed = |id: &str| Placed {
            id: id.to_owned(),
            rows,
            columns,
        };
        let boxes = ["1/a", "1/b", "1/c"].map(placed);
        let index = "image_id,file,layer,class,probability,row,column\n\
            1/a,a.png,features.3,1,0.9,0.1600,0.2600\n\
            1/b,b.png,features.3,1,0.9,0.1600,0.5000\n\
            1/c,c.png,features.3,1,0.9,,\n";
        let expected = Tally {
            maps: 3,
            hits: 1,
            blank: 1,
            layers: vec!["features.3".to_owned()],
        };
        assert_eq!(Tally::of(index, &boxes).unwrap(), expected);
        assert!(Tally::of(index, &boxes[..2]).is_err());
        assert!(Tally::of("a,b\n", &[]).is_err());
    }
}

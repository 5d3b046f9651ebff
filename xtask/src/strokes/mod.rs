//! `cargo xtask strokes`: centre lines of MNIST test digits, which the check of the server's page draws.

mod raster;
mod thin;
mod trace;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::data::{fetch, idx_dir};
use crate::shell::root;
use raster::Raster;

const SEED: u64 = 1;
const PER_CLASS: usize = 3;
const CLASSES: u8 = 10;
/// Images are enlarged by this factor before they are thinned, for smoother lines.
const SCALE: usize = 4;
/// Spurs shorter than this are cut. In pixels of the image, as are the next two.
const SPUR: f64 = 2.0;
/// Largest distance of a simplified line to its points.
const TOLERANCE: f64 = 0.25;
/// The pen is not lifted between lines that are this near.
const NEAR: f64 = 0.8;

/// A point, in pixels of the image.
type Point = [f64; 2];
type Stroke = Vec<Point>;

/// Writes `xtask/clients/strokes.json`.
pub(crate) fn write() -> Result<()> {
    let dir = idx_dir("mnist")?;
    if !dir.join("t10k-images-idx3-ubyte").is_file() {
        fetch(&["mnist".into()])?;
    }
    let (sides, pixels) = idx(&dir.join("t10k-images-idx3-ubyte"), 3)?;
    let (_, labels) = idx(&dir.join("t10k-labels-idx1-ubyte"), 1)?;
    let [_, height, width] = sides[..] else {
        anyhow::bail!("the images have {} dimensions", sides.len());
    };
    let mut text = String::from("[\n");
    for (row, index) in chosen(&labels)?.into_iter().enumerate() {
        let size = height * width;
        let image = &pixels[index * size..][..size];
        let separator = if row > 0 { ",\n" } else { "" };
        let strokes = json(&strokes(image, width));
        let label = labels[index];
        let _ = write!(
            text,
            "{separator}{{\"index\":{index},\"label\":\"{label}\",\"strokes\":{strokes}}}"
        );
    }
    text.push_str("\n]\n");
    let path = root()?.join("xtask/clients/strokes.json");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The sides and the bytes of an IDX file with this many dimensions.
fn idx(path: &Path, dimensions: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let mut bytes =
        fs::read(path).with_context(|| format!("cannot read {}; fetch it", path.display()))?;
    let head = 4 * (1 + dimensions);
    let magic = [0, 0, 8, dimensions as u8];
    ensure!(
        bytes.len() >= head && bytes.starts_with(&magic),
        "{} is no IDX file of bytes with {dimensions} dimensions",
        path.display()
    );
    let sides = bytes[4..head].chunks_exact(4);
    let sides: Vec<usize> = sides
        .map(|side| {
            side.iter()
                .fold(0, |all, &byte| all << 8 | usize::from(byte))
        })
        .collect();
    bytes.drain(..head);
    ensure!(
        bytes.len() == sides.iter().product::<usize>(),
        "{} has another length than its header says",
        path.display()
    );
    Ok((sides, bytes))
}

/// Indices of images: of each class the same number, drawn by the seed.
fn chosen(labels: &[u8]) -> Result<Vec<usize>> {
    let mut random = SplitMix(SEED);
    let mut found = Vec::new();
    for class in 0..CLASSES {
        let mut of_class: Vec<usize> = (0..labels.len())
            .filter(|&index| labels[index] == class)
            .collect();
        ensure!(of_class.len() >= PER_CLASS, "too few images of {class}");
        for _ in 0..PER_CLASS {
            let at = random.below(of_class.len());
            found.push(of_class.swap_remove(at));
        }
    }
    Ok(found)
}

/// The generator `SplitMix64` (Steele et al. 2014).
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// The centre lines of an image's bright parts, in the order of drawing.
fn strokes(image: &[u8], width: usize) -> Vec<Stroke> {
    let mut raster = Raster::enlarged(image, width, SCALE);
    thin::thin(&mut raster);
    trace::prune(&mut raster, SPUR * SCALE as f64);
    let scale = SCALE as f64;
    let lines = trace::lines(&raster).into_iter().map(|line| {
        line.into_iter()
            .map(|(x, y)| [(x as f64 + 0.5) / scale, (y as f64 + 0.5) / scale])
            .collect()
    });
    let joined = trace::ordered(lines.collect(), NEAR);
    joined
        .iter()
        .map(|stroke| trace::simplified(stroke, TOLERANCE))
        .collect()
}

fn json(strokes: &[Stroke]) -> String {
    let point = |[x, y]: &Point| format!("[{x:.2},{y:.2}]");
    let stroke = |stroke: &Stroke| {
        let points: Vec<String> = stroke.iter().map(point).collect();
        format!("[{}]", points.join(","))
    };
    let strokes: Vec<String> = strokes.iter().map(stroke).collect();
    format!("[{}]", strokes.join(","))
}

#[cfg(test)]
mod tests;

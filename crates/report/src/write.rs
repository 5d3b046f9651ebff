//! Writes a report and its pictures.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use mnist_data::ImageFolder;

use crate::answers::{Chosen, Shown};
use crate::material::{Images, Material};
use crate::page::{Context, page};
use crate::svg::{Fonts, Svg, rasterise};
use crate::thumbs::{Thumbs, decoded};
use crate::{Error, Result, SheetItem, chart, sheet};

/// The most images of the measured split in a page.
const MOST: usize = 480;
/// Pixels per unit of a picture, for print.
const SCALE: f32 = 2.0;
/// The most predictions on a sheet.
const ON_SHEET: usize = 24;
const COLUMNS: usize = 6;

/// The name of the page in the folder of a run.
pub const PAGE: &str = "report.html";

/// Writes `report.html` into the folder of a run, and for a paper: `curves.svg`, `confusion.svg`, `roc.svg`,
/// `reliability.svg`, `curves.png`, `confusion.png`, `predictions.png`, `metrics.csv` and `MODEL_CARD.md`. Files without
/// contents, such as a confusion matrix of a run without evaluation, are left out. Returns the path of the page.
///
/// # Errors
///
/// [`Error::Io`] for a file that cannot be written; [`Error::Run`] for a damaged file of answers.
pub fn write_run(run: &Path, material: &Material, images: &Images) -> Result<PathBuf> {
    let chosen = chosen(material)?;
    let path = run.join(PAGE);
    write_chosen(&path, material, images, &chosen)?;
    let both = |name: &str, svg: &Svg| -> Result<()> {
        write(&run.join(format!("{name}.svg")), svg.to_file().as_bytes())?;
        write(
            &run.join(format!("{name}.png")),
            &rasterise(svg, SCALE, &Fonts::embedded())?,
        )
    };
    if !material.epochs.is_empty() {
        both(
            "curves",
            &chart::curves::together(&material.epochs, material.best_epoch()),
        )?;
        write(
            &run.join("metrics.csv"),
            &crate::metrics::table(&material.epochs)?,
        )?;
    }
    if let Some((scores, _)) = &material.scores {
        both("confusion", &chart::confusion::draw(scores)?)?;
        if let Some(svg) = chart::ranking::roc(scores) {
            write(&run.join("roc.svg"), svg.to_file().as_bytes())?;
        }
        if let Some(calibration) = &scores.calibration {
            let svg = chart::reliability::draw(calibration);
            write(&run.join("reliability.svg"), svg.to_file().as_bytes())?;
        }
        let items = on_sheet(material, images, &chosen);
        if !items.is_empty() {
            let svg = sheet(&items, COLUMNS)?;
            write(
                &run.join("predictions.png"),
                &rasterise(&svg, SCALE, &Fonts::embedded())?,
            )?;
        }
    }
    if let Some(card) = crate::card::card(material) {
        write(&run.join("MODEL_CARD.md"), card.as_bytes())?;
    }
    Ok(path)
}

/// Writes one page, such as that of an evaluation.
///
/// # Errors
///
/// As [`write_run`].
pub fn write_page(path: &Path, material: &Material, images: &Images) -> Result<()> {
    write_chosen(path, material, images, &chosen(material)?)
}

fn chosen(material: &Material) -> Result<Chosen> {
    match (&material.answers, &material.scores) {
        (Some(path), Some((scores, _))) => Chosen::read(path, scores),
        _ => Ok(Chosen::default()),
    }
}

fn write_chosen(path: &Path, material: &Material, images: &Images, chosen: &Chosen) -> Result<()> {
    let confusion = material
        .scores
        .as_ref()
        .map_or(&[][..], |(scores, _)| &scores.confusion);
    let thumbs = Thumbs::of(&chosen.ids(confusion, MOST), images);
    let context = Context {
        material,
        images,
        chosen,
        thumbs: &thumbs,
        placed: Default::default(),
    };
    write(path, page(&context)?.as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    files::write(path, |file| file.write_all(bytes)).map_err(Error::io(path))
}

/// Half mistakes and half right answers, if there are enough of both. The right ones come from as many classes as possible.
fn on_sheet(material: &Material, images: &Images, chosen: &Chosen) -> Vec<SheetItem> {
    let (Some((scores, _)), Some(measured), Some(view)) =
        (&material.scores, images.measured, &images.view)
    else {
        return Vec::new();
    };
    let rights: Vec<&Vec<Shown>> = chosen
        .cells
        .iter()
        .filter(|((a, b), _)| a == b)
        .map(|(_, shown)| shown)
        .collect();
    let rounds = (0..crate::answers::PER_CELL).rev();
    let right = rounds.flat_map(|index| rights.iter().filter_map(move |shown| shown.get(index)));
    let half = ON_SHEET / 2;
    let wrong = chosen.mistakes.iter().take(half);
    let taken: Vec<&Shown> = wrong.chain(right).take(ON_SHEET).collect();
    let name = |label: usize| {
        scores
            .classes
            .get(label)
            .map_or("", |class| &class.name)
            .to_owned()
    };
    let item = |shown: &Shown| {
        Some(SheetItem {
            image: decoded(path_of(measured, &shown.id)?, view)?,
            predicted: name(shown.predicted),
            probability: shown.probability,
            truth: Some(name(shown.label)),
        })
    };
    taken.into_iter().filter_map(item).collect()
}

fn path_of(images: &ImageFolder, id: &str) -> Option<PathBuf> {
    images
        .samples
        .iter()
        .find(|sample| sample.id() == id)
        .map(mnist_data::Sample::path)
}

//! Small pictures of the images that a report shows, each embedded once.

use std::collections::HashMap;
use std::path::PathBuf;

use mnist_data::{Augment, AugmentConfig, Draw, Image, ImageFolder, Sample, read_regular};
use rayon::prelude::*;

use crate::Result;
use crate::material::{Images, View};
use crate::picture::{data_uri, within};

/// The longest side of a small picture, in pixels.
const SIDE: u32 = 96;
/// The longest file that is read: 64 MiB.
const MAX_BYTES: u64 = 64 << 20;

/// A small picture.
#[derive(Clone, Debug)]
pub(crate) struct Thumb {
    /// The number of the image in the page.
    pub(crate) number: usize,
    /// The picture as a `data:` URI.
    pub(crate) uri: String,
}

/// The small pictures of measured images by id. An image that cannot be read has none.
#[derive(Debug, Default)]
pub(crate) struct Thumbs {
    by_id: HashMap<String, Thumb>,
    /// The number of images that should have a picture.
    wanted: usize,
}

impl Thumbs {
    /// Makes the pictures of these ids.
    pub(crate) fn of(ids: &[&str], images: &Images) -> Self {
        let mut thumbs = Self {
            by_id: HashMap::new(),
            wanted: ids.len(),
        };
        let (Some(measured), Some(view)) = (images.measured, &images.view) else {
            return thumbs;
        };
        let samples: HashMap<&str, &Sample> = {
            let wanted: std::collections::HashSet<&str> = ids.iter().copied().collect();
            let all = measured.samples.iter().map(|sample| (sample.id(), sample));
            all.filter(|(id, _)| wanted.contains(id)).collect()
        };
        let made = ids.par_iter().enumerate().filter_map(|(number, id)| {
            let image = decoded(samples.get(id)?.path(), view)?;
            let uri = data_uri(&within(image, SIDE).ok()?).ok()?;
            Some(((*id).to_owned(), Thumb { number, uri }))
        });
        thumbs.by_id = made.collect();
        thumbs
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Thumb> {
        self.by_id.get(id)
    }

    /// All pictures, by number.
    pub(crate) fn all(&self) -> Vec<&Thumb> {
        let mut all: Vec<&Thumb> = self.by_id.values().collect();
        all.sort_by_key(|thumb| thumb.number);
        all
    }

    /// The number of images without a picture.
    pub(crate) fn missing(&self) -> usize {
        self.wanted - self.by_id.len()
    }
}

/// An image as the network sees it. `None` if the file is missing or damaged.
pub(crate) fn decoded(path: PathBuf, view: &View) -> Option<Image> {
    let bytes = read_regular(&path, MAX_BYTES).ok()?;
    Image::decode_at(&bytes, &path, view.size, view.framing, view.decode).ok()
}

/// Training images of one class.
pub(crate) struct Samples {
    pub(crate) label: usize,
    /// Each image's id and picture; `None` if it cannot be read.
    pub(crate) pictures: Vec<(String, Option<String>)>,
}

/// Up to `each` training images of the first `classes` classes, evenly spread over the list.
pub(crate) fn samples(
    training: &ImageFolder,
    view: &View,
    classes: usize,
    each: usize,
) -> Vec<Samples> {
    let shown = training.classes.names().len().min(classes);
    let mut lists: Vec<Vec<&Sample>> = vec![Vec::new(); shown];
    for sample in training.samples.iter() {
        if let Some(list) = lists.get_mut(sample.label) {
            list.push(sample);
        }
    }
    let picture = |sample: &Sample| {
        let image = decoded(sample.path(), view)?;
        data_uri(&within(image, SIDE).ok()?).ok()
    };
    let of_class = |(label, list): (usize, Vec<&Sample>)| Samples {
        label,
        pictures: spread(&list, each)
            .into_iter()
            .map(|sample| (sample.id().to_owned(), picture(sample)))
            .collect(),
    };
    lists.into_par_iter().enumerate().map(of_class).collect()
}

/// Up to `most` items at equal distances.
fn spread<'a, T>(list: &[&'a T], most: usize) -> Vec<&'a T> {
    let most = most.min(list.len());
    (0..most)
        .map(|index| list[index * list.len() / most])
        .collect()
}

/// An image before augmentation and after some draws.
pub(crate) struct Augmented {
    pub(crate) id: String,
    pub(crate) before: String,
    pub(crate) after: Vec<String>,
}

/// Augmented versions of training images: of one image in each of the first `images` classes, in `epochs` epochs. Images
/// that cannot be read are left out.
///
/// # Errors
///
/// [`Error::Run`](crate::Error::Run) for a configuration with wrong values.
pub(crate) fn augmented(
    training: &ImageFolder,
    view: &View,
    (config, seed): (&AugmentConfig, u64),
    (images, epochs): (usize, u64),
) -> Result<Vec<Augmented>> {
    let augment = Augment::new(config).map_err(trainer::Error::from)?;
    let first = |label| {
        training
            .samples
            .iter()
            .enumerate()
            .find(move |(_, sample)| sample.label == label)
    };
    let chosen = (0..training.classes.names().len())
        .filter_map(first)
        .take(images);
    let of = |(index, sample): (usize, &Sample)| {
        let image = decoded(sample.path(), view)?;
        let draw = |epoch| Draw {
            seed,
            epoch,
            index: index as u64,
        };
        let after = (1..=epochs).map(|epoch| {
            let changed = augment.apply(&image, view.size, draw(epoch)).ok()?;
            data_uri(&within(changed, SIDE).ok()?).ok()
        });
        Some(Augmented {
            id: sample.id().to_owned(),
            after: after.collect::<Option<_>>()?,
            before: data_uri(&within(image, SIDE).ok()?).ok()?,
        })
    };
    Ok(chosen.filter_map(of).collect())
}

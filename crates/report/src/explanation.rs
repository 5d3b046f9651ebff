//! Pictures of the places in an image that speak for a class.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use files::Unfinished;
use mnist_data::Image;

use crate::escape::shortened;
use crate::overlay::{LEAST_SIDE, overlay};
use crate::picture::{png, png_uri};
use crate::svg::{Anchor, Fonts, Svg, rasterise};
use crate::{Error, Result};

/// A map over an image, and its caption.
#[derive(Clone, Copy, Debug)]
pub struct Explained<'a> {
    /// The image as the network sees it.
    pub image: &'a Image,
    /// Rows and columns of the map.
    pub places: [usize; 2],
    /// The map: numbers from 0 to 1, row by row.
    pub map: &'a [f32],
    /// The explained class.
    pub class: &'a str,
    /// Its probability.
    pub probability: f32,
    /// The layer of the map.
    pub layer: &'a str,
}

impl Explained<'_> {
    /// Whether no place speaks for the class.
    fn is_blank(&self) -> bool {
        self.map.iter().all(|&value| value <= 0.0)
    }
}

const STRIP: f64 = 44.0;
const MARGIN: f64 = 6.0;
/// Width of a character of the caption, about.
const CHARACTER: f64 = 7.2;

/// The map over the image, with a caption below: the class, its probability, the layer and its map's size.
///
/// # Errors
///
/// As [`overlay`].
pub fn explanation(explained: &Explained<'_>) -> Result<Svg> {
    let picture = overlay(explained.image, explained.places, explained.map)?;
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    // A narrow image does not narrow its caption.
    let whole = width.max(f64::from(LEAST_SIDE));
    let percent = format!("{:.1} %", 100.0 * explained.probability);
    let fitting = ((whole - 2.0 * MARGIN) / CHARACTER) as usize;
    let name = shortened(explained.class, fitting.saturating_sub(percent.len() + 1));
    let [rows, columns] = explained.places;
    let source = match explained.is_blank() {
        true => format!("no place speaks for it ({})", explained.layer),
        false => format!("{}, {rows} × {columns} places", explained.layer),
    };
    let description = format!(
        "Where the network looked for {}: {percent}; {source}.",
        explained.class
    );
    let mut svg = Svg::new(whole, height + STRIP, "Explanation", &description);
    svg.image(
        [(whole - width) / 2.0, 0.0],
        [width, height],
        &png_uri(&png(&picture)?),
    );
    let line = |svg: &mut Svg, class: &str, below: f64, text: &str| {
        svg.text(class, [MARGIN, height + below], Anchor::Start, text);
    };
    line(&mut svg, "", 18.0, &format!("{name} {percent}"));
    line(&mut svg, "m", 36.0, &shortened(&source, fitting));
    Ok(svg)
}

/// A folder of explanations with an `index.csv`: `image_id,file,layer,class,probability,row,column`. Row and column are
/// those of the map's maximum, as fractions of the image's height and width; they are empty for a blank map.
///
/// The index appears when it is complete.
pub struct Explanations {
    folder: PathBuf,
    path: PathBuf,
    index: csv::Writer<Unfinished>,
}

/// One row of the index.
#[derive(Clone, Copy, Debug)]
pub struct IndexRow<'a> {
    /// The image's id.
    pub id: &'a str,
    /// The picture's path within the folder, with `/` between its parts.
    pub file: &'a str,
    /// The map's maximum, as fractions of the image's height and width.
    pub peak: Option<[f32; 2]>,
}

impl Explanations {
    /// Creates the folder, if it is missing, and begins its index.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn create(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        files::sweep(folder).map_err(Error::io(folder))?;
        let path = folder.join("index.csv");
        let file = Unfinished::create(&path).map_err(Error::io(&path))?;
        let mut explanations = Self {
            folder: folder.to_owned(),
            path,
            index: csv::Writer::from_writer(file),
        };
        let header = [
            "image_id",
            "file",
            "layer",
            "class",
            "probability",
            "row",
            "column",
        ];
        explanations.record(&header)?;
        Ok(explanations)
    }

    /// Writes the picture of an explanation, with a caption.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Picture`].
    pub fn draw(&self, file: &str, explained: &Explained<'_>) -> Result<()> {
        self.write(
            file,
            &rasterise(&explanation(explained)?, 1.0, &Fonts::embedded())?,
        )
    }

    /// Writes the picture of an explanation without a caption, for a page that has one.
    ///
    /// # Errors
    ///
    /// As [`draw`](Self::draw).
    pub fn draw_bare(&self, file: &str, explained: &Explained<'_>) -> Result<()> {
        self.write(
            file,
            &png(&overlay(explained.image, explained.places, explained.map)?)?,
        )
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(file);
        let parent = files::parent(&path);
        std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        files::write(&path, |file| file.write_all(bytes)).map_err(Error::io(&path))
    }

    /// Adds a row to the index.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn add(&mut self, row: IndexRow<'_>, explained: &Explained<'_>) -> Result<()> {
        let at = |axis: usize| {
            row.peak
                .map_or(String::new(), |peak| format!("{:.4}", peak[axis]))
        };
        let probability = format!("{:.6}", explained.probability);
        let (layer, class) = (explained.layer, explained.class);
        self.record(&[row.id, row.file, layer, class, &probability, &at(0), &at(1)])
    }

    fn record(&mut self, row: &[&str; 7]) -> Result<()> {
        let written = self.index.write_record(row);
        written.map_err(|error| Error::io(&self.path)(error.into()))
    }

    /// Renames the index to its final name. Returns its path.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn finish(self) -> Result<PathBuf> {
        let file = self.index.into_inner().map_err(|error| error.into_error());
        file.and_then(Unfinished::finish)
            .map_err(Error::io(&self.path))?;
        Ok(self.path)
    }
}

/// Longest part of a path, in bytes; file systems take 255.
const LONGEST: usize = 240;

/// The file of an image's explanation: its id with `.png` after it. Folders of the id stay. Characters and parts that no
/// file should have are written as `%XX`, so different ids have different files.
#[must_use]
pub fn explanation_file(id: &str) -> String {
    let mut file: Vec<String> = id.split('/').map(part).collect();
    if let Some(last) = file.last_mut() {
        last.push_str(".png");
    }
    file.join("/")
}

fn part(name: &str) -> String {
    if name.is_empty() {
        return "%2F".to_owned();
    }
    let is_dots = name.chars().all(|c| c == '.');
    let mut safe = String::new();
    for c in name.chars() {
        let is_safe = !c.is_control() && !"\\:*?\"<>|%".contains(c) && !is_dots;
        if is_safe {
            safe.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            safe += &format!("%{byte:02X}");
        }
    }
    if safe.len() > LONGEST {
        let mut checksum = files::Checksum::default();
        checksum.text(name);
        let end = (0..=LONGEST - 33)
            .rev()
            .find(|&end| safe.is_char_boundary(end));
        safe.truncate(end.unwrap_or(0));
        safe += &format!("%{}", &checksum.finish()[..32]);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(side: u32, value: u8) -> Image {
        Image::from_gray(side, side, vec![value; (side * side) as usize]).unwrap()
    }

    #[test]
    fn a_caption_names_class_probability_and_layer() {
        let image = grey(32, 9);
        let explained = Explained {
            image: &image,
            places: [1, 2],
            map: &[0.0, 1.0],
            class: "<seven>",
            probability: 0.987,
            layer: "features.3",
        };
        let text = explanation(&explained).unwrap().to_file();
        assert!(text.contains("&lt;seven&gt; 98.7 %") && text.contains("features.3, 1 × 2 places"));
        let blank = Explained {
            map: &[0.0; 2],
            ..explained
        };
        let text = explanation(&blank).unwrap().to_file();
        assert!(text.contains("no place speaks for it"), "{text}");
    }

    #[test]
    fn files_keep_folders_and_stay_within_theirs() {
        for (id, file) in [
            ("cat/1.jpg", "cat/1.jpg.png"),
            ("../../etc/1", "%2E%2E/%2E%2E/etc/1.png"),
            ("/tmp/a.png", "%2F/tmp/a.png.png"),
            ("a:b\\c", "a%3Ab%5Cc.png"),
            ("a//b", "a/%2F/b.png"),
            ("100%", "100%25.png"),
        ] {
            assert_eq!(explanation_file(id), file);
        }
        let long = |end: &str| explanation_file(&format!("{}{end}", "é".repeat(300)));
        assert!(long("a").len() <= 255 && long("a") != long("b"));
    }

    #[test]
    fn an_index_has_a_row_for_each_picture() {
        let dir = tempfile::tempdir().unwrap();
        let mut explanations = Explanations::create(dir.path()).unwrap();
        let image = grey(8, 9);
        let explained = Explained {
            image: &image,
            places: [1, 1],
            map: &[1.0],
            class: "a,b",
            probability: 0.5,
            layer: "features.3",
        };
        for (file, peak) in [("x/1.png", Some([0.25, 0.5])), ("2.png", None)] {
            explanations.draw(file, &explained).unwrap();
            let row = IndexRow {
                id: file,
                file,
                peak,
            };
            explanations.add(row, &explained).unwrap();
            let drawn = Image::read(&dir.path().join(file)).unwrap();
            assert_eq!((drawn.width(), drawn.height()), (224, 268));
            // The picture is in it: its middle is not the paper's white.
            assert!(drawn.to_rgb()[(100 * 224 + 100) * 3 + 2] < 200);
        }
        explanations.draw_bare("3.png", &explained).unwrap();
        assert_eq!(
            Image::read(&dir.path().join("3.png")).unwrap().height(),
            224
        );
        let text = std::fs::read_to_string(explanations.finish().unwrap()).unwrap();
        assert_eq!(
            text,
            "image_id,file,layer,class,probability,row,column\n\
             x/1.png,x/1.png,features.3,\"a,b\",0.500000,0.2500,0.5000\n\
             2.png,2.png,features.3,\"a,b\",0.500000,,\n"
        );
    }
}

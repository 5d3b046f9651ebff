//! Parsers that check the values of arguments.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use framing::{Framing, ImageSize, NoSize};
use trainer::config::MAX_IMAGE_SIZE;

pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

pub(super) fn crop_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok();
    let share = share.filter(|&share| Framing::is_share(share));
    share.ok_or_else(|| "expected a share above 0 and at most 1".to_owned())
}

pub(super) fn image_size(text: &str) -> Result<ImageSize, String> {
    let size: ImageSize = text.parse().map_err(|error: NoSize| error.to_string())?;
    match size
        .sides()
        .iter()
        .all(|side| (1..=MAX_IMAGE_SIZE).contains(side))
    {
        true => Ok(size),
        false => Err(format!(
            "expected at least 1 pixel a side and at most {MAX_IMAGE_SIZE}"
        )),
    }
}

/// A whole number from 1 to `MOST`.
pub(super) fn at_most<const MOST: usize>(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok();
    let number = number.filter(|number: &NonZeroUsize| number.get() <= MOST);
    number.ok_or_else(|| format!("expected a whole number, at least 1 and at most {MOST}"))
}

/// A time such as `90s`, `10m` or `1.5h`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    trainer::config::parse_time(text)
}

/// Milliseconds, such as `2` or `0.5`.
pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok();
    let time = time.filter(|time| (0.0..=MOST_MILLISECONDS).contains(time));
    time.map(|time| Duration::from_secs_f64(time / 1e3))
        .ok_or_else(|| format!("expected milliseconds, from 0 to {MOST_MILLISECONDS}"))
}

const MOST_MILLISECONDS: f64 = 60_000.0;

/// A number of bytes, such as `5000`, `512KiB` or `16MiB`.
pub(super) fn bytes(text: &str) -> Result<NonZeroUsize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        _ => None,
    };
    let number: Option<usize> = digits.trim_end().parse().ok();
    let number = number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(1 << unit));
    let number = number.and_then(NonZeroUsize::new);
    number.ok_or_else(|| "expected a number of bytes, such as 5000, 512KiB or 16MiB".to_owned())
}

pub(super) fn dataset(name: &str) -> Result<mnist_data::DatasetName, mnist_data::Error> {
    name.parse()
}

/// A picture to write.
#[derive(Clone, Debug)]
pub(crate) struct PictureFile {
    pub(crate) path: PathBuf,
    pub(crate) format: PictureFormat,
}

/// The format of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PictureFormat {
    Png,
    Svg,
}

/// A picture's path, which ends in `.png` or `.svg`.
pub(super) fn picture(text: &str) -> Result<PictureFile, String> {
    let path = Path::new(text);
    let ending = path.extension().and_then(|ending| ending.to_str());
    let format = match ending.map(str::to_ascii_lowercase).as_deref() {
        Some("png") => PictureFormat::Png,
        Some("svg") => PictureFormat::Svg,
        _ => return Err("expected a file name that ends in .png or .svg".to_owned()),
    };
    let path = path.to_owned();
    Ok(PictureFile { path, format })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_have_units() {
        let size = |text| bytes(text).map(NonZeroUsize::get).ok();
        assert_eq!(size("5000"), Some(5000));
        assert_eq!(size("3KiB"), Some(3072));
        assert_eq!(size("16 MiB"), Some(16 << 20));
        for wrong in ["0", "", "MiB", "16MB", "-1", "1.5MiB", "99999999999GiB"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
        assert_eq!(milliseconds("0.5"), Ok(Duration::from_micros(500)));
        for wrong in ["-1", "nan", "inf", "2ms", "60001"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
    }
}

//! Compares decoding and resizing with PIL.

use std::fs;
use std::path::{Path, PathBuf};

use mnist_data::{Error, Image};

use crate::util::folder;

fn golden(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(kind)
}

/// The largest difference between two images in grey levels.
fn difference(ours: &[u8], theirs: &[u8]) -> u8 {
    differences(ours, theirs).max().unwrap()
}

fn differences(ours: &[u8], theirs: &[u8]) -> impl Iterator<Item = u8> {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(&a, &b)| a.abs_diff(b))
}

/// An image by the formula of generate_resize.py.
fn pixel(x: u32, y: u32, c: u32) -> u8 {
    ((7 * x * x + 13 * x * y + 3 * y * y + 85 * c + (31 * x + 17 * y + 7 * c) % 23 * 9) % 256) as u8
}

#[test]
fn resizing_is_pils_but_for_one_grey_level_in_fifty() {
    let mut cases = 0;
    for entry in fs::read_dir(golden("resize")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let numbers: Vec<u32> = name
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse().ok())
            .collect();
        let &[width, height, size, channels] = numbers.as_slice() else {
            panic!("{name}")
        };
        let pixels = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| (0..channels).map(move |c| pixel(x, y, c))))
            .collect();
        let image = match channels {
            1 => Image::from_gray(width, height, pixels),
            _ => Image::from_rgb(width, height, pixels),
        };
        let resized = image.unwrap().resized(size).unwrap();
        assert_eq!(
            (
                resized.width(),
                resized.height(),
                u32::from(resized.channels())
            ),
            (size, size, channels)
        );
        let answer = fs::read(&path).unwrap();
        let worst = difference(resized.pixels(), &answer);
        assert!(worst <= 1, "{name}: {worst} grey levels");
        let differing = differences(resized.pixels(), &answer).filter(|&d| d > 0);
        let share = differing.count() as f64 / answer.len() as f64;
        assert!(share <= 0.02, "{name}: {share} of the pixels differ");
        cases += 1;
    }
    assert_eq!(cases, 10, "generate_resize.py makes ten");
}

#[test]
fn a_size_of_zero_is_refused() {
    let image = Image::from_gray(2, 2, vec![0; 4]).unwrap();
    assert!(matches!(image.resized(0), Err(Error::Setting { .. })));
    assert!(Image::from_gray(0, 2, Vec::new()).is_err());
    assert!(Image::from_rgb(2, 2, vec![0; 4]).is_err());
}

#[test]
fn every_kind_of_file_becomes_pils_rgb() {
    let mut cases = 0;
    for entry in fs::read_dir(golden("decode")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rgb") {
            continue;
        }
        let image = Image::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!((image.width(), image.height()), (13, 9), "{name}");
        let worst = difference(
            &image.to_rgb(),
            &fs::read(path.with_extension("rgb")).unwrap(),
        );
        assert_eq!(worst, 0, "{name}: grey levels");
        cases += 1;
    }
    assert_eq!(cases, 22, "generate_decode.py makes twenty-two");
}

#[test]
fn gray_stays_one_byte_a_pixel() {
    let channels = |name: &str| {
        Image::read(&golden("decode").join(name))
            .unwrap()
            .channels()
    };
    assert_eq!(
        ["gray.png", "gray_alpha.png", "gray16.png", "jpeg_gray.jpg"].map(channels),
        [1; 4]
    );
    assert_eq!(["rgb.png", "palette.png"].map(channels), [3; 2]);
}

#[test]
fn the_content_tells_the_format_not_the_name() {
    let dir = folder();
    let path = dir.path().join("really-a-png.jpg");
    fs::copy(golden("decode").join("rgb.png"), &path).unwrap();
    assert_eq!(
        Image::read(&path).unwrap().to_rgb(),
        fs::read(golden("decode").join("rgb.rgb")).unwrap()
    );
}

#[test]
fn a_file_that_is_not_an_image_is_an_error_that_names_it() {
    let whole = fs::read(golden("decode").join("rgb.png")).unwrap();
    let cases: [(&str, &[u8], &str); 4] = [
        ("zero.png", b"", "is empty"),
        ("text.png", b"hello, world", "cannot be decoded"),
        ("cut.png", &whole[..whole.len() / 2], "cannot be decoded"),
        (
            "gif.png",
            b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
            "cannot be decoded",
        ),
    ];
    let dir = folder();
    for (name, contents, problem) in cases {
        let path = dir.path().join(name);
        fs::write(&path, contents).unwrap();
        let error = Image::read(&path).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::BadImage { .. }), "{error:?}");
        assert!(text.contains(name) && text.contains(problem), "{text}");
    }
    let text = Image::read(&dir.path().join("none.png"))
        .unwrap_err()
        .to_string();
    assert!(text.contains("none.png"), "{text}");
}

#[test]
fn no_truncation_panics() {
    for name in [
        "rgb.png",
        "jpeg.jpeg",
        "bmp.bmp",
        "tiff.tiff",
        "webp_lossless.webp",
    ] {
        let whole = fs::read(golden("decode").join(name)).unwrap();
        for length in 0..whole.len() {
            // A decoder may accept files that lack their last bytes. It must not panic or give another size.
            if let Ok(image) = Image::decode(&whole[..length], Path::new(name)) {
                assert_eq!((image.width(), image.height()), (13, 9));
            }
        }
        assert!(
            Image::decode(&whole[..whole.len() / 4], Path::new(name)).is_err(),
            "{name}"
        );
    }
}

#[test]
fn an_image_bomb_is_refused() {
    let mut png = fs::read(golden("decode").join("gray.png")).unwrap();
    // Changes width and height in the header, then its checksum.
    for side in [30_000_u32, 100_000] {
        png[16..20].copy_from_slice(&side.to_be_bytes());
        png[20..24].copy_from_slice(&side.to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&png[12..29]);
        png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        let error = Image::decode(&png, Path::new("bomb.png"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("bomb.png") && error.to_lowercase().contains("limit"),
            "{error}"
        );
    }
}

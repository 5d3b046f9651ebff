//! Tests decoding options: truncated images, and JPEGs decoded at reduced size.

use std::fs;
use std::path::{Path, PathBuf};

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use mnist_data::{
    DecodeOptions, Decoding, Framing, Image, ImageFolder, ImageSize, Loader, LoaderOptions,
    TruncatedImages,
};

use crate::util::{folder, png};

#[test]
fn an_image_that_lacks_data_is_used_and_counted_where_that_is_wanted() {
    let dir = folder();
    for index in 0..10 {
        png(
            &dir.path().join(format!("{}/{index:03}.png", index % 3)),
            index,
        );
    }
    let samples = ImageFolder::training(dir.path()).unwrap().samples;
    let path = dir.path().join("1/004.png");
    let whole = fs::read(golden("jpeg.jpeg")).unwrap();
    fs::write(&path, &whole[..whole.len() - 40]).unwrap();
    let options = LoaderOptions {
        image_size: ImageSize::square(3),
        ..LoaderOptions::default()
    };
    let refused = Loader::new(samples.clone(), options.clone()).unwrap();
    let error = refused.epoch(0).find_map(Result::err).unwrap().to_string();
    assert!(
        error.contains("004.png") && error.contains("cut off"),
        "{error}"
    );
    assert!(refused.truncated().is_empty());
    let mut accept = options;
    accept.decode.truncated = TruncatedImages::Accept;
    let loader = Loader::new(samples, accept).unwrap();
    for epoch in 0..2 {
        let counts = loader.epoch(epoch).map(|batch| batch.unwrap().count);
        assert_eq!(counts.sum::<usize>(), 10);
        assert_eq!(
            loader.truncated(),
            std::slice::from_ref(&path),
            "it is counted once"
        );
    }
    assert!(loader.skipped().is_empty());
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/decode")
        .join(name)
}

/// A JPEG with slowly changing colours, 4:2:0.
fn slope(width: u16, height: u16) -> Vec<u8> {
    let pixel = |x: u16, y: u16| [x as u8, (2 * y) as u8, (250 - x - y) as u8];
    let pixels: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).flat_map(move |x| pixel(x, y)))
        .collect();
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 95);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder
        .encode(&pixels, width, height, ColorType::Rgb)
        .unwrap();
    file
}

#[test]
fn fast_decoding_takes_as_little_of_a_jpeg_as_its_size_needs() {
    let file = slope(96, 64);
    let name = Path::new("x.jpg");
    let fast = DecodeOptions {
        decoding: Decoding::Fast,
        ..DecodeOptions::default()
    };
    let at = |size, options| {
        let size = ImageSize::square(size);
        Image::decode_at(&file, name, size, Framing::default(), options).unwrap()
    };
    // These sizes are decoded at one to seven eighths.
    for size in [4, 12, 20, 28, 36, 44, 52, 56] {
        let (fast, exact) = (at(size, fast), at(size, DecodeOptions::default()));
        let levels = fast.pixels().iter().zip(exact.pixels());
        let worst = levels.map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
        assert!(worst <= 8, "{size}: {worst}");
        assert_ne!(fast, exact, "{size}: it was decoded in full");
    }
    // 64 pixels are less than eight sevenths of this size.
    assert_eq!(at(57, fast), at(57, DecodeOptions::default()));
    let whole = Image::decode_with(&file, name, fast).unwrap();
    assert_eq!(whole, Image::decode(&file, name).unwrap());
}

/// The sides of the file are no multiples of eight, so a reduced image has pixels that are partly beyond its edge. They
/// may be at any edge after a turn.
#[test]
fn fast_decoding_turns_images_too() {
    let whole = slope(91, 61);
    for turn in 1..=8 {
        let exif = [
            &b"\xFF\xE1\0\x22Exif\0\0II\x2A\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..],
            &[turn, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let file = [&whole[..2], &exif, &whole[2..]].concat();
        let [exact, fast] = [Decoding::Exact, Decoding::Fast].map(|decoding| {
            let options = DecodeOptions {
                decoding,
                ..DecodeOptions::default()
            };
            let size = ImageSize {
                width: 20,
                height: 30,
            };
            Image::decode_at(&file, Path::new("x.jpg"), size, Framing::default(), options).unwrap()
        });
        let levels = fast.pixels().iter().zip(exact.pixels());
        let worst = levels.map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
        assert!(worst <= 3, "{turn}: {worst}");
        assert_ne!(fast, exact, "{turn}");
    }
}

/// Each scan takes time in proportion to the image's size, even without data.
#[test]
fn a_large_jpeg_of_many_empty_scans_is_refused() {
    let mut file = fs::read(golden("jpeg_progressive.jpg")).unwrap();
    let last = file.windows(2).rposition(|marker| marker == [0xFF, 0xDA]);
    let last = last.unwrap();
    let scan = b"\xFF\xDA\0\x08\x01\x01\0\x01\x3F\x10";
    file.splice(last..last, scan.repeat(100));
    let accept = DecodeOptions {
        truncated: TruncatedImages::Accept,
        ..DecodeOptions::default()
    };
    let decode = |file: &[u8]| Image::decode_with(file, Path::new("x.jpg"), accept);
    assert_eq!(decode(&file).unwrap().width(), 13);
    let frame = file.windows(2).position(|marker| marker == [0xFF, 0xC2]);
    let size = frame.unwrap() + 5;
    file[size..size + 4].copy_from_slice(&[0x17, 0x70, 0x17, 0x70]);
    let text = decode(&file).unwrap_err().to_string();
    assert!(text.contains("too many scans"), "{text}");
}

/// A TIFF of one strip of 96 × `rows` pixels, which is this JPEG.
fn tiff_of(jpeg: &[u8], rows: u16) -> Vec<u8> {
    let entries = [
        (256, 96),
        (257, rows),
        (258, 8),
        (259, 7),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, rows),
        (279, jpeg.len() as u16),
    ];
    let directory = 8 + jpeg.len() as u32;
    let mut file = [b"II*\0", &directory.to_le_bytes()[..], jpeg].concat();
    file.extend((entries.len() as u16).to_le_bytes());
    for (tag, value) in entries {
        file.extend([tag, 3, 1, 0, value, 0].map(u16::to_le_bytes).concat());
    }
    file.extend([0; 4]);
    file
}

#[test]
fn a_jpeg_larger_than_its_strip_of_a_tiff_is_refused() {
    let mut jpeg = Vec::new();
    let encoder = Encoder::new(&mut jpeg, 95);
    encoder
        .encode(&[77; 96 * 64], 96, 64, ColorType::Luma)
        .unwrap();
    let decode = |rows| Image::decode(&tiff_of(&jpeg, rows), Path::new("x.tif"));
    let image = decode(64).unwrap();
    assert!(image.pixels().iter().all(|&gray| gray.abs_diff(77) <= 1));
    let text = decode(56).unwrap_err().to_string();
    assert!(text.contains("larger than its strip"), "{text}");
}

/// Headers that declare 30,000 × 30,000 pixels, for every format that allows this size.
#[test]
fn images_too_large_for_memory_are_refused_by_their_header() {
    let side = 30_000_u16;
    let mut jpeg = slope(96, 64);
    let frame = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]);
    let size = frame.unwrap() + 5;
    jpeg[size..size + 2].copy_from_slice(&side.to_be_bytes());
    jpeg[size + 2..size + 4].copy_from_slice(&side.to_be_bytes());
    let mut progressive = jpeg.clone();
    progressive[size - 4] = 0xC2;
    let mut gif = b"GIF89a".to_vec();
    gif.extend([side.to_le_bytes(), side.to_le_bytes()].concat());
    // A palette of two colours, and a frame of one pixel.
    gif.extend([0x80, 0, 0, 9, 9, 9, 200, 1, 1]);
    gif.extend([b',', 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0, b';']);
    let mut bmp = fs::read(golden("bmp.bmp")).unwrap();
    bmp[18..22].copy_from_slice(&u32::from(side).to_le_bytes());
    bmp[22..26].copy_from_slice(&u32::from(side).to_le_bytes());
    let pnm = b"P6 30000 30000 255\n".to_vec();
    for (name, file) in [
        ("x.jpg", jpeg),
        ("progressive.jpg", progressive),
        ("x.gif", gif),
        ("x.bmp", bmp),
        ("x.ppm", pnm),
    ] {
        let error = Image::decode(&file, Path::new(name)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("512 MiB"), "{text}");
    }
}

/// A program that decodes the images of strangers gives less memory to each.
#[test]
fn a_limit_of_memory_holds_for_every_format() {
    let names = [
        "jpeg.jpeg",
        "jpeg_progressive.jpg",
        "rgb.png",
        "bmp.bmp",
        "tiff.tiff",
        "webp_lossless.webp",
    ];
    let mut files = names.map(|name| fs::read(golden(name)).unwrap()).to_vec();
    files.push([&b"P6 3 1 255\n"[..], &[7; 9]].concat());
    // A palette of two colours, and a frame of one pixel.
    let mut gif = b"GIF89a\x60\0\x40\0\x80\0\0\x09\x09\x09\xC8\x01\x01".to_vec();
    gif.extend([b',', 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0, b';']);
    files.push(gif);
    for file in files {
        let name = Path::new("x");
        let with = |max_bytes| {
            let options = DecodeOptions {
                max_bytes,
                ..DecodeOptions::default()
            };
            Image::decode_with(&file, name, options)
        };
        let image = Image::decode(&file, name).unwrap();
        assert_eq!(with(8 << 20).unwrap(), image);
        let limit = (file.len() + image.pixels().len()) as u64 - 1;
        let text = with(limit).unwrap_err().to_string();
        let problem = format!("decoding them takes more than {limit} bytes");
        assert!(text.contains(&problem), "{text}");
    }
}

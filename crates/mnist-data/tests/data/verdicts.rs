//! Compares decoding of whole and damaged files with Pillow: which files are accepted, and their pixels.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;
use mnist_data::{DecodeOptions, Image, TruncatedImages};

/// Pillow's verdict on a file.
#[derive(Debug, PartialEq)]
enum Verdict {
    Refused,
    /// The file is accepted: width, height and the CRC-32 of `[height, width, 3]` bytes.
    Read([u32; 3]),
}

/// Reads a file that generate_decode_verdicts.py wrote.
struct Golden(std::vec::IntoIter<u8>);

impl Golden {
    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.0.next().unwrap()))
    }
}

impl Iterator for Golden {
    type Item = (Vec<u8>, u8, Verdict);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.len() == 0 {
            return None;
        }
        let length = self.u32() as usize;
        let file = self.0.by_ref().take(length).collect();
        let code = self.0.next()?;
        let verdict = match code {
            0 => Verdict::Refused,
            _ => Verdict::Read(std::array::from_fn(|_| self.u32())),
        };
        Some((file, code, verdict))
    }
}

fn golden(kind: &str) -> Golden {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/verdicts");
    let file = File::open(folder.join(format!("{kind}.bin"))).unwrap();
    let mut bytes = Vec::new();
    ZlibDecoder::new(file).read_to_end(&mut bytes).unwrap();
    Golden(bytes.into_iter())
}

fn ours(file: &[u8], options: DecodeOptions) -> Verdict {
    let decoded = Image::decode_with(file, Path::new("golden"), options);
    decoded.map_or(Verdict::Refused, |image| {
        let mut crc = flate2::Crc::new();
        crc.update(&image.to_rgb());
        Verdict::Read([image.width(), image.height(), crc.sum()])
    })
}

/// Compares every result and every pixel with Pillow's. Returns how many files Pillow reads, how many lack only an end
/// marker, and how many Pillow refuses.
fn check(kind: &str) -> [usize; 3] {
    let mut counts = [0; 3];
    for (index, (file, code, theirs)) in golden(kind).enumerate() {
        counts[[2, 0, 1][usize::from(code)]] += 1;
        assert_eq!(
            ours(&file, DecodeOptions::default()),
            theirs,
            "{kind} {index}"
        );
    }
    counts
}

#[test]
fn baseline_jpegs() {
    let [read, unended, refused] = check("jpeg_baseline");
    assert!(
        read >= 20 && unended >= 8 && refused >= 30,
        "{read} {unended} {refused}"
    );
}

#[test]
fn progressive_jpegs() {
    let [read, unended, refused] = check("jpeg_progressive");
    assert!(
        read >= 20 && unended >= 8 && refused >= 30,
        "{read} {unended} {refused}"
    );
}

#[test]
fn other_formats() {
    for kind in ["png", "gif", "bmp", "pnm", "tiff", "webp"] {
        let [read, _, refused] = check(kind);
        assert!(read >= 16 && refused >= 16, "{kind}: {read} {refused}");
    }
}

#[test]
fn a_cut_image_is_read_where_that_is_wanted() {
    let accept = DecodeOptions {
        truncated: TruncatedImages::Accept,
        ..DecodeOptions::default()
    };
    for kind in [
        "jpeg_baseline",
        "jpeg_progressive",
        "png",
        "gif",
        "bmp",
        "pnm",
    ] {
        // The first files are not damaged.
        let largest = golden(kind).take(16).max_by_key(|(file, ..)| file.len());
        let (whole, _, Verdict::Read([width, height, crc])) = largest.unwrap() else {
            panic!("{kind}: refused by Pillow");
        };
        assert_eq!(
            ours(&whole, accept),
            Verdict::Read([width, height, crc]),
            "{kind}"
        );
        let kept = if kind.starts_with("jpeg") {
            whole.len() * 3 / 4
        } else {
            whole.len() - 30
        };
        let cut = &whole[..kept];
        assert_eq!(
            ours(cut, DecodeOptions::default()),
            Verdict::Refused,
            "{kind}"
        );
        let Verdict::Read([cut_width, cut_height, cut_crc]) = ours(cut, accept) else {
            panic!("{kind}: refused");
        };
        assert_eq!((cut_width, cut_height), (width, height), "{kind}");
        assert_ne!(cut_crc, crc, "{kind}: nothing was missing");
    }
}

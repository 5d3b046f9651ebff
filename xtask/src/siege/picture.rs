//! Image files: an honest digit, and small files of huge images.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// A bar of 28 × 28 pixels, which looks like the digit 1.
pub(super) fn digit() -> Vec<u8> {
    let mut rows = Vec::new();
    for row in 0..28 {
        rows.push(0);
        rows.extend((0..28).map(|column| match (row, column) {
            (4..24, 12..16) => 255,
            _ => 0,
        }));
    }
    png(28, 28, [8, 0], &[], &packed(&rows))
}

/// Files that declare, or decompress to, far more than their size.
pub(super) fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    // 16 bits and four channels a pixel: 8 bytes.
    let row = vec![0; 1 + 8 * 8000];
    let huge = packed_times(&row, 8000);
    let profile = [b"a\0\0", &packed_times(&[0; 1 << 20], 256)[..]].concat();
    vec![
        (
            "a PNG that declares 2^31 pixels a side",
            png(0x7fff_ffff, 0x7fff_ffff, [8, 6], &[], &packed(&[0; 64])),
        ),
        (
            "a PNG that declares 65,535 pixels a side",
            png(65_535, 65_535, [16, 6], &[], &packed(&[0; 64])),
        ),
        (
            "a PNG of 500 kB with 512 MB of pixels",
            png(8000, 8000, [16, 6], &[], &huge),
        ),
        (
            "a PNG with a profile of 256 MB",
            png(
                28,
                28,
                [8, 0],
                &[(*b"iCCP", profile)],
                &packed(&[0; 29 * 28]),
            ),
        ),
        ("a JPEG that declares 65,500 pixels a side", jpeg(0xc0)),
        (
            "a progressive JPEG that declares 65,500 pixels a side",
            jpeg(0xc2),
        ),
        ("a GIF that declares 65,535 pixels a side", gif()),
        ("a WebP that declares 16,384 pixels a side", webp_lossless()),
        ("a WebP with a canvas of 2^24 pixels a side", webp_canvas()),
        ("a BMP that declares 60,000 pixels a side", bmp()),
        (
            "a PNM that declares 60,000 pixels a side",
            b"P6 60000 60000 255\n123".to_vec(),
        ),
    ]
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    packed_times(bytes, 1)
}

/// `bytes`, `times` in a row, as a zlib stream.
fn packed_times(bytes: &[u8], times: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory cannot fail.
    (0..times).for_each(|_| encoder.write_all(bytes).unwrap_or_default());
    encoder.finish().unwrap_or_default()
}

/// A PNG file; `kind` is the bit depth and the colour type.
fn png(
    width: u32,
    height: u32,
    kind: [u8; 2],
    chunks: &[([u8; 4], Vec<u8>)],
    pixels: &[u8],
) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend(kind);
    header.extend([0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        file.extend(length.to_be_bytes());
        let mut crc = Crc::new();
        crc.update(name);
        crc.update(data);
        file.extend(name);
        file.extend(data);
        file.extend(crc.sum().to_be_bytes());
    };
    chunk(b"IHDR", &header);
    for (name, data) in chunks {
        chunk(name, data);
    }
    chunk(b"IDAT", pixels);
    chunk(b"IEND", &[]);
    file
}

/// A JPEG file with this kind of frame, a scan, and no data in it.
fn jpeg(frame: u8) -> Vec<u8> {
    let side = 65_500_u16.to_be_bytes();
    let mut file = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    file.extend([1; 64]);
    file.extend([0xff, frame, 0, 17, 8]);
    file.extend(side);
    file.extend(side);
    file.extend([3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]);
    for class in [0x00, 0x10] {
        file.extend([0xff, 0xc4, 0, 20, class, 1]);
        file.extend([0; 15]);
        file.push(0);
    }
    file.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);
    file.extend([0; 100]);
    file.extend([0xff, 0xd9]);
    file
}

fn gif() -> Vec<u8> {
    let mut file = b"GIF89a\xff\xff\xff\xff\x80\x00\x00\x00\x00\x00\xff\xff\xff".to_vec();
    file.extend(b"\x2c\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02\x44\x01\x00\x3b");
    file
}

fn riff(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(0).to_le_bytes();
    let mut file = b"RIFF".to_vec();
    file.extend(length(12 + data.len()));
    file.extend(b"WEBP");
    file.extend(name);
    file.extend(length(data.len()));
    file.extend(data);
    file
}

fn webp_lossless() -> Vec<u8> {
    // A signature, and 14 bits for each side less one.
    let mut data = vec![0x2f, 0xff, 0xff, 0xff, 0x0f];
    data.extend([0; 59]);
    riff(b"VP8L", &data)
}

fn webp_canvas() -> Vec<u8> {
    riff(b"VP8X", &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
}

fn bmp() -> Vec<u8> {
    let mut file = b"BM".to_vec();
    file.extend(100_u32.to_le_bytes());
    file.extend([0; 4]);
    file.extend(54_u32.to_le_bytes());
    file.extend(40_u32.to_le_bytes());
    file.extend(60_000_i32.to_le_bytes());
    file.extend(60_000_i32.to_le_bytes());
    file.extend([1, 0, 24, 0]);
    file.extend([0; 70]);
    file
}

//! Pillow's checks of the segments before an image's first scan (`JpegImagePlugin.py`): they refuse
//! some files that libjpeg would read.

use crate::fault::Fault;

/// The segments that Pillow checks: marker, name, and the number of bytes that Pillow needs.
const READ: [(u8, &[u8], usize); 3] = [
    // Pillow needs the bytes up to the version.
    (0xE0, b"JFIF", 7),
    (0xEE, b"Adobe", 7),
    // Pillow needs the bytes up to the numbers of the profile's parts.
    (0xE2, b"ICC_PROFILE\0", 14),
];

/// Refuses files that Pillow does not open as a JPEG.
pub(super) fn check_headers(bytes: &[u8]) -> Result<(), Fault> {
    let mut at = 2;
    loop {
        // Bytes before the next marker are skipped.
        let rest = bytes.get(at..).unwrap_or_default();
        let ff = rest
            .iter()
            .position(|&byte| byte == 0xFF)
            .ok_or(Fault::Truncated)?;
        at += ff + 2;
        let marker = *bytes.get(at - 1).ok_or(Fault::Truncated)?;
        match marker {
            0xFF => at -= 1,
            0x00 | 0xC8 | 0xD0..=0xD9 | 0xF0..=0xFD => {}
            0x01..=0xBF => return Err(Fault::damaged("it has a marker that no image has")),
            _ => {
                let length = bytes.get(at..at + 2).ok_or(Fault::Truncated)?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                let data = match length {
                    0..=2 => &[],
                    _ => bytes.get(at + 2..at + length).ok_or(Fault::Truncated)?,
                };
                let mut known = READ.iter();
                let short = |&(of, name, least): &(u8, &[u8], usize)| {
                    of == marker && data.starts_with(name) && data.len() < least
                };
                if known.any(short) {
                    return Err(Fault::damaged("a segment is too short"));
                }
                at += 2 + data.len();
                if marker == 0xDA {
                    return Ok(());
                }
            }
        }
    }
}

//! Decodes many image files at once, for comparison with another decoder.
//!
//! Reads files from standard input: for each, its length as u32 (little-endian), then its contents. Writes to standard
//! output for each file: a byte, 0 if the image is refused and 1 if it is accepted. For an accepted image, width and
//! height as u32 and `[height, width, 3]` bytes follow. `--truncated` accepts images that lack data at their end;
//! `--why` prints the reason of each refusal to standard error. `tests/golden/fuzz_decode.py` runs it.

use std::error::Error;
use std::io::{Read, Write, stderr, stdin, stdout};
use std::path::Path;

use mnist_data::{DecodeOptions, Image, TruncatedImages};

fn main() -> Result<(), Box<dyn Error>> {
    let (mut options, mut why) = (DecodeOptions::default(), false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--truncated" => options.truncated = TruncatedImages::Accept,
            "--why" => why = true,
            other => {
                return Err(
                    format!("unknown argument {other}; expected --truncated or --why").into(),
                );
            }
        }
    }
    let mut files = Vec::new();
    stdin().lock().read_to_end(&mut files)?;
    let mut out = stdout().lock();
    let mut rest = files.as_slice();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let (file, after) = after
            .split_at_checked(length)
            .ok_or("the input is cut off")?;
        rest = after;
        match Image::decode_with(file, Path::new("input"), options) {
            Ok(image) => {
                out.write_all(&[1])?;
                out.write_all(&image.width().to_le_bytes())?;
                out.write_all(&image.height().to_le_bytes())?;
                match image.channels() {
                    3 => out.write_all(image.pixels())?,
                    _ => out.write_all(&image.to_rgb())?,
                }
            }
            Err(error) => {
                if why {
                    writeln!(stderr(), "{error}")?;
                }
                out.write_all(&[0])?;
            }
        }
    }
    Ok(())
}

//! The format of event files: protocol buffers of `tensorflow.Event` in TFRecord framing.

/// One scalar or picture under its tag.
pub(super) enum Value<'a> {
    Scalar(f32),
    /// An RGB image as PNG.
    Png {
        height: u32,
        width: u32,
        bytes: &'a [u8],
    },
}

/// What an event says, besides its time and step.
pub(super) enum Content<'a> {
    /// The first event of each file.
    FileVersion,
    /// Readers forget earlier events from this step on.
    Restart,
    Summary(&'a [(&'a str, Value<'a>)]),
}

/// An event as a framed record. `time` is in seconds since 1970.
pub(super) fn record(time: f64, step: usize, content: &Content<'_>) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, FIXED_64);
    event.extend(time.to_le_bytes());
    key(&mut event, 2, VARINT);
    varint(&mut event, step as u64);
    match content {
        Content::FileVersion => bytes(&mut event, 3, b"brain.Event:2"),
        Content::Restart => {
            // SessionLog { status: START }
            let mut session = Vec::new();
            key(&mut session, 1, VARINT);
            varint(&mut session, 1);
            bytes(&mut event, 7, &session);
        }
        Content::Summary(values) => {
            let mut summary = Vec::new();
            for (tag, value) in *values {
                bytes(&mut summary, 1, &of_value(tag, value));
            }
            bytes(&mut event, 5, &summary);
        }
    }
    framed(&event)
}

fn of_value(tag: &str, value: &Value<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, tag.as_bytes());
    match value {
        Value::Scalar(scalar) => {
            key(&mut out, 2, FIXED_32);
            out.extend(scalar.to_le_bytes());
        }
        Value::Png {
            height,
            width,
            bytes: png,
        } => {
            let mut image = Vec::new();
            // The colour space 3 is RGB.
            for (field, number) in [(1, *height), (2, *width), (3, 3)] {
                key(&mut image, field, VARINT);
                varint(&mut image, u64::from(number));
            }
            bytes(&mut image, 4, png);
            bytes(&mut out, 4, &image);
        }
    }
    out
}

/// A record: its length and its bytes, each followed by a masked checksum.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend(length);
    out.extend(masked(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked(data).to_le_bytes());
    out
}

fn masked(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// CRC-32C (Castagnoli) of RFC 3720, bit by bit: event files are small.
fn crc32c(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0x82F6_3B78 * carry);
        }
    }
    !crc
}

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED_32: u64 = 5;

fn key(out: &mut Vec<u8>, field: u64, kind: u64) {
    varint(out, field << 3 | kind);
}

fn bytes(out: &mut Vec<u8>, field: u64, content: &[u8]) {
    key(out, field, LENGTH);
    varint(out, content.len() as u64);
    out.extend(content);
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test values of RFC 3720, section B.4.
    #[test]
    fn the_checksum_is_that_of_the_standard() {
        let rising: Vec<u8> = (0..32).collect();
        for (data, expected) in [
            (&[0; 32][..], 0x8A91_36AA),
            (&[0xFF; 32], 0x62A8_AB43),
            (&rising, 0x46DD_794E),
            (b"123456789", 0xE306_9283),
            (b"", 0),
        ] {
            assert_eq!(crc32c(data), expected);
        }
    }

    /// The expected bytes are those of TensorBoard's own `RecordWriter` and `Event.SerializeToString()`.
    #[test]
    fn records_are_those_of_tensorboard() {
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        let scalar = [("loss/train", Value::Scalar(0.25))];
        let image = Value::Png {
            height: 2,
            width: 300,
            bytes: b"PNG",
        };
        for (record, expected) in [
            (
                record(1.5, 7, &Content::FileVersion),
                "1a00000000000000129bd82d09000000000000f83f10071a0d627261696e2e4576656e743a32da446486",
            ),
            (
                record(2.0, 300, &Content::Summary(&scalar)),
                "2100000000000000017becf609000000000000004010ac022a130a110a0a6c6f73732f747261696e150000803ee19e2822",
            ),
            (
                record(2.0, 3, &Content::Restart),
                "0f000000000000006d532b0909000000000000004010033a0208014a313ef8",
            ),
            (
                record(2.0, 1, &Content::Summary(&[("i", image)])),
                "200000000000000029eda95009000000000000004010012a130a110a0169220c080210ac0218032203504e47218ff182",
            ),
        ] {
            assert_eq!(hex(&record), expected);
        }
    }
}

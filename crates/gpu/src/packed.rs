//! A compact form of PTX.
//!
//! A line is a pattern and the numbers of its registers and labels. Registers and labels are named anew in each
//! function, in the order of their first use. So most are the next new one or one of the last few, and deflate packs
//! that well: all kernels take 220 KB instead of gzip's 1.4 MB.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::DeflateDecoder;

/// Stands for a number in a pattern.
const NUMBER: char = '\u{1}';
/// The kinds of registers in NVRTC's PTX.
const REGISTERS: [&str; 6] = ["p", "rs", "r", "rd", "f", "fd"];
/// How NVRTC's labels begin. The number of the function follows, then that of the label.
const LABEL: &str = "$L__BB";

/// Packs PTX. Comments, empty lines and indentation are lost, and registers and labels get other names.
///
/// Returns nothing if there are too many different lines.
#[cfg(any(feature = "cuda", test))]
pub(crate) fn pack(text: &str) -> Option<Vec<u8>> {
    use flate2::{Compression, read::DeflateEncoder};

    let mut numbered: HashMap<String, u16> = HashMap::new();
    let mut patterns = Vec::new();
    let (mut lines, mut numbers) = (Vec::new(), Vec::new());
    // For each kind of name, the new numbers of the names.
    let mut names: HashMap<&str, HashMap<&str, usize>> = HashMap::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with("//") {
            continue;
        }
        if begins_function(line) {
            names.clear();
        }
        let mut pattern = String::new();
        let mut rest = line;
        while let Some(at) = rest.find(['%', '$']) {
            pattern += &rest[..at];
            rest = &rest[at..];
            let (kind, length) = name(rest).unwrap_or_default();
            if length == 0 {
                pattern += &rest[..1];
                rest = &rest[1..];
                continue;
            }
            let known = names.entry(kind).or_default();
            let next = known.len();
            let number = *known.entry(&rest[..length]).or_insert(next);
            push(&mut numbers, next - number);
            pattern += kind;
            pattern.push(NUMBER);
            rest = &rest[length..];
        }
        pattern += rest;
        let next = u16::try_from(numbered.len()).ok()?;
        let index = *numbered.entry(pattern.clone()).or_insert(next);
        if index == next {
            patterns.push(pattern);
        }
        lines.extend(index.to_le_bytes());
    }
    let patterns = patterns.join("\n");
    let mut all = Vec::new();
    all.extend((patterns.len() as u32).to_le_bytes());
    all.extend((lines.len() as u32).to_le_bytes());
    all.extend(patterns.bytes());
    all.extend(lines);
    all.extend(numbers);
    let mut packed = Vec::new();
    let mut deflate = DeflateEncoder::new(all.as_slice(), Compression::best());
    deflate.read_to_end(&mut packed).ok()?;
    Some(packed)
}

/// The text that was packed, or nothing if the bytes are damaged.
pub(crate) fn unpack(packed: &[u8]) -> Option<String> {
    let mut all = Vec::new();
    DeflateDecoder::new(packed).read_to_end(&mut all).ok()?;
    let (patterns, rest) = all.split_first_chunk()?;
    let (lines, rest) = rest.split_first_chunk()?;
    let (patterns, rest) = rest.split_at_checked(u32::from_le_bytes(*patterns) as usize)?;
    let (lines, mut numbers) = rest.split_at_checked(u32::from_le_bytes(*lines) as usize)?;
    let patterns: Vec<&str> = std::str::from_utf8(patterns).ok()?.split('\n').collect();

    let mut text = String::new();
    // For each kind of name, how many there are.
    let mut names: HashMap<&str, usize> = HashMap::new();
    for line in lines.chunks_exact(2) {
        let index = u16::from_le_bytes(line.try_into().ok()?);
        let pattern = *patterns.get(usize::from(index))?;
        if begins_function(pattern) {
            names.clear();
        }
        let mut parts = pattern.split(NUMBER);
        let last = parts.next_back()?;
        for part in parts {
            let kind = &part[part.rfind(['%', '$'])?..];
            let next = names.entry(kind).or_default();
            let number = next.checked_sub(take(&mut numbers)?)?;
            *next = (*next).max(number + 1);
            text += part;
            text += &number.to_string();
        }
        text += last;
        text.push('\n');
    }
    Some(text)
}

/// Whether names of registers begin anew here.
fn begins_function(line: &str) -> bool {
    line.contains(".entry ") || line.contains(".func ")
}

/// The kind of the name of a register or a label at the beginning of a text, and the length of the whole name.
#[cfg(any(feature = "cuda", test))]
fn name(text: &str) -> Option<(&str, usize)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (kind, digits_at) = match text.strip_prefix(LABEL) {
        Some(rest) => (2, LABEL.len() + digits(rest) + 1),
        None => {
            let letters = text.bytes().skip(1).take_while(u8::is_ascii_lowercase);
            let length = 1 + letters.count();
            (length, length)
        }
    };
    let is_known = text.starts_with(LABEL) || REGISTERS.contains(&&text[1..kind]);
    let length = digits_at + digits(text.get(digits_at..)?);
    let goes_on = |next: char| next.is_ascii_alphanumeric() || next == '_';
    let ends = !text[length..].starts_with(goes_on);
    (is_known && length > digits_at && ends).then(|| (&text[..kind], length))
}

/// Writes seven bits a byte, the lowest first.
#[cfg(any(feature = "cuda", test))]
fn push(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in (0..28).step_by(7) {
        let byte = *bytes.split_off_first()?;
        number |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_survives() {
        let text = "\
//
// Generated by a compiler
//
.version 8.0
.visible .entry map(
\t.param .u64 map_param_0
)
{
\t.reg .pred \t%p<3>;
\t.reg .b64 \t%rd<300>;

\tld.param.u64 \t%rd7, [map_param_0+%rd9];
\tmov.u32 \t%r1, %tid.x;
\tmov.u64 \t%rd2, %clock64;
\t@%p2 bra \t$L__BB0_2;
\tadd.s64 \t%rd9, %rd7, %rd2;
$L__BB0_2: // a label
\tst.global.f32 \t[%rd9], 0f3F800000;
\tmov.b32 \t%reserved_1, %f1x, $str;
}
.visible .entry pixels()
{
\tmov.u64 \t%rd3, %rd3;
$L__BB1_7:
}
";
        let expected = "\
.version 8.0
.visible .entry map(
.param .u64 map_param_0
)
{
.reg .pred \t%p<3>;
.reg .b64 \t%rd<300>;
ld.param.u64 \t%rd0, [map_param_0+%rd1];
mov.u32 \t%r0, %tid.x;
mov.u64 \t%rd2, %clock64;
@%p0 bra \t$L0;
add.s64 \t%rd1, %rd0, %rd2;
$L0: // a label
st.global.f32 \t[%rd1], 0f3F800000;
mov.b32 \t%reserved_1, %f1x, $str;
}
.visible .entry pixels()
{
mov.u64 \t%rd0, %rd0;
$L0:
}
";
        let packed = pack(text).unwrap();
        assert_eq!(unpack(&packed).unwrap(), expected);
        // Names that are already new stay, and so does everything else.
        assert_eq!(
            unpack(&packed),
            unpack(&pack(&unpack(&packed).unwrap()).unwrap())
        );
    }

    #[test]
    fn many_names_survive() {
        let lines: Vec<String> = (0..400)
            .map(|n| format!("neg.f32 %f{n}, %f{};", n * 7 % 400))
            .collect();
        let unpacked = unpack(&pack(&lines.join("\n")).unwrap()).unwrap();
        let mut renamed = HashMap::new();
        for (before, after) in lines.iter().zip(unpacked.lines()) {
            for (old, new) in before.split(' ').zip(after.split(' ')).skip(1) {
                let old = old.trim_end_matches([',', ';']);
                let new = new.trim_end_matches([',', ';']);
                assert_eq!(*renamed.entry(old).or_insert(new), new);
            }
        }
        let names: std::collections::HashSet<_> = renamed.values().collect();
        assert_eq!((renamed.len(), names.len()), (400, 400));
    }

    #[test]
    fn damage_is_noticed() {
        let packed = pack("mov.u32 %r1, %r2;").unwrap();
        for length in 0..packed.len() {
            assert!(unpack(&packed[..length]).is_none());
        }
    }
}

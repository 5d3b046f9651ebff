//! Reads the operands of pickle operations: numbers, texts, bytes.

use super::value::Value;

/// Why the current operation fails.
pub(super) enum Stop {
    /// The pickle ends too early.
    Ended,
    /// Invalid operands.
    Says(String),
}

impl From<&str> for Stop {
    fn from(reason: &str) -> Self {
        Stop::Says(reason.into())
    }
}

/// The result of an operation.
pub(super) type Outcome<T> = Result<T, Stop>;

/// The bytes of a pickle, and the position up to which they were read.
pub(super) struct Operands<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Operands<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Operands { bytes, at: 0 }
    }

    /// Number of bytes read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn take(&mut self, len: u64) -> Outcome<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let len = usize::try_from(len).map_err(|_| Stop::Ended)?;
        let taken = rest.get(..len).ok_or(Stop::Ended)?;
        self.at += len;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let taken = self.take(N as u64)?;
        taken.try_into().map_err(|_| Stop::Ended)
    }

    /// The text before the next line break.
    pub(super) fn line(&mut self) -> Outcome<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(end.ok_or(Stop::Ended)? as u64)?;
        self.at += 1;
        str::from_utf8(line).map_err(|_| "a line that is not text".into())
    }

    /// A memo index, written in decimal digits.
    pub(super) fn place(&mut self) -> Outcome<u64> {
        let place = self.line()?.parse();
        place.map_err(|_| "a memo index that is not a number".into())
    }

    /// An integer, in the format of `operation`.
    pub(super) fn whole(&mut self, operation: u8) -> Outcome<Value<'a>> {
        let number = match operation {
            b'J' => i32::from_le_bytes(self.array()?).into(),
            b'K' => self.array::<1>()?[0].into(),
            b'M' => u16::from_le_bytes(self.array()?).into(),
            0x8a | 0x8b => {
                let len = match operation {
                    0x8a => self.array::<1>()?[0].into(),
                    _ => u32::from_le_bytes(self.array()?),
                };
                let bytes = self.take(len.into())?;
                if bytes.len() > 8 {
                    return Ok(Value::Long(bytes));
                }
                let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
                let mut whole = [if negative { 0xff } else { 0 }; 8];
                whole[..bytes.len()].copy_from_slice(bytes);
                i64::from_le_bytes(whole)
            }
            _ => {
                let line = self.line()?;
                match (operation, line) {
                    (b'I', "00") => return Ok(Value::Bool(false)),
                    (b'I', "01") => return Ok(Value::Bool(true)),
                    _ => {}
                }
                let digits = line.strip_suffix('L').unwrap_or(line);
                digits
                    .parse()
                    .map_err(|_| Stop::from("not an integer of 64 bits"))?
            }
        };
        Ok(Value::Int(number))
    }

    /// A text or bytes, in the format of `operation`.
    pub(super) fn text(&mut self, operation: u8) -> Outcome<Value<'a>> {
        if operation == b'V' {
            let line = self.line()?;
            // Only protocol 0 writes escapes, and tensors cannot be saved in protocol 0.
            if line.contains('\\') {
                return Err("a text with escapes".into());
            }
            return Ok(Value::Text(line));
        }
        let len = match operation {
            0x8c | b'U' | b'C' => self.array::<1>()?[0].into(),
            b'X' | b'T' | b'B' => u32::from_le_bytes(self.array()?).into(),
            _ => u64::from_le_bytes(self.array()?),
        };
        let bytes = self.take(len)?;
        match (operation, str::from_utf8(bytes)) {
            (b'X' | 0x8c | 0x8d | b'T' | b'U', Ok(text)) => Ok(Value::Text(text)),
            (b'X' | 0x8c | 0x8d, Err(_)) => Err("a text that is not UTF-8".into()),
            _ => Ok(Value::Bytes(bytes)),
        }
    }
}

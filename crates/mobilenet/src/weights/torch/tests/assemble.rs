//! Builds pickles by hand, operation by operation.

/// Pushes a text.
pub(super) fn text(text: &str) -> Vec<u8> {
    let len = (text.len() as u32).to_le_bytes();
    [b"X", &len[..], text.as_bytes()].concat()
}

/// Pushes an integer.
pub(super) fn whole(number: i64) -> Vec<u8> {
    [b"\x8a\x08", &number.to_le_bytes()[..]].concat()
}

/// Pushes a tuple of integers.
pub(super) fn tuple(numbers: &[i64]) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.iter().flat_map(|&n| whole(n)).collect();
    [b"(", &numbers[..], b"t"].concat()
}

/// A tensor in the format of `torch.save`.
pub(super) struct Tensor<'a> {
    pub(super) storage: &'a str,
    /// Length of the tensor's storage.
    pub(super) len: i64,
    /// The bytes after the length in the persistent id.
    pub(super) view: &'a [u8],
    pub(super) offset: i64,
    pub(super) shape: &'a [i64],
    pub(super) strides: &'a [i64],
}

impl Tensor<'_> {
    /// A tensor of six values in storage `0`, in two rows.
    pub(super) const SIX: Self = Tensor {
        storage: "0",
        len: 6,
        view: b"N",
        offset: 0,
        shape: &[2, 3],
        strides: &[3, 1],
    };

    pub(super) fn pickled(&self) -> Vec<u8> {
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            &text("storage")[..],
            b"ctorch\nFloatStorage\n",
            &text(self.storage),
            &text("cpu"),
            &whole(self.len),
            self.view,
            b"tQ",
            &whole(self.offset),
            &tuple(self.shape),
            &tuple(self.strides),
            b"\x89}tR",
        ]
        .concat()
    }
}

/// Pushes a dict from texts to values.
pub(super) fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut pickled = b"}(".to_vec();
    for (name, value) in entries {
        pickled.extend(text(name));
        pickled.extend(value);
    }
    pickled.push(b'u');
    pickled
}

/// A file in the format before PyTorch 1.6, with an object and f32 storages.
pub(super) fn legacy(object: &[u8], storages: &[(&str, &[f32])]) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.\x80\x02}.\x80\x02");
    file.extend(object);
    file.extend(b".\x80\x02](");
    for (key, _) in storages {
        file.extend(text(key));
    }
    file.extend(b"e.");
    for (_, numbers) in storages {
        file.extend((numbers.len() as i64).to_le_bytes());
        file.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    }
    file
}

/// A file in the format before PyTorch 1.6, with one object, and with six values as storage `0`.
pub(super) fn of_six(object: &[u8]) -> Vec<u8> {
    legacy(object, &[("0", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])])
}

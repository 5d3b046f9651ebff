//! Tests that start with a valid file and truncate or change it.

use proptest::prelude::*;

use super::{fixture_bytes, open, refusal, try_everything};

const FILES: [&str; 6] = [
    "training_zip_2.pt",
    "training_legacy_4.pt",
    "kinds_zip_2.pt",
    "kinds_legacy_4.pt",
    "checkpoint_legacy_2.pt",
    "checkpoint_zip_4.pt",
];

/// Offset of an entry's record in the central directory of a zip file.
fn record(zip: &[u8], name: &str) -> usize {
    let is_record = |at: &usize| {
        zip[*at..].starts_with(b"PK\x01\x02") && zip[at + 46..].starts_with(name.as_bytes())
    };
    (0..zip.len() - 46).find(is_record).unwrap()
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    for name in ["small_zip.pt", "small_legacy.pt"] {
        let bytes = fixture_bytes(name);
        open(&bytes).unwrap();
        for len in 0..bytes.len() {
            refusal(&bytes[..len]);
        }
    }
}

#[test]
fn the_other_byte_order_is_refused() {
    let mut bytes = fixture_bytes("small_zip.pt");
    let at = bytes.windows(6).position(|w| w == b"little").unwrap();
    bytes[at..at + 6].copy_from_slice(b"big\0\0\0");
    assert!(refusal(&bytes).contains("big endian"));
}

#[test]
fn two_entries_of_one_name_are_refused() {
    let mut bytes = fixture_bytes("kinds_zip_2.pt");
    let at = record(&bytes, "kinds_zip_2/data/1") + 46 + "kinds_zip_2/data/".len();
    assert_eq!(bytes[at], b'1');
    bytes[at] = b'2';
    let error = refusal(&bytes);
    assert!(error.contains("two entries of one name"), "{error}");
}

#[test]
fn two_pickles_are_refused() {
    let mut bytes = fixture_bytes("kinds_zip_2.pt");
    let at = record(&bytes, "kinds_zip_2/byteorder") + 46;
    bytes[at..at + 21].copy_from_slice(b"kinds_zip_2//data.pkl");
    let error = refusal(&bytes);
    assert!(error.contains("more than one data.pkl"), "{error}");
}

#[test]
fn an_entry_that_is_encrypted_is_refused() {
    let mut bytes = fixture_bytes("small_zip.pt");
    let at = record(&bytes, "small_zip/data.pkl");
    bytes[at + 8] |= 1;
    let error = refusal(&bytes);
    assert!(error.contains("is compressed or encrypted"), "{error}");
}

#[test]
fn an_entry_that_is_compressed_is_refused() {
    for entry in ["small_zip/data.pkl", "small_zip/data/0"] {
        let mut bytes = fixture_bytes("small_zip.pt");
        let at = record(&bytes, entry);
        bytes[at + 10] = 8;
        let error = refusal(&bytes);
        assert!(error.contains(&format!("{entry} is compressed")), "{error}");
    }
}

#[test]
fn entries_may_overlap_but_not_leave_the_file() {
    let bytes = fixture_bytes("kinds_zip_2.pt");
    let (of, to) = (
        record(&bytes, "kinds_zip_2/data/1"),
        record(&bytes, "kinds_zip_2/data.pkl"),
    );
    let mut overlapping = bytes.clone();
    overlapping.copy_within(to + 42..to + 46, of + 42);
    open(&overlapping).unwrap();
    try_everything(&overlapping);
    for field in [20, 24] {
        let mut outside = bytes.clone();
        outside[of + field..of + field + 4].copy_from_slice(&[0, 0, 0, 0x40]);
        assert!(refusal(&outside).contains("not within the file"));
    }
    let mut short = bytes.clone();
    for field in [20, 24] {
        short[of + field..of + field + 4].copy_from_slice(&[1, 0, 0, 0]);
    }
    let error = refusal(&short);
    assert!(error.contains("storage 1 should have"), "{error}");
}

#[test]
fn a_zip_file_of_something_else_is_refused() {
    let mut bytes = fixture_bytes("small_zip.pt");
    let at = record(&bytes, "small_zip/data.pkl") + 46;
    bytes[at..at + 9].copy_from_slice(b"other_zip");
    let error = refusal(&bytes);
    assert!(error.contains("it has no storage 0"), "{error}");
    bytes[at..at + 18].copy_from_slice(b"small_zip/data.txt");
    let error = refusal(&bytes);
    assert!(error.contains("a zip file without data.pkl"), "{error}");
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(
        file in 0..FILES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = fixture_bytes(FILES[file]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        try_everything(&bytes);
    }

    #[test]
    fn moved_bytes_never_panic(
        file in 0..FILES.len(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        len in 1..32_usize,
    ) {
        let mut bytes = fixture_bytes(FILES[file]);
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        let moved = bytes[from..bytes.len().min(from + len)].to_vec();
        bytes.splice(to..to, moved);
        try_everything(&bytes);
    }

    #[test]
    fn any_operations_never_panic(pickle in prop::collection::vec(any::<u8>(), 0..64)) {
        try_everything(&super::assemble::of_six(&pickle));
    }
}

//! Tests valid and invalid IDX files.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::write::GzEncoder;
use mnist_data::{Compression, Error, IdxImages, IdxLabels, read_pair};
use proptest::prelude::*;

use crate::util::folder;

fn header(magic: u32, dims: &[u32]) -> Vec<u8> {
    [magic]
        .iter()
        .chain(dims)
        .flat_map(|word| word.to_be_bytes())
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// The offset and the text of the error when these contents are read.
fn images_error(contents: &[u8]) -> (u64, String) {
    let dir = folder();
    let path = dir.path().join("images");
    fs::write(&path, contents).unwrap();
    let error = IdxImages::read(&path).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(path.to_str().unwrap()),
        "the file is not named: {text}"
    );
    match error {
        Error::Idx { offset, .. } => (offset, text),
        other => panic!("not an IDX error: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn written_files_read_back(
        rows in 1_usize..9,
        cols in 1_usize..9,
        count in 0_usize..9,
        seed in any::<u8>(),
        compressed in any::<bool>(),
    ) {
        let dir = folder();
        let (images_path, labels_path) = (dir.path().join("images"), dir.path().join("labels"));
        let pixels: Vec<u8> = (0..rows * cols * count).map(|i| (i * 31) as u8 ^ seed).collect();
        let compression = if compressed { Compression::Gzip } else { Compression::None };
        let images = IdxImages::new(rows, cols, pixels.clone()).unwrap();
        let labels = IdxLabels::new(vec![seed; count]);
        images.write(&images_path, compression).unwrap();
        labels.write(&labels_path, compression).unwrap();

        let (images_read, labels_read) = read_pair(&images_path, &labels_path).unwrap();
        prop_assert_eq!(&images_read, &images);
        prop_assert_eq!(&labels_read, &labels);
        prop_assert_eq!((images_read.count(), images_read.rows(), images_read.cols()), (count, rows, cols));
        for index in 0..count {
            prop_assert_eq!(images_read.image(index), &pixels[index * rows * cols..][..rows * cols]);
        }
        prop_assert!(images_read.image(count).is_empty());
    }
}

#[test]
fn the_plain_format_is_the_published_one() {
    let dir = folder();
    let path = dir.path().join("images");
    IdxImages::new(1, 2, vec![9, 8, 7, 6])
        .unwrap()
        .write(&path, Compression::None)
        .unwrap();
    assert_eq!(
        fs::read(&path).unwrap(),
        [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 9, 8, 7, 6]
    );
    IdxLabels::new(vec![5])
        .write(&path, Compression::None)
        .unwrap();
    assert_eq!(fs::read(&path).unwrap(), [0, 0, 8, 1, 0, 0, 0, 1, 5]);
    assert_eq!(
        crate::util::files(dir.path()),
        ["images"],
        "no temporary file stays"
    );
}

#[test]
fn every_truncation_is_an_error() {
    let dir = folder();
    let path = dir.path().join("images");
    let images = IdxImages::new(3, 4, (0..24).collect()).unwrap();
    for compression in [Compression::None, Compression::Gzip] {
        images.write(&path, compression).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let error = IdxImages::read(&path).unwrap_err();
            assert!(
                error.to_string().contains("images"),
                "{compression:?}, {length} bytes: {error}"
            );
            assert!(
                IdxLabels::read(&path).is_err(),
                "{compression:?}, {length} bytes"
            );
        }
    }
}

#[test]
fn a_truncated_file_is_told_where_it_ends() {
    let mut contents = header(0x803, &[2, 2, 2]);
    contents.extend([0; 7]);
    for contents in [contents.clone(), gzip(&contents)] {
        let (offset, text) = images_error(&contents);
        assert_eq!(offset, 23);
        assert!(text.contains("24 bytes"), "{text}");
    }
    let (offset, text) = images_error(&header(0x803, &[2, 2])[..10]);
    assert_eq!(offset, 10);
    assert!(text.contains("header"), "{text}");
}

#[test]
fn bytes_that_follow_are_told_where_they_begin() {
    let mut contents = header(0x803, &[2, 2, 2]);
    contents.extend([0; 9]);
    for contents in [contents.clone(), gzip(&contents)] {
        let (offset, text) = images_error(&contents);
        assert_eq!(offset, 24);
        assert!(text.contains("more bytes follow"), "{text}");
    }
}

#[test]
fn a_file_of_another_kind_is_called_by_its_name() {
    let cases: [(Vec<u8>, &str); 5] = [
        (header(0x801, &[0]), "an IDX label file"),
        (
            header(0xd03, &[1, 1, 1]),
            "an IDX file of f32 in 3 dimensions",
        ),
        (header(0x802, &[1, 1]), "an IDX file of u8 in 2 dimensions"),
        (b"\x89PNG\r\n\x1a\n".to_vec(), "not an IDX file"),
        (header(0x0308_0000, &[1, 1, 1]), "not an IDX file"),
    ];
    for (contents, name) in cases {
        let (offset, text) = images_error(&contents);
        assert_eq!(offset, 0);
        assert!(
            text.contains(name) && text.contains("expected an IDX image file (0x00000803)"),
            "{text}"
        );
    }
    let dir = folder();
    let path = dir.path().join("labels");
    IdxImages::new(1, 1, vec![0])
        .unwrap()
        .write(&path, Compression::Gzip)
        .unwrap();
    let text = IdxLabels::read(&path).unwrap_err().to_string();
    assert!(
        text.contains("this is an IDX image file; expected an IDX label file"),
        "{text}"
    );
}

#[test]
fn a_header_beyond_the_limit_allocates_nothing() {
    for dims in [[u32::MAX; 3], [1 << 20, 1 << 10, 1 << 10]] {
        for contents in [header(0x803, &dims), gzip(&header(0x803, &dims))] {
            let (offset, text) = images_error(&contents);
            assert_eq!(offset, 4);
            assert!(text.contains("4 GiB"), "{text}");
        }
    }
    // The declared length is within the limit, but far more than the file can contain, even when inflated.
    let modest = header(0x803, &[1 << 20, 28, 28]);
    for contents in [modest.clone(), gzip(&modest)] {
        let (_, text) = images_error(&contents);
        assert!(text.contains("ends here"), "{text}");
    }
}

#[test]
fn a_gzip_bomb_is_not_inflated() {
    // 64 MiB of zeros after a header that declares 4 bytes.
    let mut contents = header(0x803, &[1, 2, 2]);
    contents.resize(64 << 20, 0);
    let (offset, text) = images_error(&gzip(&contents));
    assert_eq!(offset, 20);
    assert!(text.contains("more bytes follow"), "{text}");
}

#[test]
fn damaged_gzip_is_an_error_that_names_the_file() {
    let dir = folder();
    let path = dir.path().join("images");
    let mut contents = header(0x803, &[10, 10, 10]);
    contents.extend((0..1000).map(|i| (i * i % 251) as u8));
    let mut contents = gzip(&contents);
    let middle = contents.len() / 2;
    contents[middle] ^= 0xff;
    fs::write(&path, contents).unwrap();
    let text = IdxImages::read(&path).unwrap_err().to_string();
    assert!(text.contains("images"), "{text}");
}

#[test]
fn counts_that_differ_are_an_error_that_names_both_files() {
    let dir = folder();
    let (images, labels) = (
        dir.path().join("some-images"),
        dir.path().join("some-labels"),
    );
    IdxImages::new(1, 1, vec![0; 3])
        .unwrap()
        .write(&images, Compression::None)
        .unwrap();
    IdxLabels::new(vec![0; 2])
        .write(&labels, Compression::None)
        .unwrap();
    let error = read_pair(&images, &labels).unwrap_err();
    assert!(matches!(
        error,
        Error::CountMismatch {
            images: 3,
            labels: 2,
            ..
        }
    ));
    let text = error.to_string();
    assert!(
        text.contains("some-images") && text.contains("some-labels"),
        "{text}"
    );
}

#[test]
fn empty_images_and_missing_files_are_errors() {
    let (offset, text) = images_error(&header(0x803, &[5, 0, 28]));
    assert_eq!(offset, 8);
    assert!(text.contains("empty"), "{text}");
    assert!(IdxImages::new(0, 4, Vec::new()).is_err());
    assert!(IdxImages::new(2, 2, vec![0; 5]).is_err());
    assert!(IdxImages::new(usize::MAX, 2, vec![0; 5]).is_err());
    let text = IdxLabels::read(Path::new("no/such/labels"))
        .unwrap_err()
        .to_string();
    assert!(text.contains("cannot read no/such/labels"), "{text}");
}

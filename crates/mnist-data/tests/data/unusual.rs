//! Tests folders with entries other than images: other formats, pipes, devices, broken links, and names that are not
//! UTF-8.

use std::fs;
use std::path::Path;

use mnist_data::{Classes, Error, ImageFolder, ImageSize, Sample, list_images};

use crate::util::{folder, png};

fn classes(names: &[&str]) -> Classes {
    Classes::new(names.iter().map(|&name| name.into()).collect()).unwrap()
}

fn ids(samples: &[Sample]) -> Vec<&str> {
    samples.iter().map(Sample::id).collect()
}

#[test]
fn every_usual_ending_of_an_image_is_listed() {
    let dir = folder();
    for name in [
        "a.jfif", "b.JPE", "c.gif", "d.ppm", "e.pgm", "f.pbm", "g.pnm",
    ] {
        png(&dir.path().join("class").join(name), 0);
    }
    let training = ImageFolder::training(dir.path()).unwrap();
    assert_eq!(training.samples.len(), 7);
}

#[test]
fn an_empty_class_reports_its_other_contents() {
    let dir = folder();
    png(&dir.path().join("a/1.png"), 0);
    for number in 1..=4 {
        png(&dir.path().join(format!("b/{number}.heic")), 0);
    }
    png(&dir.path().join("b/Thumbs.db"), 0);
    let error = ImageFolder::training(dir.path()).unwrap_err();
    assert!(
        matches!(&error, Error::EmptyClass { class, .. } if class == "b"),
        "{error:?}"
    );
    let text = error.to_string();
    for part in ["4 .heic (b/1.heic, …)", "convert", "JPEG or PNG"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains(".db"), "{text}");
    for error in [
        list_images(&dir.path().join("b")).unwrap_err(),
        ImageFolder::with_classes(&dir.path().join("b"), &classes(&["a"])).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NoImages { .. }), "{error:?}");
        assert!(error.to_string().contains("4 .heic (1.heic, …)"), "{error}");
    }
}

/// `é` is written as one character and as two.
const COMPOSED: &str = "caf\u{e9}";
const DECOMPOSED: &str = "cafe\u{301}";

#[test]
fn a_class_is_the_same_however_its_accents_are_composed() {
    let dir = folder();
    png(&dir.path().join(DECOMPOSED).join("1.png"), 0);
    for known in [COMPOSED, DECOMPOSED] {
        let classes = classes(&["bar", known]);
        let split = ImageFolder::with_classes(dir.path(), &classes).unwrap();
        assert_eq!(split.samples[0].label, 1);
        // Files keep their names on disk.
        assert_eq!(split.samples[0].id(), format!("{DECOMPOSED}/1.png"));
        assert_eq!(split.classes, classes);
    }
    let table = dir.path().join("labels.csv");
    let row = format!("path,label\n{DECOMPOSED}/1.png,{DECOMPOSED}\n");
    fs::write(&table, row).unwrap();
    let split = ImageFolder::from_csv(&table, None, Some(&classes(&["bar", COMPOSED]))).unwrap();
    assert_eq!(split.samples[0].label, 1);
}

#[test]
fn two_names_of_one_class_in_one_place_are_refused() {
    let said = |error: Error| {
        let text = error.to_string();
        for part in [COMPOSED, DECOMPOSED, "\\u{e9}", "\\u{301}"] {
            assert!(text.contains(part), "{text}");
        }
        text
    };
    let dir = folder();
    png(&dir.path().join(COMPOSED).join("1.png"), 0);
    png(&dir.path().join(DECOMPOSED).join("2.png"), 0);
    // If the file system treats both names as the same, there is nothing to refuse.
    if fs::read_dir(dir.path()).unwrap().count() == 2 {
        let error = ImageFolder::training(dir.path()).unwrap_err();
        assert!(matches!(error, Error::ClassFolder { .. }), "{error:?}");
        said(error);
        said(ImageFolder::with_classes(dir.path(), &classes(&[COMPOSED])).unwrap_err());
    }
    said(Classes::new(vec![COMPOSED.into(), DECOMPOSED.into()]).unwrap_err());
    let table = dir.path().join("labels.csv");
    fs::write(
        dir.path().join("names"),
        format!("{COMPOSED}\n{DECOMPOSED}\n"),
    )
    .unwrap();
    let text = said(Classes::read(&dir.path().join("names")).unwrap_err());
    assert!(text.contains("names:2:"), "{text}");
    let other = format!("path,label\n{COMPOSED}/1.png,{COMPOSED}\nlabels.csv,{DECOMPOSED}\n");
    fs::write(&table, other).unwrap();
    let text = said(ImageFolder::from_csv(&table, None, None).unwrap_err());
    assert!(
        text.contains("labels.csv:3:") && text.contains("line 2"),
        "{text}"
    );
}

#[test]
fn a_class_name_with_control_characters_is_refused() {
    let dir = folder();
    png(&dir.path().join("1.png"), 0);
    let table = dir.path().join("labels.csv");
    fs::write(&table, "path,label\n1.png,\"a\tb\"\n").unwrap();
    let error = ImageFolder::from_csv(&table, None, None).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(r#"labels.csv:2: the class name "a\tb""#),
        "{error}"
    );
    fs::write(&table, "a\n\u{1b}[31mred\n").unwrap();
    let error = Classes::read(&table).unwrap_err();
    assert!(error.to_string().contains("labels.csv:2:"), "{error}");
    fs::write(&table, b"a\n\xff\n").unwrap();
    let error = Classes::read(&table).unwrap_err();
    assert!(
        error.to_string().contains("labels.csv:2: is not UTF-8"),
        "{error}"
    );
}

#[test]
fn a_class_among_very_many_is_found_by_its_name() {
    let names: Vec<String> = (0..200_000)
        .map(|number| format!("class {number}"))
        .collect();
    let classes = Classes::new(names.clone()).unwrap();
    // A linear search per image would take 20,000,000,000 comparisons.
    let labels = names.iter().map(|name| classes.index_of(name));
    assert!(labels.eq((0..names.len()).map(Some)));
    let dir = folder();
    let file = dir.path().join("names");
    fs::write(&file, names.join("\n")).unwrap();
    assert_eq!(Classes::read(&file).unwrap(), classes);
    png(&dir.path().join("split/other/1.png"), 0);
    let error = ImageFolder::with_classes(&dir.path().join("split"), &classes).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("class 19, … 200000 in all"), "{text}");
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use mnist_data::{
        BadImage, BadImageLimit, DiskCache, IdxLabels, Image, Listing, Loader, LoaderOptions,
        Sample, content_checksum, read_regular,
    };

    use super::*;
    use crate::util::Pipe;

    #[test]
    fn a_link_to_a_folder_above_gives_no_wrong_labels() {
        let dir = folder();
        png(&dir.path().join("a/1.png"), 0);
        png(&dir.path().join("b/2.png"), 0);
        let up = dir.path().join("a/up");
        for target in ["..", ".", "../.."] {
            symlink(target, &up).unwrap();
            for error in [
                ImageFolder::training(dir.path()).unwrap_err(),
                ImageFolder::with_classes(dir.path(), &classes(&["a", "b"])).unwrap_err(),
            ] {
                assert!(
                    matches!(&error, Error::ClassFolder { path, .. } if *path == up),
                    "{error:?}"
                );
                assert!(error.to_string().contains("remove the link"), "{error}");
            }
            // Without labels, a link to a folder above is no error, but is not followed.
            let found = list_images(&dir.path().join("a")).unwrap();
            assert_eq!(found.len(), 1);
            fs::remove_file(&up).unwrap();
        }
        // The class folder itself is a link to a folder above.
        symlink("..", dir.path().join("c")).unwrap();
        let error = ImageFolder::training(dir.path()).unwrap_err();
        assert!(matches!(error, Error::ClassFolder { .. }), "{error:?}");
    }

    #[test]
    fn a_folder_is_of_one_class_alone() {
        let dir = folder();
        let elsewhere = folder();
        png(&dir.path().join("a/1.png"), 0);
        png(&elsewhere.path().join("deep/2.png"), 0);
        symlink(elsewhere.path(), dir.path().join("b")).unwrap();
        // A folder that one class links twice is searched once.
        symlink(elsewhere.path().join("deep"), dir.path().join("b/again")).unwrap();
        let training = ImageFolder::training(dir.path()).unwrap();
        assert_eq!(ids(&training.samples), ["a/1.png", "b/again/2.png"]);
        symlink(elsewhere.path().join("deep"), dir.path().join("a/other")).unwrap();
        let error = ImageFolder::training(dir.path()).unwrap_err();
        assert!(matches!(error, Error::ClassFolder { .. }), "{error:?}");
        for part in ["a/other", "b/again", "two classes"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_special_file_named_like_an_image_is_a_bad_image() {
        let dir = folder();
        let class = dir.path().join("a");
        png(&class.join("1.png"), 0);
        let _pipe = Pipe::new(&class.join("pipe.png"));
        let _socket = UnixListener::bind(class.join("socket.png")).unwrap();
        symlink("/dev/zero", class.join("device.png")).unwrap();
        symlink("nowhere", class.join("broken.png")).unwrap();
        symlink("1.png", class.join("link.png")).unwrap();
        symlink("nowhere", class.join("broken")).unwrap();
        let training = ImageFolder::training(dir.path()).unwrap();
        let expected = ["1", "broken", "device", "link", "pipe", "socket"];
        assert_eq!(
            ids(&training.samples),
            expected.map(|name| format!("a/{name}.png"))
        );
        let options = LoaderOptions {
            image_size: ImageSize::square(3),
            on_bad_image: BadImage::Skip,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(training.samples.clone(), options.clone()).unwrap();
        let batches: Vec<_> = loader.epoch(0).map(Result::unwrap).collect();
        assert_eq!(batches[0].ids, ["a/1.png", "a/link.png"]);
        assert_eq!(loader.skipped().len(), 4);
        let strict = LoaderOptions {
            on_bad_image: BadImage::Fail,
            ..options
        };
        let loader = Loader::new(training.samples, strict).unwrap();
        assert!(loader.epoch(0).any(|batch| batch.is_err()));
        // A class with only a broken link without an extension is reported as such.
        for name in [
            "1.png",
            "pipe.png",
            "socket.png",
            "device.png",
            "broken.png",
            "link.png",
        ] {
            fs::remove_file(class.join(name)).unwrap();
        }
        let text = ImageFolder::training(dir.path()).unwrap_err().to_string();
        assert!(text.contains("1 broken link (a/broken)"), "{text}");
    }

    fn is_refused(error: &Error, expected: &str) -> bool {
        matches!(error, Error::NotRegular { kind, .. } if *kind == expected)
    }

    fn loaded(path: &Path, disk_cache: Option<DiskCache>) -> Error {
        let samples = vec![Sample::new("x".into(), path.into(), 0)];
        let options = LoaderOptions {
            image_size: ImageSize::square(3),
            workers: 1,
            disk_cache,
            ..LoaderOptions::default()
        };
        let loader = Loader::new(samples, options).unwrap();
        loader.epoch(0).find_map(Result::err).unwrap()
    }

    fn with_disk_cache(path: &Path) -> Error {
        let cache = DiskCache {
            path: path.with_file_name("cache"),
            max_bytes: 1 << 20,
            read_only: false,
        };
        loaded(path, Some(cache))
    }

    #[test]
    fn special_files_are_refused_without_waiting() {
        let dir = folder();
        let path = &dir.path().join("x.png");
        let readers: [fn(&Path) -> Error; 8] = [
            |path| Image::read(path).unwrap_err(),
            |path| read_regular(path, 10).unwrap_err(),
            |path| content_checksum(path).unwrap_err(),
            |path| Classes::read(path).unwrap_err(),
            |path| IdxLabels::read(path).unwrap_err(),
            |path| ImageFolder::from_csv(path, None, None).unwrap_err(),
            |path| loaded(path, None),
            with_disk_cache,
        ];
        let refused = |reader: fn(&Path) -> Error, expected: &str| {
            let error = reader(path);
            assert!(is_refused(&error, expected), "{error:?}");
        };
        for reader in readers {
            let _pipe = Pipe::new(path);
            refused(reader, "pipe");
        }
        {
            let _pipe = Pipe::new(path);
            assert!(is_refused(&list_images(path).unwrap_err(), "pipe"));
        }
        symlink("/dev/null", path).unwrap();
        readers
            .into_iter()
            .for_each(|reader| refused(reader, "device"));
        fs::remove_file(path).unwrap();
        let _socket = UnixListener::bind(path).unwrap();
        readers
            .into_iter()
            .for_each(|reader| refused(reader, "socket"));
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
        readers
            .into_iter()
            .for_each(|reader| refused(reader, "folder"));
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let dir = folder();
        let path = dir.path().join("x");
        fs::write(&path, [7; 100]).unwrap();
        assert_eq!(read_regular(&path, 100).unwrap(), [7; 100]);
        let error = read_regular(&path, 99).unwrap_err();
        assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
        // A sparse file, which takes no space on the disk.
        let file = fs::File::create(&path).unwrap();
        file.set_len((512 << 20) + 1).unwrap();
        let error = Image::read(&path).unwrap_err();
        assert!(error.to_string().contains("larger than 512 MiB"), "{error}");
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_skipped_or_fatal() {
        let dir = folder();
        let odd = OsStr::from_bytes(b"\xff.png");
        png(&dir.path().join("a/1.png"), 0);
        png(&dir.path().join("a").join(odd), 0);
        png(
            &dir.path()
                .join("a")
                .join(OsStr::from_bytes(b"deep\xfe"))
                .join("2.png"),
            0,
        );
        let fatal = Listing::default();
        let skip = Listing {
            on_bad_name: BadImage::Skip,
        };
        let known = classes(&["a"]);
        for error in [
            fatal.training(dir.path()).unwrap_err(),
            fatal.with_classes(dir.path(), &known).unwrap_err(),
            fatal.images(dir.path()).unwrap_err(),
        ] {
            assert!(error.to_string().contains("not UTF-8"), "{error}");
        }
        let training = skip.training(dir.path()).unwrap();
        let expected = ["a/1.png", "a/deep\u{fffd}/2.png", "a/\u{fffd}.png"];
        assert_eq!(ids(&training.samples), expected);
        let split = skip.with_classes(dir.path(), &known).unwrap();
        assert_eq!(ids(&split.samples), expected);
        assert_eq!(skip.images(dir.path()).unwrap().len(), 3);
        // These entries count as unreadable images.
        let options = |share| LoaderOptions {
            image_size: ImageSize::square(3),
            workers: 1,
            on_bad_image: BadImage::Skip,
            bad_images: BadImageLimit {
                share,
                classes: Some(known.clone()),
                split: "train".into(),
                is_quiet: false,
            },
            ..LoaderOptions::default()
        };
        let loader = Loader::new(training.samples.clone(), options(0.7)).unwrap();
        let batches: Vec<_> = loader.epoch(0).map(Result::unwrap).collect();
        assert_eq!(batches[0].ids, ["a/1.png"]);
        assert_eq!(loader.skipped_by_label(), [(0, 2)].into());
        let loader = Loader::new(training.samples, options(0.5)).unwrap();
        let error = loader.epoch(0).find_map(Result::err).unwrap();
        assert!(matches!(error, Error::TooManyBadImages { .. }), "{error}");
        // A class must not lose all its images.
        png(&dir.path().join(odd).join("1.png"), 0);
        for error in [
            skip.training(dir.path()).unwrap_err(),
            skip.with_classes(dir.path(), &known).unwrap_err(),
        ] {
            assert!(
                matches!(&error, Error::ClassFolder { path, .. } if path.ends_with(Path::new(odd))),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_folder_name_with_control_characters_is_no_class() {
        let dir = folder();
        png(&dir.path().join("two\nlines/1.png"), 0);
        let error = ImageFolder::training(dir.path()).unwrap_err();
        assert!(matches!(error, Error::ClassFolder { .. }), "{error:?}");
        assert!(error.to_string().contains(r#""two\nlines""#), "{error}");
    }
}

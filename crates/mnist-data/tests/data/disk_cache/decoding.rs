//! Tests that cached images depend on the decoding options.

use std::fs;
use std::path::Path;

use mnist_data::{Decoding, TruncatedImages};

use super::{COUNT, Scene, invert, inverted, parts, pixels, settle};

#[test]
fn images_decoded_in_one_way_are_not_served_for_another() {
    let scene = Scene::new();
    let expected = scene.decoded();
    scene.run(scene.options());
    invert(&scene.cache());
    let with = |decoding| {
        let mut options = scene.options();
        options.decode.decoding = decoding;
        scene.run(options)
    };
    assert_eq!(
        with(Decoding::Exact),
        inverted(&expected),
        "it is from the file"
    );
    assert_eq!(with(Decoding::Fast), expected, "it is decoded anew");
    // The cache file was rebuilt too.
    invert(&scene.cache());
    assert_eq!(with(Decoding::Fast), inverted(&expected));
}

#[test]
fn truncated_images_are_not_kept() {
    let scene = Scene::new();
    let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/decode/jpeg.jpeg");
    let whole = fs::read(whole).unwrap();
    fs::write(scene.samples[0].path(), &whole[..whole.len() - 40]).unwrap();
    settle();
    let mut options = scene.options();
    options.decode.truncated = TruncatedImages::Accept;
    let loader = scene.loader(options);
    assert_eq!(pixels(&loader).len(), COUNT);
    assert_eq!(loader.truncated().len(), 1);
    assert_eq!(parts(&scene.cache()).1.records.len(), COUNT - 1);
    let refused = scene.loader(scene.options()).epoch(0).find_map(Result::err);
    assert!(refused.unwrap().to_string().contains("cut off"));
}

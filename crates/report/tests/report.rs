//! The report of a run that is made up: its page, its pictures, and what they do with odd names and missing files.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use mnist_data::{Classes, Image, ImageFolder, Sample};
use report::{Images, Material, View, write_page, write_run};
use resvg::usvg;
use trainer::{
    AnswersFile, Bin, Calibration, ClassCurves, ClassReport, ConfusionMatrix, EpochReport,
    Evaluation, Interval, Measured, RunConfig, RunRecord, SplitRecord, TopK,
};

/// A name that would break an unescaped page, picture or card.
const HOSTILE: &str = "<script>alert('x')</script> & \"q\" | `c`";

fn names(count: usize) -> Vec<String> {
    let name = |index: usize| match index {
        1 => HOSTILE.to_owned(),
        index => format!("class {index}"),
    };
    (0..count).map(name).collect()
}

/// An evaluation of `each` images a class: every fifth is taken for the next class.
fn evaluation(names: &[String], each: u32) -> Evaluation {
    let classes = names.len() as u32;
    let labels: Vec<u32> = (0..classes * each).map(|index| index / each).collect();
    let answer = |(index, label): (usize, &u32)| (label + u32::from(index % 5 == 0)) % classes;
    let predicted: Vec<u32> = labels.iter().enumerate().map(answer).collect();
    let mut confusion = ConfusionMatrix::new(names.len());
    confusion.add(&labels, &predicted).unwrap();
    let scores = confusion.class_scores();
    let average = confusion.macro_scores();
    Evaluation {
        images: confusion.total(),
        skipped: 0,
        accuracy: confusion.accuracy(),
        accuracy_interval: Interval {
            low: 0.7123456789,
            high: 0.8234567891,
        },
        loss: 0.123_456_789,
        macro_precision: average.precision,
        macro_recall: average.recall,
        macro_f1: average.f1,
        macro_f1_interval: Interval {
            low: 0.7,
            high: 0.85,
        },
        balanced_accuracy: Some(0.8),
        cohen_kappa: None,
        top_k: vec![TopK {
            k: 2,
            accuracy: 0.912_345,
        }],
        macro_roc_auc: Some(0.95),
        macro_average_precision: Some(0.9),
        calibration: Some(Calibration {
            expected_error: 0.034_567,
            bins: vec![Bin {
                low: 0.0,
                high: 1.0,
                images: labels.len() as u64,
                confidence: 0.75,
                accuracy: 0.8,
            }],
        }),
        temperature: None,
        classes_left_out: Vec::new(),
        class_order: Default::default(),
        classes: (names.iter().zip(scores).enumerate())
            .map(|(label, (name, scores))| ClassReport {
                name: name.clone(),
                support: confusion.support(label),
                skipped: 0,
                precision: scores.precision,
                recall: scores.recall,
                f1: scores.f1,
                specificity: Some(0.99),
                roc_auc: Some(0.95),
                average_precision: (label != 0).then_some(0.9),
            })
            .collect(),
        confusion: confusion.confusion(),
        curves: (0..names.len().min(20))
            .map(|class| ClassCurves {
                class,
                roc: vec![[0.0, 0.0], [0.1, 0.9], [1.0, 1.0]],
                precision_recall: vec![[0.0, 1.0], [1.0, 0.5]],
            })
            .collect(),
        mistakes: Vec::new(),
    }
}

fn epoch(epoch: usize) -> EpochReport {
    serde_json::from_value(serde_json::json!({
        "epoch": epoch, "train_loss": 1.0 / epoch as f64, "train_accuracy": 0.8, "val_loss": 0.5, "val_accuracy": 0.75,
        "val_macro_f1": 0.7, "learning_rate": 0.001, "images_per_second": 100.0, "seconds": 2.0,
        "times": {"data": 0.5, "forward": 0.5, "backward": 0.5, "optimizer": 0.2, "validation": 0.2, "other": 0.1},
    }))
    .unwrap()
}

/// Writes the answers that belong to [`evaluation`].
fn answers(path: &Path, names: &[String], each: u32) {
    let classes = names.len() as u32;
    let mut file = AnswersFile::create(path, names).unwrap();
    for index in 0..classes * each {
        let label = index / each;
        let predicted = (label + u32::from(index % 5 == 0)) % classes;
        let mut row = vec![0.0; names.len()];
        row[predicted as usize] = 0.5 + index as f32 / (classes * each) as f32 / 2.0;
        file.write(&id(index), label as usize, &row).unwrap();
    }
    file.finish().unwrap();
}

fn id(index: u32) -> String {
    format!("\"{index}\"<img>.pgm")
}

/// The files of a run, and its images.
fn run(dir: &Path, classes: usize, each: u32) -> (Material, ImageFolder) {
    let names = names(classes);
    std::fs::write(
        dir.join("config.toml"),
        "[augment]\nhorizontal_flip = true\n",
    )
    .unwrap();
    std::fs::write(
        dir.join("metrics.jsonl"),
        [1, 2, 3]
            .map(|e| serde_json::to_string(&epoch(e)).unwrap() + "\n")
            .concat(),
    )
    .unwrap();
    let split = |name: &str| SplitRecord {
        name: name.to_owned(),
        images: u64::from(each) * classes as u64,
        per_class: vec![each.into(); classes],
        fingerprint: "f".repeat(64),
    };
    RunRecord {
        version: "1.2.3".to_owned(),
        model: "mobilenet_v3_small".to_owned(),
        parameters: 12_345,
        device: "cpu".to_owned(),
        processor: "AVX2".to_owned(),
        precision: None,
        speeds: Vec::new(),
        threads: 2,
        system: "linux x86_64".to_owned(),
        started: 1_709_210_096,
        finished: Some(1_709_210_196),
        classes: names.clone(),
        splits: vec![split("train"), split("test")],
        monitor: "val_accuracy".to_owned(),
        ending: Some(trainer::Ending::Completed),
        best_epoch: Some(2),
        best_score: Some(0.75),
        weights: Some("best.safetensors".to_owned()),
    }
    .write(dir)
    .unwrap();
    let scores = evaluation(&names, each);
    scores
        .write(&trainer::RunDir::evaluation(dir, Measured::Test))
        .unwrap();
    answers(&trainer::RunDir::answers(dir, Measured::Test), &names, each);
    let mut samples = Vec::new();
    for index in 0..each * classes as u32 {
        let path = dir.join(format!("image{}.pgm", index % 7));
        std::fs::write(
            &path,
            [b"P5 2 2 255\n".as_slice(), &[index as u8 % 7, 90, 180, 255]].concat(),
        )
        .unwrap();
        samples.push(Sample::new(id(index), path, (index / each) as usize));
    }
    let images = ImageFolder {
        classes: Classes::new(names).unwrap(),
        samples: samples.into(),
    };
    (Material::of_run(dir).unwrap(), images)
}

fn shown(images: &ImageFolder, material: &Material) -> Images<'static> {
    let images: &'static ImageFolder = Box::leak(Box::new(images.clone()));
    Images {
        training: Some(images),
        measured: Some(images),
        view: material.view(),
    }
}

/// Every `<data value data-figure>` of a page: pointer and value.
fn figures(page: &str) -> Vec<(String, f64)> {
    let parts = page.split("<data value=\"").skip(1);
    let figure = |part: &str| {
        let (value, rest) = part.split_once("\" data-figure=\"").unwrap();
        let (pointer, _) = rest.split_once('"').unwrap();
        (pointer.to_owned(), value.parse().unwrap())
    };
    parts.map(figure).collect()
}

#[test]
fn every_number_of_the_page_is_that_of_the_evaluation() {
    let dir = tempfile::tempdir().unwrap();
    let (material, images) = run(dir.path(), 4, 20);
    let path = write_run(dir.path(), &material, &shown(&images, &material)).unwrap();
    let page = std::fs::read_to_string(&path).unwrap();
    let json = std::fs::read_to_string(dir.path().join("evaluation-test.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let figures = figures(&page);
    for (pointer, value) in &figures {
        let expected = json.pointer(pointer).and_then(serde_json::Value::as_f64);
        assert_eq!(Some(*value), expected, "{pointer}");
    }
    let has = |pointer: &str| figures.iter().any(|(found, _)| found == pointer);
    for pointer in [
        "/accuracy",
        "/accuracy_interval/low",
        "/macro_f1",
        "/top_k/0/accuracy",
        "/calibration/expected_error",
        "/loss",
    ] {
        assert!(has(pointer), "{pointer}");
    }
    for class in 0..4 {
        assert!(has(&format!("/classes/{class}/f1")) && has(&format!("/classes/{class}/support")));
        assert!((0..4).all(|other| has(&format!("/confusion/{class}/{other}"))));
    }
    // Undefined scores are not numbers.
    assert!(
        !has("/cohen_kappa") && !has("/classes/0/average_precision") && page.contains("undefined")
    );
}

#[test]
fn names_and_ids_are_text_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let (material, images) = run(dir.path(), 3, 10);
    let path = write_run(dir.path(), &material, &shown(&images, &material)).unwrap();
    let page = std::fs::read_to_string(path).unwrap();
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert"));
    assert!(!page.contains("<img>"), "an id became an element");
    // The two scripts of the page itself, and no more.
    assert_eq!(page.matches("<script").count(), 2);
    for file in ["curves.svg", "confusion.svg", "roc.svg", "reliability.svg"] {
        let svg = std::fs::read_to_string(dir.path().join(file)).unwrap();
        assert!(usvg::roxmltree::Document::parse(&svg).is_ok(), "{file}");
        assert!(svg.contains("<title>") && svg.contains("<desc>"), "{file}");
        assert!(!svg.contains("<script"), "{file}");
    }
    let card = std::fs::read_to_string(dir.path().join("MODEL_CARD.md")).unwrap();
    assert!(
        card.starts_with("---\n") && card.contains("model-index") && !card.contains("<script>")
    );
}

#[test]
fn the_page_needs_no_other_file() {
    let dir = tempfile::tempdir().unwrap();
    let (material, images) = run(dir.path(), 3, 10);
    let path = write_run(dir.path(), &material, &shown(&images, &material)).unwrap();
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains("default-src 'none'") && !page.contains("unsafe-inline"));
    for attribute in ["src=\"", "href=\""] {
        for part in page.split(attribute).skip(1) {
            assert!(
                part.starts_with("data:") || part.starts_with('#'),
                "{}",
                &part[..40]
            );
        }
    }
    // The policy would refuse them.
    assert!(!page.contains(" style=\"") && !page.contains(" onclick"));
    let csv = std::fs::read_to_string(dir.path().join("metrics.csv")).unwrap();
    assert_eq!(csv.lines().count(), 4);
    assert!(csv.starts_with("epoch,train_loss,"));
}

#[test]
fn pictures_have_text_without_fonts_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let (material, images) = run(dir.path(), 3, 10);
    write_run(dir.path(), &material, &shown(&images, &material)).unwrap();
    for file in ["curves.png", "confusion.png", "predictions.png"] {
        let image = Image::read(&dir.path().join(file)).unwrap();
        let dark = image
            .to_rgb()
            .chunks(3)
            .filter(|pixel| pixel.iter().all(|&c| c < 80))
            .count();
        assert!(dark > 500, "{file} has {dark} dark pixels");
    }
    // The gray levels of the images are on the sheet.
    let sheet = Image::read(&dir.path().join("predictions.png"))
        .unwrap()
        .to_rgb();
    assert!(sheet.chunks(3).filter(|pixel| *pixel == [180; 3]).count() > 1000);
}

#[test]
fn missing_images_are_placeholders() {
    let dir = tempfile::tempdir().unwrap();
    let (material, images) = run(dir.path(), 3, 10);
    for index in 0..7 {
        std::fs::remove_file(dir.path().join(format!("image{index}.pgm"))).unwrap();
    }
    let path = write_run(dir.path(), &material, &shown(&images, &material)).unwrap();
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.contains("are not at their place any more") && page.contains("image not found"));
    write_run(dir.path(), &material, &Images::default()).unwrap();
}

#[test]
fn an_interrupted_run_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Material::of_run(dir.path()),
        Err(report::Error::NoRun { .. })
    ));
    std::fs::write(dir.path().join("config.toml"), "").unwrap();
    let material = Material::of_run(dir.path()).unwrap();
    assert_eq!(material.config.as_ref().unwrap().0, RunConfig::default());
    let path = write_run(dir.path(), &material, &Images::default()).unwrap();
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains("There are no scores yet") && page.contains("classify train --resume"));
    assert!(page.contains("has no run.json"));
    assert!(
        !dir.path().join("confusion.svg").exists() && !dir.path().join("MODEL_CARD.md").exists()
    );
}

#[test]
fn an_evaluation_alone_has_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let names = names(3);
    let path = dir.path().join("page.html");
    let material = Material {
        name: "a.safetensors".to_owned(),
        scores: Some((evaluation(&names, 10), Measured::Test)),
        ..Material::default()
    };
    write_page(&path, &material, &Images::default()).unwrap();
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains("Evaluation of a.safetensors") && !page.contains("id=\"curves\""));
}

/// No table or picture grows with the square of the number of classes.
#[test]
fn a_thousand_classes_have_a_small_page() {
    let dir = tempfile::tempdir().unwrap();
    let (material, images) = run(dir.path(), 1000, 5);
    let view = material.view().map(|view| View {
        size: framing::ImageSize::square(4),
        ..view
    });
    let path = write_run(
        dir.path(),
        &material,
        &Images {
            view,
            ..shown(&images, &material)
        },
    )
    .unwrap();
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert!(page.contains("data-cell=\"") && page.contains("class=\"heat\""));
    let svg = std::fs::metadata(dir.path().join("confusion.svg"))
        .unwrap()
        .len();
    assert!(svg < 1_000_000, "{svg} bytes");
}

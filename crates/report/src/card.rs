//! `MODEL_CARD.md`: Hugging Face's front matter, and the sections of Mitchell et al., "Model Cards for Model Reporting" (2019).

use std::fmt::Write as _;

use trainer::config::DataSource;
use trainer::{Evaluation, Measured, RunConfig};

use crate::escape::markdown;
use crate::material::Material;
use crate::page::headline::monitored;

/// The mark of a part that only the author knows.
const OPEN: &str = "**To be filled in by the author:**";

/// The card. `None` without a record of the run.
pub(crate) fn card(material: &Material) -> Option<String> {
    let record = material.record.as_ref()?;
    let scores = material.scores();
    let mut card = front_matter(material, scores);
    let name = markdown(&material.name);
    let (config, _) = material.config.as_ref()?;
    let size = config.data.image_size;
    let _ = write!(
        card,
        "\n# {name}\n\n## Model details\n\n- Network: {} with {} parameters, {} classes\n- Input: images of {} × {} pixels ({})\n- Trained \
         with classify {} on {}\n- Licence: {OPEN} the licence of the weights.\n- Contact: {OPEN} an address for questions.\n",
        markdown(&record.model),
        record.parameters,
        record.classes.len(),
        size.width,
        size.height,
        config.data.framing(),
        markdown(&record.version),
        crate::page::date(record.started),
    );
    if let (Some(epoch), Some(best)) = (record.best_epoch, record.best_score) {
        let _ = writeln!(
            card,
            "- Weights: epoch {epoch}, which had the {} ({best:.4})",
            monitored(record)
        );
    }
    let classes: Vec<String> = record
        .classes
        .iter()
        .take(50)
        .map(|name| markdown(name))
        .collect();
    let more = if record.classes.len() > 50 {
        ", …"
    } else {
        ""
    };
    let _ = write!(
        card,
        "\n## Intended use\n\nThe network assigns an image to one of {} classes: {}{more}. It gives one of these answers for every image, also \
         for one that shows something else.\n\n{OPEN} for whom and for which purpose the network is meant, and for which it is not.\n\n\
         ## Factors\n\n{OPEN} what may change how well it works: cameras, light, places, species, groups of people.\n",
        record.classes.len(),
        classes.join(", ")
    );
    card += &metrics(scores);
    card += &data(material);
    let _ = write!(
        card,
        "\n## Ethical considerations\n\n{OPEN} risks, harms, and sensitive data in the images.\n\n## Caveats and recommendations\n\n\
         {OPEN} known weaknesses. `report.html` shows mistakes and the weakest classes.\n\n## How to use it\n\n```\nclassify predict --weights {} \
         --out predictions FOLDER\n```\n",
        record
            .weights
            .as_deref()
            .map_or("WEIGHTS".to_owned(), |name| crate::quoted(name.as_ref()))
    );
    Some(card)
}

/// A YAML string in double quotes. JSON strings are YAML strings.
fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn front_matter(material: &Material, scores: Option<(&Evaluation, Measured)>) -> String {
    let name = yaml(&material.name);
    let mut out = String::from(
        "---\nlibrary_name: classify\npipeline_tag: image-classification\ntags:\n- image-classification\n- mobilenet\n",
    );
    let Some((scores, measured)) = scores else {
        out += "---\n";
        return out;
    };
    let data = material
        .config
        .as_ref()
        .map_or_else(|| "images".to_owned(), |(config, _)| data_name(config));
    let _ = write!(
        out,
        "metrics:\n- accuracy\n- f1\nmodel-index:\n- name: {name}\n  results:\n  - task:\n      type: image-classification\n    dataset:\n      \
         name: {0}\n      type: {0}\n      split: {1}\n    metrics:\n",
        yaml(&data),
        measured.name()
    );
    for (kind, title, value) in [
        ("accuracy", "Accuracy", scores.accuracy),
        ("f1", "Macro F1", scores.macro_f1),
        ("loss", "Cross-entropy", scores.loss),
    ] {
        let _ = writeln!(
            out,
            "    - type: {kind}\n      name: {title}\n      value: {value}"
        );
    }
    out += "---\n";
    out
}

/// The name of the data set, or of the images' folder.
fn data_name(config: &RunConfig) -> String {
    let source = config.data.source;
    if !matches!(source, DataSource::Folder | DataSource::Csv) {
        return source.name().to_owned();
    }
    let root = config.data.root();
    let name = root
        .file_stem()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| source.name().to_owned())
}

fn metrics(scores: Option<(&Evaluation, Measured)>) -> String {
    let mut out = String::from("\n## Metrics and quantitative analyses\n\n");
    let Some((scores, measured)) = scores else {
        out += "The weights were not evaluated.\n";
        return out;
    };
    let interval = scores.accuracy_interval;
    let f1 = scores.macro_f1_interval;
    let _ = write!(
        out,
        "On {} {} images:\n\n| score | value | 95 % interval |\n|---|---|---|\n| accuracy | {:.4} | {:.4} to {:.4} |\n| macro F1 | {:.4} | {:.4} to \
         {:.4} |\n| cross-entropy | {:.4} | |\n",
        scores.images,
        measured.name(),
        scores.accuracy,
        interval.low,
        interval.high,
        scores.macro_f1,
        f1.low,
        f1.high,
        scores.loss
    );
    if let Some(calibration) = &scores.calibration {
        let _ = writeln!(
            out,
            "| expected calibration error | {:.4} | |",
            calibration.expected_error
        );
    }
    if measured == Measured::Validation {
        out += "\nThese images have also chosen the best epoch, so the figures are somewhat too good.\n";
    }
    out += "\n| class | images | precision | recall | F1 |\n|---|---|---|---|---|\n";
    for class in scores.classes.iter().take(100) {
        let _ = writeln!(
            out,
            "| {} | {} | {:.4} | {:.4} | {:.4} |",
            markdown(&class.name),
            class.support,
            class.precision,
            class.recall,
            class.f1
        );
    }
    if scores.classes.len() > 100 {
        out += "\nThe other classes are in `report.html`.\n";
    }
    out
}

fn data(material: &Material) -> String {
    let mut out = format!(
        "\n## Training and evaluation data\n\n{OPEN} where the images come from, who labelled them, under which licence.\n\n"
    );
    if let Some(record) = &material.record {
        out += "| split | images | fingerprint (SHA-256 of ids and labels) |\n|---|---|---|\n";
        for split in &record.splits {
            let _ = writeln!(
                out,
                "| {} | {} | `{}` |",
                markdown(&split.name),
                split.images,
                markdown(&split.fingerprint)
            );
        }
    }
    out
}

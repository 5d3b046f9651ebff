use std::io::Write;

use anyhow::bail;
use mobilenet::ClassOrder;
use trainer::{Error, Evaluation, InferenceOptions, Interval, Measured, Mistake, Splits};

use super::{Opened, report};
use crate::args::EvaluateArgs;
use crate::ending;
use crate::escape::escaped;
use crate::terminal::{Terminal, Work};

pub(crate) fn evaluate(args: &EvaluateArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let Opened {
        classifier,
        options,
    } = super::open(&args.weights, &args.inference, terminal)?;
    if let Some(split) = Splits::within(&args.data, &classifier.metadata().class_names) {
        bail!(
            "{} holds splits, not classes; measure one of them, as with --data {}",
            args.data.display(),
            split.display()
        );
    }
    if let Some(path) = &args.report
        && report::answers_beside(path) == *path
    {
        bail!(
            "--report {}: the answers would replace the report; expected a name such as report.html",
            path.display()
        );
    }
    let options = InferenceOptions {
        disk_cache: trainer::kept_images(&args.data, classifier.metadata()),
        bad_image_limit: args.bad_image_limit,
        mistakes: args.wrong.is_some(),
        answers: args.report.as_deref().map(report::answers_beside),
        ..options
    };
    let decode = options.decode;
    let progress = Work::new(terminal);
    let result = trainer::evaluate(&classifier, &args.data, options, &progress);
    let result = result.map_err(with_remedy)?;
    if let Some(assumed) = assumed(&result) {
        terminal.line(&assumed);
    }
    if result.leaves_out_rankings() {
        terminal.line(
            "ROC AUC, average precision and curves are left out: with so many images and classes they would need too \
             much memory",
        );
    }
    if let Some(path) = &args.wrong {
        let names: Vec<String> = result
            .classes
            .iter()
            .map(|class| class.name.clone())
            .collect();
        Mistake::write_csv(path, &result.mistakes, &names)?;
    }
    let mut out = super::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &result).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        table(&mut out, &result)?;
    }
    out.flush()?;
    if !args.json {
        for line in ending::of_scores(&result, Measured::Test) {
            terminal.line(&line);
        }
    }
    if let Some(path) = &args.wrong {
        terminal.line(&format!("wrong answers are in {}", path.display()));
    }
    if let Some(path) = &args.report {
        let images = (&*args.data, classifier.metadata());
        report::of_evaluation(path, &result, images, (&args.weights, decode))?;
        terminal.line(&format!("report, to open in a browser: {}", path.display()));
    }
    Ok(())
}

/// The most classes to list.
const LISTED: usize = 12;

/// The message about the assumed classes, if the weights have no class names.
fn assumed(result: &Evaluation) -> Option<String> {
    match result.class_order {
        ClassOrder::Named => None,
        ClassOrder::Numbered => Some(super::NUMBERED.to_owned()),
        ClassOrder::SortedNames => {
            let names = result.classes.iter().map(|class| &class.name[..]);
            Some(format!(
                "assumed: the outputs are the classes of the images sorted by name as text, as in torchvision's ImageFolder: {}; --classes FILE gives another order",
                listed(names)
            ))
        }
    }
}

/// The first names, escaped for a terminal, and the number of all names.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let more = (count > LISTED).then(|| format!("… {count} in all"));
    let names = names.take(LISTED).map(|name| escaped(name).into_owned());
    names.chain(more).collect::<Vec<_>>().join(", ")
}

/// Adds to an error the option that sets the class names, if it solves the problem.
fn with_remedy(error: trainer::Error) -> anyhow::Error {
    let remedy = match error {
        Error::UnnamedClasses { .. } | Error::ClassOrder { .. } => "--classes FILE is needed",
        Error::Data(mnist_data::Error::UnknownClass { .. }) => {
            "the weights have other classes than the images; if they are the same under other \
             names, give their names with --classes FILE, in the order of the weights"
        }
        _ => return error.into(),
    };
    anyhow::Error::from(error).context(remedy)
}

/// The scores of all classes together, one a line: the name, the value, and perhaps a remark.
fn scores(out: &mut impl Write, result: &Evaluation) -> std::io::Result<()> {
    let between =
        |Interval { low, high }: Interval| format!("(95 % interval {low:.4} to {high:.4})");
    let accuracy = between(result.accuracy_interval);
    writeln!(out, "accuracy {:.4} {accuracy}", result.accuracy)?;
    for top in &result.top_k {
        writeln!(out, "top-{} accuracy {:.4}", top.k, top.accuracy)?;
    }
    let f1 = between(result.macro_f1_interval);
    writeln!(out, "macro F1 {:.4} {f1}", result.macro_f1)?;
    let calibration = result.calibration.as_ref();
    for (name, score) in [
        ("balanced accuracy", result.balanced_accuracy),
        ("Cohen's kappa", result.cohen_kappa),
        ("macro ROC AUC", result.macro_roc_auc),
        ("macro average precision", result.macro_average_precision),
        ("loss", Some(result.loss)),
        (
            "expected calibration error",
            calibration.map(|found| found.expected_error),
        ),
        ("temperature", result.temperature),
    ] {
        if let Some(score) = score {
            writeln!(out, "{name} {score:.4}")?;
        }
    }
    Ok(())
}

fn table(out: &mut impl Write, result: &Evaluation) -> std::io::Result<()> {
    writeln!(out, "images {}", result.images)?;
    if result.skipped > 0 {
        writeln!(out, "skipped {}", result.skipped)?;
        for class in result.classes.iter().filter(|class| class.skipped > 0) {
            writeln!(out, "skipped of {} {}", escaped(&class.name), class.skipped)?;
        }
    }
    scores(out, result)?;
    let names: Vec<_> = result
        .classes
        .iter()
        .map(|class| escaped(&class.name))
        .collect();
    let name = names.iter().map(|name| name.chars().count()).max();
    let width = name.unwrap_or(0).max("macro average".len());
    writeln!(
        out,
        "\n{:width$}  images  precision  recall      F1",
        "class"
    )?;
    for (name, class) in names.iter().zip(&result.classes) {
        writeln!(
            out,
            "{:width$}  {:6}  {:9.4}  {:6.4}  {:6.4}",
            name, class.support, class.precision, class.recall, class.f1
        )?;
    }
    writeln!(
        out,
        "{:width$}  {:6}  {:9.4}  {:6.4}  {:6.4}",
        "macro average",
        result.images,
        result.macro_precision,
        result.macro_recall,
        result.macro_f1
    )?;
    match &result.classes_left_out[..] {
        [] => Ok(()),
        names => writeln!(
            out,
            "left out of the average, without images or predictions: {}",
            listed(names.iter().map(|name| &name[..]))
        ),
    }
}

//! The reliability diagram: accuracy over confidence.

use trainer::Calibration;

use crate::svg::axis::Scale;
use crate::svg::{Anchor, Svg, short};

const LEFT: f64 = 62.0;
const TOP: f64 = 30.0;
const SIDE: f64 = 300.0;
const COUNTS: f64 = 70.0;

/// The accuracy in each bin of confidence, and beneath it the number of images in the bin.
pub(crate) fn draw(calibration: &Calibration) -> Svg {
    let description = in_words(calibration);
    let mut svg = Svg::new(
        LEFT + SIDE + 20.0,
        TOP + SIDE + COUNTS + 60.0,
        "Reliability",
        &description,
    );
    svg.text("h", [LEFT, 16.0], Anchor::Start, "Accuracy over confidence");
    let scale = Scale::linear(0.0, 1.0);
    for (value, label) in scale.ticks(5) {
        let y = TOP + SIDE * (1.0 - value);
        svg.line("grid", [LEFT, y], [LEFT + SIDE, y]);
        svg.text("m n", [LEFT - 6.0, y + 4.0], Anchor::End, &label);
    }
    let most = calibration
        .bins
        .iter()
        .map(|bin| bin.images)
        .max()
        .unwrap_or(0)
        .max(1);
    let base = TOP + SIDE + 14.0 + COUNTS;
    for bin in &calibration.bins {
        let left = LEFT + SIDE * bin.low + 1.0;
        let width = (SIDE * (bin.high - bin.low) - 2.0).max(1.0);
        if bin.images > 0 {
            let height = SIDE * bin.accuracy;
            svg.rect("f0", [left, TOP + SIDE - height], [width, height]);
            // The mean confidence: where the bar should end.
            let y = TOP + SIDE * (1.0 - bin.confidence);
            svg.line("ink", [left - 1.0, y], [left + width + 1.0, y]);
        }
        let share = bin.images as f64 / most as f64;
        let height = if bin.images > 0 {
            (COUNTS * share).max(1.0)
        } else {
            0.0
        };
        svg.rect("f3", [left, base - height], [width, height]);
    }
    svg.line("mark", [LEFT, TOP + SIDE], [LEFT + SIDE, TOP]);
    svg.line("axis", [LEFT, TOP + SIDE], [LEFT + SIDE, TOP + SIDE]);
    svg.line("axis", [LEFT, base], [LEFT + SIDE, base]);
    svg.text(
        "m n",
        [LEFT - 6.0, base - COUNTS + 10.0],
        Anchor::End,
        &most.to_string(),
    );
    svg.text("m n", [LEFT - 6.0, base + 4.0], Anchor::End, "0");
    for (value, label) in scale.ticks(5) {
        svg.text(
            "m n",
            [LEFT + SIDE * value, base + 16.0],
            Anchor::Middle,
            &label,
        );
    }
    svg.turned_text("m", [14.0, TOP + SIDE / 2.0], -90, "accuracy");
    svg.turned_text("m", [14.0, base - COUNTS / 2.0], -90, "images");
    svg.text(
        "m",
        [LEFT + SIDE / 2.0, base + 36.0],
        Anchor::Middle,
        "confidence: the largest probability",
    );
    svg
}

fn in_words(calibration: &Calibration) -> String {
    let filled = calibration.bins.iter().filter(|bin| bin.images > 0);
    let words: Vec<String> = filled
        .map(|bin| {
            format!(
                "{} images with a mean confidence of {}: accuracy {}",
                bin.images,
                short(bin.confidence),
                short(bin.accuracy)
            )
        })
        .collect();
    format!(
        "Expected calibration error {:.4}. By confidence: {}. A perfect bar ends at its short line and at the dashed diagonal.",
        calibration.expected_error,
        words.join("; ")
    )
}

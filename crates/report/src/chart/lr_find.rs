//! The loss over the learning rate, from a search for a learning rate.

use trainer::LrCurve;

use super::plot::{Mark, Plot, Series};
use crate::svg::Svg;
use crate::svg::axis::Scale;
use crate::{Error, Result};

/// Plots the loss over the learning rate, and its moving average.
///
/// # Errors
///
/// [`Error::Picture`] if the curve has no points.
pub fn learning_rates(curve: &LrCurve) -> Result<Svg> {
    let points = &curve.points;
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Err(Error::Picture {
            problem: "the curve has no points".to_owned(),
        });
    };
    // The axis is scaled to the average, so losses of single batches may be cut off.
    let smoothed = points.iter().map(|point| point.smoothed);
    let (low, high) = smoothed.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), loss| {
        (low.min(loss), high.max(loss))
    });
    let line = |name: &str, is_faint, value: &dyn Fn(&trainer::LrPoint) -> f64| Series {
        name: name.to_owned(),
        points: points
            .iter()
            .map(|point| [point.learning_rate, value(point)])
            .collect(),
        style: 0,
        markers: false,
        is_faint,
    };
    let description = format!(
        "The loss while the learning rate grows from {:.0e} to {:.0e}. Its moving average lies between {low:.3} and {high:.3}.",
        first.learning_rate, last.learning_rate
    );
    Ok(Plot {
        title: "Loss over the learning rate",
        description: &description,
        x: (
            Scale::log(first.learning_rate, last.learning_rate),
            "learning rate",
        ),
        y: (Scale::linear(low * 0.9, high * 1.1 + 1e-9), "loss"),
        series: vec![
            line("each batch", true, &|point| point.loss),
            line("moving average", false, &|point| point.smoothed),
        ],
        mark: curve.suggestion().map(|x| Mark {
            x,
            label: format!("suggested: {x:.1e}"),
        }),
        diagonal: false,
        size: [800.0, 500.0],
    }
    .draw())
}

#[cfg(test)]
mod tests {
    use trainer::LrPoint;

    use super::*;

    #[test]
    fn a_curve_becomes_a_plot_with_labels() {
        let point = |step: i32| LrPoint {
            learning_rate: 1e-5 * 1.5f64.powi(step),
            loss: 2.0 / f64::from(step + 1),
            smoothed: 2.0 / f64::from(step + 1),
        };
        let curve = LrCurve {
            points: (0..20).map(point).collect(),
        };
        let svg = learning_rates(&curve).unwrap().to_file();
        assert!(
            svg.contains("learning rate") && svg.contains("<polyline"),
            "{svg}"
        );
        assert!(learning_rates(&LrCurve { points: Vec::new() }).is_err());
    }
}

//! Draws plots as SVG.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use trainer::LrCurve;

const SIZE: (u32, u32) = (800, 500);

/// Plots the loss over the learning rate, and its moving average.
pub(crate) fn learning_rates(path: &Path, curve: &LrCurve) -> Result<()> {
    let mut svg = String::new();
    draw(&mut svg, curve).map_err(|error| anyhow!("cannot draw the curve: {error}"))?;
    Ok(mnist_data::write_atomically(path, |file| {
        file.write_all(svg.as_bytes())
    })?)
}

fn draw(svg: &mut String, curve: &LrCurve) -> Result<(), Box<dyn std::error::Error>> {
    let points = &curve.points;
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Err("it has no points".into());
    };
    // The axes are scaled to the average, so losses of single batches may be outside.
    let smoothed = || points.iter().map(|point| point.smoothed);
    let (low, high) = smoothed().fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), loss| {
        (low.min(loss), high.max(loss))
    });
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(20)
        .x_label_area_size(45)
        .y_label_area_size(55)
        .build_cartesian_2d(
            (first.learning_rate..last.learning_rate.max(first.learning_rate * 1.01)).log_scale(),
            low * 0.9..high * 1.1 + 1e-9,
        )?;
    chart
        .configure_mesh()
        .x_desc("learning rate")
        .y_desc("loss")
        .x_label_formatter(&|rate| format!("{rate:.0e}"))
        .draw()?;
    let clamped = points
        .iter()
        .map(|point| (point.learning_rate, point.loss.clamp(low * 0.9, high * 1.1)));
    chart.draw_series(LineSeries::new(clamped, BLUE.mix(0.25)))?;
    let average = points
        .iter()
        .map(|point| (point.learning_rate, point.smoothed));
    chart.draw_series(LineSeries::new(average, BLUE.stroke_width(2)))?;
    if let Some(rate) = curve.suggestion() {
        let line = [(rate, low * 0.9), (rate, high * 1.1)];
        chart.draw_series(LineSeries::new(line, RED.mix(0.6)))?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use trainer::LrPoint;

    use super::*;

    #[test]
    fn a_curve_becomes_a_plot_with_labels() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.svg");
        let point = |step: i32| LrPoint {
            learning_rate: 1e-5 * 1.5f64.powi(step),
            loss: 2.0 / f64::from(step + 1),
            smoothed: 2.0 / f64::from(step + 1),
        };
        let curve = LrCurve {
            points: (0..20).map(point).collect(),
        };
        learning_rates(&path, &curve).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(
            svg.contains("learning rate") && svg.contains("<polyline"),
            "{svg}"
        );
        assert!(learning_rates(&path, &LrCurve { points: Vec::new() }).is_err());
    }
}

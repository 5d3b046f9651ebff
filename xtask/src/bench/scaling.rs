//! Measures how step time and memory grow with batch, image size, width and threads. The growth is
//! shown as the exponent of a fitted power law.

use anyhow::Result;

use super::case::{Case, Side, Unit, Work};
use super::kind::Benchmark;
use super::report::Row;
use super::statistics::exponent;
use super::train::TrainStep;
use super::{Options, measure};

const BATCHES: [f64; 10] = [1., 2., 4., 8., 16., 32., 64., 128., 256., 512.];
const IMAGE_SIZES: [f64; 8] = [32., 64., 96., 128., 192., 224., 288., 384.];
const WIDTHS: [f64; 6] = [0.25, 0.5, 0.75, 1., 1.5, 2.];

pub(super) fn benchmark(options: &Options) -> Result<Benchmark<'_>> {
    let program = TrainStep::build(options)?;
    let measured = |case: &Case| rows(measure::measure(case, options.threads, options.rounds)?);
    Ok(Benchmark {
        cases: list(&program),
        rows: Box::new(measured),
    })
}

fn list(program: &TrainStep) -> Vec<Case<'static>> {
    let threads: Vec<f64> = (1..=program.threads).map(|count| count as f64).collect();
    let mut cases = Vec::new();
    let mut series = |name: &str, work: Work, values: &[f64], at: At| {
        let (program, values) = (program.clone(), values.to_vec());
        cases.push(Case::new(name, Unit::Milliseconds, work, move |work| {
            let side = |&value: &f64| at(&program, work, value).required();
            Ok(values.iter().map(side).collect())
        }));
    };
    series(
        "batch",
        // With one image of 32 px, the last feature maps have one pixel and so no variance.
        Work::new("small", 64, 0),
        &BATCHES,
        |program, work, value| {
            let work = Work {
                batch: value as usize,
                ..work.clone()
            };
            program.side(&value.to_string(), &work)
        },
    );
    series(
        "image-size",
        Work::new("large", 0, 8),
        &IMAGE_SIZES,
        |program, work, value| {
            let work = Work {
                image_size: value as usize,
                ..work.clone()
            };
            program.side(&value.to_string(), &work)
        },
    );
    series(
        "width",
        Work::new("small", 32, 128),
        &WIDTHS,
        |program, work, value| {
            let mut command = program.command(work);
            command.args(["--width", &value.to_string()]);
            Side::steps(&value.to_string(), command, 1.0)
        },
    );
    series(
        "threads",
        Work::new("large", 224, 16),
        &threads,
        |program, work, value| {
            program
                .with_threads(value as usize)
                .side(&value.to_string(), work)
        },
    );
    cases
}

/// Creates a side in which the quantity that varies has this value.
type At = fn(&TrainStep, &Work, f64) -> Side;

/// Converts a measured series to a row of times and a row of memory, each with its exponent.
fn rows(mut times: Row) -> Result<Vec<Row>> {
    times.ratio = None;
    let mut memory = times.clone();
    memory.unit = Unit::Megabytes;
    for figure in &mut memory.figures {
        figure.value = figure.peak_megabytes;
    }
    for row in [&mut times, &mut memory] {
        let mut points = Vec::new();
        for figure in &row.figures {
            if let Some(value) = figure.value {
                points.push((figure.side.parse()?, value));
            }
        }
        row.exponent = exponent(&points);
    }
    Ok(vec![times, memory])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::Figure;

    #[test]
    fn series_are_named_by_numbers() {
        let program = TrainStep::at("train_step", 2);
        let cases = list(&program);
        assert_eq!(cases.len(), 4);
        for case in &cases {
            let sides = (case.sides)(&case.work).unwrap();
            assert!(sides.len() > 1, "{}", case.name);
            for side in sides {
                assert!(side.name.parse::<f64>().unwrap() > 0.0, "{}", side.name);
            }
        }
    }

    #[test]
    fn time_and_memory_have_exponents_of_their_own() {
        let case = Case::new("batch", Unit::Milliseconds, Work::default(), |_| Ok(vec![]));
        let figure = |x: f64| Figure {
            side: x.to_string(),
            value: Some(3.0 * x),
            peak_megabytes: Some(100.0 * x.sqrt()),
        };
        let measured = Row::new(&case, [1.0, 4.0, 16.0].map(figure).into());
        let rows = rows(measured).unwrap();
        // Both rows have the name of the case, so that `--case` with that name repeats the
        // measurement.
        assert_eq!((&*rows[0].case, &*rows[1].case), ("batch", "batch"));
        assert_eq!((rows[0].ratio, rows[1].unit), (None, Unit::Megabytes));
        assert_eq!(rows[1].figures[2].value, Some(400.0));
        for (row, exponent) in rows.iter().zip([1.0, 0.5]) {
            assert!((row.exponent.unwrap() - exponent).abs() < 1e-12, "{row:?}");
        }
    }
}

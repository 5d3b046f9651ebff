//! The results of a case, as JSON and on a terminal.

use serde::{Deserialize, Serialize};

use super::case::{Case, Unit, Work};

/// The median result of one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    pub(super) side: String,
    /// `None` if the side did not run.
    pub(super) value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) peak_megabytes: Option<f64>,
}

impl Figure {
    pub(super) fn of(side: &str, value: Option<f64>) -> Self {
        Self {
            side: side.to_owned(),
            value,
            peak_megabytes: None,
        }
    }
}

/// The results of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) case: String,
    #[serde(flatten)]
    pub(super) work: Work,
    pub(super) unit: Unit,
    /// The results, in the order in which the sides run.
    pub(super) figures: Vec<Figure>,
    /// The first result divided by the best of the other results.
    pub(super) ratio: Option<f64>,
    /// The exponent of `figure ~ x^exponent`, in which `x` is the number in the name of each side.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) exponent: Option<f64>,
}

impl Row {
    /// The sides that did not run.
    pub(super) fn absent(&self) -> impl Iterator<Item = &str> {
        let absent = self.figures.iter().filter(|figure| figure.value.is_none());
        absent.map(|figure| figure.side.as_str())
    }

    pub(super) fn new(case: &Case, figures: Vec<Figure>) -> Self {
        Self::compared(case, case.unit, figures)
    }

    /// Results of a case in this unit, with the ratio of the first to the best of the others.
    pub(super) fn compared(case: &Case, unit: Unit, figures: Vec<Figure>) -> Self {
        Self {
            ratio: ratio(unit, &figures),
            ..Self::plain(case, unit, figures)
        }
    }

    /// Results without a ratio.
    pub(super) fn plain(case: &Case, unit: Unit, figures: Vec<Figure>) -> Self {
        Self {
            case: case.name.clone(),
            work: case.work.clone(),
            unit,
            figures,
            ratio: None,
            exponent: None,
        }
    }
}

fn ratio(unit: Unit, figures: &[Figure]) -> Option<f64> {
    let (first, others) = figures.split_first()?;
    let others = others.iter().filter_map(|figure| figure.value);
    let best = match unit.more_is_better() {
        true => others.reduce(f64::max),
        false => others.reduce(f64::min),
    };
    Some(first.value? / best?)
}

/// Prints rows on a terminal, with a new header whenever the sides change.
#[derive(Default)]
pub(super) struct Table {
    header: Vec<String>,
}

impl Table {
    pub(super) fn lines(&mut self, row: &Row) -> String {
        let mut names = vec!["case".to_owned(), "batch".to_owned()];
        names.extend(row.figures.iter().map(|figure| figure.side.clone()));
        names.push(row.unit.name().to_owned());
        let (last, value) = match row.exponent {
            Some(exponent) => ("exponent", Some(exponent)),
            None => ("ratio", row.ratio),
        };
        names.push(last.to_owned());
        let mut cells = vec![row.case.clone(), row.work.batch.to_string()];
        cells.extend(row.figures.iter().map(|figure| shown(figure.value)));
        cells.push(String::new());
        cells.push(value.map_or("-".to_owned(), |value| format!("{value:.2}")));
        let line = |cells: &[String]| -> String {
            let mut text = format!("{:<24}", cells[0]);
            for (cell, name) in cells.iter().zip(&names).skip(1) {
                text += &format!("  {cell:>width$}", width = name.chars().count().max(8));
            }
            text.trim_end().to_owned()
        };
        let body = line(&cells);
        if self.header == names {
            return body;
        }
        let head = line(&names);
        self.header = names;
        head + "\n" + &body
    }
}

/// Formats a number with four digits, or as a whole number if that has more digits.
pub(super) fn shown(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let digits = match value.abs() {
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[(&str, Option<f64>)]) -> Row {
        let case = Case::new(
            "small-32",
            Unit::ImagesPerSecond,
            Work::new("small", 32, 128),
            |_| Ok(vec![]),
        );
        let figure = |(side, value): &(&str, Option<f64>)| Figure::of(side, *value);
        Row::new(&case, values.iter().map(figure).collect())
    }

    #[test]
    fn json_has_the_figures_in_order_and_is_read_again() {
        let mut row = row(&[("torch", Some(2048.0)), ("ours", Some(512.0)), ("x", None)]);
        row.figures[0].peak_megabytes = Some(12.5);
        let expected = serde_json::json!({
            "case": "small-32", "model": "small", "image_size": 32, "batch": 128,
            "precision": "f32", "unit": "images/s", "ratio": 4.0,
            "figures": [
                {"side": "torch", "value": 2048.0, "peak_megabytes": 12.5},
                {"side": "ours", "value": 512.0},
                {"side": "x", "value": null},
            ],
        });
        let written = serde_json::to_value(&row).unwrap();
        assert_eq!(written, expected);
        assert_eq!(serde_json::from_value::<Row>(written).unwrap(), row);
    }

    #[test]
    fn a_ratio_needs_two_figures() {
        assert_eq!(row(&[("ours", Some(1.0))]).ratio, None);
        assert_eq!(row(&[("ours", Some(1.0)), ("torch", None)]).ratio, None);
        assert_eq!(row(&[("ours", None), ("torch", Some(1.0))]).ratio, None);
        assert_eq!(row(&[]).ratio, None);
    }

    #[test]
    fn a_header_comes_where_the_sides_change() {
        let mut table = Table::default();
        let both = row(&[("ours", Some(512.25)), ("torch_compile", Some(2048.0))]);
        let text = table.lines(&both);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            [
                "case",
                "batch",
                "ours",
                "torch_compile",
                "images/s",
                "ratio"
            ]
        );
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            ["small-32", "128", "512.2", "2048", "0.25"]
        );
        assert_eq!(lines[0].len(), lines[1].len(), "{text}");
        assert_eq!(table.lines(&both).lines().count(), 1);
        let alone = table.lines(&row(&[("ours", None)]));
        assert_eq!(alone.lines().count(), 2);
        assert!(alone.ends_with('-'), "{alone}");
    }
}

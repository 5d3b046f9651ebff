//! A plot of lines over two axes.

use crate::escape::shortened;
use crate::svg::axis::Scale;
use crate::svg::{Anchor, Svg, line_class};

/// A line of a plot.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<[f64; 2]>,
    /// The number that decides colour, dashes and marker.
    pub(crate) style: usize,
    /// Whether each point has a marker.
    pub(crate) markers: bool,
    /// Whether the line is thin and pale, such as noisy values behind their average.
    pub(crate) is_faint: bool,
}

/// A vertical line with a label.
pub(crate) struct Mark {
    pub(crate) x: f64,
    pub(crate) label: String,
}

pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    pub(crate) description: &'a str,
    pub(crate) x: (Scale, &'a str),
    pub(crate) y: (Scale, &'a str),
    pub(crate) series: Vec<Series>,
    pub(crate) mark: Option<Mark>,
    /// Whether a dotted diagonal shows guessing or perfect calibration.
    pub(crate) diagonal: bool,
    pub(crate) size: [f64; 2],
}

const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;
const ROW: f64 = 18.0;
/// The room of an entry of the legend.
const ENTRY: f64 = 44.0;
/// The mean width of a character.
pub(crate) const CHARACTER: f64 = 7.2;

impl Plot<'_> {
    pub(crate) fn draw(&self) -> Svg {
        let legend = self.legend();
        let [width, height] = self.size;
        let top = TOP + ROW * legend.iter().map(|(_, row, _)| row + 1).max().unwrap_or(0) as f64;
        let frame = Frame {
            left: LEFT,
            top,
            width: width - LEFT - RIGHT,
            height: height - TOP - BOTTOM,
        };
        let height = height - TOP + top;
        let mut svg = Svg::new(width, height, self.title, self.description);
        svg.text("h", [LEFT, 16.0], Anchor::Start, self.title);
        self.draw_legend(&mut svg, &legend);
        self.axes(&mut svg, &frame, height);
        if self.diagonal {
            let (x, y) = (self.x.0, self.y.0);
            svg.line(
                "mark",
                frame.at(&x, &y, [x.low, y.low]),
                frame.at(&x, &y, [x.high, y.high]),
            );
        }
        for series in &self.series {
            self.line(&mut svg, &frame, series);
        }
        if let Some(mark) = &self.mark {
            self.vertical(&mut svg, &frame, mark);
        }
        svg
    }

    /// The position of each entry: its left end, its row, its text.
    fn legend(&self) -> Vec<(f64, usize, String)> {
        let (mut x, mut row) = (LEFT, 0);
        let named = self.series.iter().filter(|series| !series.name.is_empty());
        let place = |series: &Series| {
            let text = shortened(&series.name, 34).into_owned();
            let width = ENTRY + CHARACTER * text.chars().count() as f64;
            if x > LEFT && x + width > self.size[0] {
                (x, row) = (LEFT, row + 1);
            }
            let at = x;
            x += width;
            (at, row, text)
        };
        named.map(place).collect()
    }

    fn draw_legend(&self, svg: &mut Svg, legend: &[(f64, usize, String)]) {
        let named = self.series.iter().filter(|series| !series.name.is_empty());
        for (series, (x, row, text)) in named.zip(legend) {
            let y = TOP + ROW * *row as f64 + 8.0;
            svg.line(&series.class(), [*x, y - 4.0], [*x + 26.0, y - 4.0]);
            if series.markers {
                svg.marker(&series.fill(), series.style, [*x + 13.0, y - 4.0], 3.0);
            }
            svg.text("", [*x + 31.0, y], Anchor::Start, text);
        }
    }

    fn axes(&self, svg: &mut Svg, frame: &Frame, height: f64) {
        let (x, y) = (self.x.0, self.y.0);
        let bottom = frame.top + frame.height;
        for (value, label) in y.ticks(5) {
            let at = frame.at(&x, &y, [x.low, value]);
            svg.line("grid", at, [frame.left + frame.width, at[1]]);
            svg.text("m n", [at[0] - 6.0, at[1] + 4.0], Anchor::End, &label);
        }
        for (value, label) in x.ticks((frame.width / 48.0) as usize) {
            let at = frame.at(&x, &y, [value, y.low]);
            svg.line("axis", at, [at[0], at[1] + 4.0]);
            svg.text("m n", [at[0], at[1] + 16.0], Anchor::Middle, &label);
        }
        svg.line(
            "axis",
            [frame.left, bottom],
            [frame.left + frame.width, bottom],
        );
        svg.text(
            "m",
            [frame.left + frame.width / 2.0, height - 6.0],
            Anchor::Middle,
            self.x.1,
        );
        svg.turned_text("m", [14.0, frame.top + frame.height / 2.0], -90, self.y.1);
    }

    fn line(&self, svg: &mut Svg, frame: &Frame, series: &Series) {
        let (x, y) = (self.x.0, self.y.0);
        let finite = series
            .points
            .iter()
            .filter(|point| point.iter().all(|v| v.is_finite()));
        let points: Vec<[f64; 2]> = finite
            .map(|point| frame.at(&x, &y, [point[0], point[1].clamp(y.low, y.high)]))
            .collect();
        svg.polyline(&series.class(), points.iter().copied());
        // Beyond some number, markers would hide the line.
        if series.markers && points.len() <= 30 {
            for point in points {
                svg.marker(&series.fill(), series.style, point, 3.0);
            }
        }
    }

    fn vertical(&self, svg: &mut Svg, frame: &Frame, mark: &Mark) {
        let (x, y) = (self.x.0, self.y.0);
        let [at, top] = frame.at(&x, &y, [mark.x, y.high]);
        svg.line("mark", [at, top], [at, frame.top + frame.height]);
        let (anchor, shift) = match x.share(mark.x) < 0.5 {
            true => (Anchor::Start, 5.0),
            false => (Anchor::End, -5.0),
        };
        svg.text("n", [at + shift, top + 11.0], anchor, &mark.label);
    }
}

impl Series {
    fn class(&self) -> String {
        match self.is_faint {
            true => format!("l s{} thin", self.style),
            false => line_class(self.style),
        }
    }

    fn fill(&self) -> String {
        crate::svg::fill_class(self.style)
    }
}

struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Frame {
    fn at(&self, x: &Scale, y: &Scale, [a, b]: [f64; 2]) -> [f64; 2] {
        [
            self.left + self.width * x.share(a),
            self.top + self.height * (1.0 - y.share(b)),
        ]
    }
}

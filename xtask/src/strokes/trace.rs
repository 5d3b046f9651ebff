//! From a thin raster to lines: the order in which a pen may draw them.

use std::collections::BTreeSet;

use super::raster::{Pixel, Raster};
use super::{Point, Stroke};

/// The lines between ends and junctions, and closed lines. Lines that meet at a junction share its pixel. Every pixel is
/// on a line.
pub(super) fn lines(raster: &Raster) -> Vec<Vec<Pixel>> {
    let pixels = raster.pixels();
    let (through, nodes): (Vec<Pixel>, Vec<Pixel>) = pixels
        .into_iter()
        .partition(|&pixel| raster.ways(pixel).len() == 2);
    let mut walked: BTreeSet<(Pixel, Pixel)> = BTreeSet::new();
    let mut seen: BTreeSet<Pixel> = BTreeSet::new();
    let mut found = Vec::new();
    // A closed line has no end, so any of its pixels is its start.
    for start in nodes.into_iter().chain(through) {
        let ways = raster.ways(start);
        if ways.len() == 2 && seen.contains(&start) {
            continue;
        }
        if ways.is_empty() {
            found.push(vec![start]);
        }
        for way in ways {
            if walked.contains(&(start, way)) {
                continue;
            }
            let line = walk(raster, start, way);
            for pair in line.windows(2) {
                walked.extend([(pair[0], pair[1]), (pair[1], pair[0])]);
            }
            seen.extend(&line);
            found.push(line);
        }
    }
    found
}

/// The line from a pixel in a direction, to the next end or junction or back to its start.
fn walk(raster: &Raster, start: Pixel, way: Pixel) -> Vec<Pixel> {
    let mut line = vec![start, way];
    loop {
        let [.., before, here] = line[..] else {
            return line;
        };
        let ways = raster.ways(here);
        let next = ways.iter().find(|&&pixel| pixel != before);
        match next {
            Some(&next) if ways.len() == 2 && here != start => line.push(next),
            _ => return line,
        }
    }
}

/// Cuts lines from an end to a junction that are shorter than `shortest` pixels. Thinning leaves them where an edge is
/// rough. One is cut at a time, the shortest first: then a fork at the end of a line becomes a part of it.
pub(super) fn prune(raster: &mut Raster, shortest: f64) {
    loop {
        let ways = |pixel: Option<&Pixel>| pixel.map_or(0, |&pixel| raster.ways(pixel).len());
        let is_spur = |line: &Vec<Pixel>| {
            let (first, last) = (ways(line.first()), ways(line.last()));
            (first == 1 && last > 2 || first > 2 && last == 1) && length(line) < shortest
        };
        let spurs = lines(raster).into_iter().filter(is_spur);
        let Some(spur) = spurs.min_by(|a, b| length(a).total_cmp(&length(b))) else {
            return;
        };
        let cut: Vec<Pixel> = spur
            .into_iter()
            .filter(|&pixel| ways(Some(&pixel)) < 3)
            .collect();
        for pixel in cut {
            raster.remove(pixel);
        }
    }
}

fn length(line: &[Pixel]) -> f64 {
    let place = |&(x, y): &Pixel| [x as f64, y as f64];
    let steps = line.windows(2);
    steps
        .map(|pair| distance(place(&pair[0]), place(&pair[1])))
        .sum()
}

fn distance([ax, ay]: Point, [bx, by]: Point) -> f64 {
    (ax - bx).hypot(ay - by)
}

/// Orders lines as a pen may draw them: the first begins at the highest end, each other one at the end that is nearest to
/// the pen. Lines that begin within `near` of the pen continue its stroke.
pub(super) fn ordered(mut lines: Vec<Stroke>, near: f64) -> Vec<Stroke> {
    let mut strokes: Vec<Stroke> = Vec::new();
    while !lines.is_empty() {
        let pen = strokes.last().and_then(|stroke| stroke.last().copied());
        let cost = |end: Point| pen.map_or(end[1], |pen| distance(pen, end));
        let ends = lines.iter().enumerate().flat_map(|(index, line)| {
            let ends = [line.first(), line.last()];
            (0..2).filter_map(move |side| Some((index, side, *ends[side]?)))
        });
        let Some((index, side, start)) =
            ends.min_by(|(.., a), (.., b)| cost(*a).total_cmp(&cost(*b)))
        else {
            break;
        };
        let mut line = lines.remove(index);
        if side == 1 {
            line.reverse();
        }
        match strokes.last_mut() {
            Some(stroke) if pen.is_some_and(|pen| distance(pen, start) <= near) => {
                stroke.append(&mut line);
            }
            _ => strokes.push(line),
        }
    }
    strokes
}

/// A line with fewer points, none of whose left-out points is further away than `tolerance` (Douglas and Peucker 1973).
pub(super) fn simplified(line: &[Point], tolerance: f64) -> Stroke {
    let [first, inner @ .., last] = line else {
        return line.to_vec();
    };
    let far = |point: &Point| from_line(*point, *first, *last);
    let furthest = (0..inner.len()).max_by(|&a, &b| far(&inner[a]).total_cmp(&far(&inner[b])));
    match furthest {
        Some(at) if far(&inner[at]) > tolerance => {
            let (before, after) = line.split_at(at + 1);
            let mut points = simplified(&line[..before.len() + 1], tolerance);
            points.pop();
            points.extend(simplified(after, tolerance));
            points
        }
        _ => vec![*first, *last],
    }
}

/// The distance of a point to the line between two others.
fn from_line(point: Point, a: Point, b: Point) -> f64 {
    let [lx, ly] = [b[0] - a[0], b[1] - a[1]];
    let square = lx * lx + ly * ly;
    let along = match square > 0.0 {
        true => (((point[0] - a[0]) * lx + (point[1] - a[1]) * ly) / square).clamp(0.0, 1.0),
        false => 0.0,
    };
    distance(point, [a[0] + along * lx, a[1] + along * ly])
}

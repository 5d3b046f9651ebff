use std::collections::BTreeSet;

use super::raster::Pixel;
use super::*;

/// A raster from rows of text, where `#` is ink.
fn raster(rows: &[&str]) -> Raster {
    let ink = rows.iter().flat_map(|row| row.chars().map(|c| c == '#'));
    Raster::new(rows[0].len(), ink.collect())
}

/// Ink where `is_ink` holds, on a square of `side` pixels.
fn drawn(side: usize, is_ink: impl Fn(f64, f64) -> bool) -> Raster {
    let places = (0..side * side).map(|at| ((at % side) as f64, (at / side) as f64));
    Raster::new(side, places.map(|(x, y)| is_ink(x, y)).collect())
}

fn thinned(mut raster: Raster) -> Raster {
    thin::thin(&mut raster);
    raster
}

/// The number of connected parts of ink.
fn parts(raster: &Raster) -> usize {
    let mut left: BTreeSet<Pixel> = raster.pixels().into_iter().collect();
    let mut count = 0;
    while let Some(pixel) = left.pop_first() {
        count += 1;
        let mut open = vec![pixel];
        while let Some((x, y)) = open.pop() {
            let near: Vec<Pixel> = left
                .iter()
                .copied()
                .filter(|&(a, b)| a.abs_diff(x) <= 1 && b.abs_diff(y) <= 1)
                .collect();
            for pixel in near {
                left.remove(&pixel);
                open.push(pixel);
            }
        }
    }
    count
}

fn ends(raster: &Raster) -> usize {
    let pixels = raster.pixels().into_iter();
    pixels
        .filter(|&pixel| raster.ways(pixel).len() == 1)
        .count()
}

#[test]
fn a_thin_line_stays_as_it_is() {
    let rows = [
        ".......", ".#.....", "..#....", "...##..", ".....#.", ".......",
    ];
    let line = raster(&rows);
    assert_eq!(thinned(line.clone()), line);
    let found = trace::lines(&line);
    assert_eq!(found, [vec![(1, 1), (2, 2), (3, 3), (4, 3), (5, 4)]]);
}

#[test]
fn a_thick_line_becomes_its_centre_line() {
    let thick = drawn(40, |x, y| {
        (8.0..32.0).contains(&x) && (17.0..24.0).contains(&y)
    });
    let thin = thinned(thick);
    assert_eq!((parts(&thin), ends(&thin)), (1, 2));
    let found = trace::lines(&thin);
    assert_eq!(found.len(), 1);
    assert!(found[0].len() >= 16, "{found:?}");
    assert!(found[0].iter().all(|&(_, y)| (19..=21).contains(&y)));
}

#[test]
fn a_ring_stays_closed() {
    let ring = drawn(40, |x, y| {
        let radius = (x - 20.0).hypot(y - 20.0);
        (9.0..15.0).contains(&radius)
    });
    let thin = thinned(ring);
    assert_eq!((parts(&thin), ends(&thin)), (1, 0));
    let found = trace::lines(&thin);
    assert_eq!(found.len(), 1);
    let line = &found[0];
    assert_eq!(line.first(), line.last());
    for &(x, y) in line {
        let radius = (x as f64 - 20.0).hypot(y as f64 - 20.0);
        assert!((10.5..13.5).contains(&radius), "{radius}");
    }
    let points: Stroke = line.iter().map(|&(x, y)| [x as f64, y as f64]).collect();
    let simple = trace::simplified(&points, 0.5);
    assert_eq!(simple.first(), simple.last());
    assert!((8..30).contains(&simple.len()), "{}", simple.len());
}

#[test]
fn a_junction_joins_its_lines() {
    let rows = [
        ".........",
        ".#.....#.",
        "..#...#..",
        "...#.#...",
        "....#....",
        "....#....",
        "....#....",
        ".........",
    ];
    let found = trace::lines(&raster(&rows));
    assert_eq!(found.len(), 3);
    for line in &found {
        assert!(
            [line.first(), line.last()].contains(&Some(&(4, 4))),
            "{line:?}"
        );
    }
}

#[test]
fn spurs_are_cut_and_lines_are_not() {
    let rows = [
        "............",
        "....#.......",
        "....#.......",
        ".##########.",
        "............",
    ];
    let mut spur = raster(&rows);
    trace::prune(&mut spur, 3.0);
    assert_eq!(
        trace::lines(&spur),
        [(1..=10).map(|x| (x, 3)).collect::<Vec<_>>()]
    );
    let mut kept = raster(&rows);
    trace::prune(&mut kept, 1.5);
    assert_eq!(kept, raster(&rows));
    // Without a junction, nothing is a spur.
    let mut short = raster(&["....", ".##.", "...."]);
    trace::prune(&mut short, 9.0);
    assert_eq!(short.pixels().len(), 2);
}

/// Shapes with ends, rings, crossings and a dot.
#[test]
fn nothing_is_lost() {
    let cross =
        |x: f64, y: f64| ((x - y).abs() < 4.0 || (x + y - 60.0).abs() < 4.0) && x.hypot(y) < 75.0;
    let eight = |x: f64, y: f64| {
        let ring = |cy: f64| (7.0..12.0).contains(&(x - 30.0).hypot(y - cy));
        ring(20.0) || ring(39.0)
    };
    let dot = |x: f64, y: f64| (x - 50.0).hypot(y - 10.0) < 3.5;
    let shapes: [(Raster, usize); 3] = [
        (drawn(60, cross), 1),
        (drawn(60, |x, y| eight(x, y) || dot(x, y)), 2),
        (drawn(60, dot), 1),
    ];
    for (shape, count) in shapes {
        let ink: BTreeSet<Pixel> = shape.pixels().into_iter().collect();
        let thin = thinned(shape);
        assert_eq!(parts(&thin), count);
        let lines = trace::lines(&thin);
        let traced: BTreeSet<Pixel> = lines.iter().flatten().copied().collect();
        assert_eq!(traced, thin.pixels().into_iter().collect());
        assert!(traced.is_subset(&ink));
        // Each pixel of the shape is near the lines.
        for &(x, y) in &ink {
            let near = |&(a, b): &Pixel| a.abs_diff(x) <= 5 && b.abs_diff(y) <= 5;
            assert!(traced.iter().any(near), "{x}, {y}");
        }
        let points = lines.iter().map(|line| {
            let point = |&(x, y): &Pixel| [x as f64, y as f64];
            line.iter().map(point).collect::<Stroke>()
        });
        let points: Vec<Stroke> = points.collect();
        let before: usize = points.iter().map(Vec::len).sum();
        let after: usize = trace::ordered(points, 1.0).iter().map(Vec::len).sum();
        assert_eq!(before, after);
    }
}

#[test]
fn the_pen_goes_to_the_nearest_end() {
    let lines = vec![
        vec![[0.0, 9.0], [4.0, 9.0]],
        vec![[9.0, 5.0], [9.0, 0.0]],
        vec![[4.2, 9.0], [9.0, 5.0]],
    ];
    let strokes = trace::ordered(lines, 0.5);
    let expected = [
        [9.0, 0.0],
        [9.0, 5.0],
        [9.0, 5.0],
        [4.2, 9.0],
        [4.0, 9.0],
        [0.0, 9.0],
    ];
    assert_eq!(strokes, [expected]);
}

#[test]
fn the_choice_has_three_of_each_class_and_is_the_same_each_time() {
    let labels: Vec<u8> = (0..200).map(|index| (index % 10) as u8).collect();
    let found = chosen(&labels).unwrap();
    for class in 0..10 {
        assert_eq!(
            found
                .iter()
                .filter(|&&index| labels[index] == class)
                .count(),
            3
        );
    }
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 30);
    assert_eq!(found, chosen(&labels).unwrap());
    assert!(chosen(&labels[..20]).is_err());
}

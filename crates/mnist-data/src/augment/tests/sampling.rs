//! Compares random draws with torchvision's distributions.

use std::collections::HashMap;

use super::{drawn, image};
use crate::augment::crop::Part;
use crate::augment::{AffineConfig, ColorJitterConfig, ErasingConfig, Purpose, ResizedCropConfig};

const DRAWS: u64 = 4000;

/// Requires that all numbers are within the bounds, that some are near each bound, and that the mean is the middle of
/// the bounds.
fn assert_uniform(what: &str, numbers: &[f64], [low, high]: [f64; 2]) {
    let count = numbers.len() as f64;
    let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // Rounding a bound to f32 may move it slightly.
    let slack = 1e-6 * (high - low);
    assert!(least >= low - slack && most <= high + slack, "{what}");
    let near = 0.01 * (high - low);
    assert!(
        least < low + near && most > high - near,
        "{what}: {least} to {most}"
    );
    let mean = numbers.iter().sum::<f64>() / count;
    let deviation = (high - low) / (12.0 * count).sqrt();
    let middle = f64::midpoint(low, high);
    assert!((mean - middle).abs() < 6.0 * deviation, "{what}: {mean}");
}

/// Requires a rectangle inside of an image. Its share of the area and its `ratio` (first side divided by second) must
/// be within bounds, up to the rounding of its sides.
fn assert_fits(
    part: Part,
    [width, height]: [u32; 2],
    scale: [f64; 2],
    sides: [u32; 2],
    ratio: [f64; 2],
) {
    assert!(part.left + part.width <= width, "{part:?}");
    assert!(part.top + part.height <= height, "{part:?}");
    let area = f64::from(width * height);
    let [small, large] = [-0.5, 0.5].map(|by| sides.map(|side| f64::from(side) + by));
    assert!(small[0] * small[1] <= scale[1] * area, "{part:?}");
    assert!(large[0] * large[1] >= scale[0] * area, "{part:?}");
    assert!(small[0] / large[1] <= ratio[1], "{part:?}");
    assert!(large[0] / small[1] >= ratio[0], "{part:?}");
}

const SIZES: [[u32; 2]; 4] = [[64, 64], [90, 60], [50, 75], [256, 256]];
const RANGES: [([f64; 2], [f64; 2]); 4] = [
    ([0.08, 1.0], [3.0 / 4.0, 4.0 / 3.0]),
    ([0.02, 0.33], [0.3, 3.3]),
    ([0.1, 0.2], [2.0, 3.0]),
    ([0.25, 0.25], [0.5, 0.5]),
];

#[test]
fn parts_lie_inside_and_have_the_area_and_shape_asked_for() {
    for (scale, ratio) in RANGES {
        let config = ResizedCropConfig { scale, ratio };
        for size @ [width, height] in SIZES {
            for index in 0..500 {
                let part = config.draw(&mut drawn(index, Purpose::ResizedCrop), width, height);
                // The ratio is width divided by height.
                assert_fits(part, size, scale, [part.width, part.height], ratio);
                assert!(ratio[0] < 2.0 || part.width > part.height, "{part:?}");
            }
        }
    }
}

#[test]
fn holes_lie_inside_and_have_the_area_and_shape_asked_for() {
    for (scale, ratio) in RANGES {
        let config = ErasingConfig {
            scale,
            ratio,
            ..ErasingConfig::default()
        };
        for size @ [width, height] in SIZES {
            let mut found = 0;
            for index in 0..500 {
                let mut rng = drawn(index, Purpose::Erasing);
                let Some(hole) = config.hole(&mut rng, width, height) else {
                    continue;
                };
                // The ratio is height divided by width.
                assert_fits(hole, size, scale, [hole.height, hole.width], ratio);
                assert!(ratio[0] < 2.0 || hole.height > hole.width, "{hole:?}");
                found += 1;
            }
            assert!(found > 490, "{found} of {scale:?} {ratio:?} in {size:?}");
        }
    }
}

/// The images are so large that every rectangle with these shares fits and rounding hardly matters.
const LARGE: u32 = 4000;
const SMALL_SHARES: [f64; 2] = [0.01, 0.02];

#[test]
fn the_area_and_the_logarithm_of_the_ratio_are_uniform_and_so_are_the_places() {
    // A uniform ratio would give mean logarithms of 1.35 and 1.54 instead of 0 and 1.39, which are 60 and 24 standard
    // deviations of the mean away.
    for ratio in [[0.1, 10.0], [2.0, 8.0]] {
        let logarithms = ratio.map(f64::ln);
        let crop = ResizedCropConfig {
            scale: SMALL_SHARES,
            ratio,
        };
        let erasing = ErasingConfig {
            scale: SMALL_SHARES,
            ratio,
            ..ErasingConfig::default()
        };
        let parts: Vec<Part> = (0..DRAWS)
            .map(|index| crop.draw(&mut drawn(index, Purpose::ResizedCrop), LARGE, LARGE))
            .collect();
        let holes: Vec<Part> = (0..DRAWS)
            .filter_map(|index| erasing.hole(&mut drawn(index, Purpose::Erasing), LARGE, LARGE))
            .collect();
        assert_eq!(holes.len() as u64, DRAWS);
        let log = |a: u32, b: u32| (f64::from(a) / f64::from(b)).ln();
        // Rounding changes a side by up to half a pixel: 0.4 % of at least 126 pixels.
        let reached = [logarithms[0] - 0.005, logarithms[1] + 0.005];
        let of_parts: Vec<f64> = parts.iter().map(|p| log(p.width, p.height)).collect();
        let of_holes: Vec<f64> = holes.iter().map(|p| log(p.height, p.width)).collect();
        assert_uniform("ratio of parts", &of_parts, reached);
        assert_uniform("ratio of holes", &of_holes, reached);
        for (what, parts) in [("parts", parts), ("holes", holes)] {
            let area = f64::from(LARGE) * f64::from(LARGE);
            let shares: Vec<f64> = parts
                .iter()
                .map(|p| f64::from(p.width) * f64::from(p.height) / area)
                .collect();
            assert_uniform(what, &shares, [0.01 - 5e-5, 0.02 + 5e-5]);
            let place = |at: u32, side: u32| f64::from(at) / f64::from(LARGE - side);
            let left: Vec<f64> = parts.iter().map(|p| place(p.left, p.width)).collect();
            let top: Vec<f64> = parts.iter().map(|p| place(p.top, p.height)).collect();
            assert_uniform(what, &left, [0.0, 1.0]);
            assert_uniform(what, &top, [0.0, 1.0]);
        }
    }
}

#[test]
fn where_no_part_fits_it_is_torchvisions_in_the_middle() {
    let part = |left, top, width, height| Part {
        left,
        top,
        width,
        height,
    };
    // The last branch of torchvision's `RandomResizedCrop.make_params`, computed by hand. The side that is too short
    // for every ratio is kept whole. The other side follows from the nearest ratio, rounded as in Python, where 2.5
    // becomes 2. The crop is centered, with a truncated offset.
    for ([width, height], ratio, expected) in [
        ([10, 1000], [3.0 / 4.0, 4.0 / 3.0], part(0, 493, 10, 13)),
        ([1000, 10], [3.0 / 4.0, 4.0 / 3.0], part(493, 0, 13, 10)),
        ([10, 1000], [4.0, 4.0], part(0, 499, 10, 2)),
        ([1000, 10], [0.25, 0.25], part(499, 0, 2, 10)),
        // Both sides are long enough, but hardly any ratio fits at the full area.
        ([3000, 2900], [0.1, 10.0], part(0, 0, 3000, 2900)),
    ] {
        let config = ResizedCropConfig {
            scale: [1.0, 1.0],
            ratio,
        };
        for index in 0..20 {
            let mut rng = drawn(index, Purpose::ResizedCrop);
            assert_eq!(config.draw(&mut rng, width, height), expected);
        }
    }
}

#[test]
fn where_no_hole_fits_there_is_none() {
    for [width, height] in [[10, 1000], [1000, 10]] {
        let config = ErasingConfig {
            p: 1.0,
            scale: [0.5, 0.5],
            ratio: [1.0, 1.0],
            ..ErasingConfig::default()
        };
        let original = image(width, height, 1);
        let mut erased = original.clone();
        config.apply(&mut erased, &mut drawn(0, Purpose::Erasing));
        assert_eq!(erased, original);
        assert_eq!(
            config.hole(&mut drawn(0, Purpose::Erasing), width, height),
            None
        );
    }
}

#[test]
fn holes_come_as_often_as_they_should() {
    let white = crate::Image::from_gray(32, 32, vec![255; 1024]).unwrap();
    for (p, expected) in [(0.0, 0..1), (0.3, 1026..1374), (1.0, 4000..4001)] {
        let config = ErasingConfig {
            p,
            ..ErasingConfig::default()
        };
        let erased = (0..DRAWS).filter(|&index| {
            let mut image = white.clone();
            config.apply(&mut image, &mut drawn(index, Purpose::Erasing));
            image != white
        });
        // The bound is six standard deviations.
        let count = erased.count();
        assert!(expected.contains(&count), "{p}: {count}");
    }
}

#[test]
fn affine_maps_reach_their_bounds_and_no_farther() {
    let config = AffineConfig {
        degrees: 25.0,
        translate: [0.1, 0.25],
        scale: [0.5, 3.0],
        shear: [7.0, 20.0],
        fill: 0,
    };
    let maps: Vec<_> = (0..DRAWS)
        .map(|index| config.draw(&mut drawn(index, Purpose::Affine), 40, 60))
        .collect();
    let each = |value: fn(&crate::augment::affine::AffineParameters) -> f64| -> Vec<f64> {
        maps.iter().map(value).collect()
    };
    assert_uniform("angle", &each(|map| map.angle), [-25.0, 25.0]);
    assert_uniform("x", &each(|map| map.translate[0]), [-4.0, 4.0]);
    assert_uniform("y", &each(|map| map.translate[1]), [-15.0, 15.0]);
    assert_uniform("scale", &each(|map| map.scale), [0.5, 3.0]);
    assert_uniform("shear along x", &each(|map| map.shear[0]), [-7.0, 7.0]);
    assert_uniform("shear along y", &each(|map| map.shear[1]), [-20.0, 20.0]);
    assert!(maps.iter().all(|map| map.center == [0.0, 0.0]));
}

#[test]
fn jitter_draws_between_its_bounds_and_in_every_order() {
    let config = ColorJitterConfig {
        brightness: 0.4,
        // Factors start at 0, not at -0.5, so their mean is 1.25.
        contrast: 1.5,
        saturation: 10.0,
        hue: 0.3,
    };
    let jitters: Vec<_> = (0..24 * 200)
        .map(|index| config.draw(&mut drawn(index, Purpose::ColorJitter)))
        .collect();
    let bounds = [[0.6, 1.4], [0.0, 2.5], [0.0, 11.0]];
    for (which, bounds) in bounds.into_iter().enumerate() {
        let factors: Vec<f64> = jitters
            .iter()
            .map(|jitter| f64::from(jitter.factors[which]))
            .collect();
        assert_uniform("factor", &factors, bounds);
        assert!(factors.iter().all(|&factor| factor >= 0.0));
    }
    let hues: Vec<f64> = jitters.iter().map(|jitter| f64::from(jitter.hue)).collect();
    assert_uniform("hue", &hues, [-0.3, 0.3]);

    let mut orders = HashMap::new();
    for jitter in &jitters {
        *orders.entry(jitter.order).or_insert(0) += 1;
        let mut sorted = jitter.order;
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3]);
    }
    assert_eq!(orders.len(), 24);
    // The bounds are six standard deviations around 200.
    assert!(
        orders.values().all(|count| (117..283).contains(count)),
        "{orders:?}"
    );
}

#[test]
fn jitter_takes_its_steps_in_the_order_drawn() {
    use crate::augment::jitter::Jitter;

    let shown = |order, factors, hue| {
        let jitter = Jitter {
            order,
            factors,
            hue,
        };
        let mut colors = crate::Image::from_rgb(2, 1, vec![200, 100, 0, 80, 40, 60]).unwrap();
        jitter.apply(&mut colors);
        colors.pixels().to_vec()
    };
    // Doubling the brightness gives 400, 200, 0, clipped to 255, 200, 0. A saturation of 0 then makes it grey.
    let first_bright = shown([0, 2, 1, 3], [2.0, 1.0, 0.0], 0.0);
    // 0.2989 · 255 + 0.587 · 200 = 193.6, and 0.2989 · 160 + 0.587 · 80 + 0.114 · 120 = 108.5.
    assert_eq!(first_bright, [193, 193, 193, 108, 108, 108]);
    // 0.2989 · 200 + 0.587 · 100 = 118.5, twice as bright 236; 54.2, twice 108.
    let first_gray = shown([2, 0, 1, 3], [2.0, 1.0, 0.0], 0.0);
    assert_eq!(first_gray, [236, 236, 236, 108, 108, 108]);
    // Without contrast, every pixel is the mean of 118 and 54.
    assert_eq!(shown([3, 2, 1, 0], [1.0, 0.0, 1.0], 0.0), [86; 6]);
    // A rotation by half the colour circle turns red into cyan.
    let hue = shown([0, 1, 2, 3], [1.0; 3], 0.5);
    assert!(hue[0] < hue[1] && hue[1] < hue[2], "{hue:?}");
}

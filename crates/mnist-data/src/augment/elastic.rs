//! Elastic distortion by a smooth random field, like variations of handwriting.

use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use super::config::require;
use super::setting::{AugmentSetting, AugmentValue};
use super::table::Step;
use crate::error::Result;

/// A random displacement of every pixel, smoothed by a Gaussian (Simard, Steinkraus and Platt, 2003):
/// `torchvision.transforms.v2.ElasticTransform`, with its units.
///
/// This operation takes longer than all others for a digit together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ElasticConfig {
    /// The strength, 0 to 1000. Before smoothing, each pixel is displaced uniformly by up to half of this many pixels
    /// to either side.
    pub alpha: f64,
    /// The smoothness: the Gaussian's standard deviation in pixels, 0 (no smoothing) to 100.
    pub sigma: f64,
    /// The grey level of pixels outside of the image. If `affine` is on, its `fill` is used instead.
    pub fill: u8,
}

impl Default for ElasticConfig {
    /// torchvision's defaults: alpha 50, sigma 5, black.
    fn default() -> Self {
        Self {
            alpha: 50.0,
            sigma: 5.0,
            fill: 0,
        }
    }
}

impl Step for ElasticConfig {
    const SETTINGS: &'static [AugmentSetting] = &[
        AugmentSetting::new(
            "alpha",
            AugmentValue::Number,
            "Strength of the displacement.",
        ),
        AugmentSetting::new(
            "sigma",
            AugmentValue::Number,
            "Smoothness of the distortion.",
        ),
        AugmentSetting::new(
            "fill",
            AugmentValue::Byte,
            "Grey level outside of the image.",
        ),
    ];

    fn validate(&self, _: &'static str) -> Result<()> {
        require(
            (0.0..=1000.0).contains(&self.alpha),
            "augment.elastic.alpha",
            self.alpha,
            "0 to 1000",
        )?;
        require(
            (0.0..=100.0).contains(&self.sigma),
            "augment.elastic.sigma",
            self.sigma,
            "0 to 100",
        )
    }
}

impl ElasticConfig {
    /// Draws the displacements of one image: `[height, width]` pairs of x and y, in pixels.
    pub(crate) fn draw(&self, rng: &mut impl Rng, width: u32, height: u32) -> Vec<[f32; 2]> {
        let (width, height) = (width as usize, height as usize);
        let mut noise = || -> Vec<f32> {
            let number = |_| rng.next_u32() as f32 / (1_u64 << 31) as f32 - 1.0;
            (0..width * height).map(number).collect()
        };
        let [x, y] = [noise(), noise()].map(|noise| self.displacement(&noise, width, height));
        x.into_iter().zip(y).map(|(x, y)| [x, y]).collect()
    }

    /// Smooths noise of -1 to 1, `[height, width]`, and scales it to a displacement along one axis. In torchvision's
    /// coordinates a side has the length 2, so the strength is halved.
    pub(crate) fn displacement(&self, noise: &[f32], width: usize, height: usize) -> Vec<f32> {
        let kernel = gaussian(self.sigma);
        let mut field = blur_rows(noise, width, &kernel);
        field = blur_columns(&field, width, height, &kernel);
        let reach = (self.alpha / 2.0) as f32;
        field.iter_mut().for_each(|value| *value *= reach);
        field
    }
}

/// The weights of a Gaussian, four standard deviations to either side; they add up to 1.
fn gaussian(sigma: f64) -> Vec<f32> {
    let reach = (4.0 * sigma + 0.5) as i32;
    let weight = |x: i32| match reach {
        0 => 1.0,
        _ => (-0.5 * (f64::from(x) / sigma).powi(2)).exp(),
    };
    let weights: Vec<f64> = (-reach..=reach).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

/// Blurs along x. The loop over the kernel's weights is the outer one, since the inner loop over a row then vectorises.
fn blur_rows(field: &[f32], width: usize, kernel: &[f32]) -> Vec<f32> {
    let reach = kernel.len() / 2;
    let places: Vec<usize> = (0..width + 2 * reach)
        .map(|at| reflected(at, reach, width))
        .collect();
    let mut blurred = vec![0.0; field.len()];
    let mut line = Vec::with_capacity(places.len());
    for (row, target) in field
        .chunks_exact(width)
        .zip(blurred.chunks_exact_mut(width))
    {
        line.clear();
        line.extend(places.iter().map(|&place| row[place]));
        for (shift, &weight) in kernel.iter().enumerate() {
            add(target, &line[shift..], weight);
        }
    }
    blurred
}

/// Blurs along y.
fn blur_columns(field: &[f32], width: usize, height: usize, kernel: &[f32]) -> Vec<f32> {
    let reach = kernel.len() / 2;
    let mut blurred = vec![0.0; field.len()];
    for (y, target) in blurred.chunks_exact_mut(width).enumerate() {
        for (shift, &weight) in kernel.iter().enumerate() {
            add(
                target,
                &field[reflected(y + shift, reach, height) * width..],
                weight,
            );
        }
    }
    blurred
}

fn add(target: &mut [f32], source: &[f32], weight: f32) {
    for (target, source) in target.iter_mut().zip(source) {
        *target += weight * source;
    }
}

/// The index of the value at position `at - reach` of a line of `count` values. Positions outside are reflected at the
/// ends, as in torchvision's padding. If a Gaussian is wider than the image, they are reflected several times, whereas
/// torchvision fails.
fn reflected(at: usize, reach: usize, count: usize) -> usize {
    let period = (2 * (count - 1)).max(1);
    // Adding whole periods keeps the number positive.
    let from_start = (at + period * reach.div_ceil(period) - reach) % period;
    from_start.min(period - from_start).min(count - 1)
}

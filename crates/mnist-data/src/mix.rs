//! Batches with mixed images.

use rand_chacha::rand_core::Rng;
use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use crate::augment::{Draw, Purpose, chance, require};
use crate::batch::HostBatch;
use crate::error::{Error, Result};
use crate::shuffle::below;

/// MixUp (Zhang et al., 2018) and CutMix (Yun et al., 2019) on whole batches: `torchvision.transforms.v2.MixUp`
/// and `CutMix`. The section `[mix]` of a configuration.
///
/// Every image is mixed with the previous one in the batch, the first with the last, and one number is drawn
/// per batch; so batches should be shuffled. A batch of one image stays unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixConfig {
    /// MixUp's share is drawn from Beta(alpha, alpha), 0.01 to 100; 0 switches MixUp off.
    pub mixup_alpha: f64,
    /// CutMix's share is drawn from Beta(alpha, alpha), 0.01 to 100; 0 switches CutMix off.
    pub cutmix_alpha: f64,
    /// The share of the batches that are mixed, 0 to 1.
    pub probability: f64,
    /// If both are on: CutMix's share of the mixed batches, 0 to 1.
    pub switch_probability: f64,
}

impl Default for MixConfig {
    /// Both off. With one on, every batch is mixed; with both on, half of the batches each.
    fn default() -> Self {
        Self {
            mixup_alpha: 0.0,
            cutmix_alpha: 0.0,
            probability: 1.0,
            switch_probability: 0.5,
        }
    }
}

/// The mixing of a batch: the target of image `i` is `lambda` of its own label and `1 - lambda` of
/// `partners[i]`.
///
/// For CutMix, `lambda` is the true remaining share of the image's area.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// `[n]` class indices of the previous image in the batch.
    pub partners: Vec<u32>,
    /// `[n]` sample weights of the previous image. They weight the loss of `partners`, so that a sample of
    /// weight 0 has no effect in mixtures.
    pub partner_weights: Vec<f32>,
    /// The image's own share, 0 to 1, the same for the whole batch.
    pub lambda: f32,
}

/// A rectangle as start and exclusive end, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rectangle {
    x: [usize; 2],
    y: [usize; 2],
}

impl MixConfig {
    /// Whether both are off.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.mixup_alpha == 0.0 && self.cutmix_alpha == 0.0
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) names the first key with an invalid value.
    pub fn validate(&self) -> Result<()> {
        for (setting, alpha) in [
            ("mix.mixup_alpha", self.mixup_alpha),
            ("mix.cutmix_alpha", self.cutmix_alpha),
        ] {
            let known = alpha == 0.0 || (0.01..=100.0).contains(&alpha);
            require(known, setting, alpha, "0 (off) or 0.01 to 100")?;
        }
        for (setting, share) in [
            ("mix.probability", self.probability),
            ("mix.switch_probability", self.switch_probability),
        ] {
            require((0.0..=1.0).contains(&share), setting, share, "0 to 1")?;
        }
        Ok(())
    }

    /// Mixes a batch. `draw.index` is its number in the epoch.
    pub(crate) fn apply(&self, batch: &mut HostBatch, draw: Draw) -> Result<()> {
        let mut rng = draw.numbers(Purpose::Mix);
        if self.is_none() || batch.count < 2 || !chance(&mut rng, self.probability) {
            return Ok(());
        }
        let cut = self.mixup_alpha == 0.0
            || self.cutmix_alpha > 0.0 && chance(&mut rng, self.switch_probability);
        let lambda = if cut {
            let lambda = share(&mut rng, "mix.cutmix_alpha", self.cutmix_alpha)?;
            let hole = rectangle(&mut rng, lambda, batch.width, batch.height);
            cut_mix(batch, hole)
        } else {
            mix_up(batch, share(&mut rng, "mix.mixup_alpha", self.mixup_alpha)?)
        };
        let mut partners = batch.labels.clone();
        let mut partner_weights = batch.weights.clone();
        partners.rotate_right(1);
        partner_weights.rotate_right(1);
        batch.mix = Some(Mix {
            partners,
            partner_weights,
            lambda,
        });
        Ok(())
    }
}

/// A number from Beta(alpha, alpha).
fn share(rng: &mut impl Rng, setting: &'static str, alpha: f64) -> Result<f64> {
    let beta = Beta::new(alpha, alpha).map_err(|error| Error::Setting {
        setting,
        problem: error.to_string(),
    })?;
    Ok(beta.sample(rng).clamp(0.0, 1.0))
}

/// Blends every image with the previous one, to the nearest grey level. Returns the actual share: `lambda`
/// rounded to 65,536ths.
fn mix_up(batch: &mut HostBatch, lambda: f64) -> f32 {
    let own = (lambda * 65536.0).round() as u32;
    let blend = |pixels: &mut [u8], before: &[u8]| {
        for (pixel, &other) in pixels.iter_mut().zip(before) {
            let sum = u32::from(*pixel) * own + u32::from(other) * (65536 - own);
            *pixel = ((sum + 32768) >> 16) as u8;
        }
    };
    let size = batch.pixels.len() / batch.count;
    let last = batch.pixels[batch.pixels.len() - size..].to_vec();
    // From the end, so that the previous image is still unchanged.
    for place in (1..batch.count).rev() {
        let (before, pixels) = batch.pixels.split_at_mut(place * size);
        blend(&mut pixels[..size], &before[(place - 1) * size..]);
    }
    blend(&mut batch.pixels[..size], &last);
    own as f32 / 65536.0
}

/// The rectangle that CutMix takes from the other image: torchvision's, with sides of even length
/// unless the border cuts them.
fn rectangle(rng: &mut impl Rng, lambda: f64, width: usize, height: usize) -> Rectangle {
    let half = 0.5 * (1.0 - lambda).sqrt();
    let mut around = |side: usize| {
        let middle = below(rng, side as u64) as usize;
        let reach = (half * side as f64) as usize;
        [middle.saturating_sub(reach), (middle + reach).min(side)]
    };
    Rectangle {
        x: around(width),
        y: around(height),
    }
}

/// Copies a rectangle of the previous image into every image. Returns the share of the area outside it.
fn cut_mix(batch: &mut HostBatch, Rectangle { x, y }: Rectangle) -> f32 {
    let stride = batch.width * 3;
    let size = batch.pixels.len() / batch.count;
    let last = batch.pixels[batch.pixels.len() - size..].to_vec();
    for row in y[0]..y[1] {
        let part = row * stride + x[0] * 3..row * stride + x[1] * 3;
        // From the end, so that the previous image is still unchanged.
        for place in (1..batch.count).rev() {
            let before = (place - 1) * size;
            let source = before + part.start..before + part.end;
            batch.pixels.copy_within(source, place * size + part.start);
        }
        batch.pixels[part.clone()].copy_from_slice(&last[part]);
    }
    let taken = (x[1] - x[0]) * (y[1] - y[0]);
    1.0 - taken as f32 / (batch.width * batch.height) as f32
}

#[cfg(test)]
mod tests;

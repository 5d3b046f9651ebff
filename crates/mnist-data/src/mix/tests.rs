use proptest::prelude::*;

use super::*;

/// `count` images of `size` × `size`; the red values of all pixels in the batch differ.
fn batch(count: usize, size: usize) -> HostBatch {
    HostBatch {
        number: 0,
        count,
        height: size,
        width: size,
        pixels: (0..count * size * size * 3)
            .map(|at| (at * 37 % 251) as u8)
            .collect(),
        labels: (0..count as u32).collect(),
        weights: (0..count).map(|place| place as f32 / 2.0).collect(),
        ids: (0..count).map(|id| id.to_string()).collect(),
        mix: None,
    }
}

fn draw(index: u64) -> Draw {
    Draw {
        seed: 3,
        epoch: 1,
        index,
    }
}

fn mixed(config: &MixConfig, batch: &HostBatch, index: u64) -> HostBatch {
    let mut mixed = batch.clone();
    config.apply(&mut mixed, draw(index)).unwrap();
    mixed
}

fn mixup() -> MixConfig {
    MixConfig {
        mixup_alpha: 0.8,
        ..MixConfig::default()
    }
}

fn cutmix() -> MixConfig {
    MixConfig {
        cutmix_alpha: 1.0,
        ..MixConfig::default()
    }
}

/// The index of the byte at the same position in the previous image.
fn before(batch: &HostBatch, at: usize) -> usize {
    let size = batch.pixels.len() / batch.count;
    (at + batch.pixels.len() - size) % batch.pixels.len()
}

#[test]
fn mixup_is_the_nearest_grey_level_of_the_weighted_mean() {
    let batch = batch(5, 6);
    for index in 0..50 {
        let mixed = mixed(&mixup(), &batch, index);
        let mix = mixed.mix.as_ref().unwrap();
        assert_eq!(mix.partners, [4, 0, 1, 2, 3]);
        assert_eq!(mix.partner_weights, [2.0, 0.0, 0.5, 1.0, 1.5]);
        assert!((0.0..=1.0).contains(&mix.lambda));
        let lambda = f64::from(mix.lambda);
        for (at, &pixel) in mixed.pixels.iter().enumerate() {
            let [own, other] = [at, before(&batch, at)].map(|at| f64::from(batch.pixels[at]));
            let exact = lambda * own + (1.0 - lambda) * other;
            assert!(
                (f64::from(pixel) - exact).abs() <= 0.5 + 1e-4,
                "{pixel} {exact}"
            );
        }
        assert_eq!((&mixed.labels, &mixed.ids), (&batch.labels, &batch.ids));
        assert_eq!(mixed.weights, batch.weights);
    }
}

#[test]
fn cutmix_copies_one_box_and_lambda_is_the_remaining_share() {
    let batch = batch(4, 9);
    let mut shares = Vec::new();
    for index in 0..200 {
        let mixed = mixed(&cutmix(), &batch, index);
        let mix = mixed.mix.as_ref().unwrap();
        assert_eq!(mix.partners, [3, 0, 1, 2]);
        assert_eq!(mix.partner_weights, [1.5, 0.0, 0.5, 1.0]);
        let mut inside = vec![0; 81];
        for (at, &pixel) in mixed.pixels.iter().enumerate() {
            // These bytes all differ, since 3 · 81 is not a multiple of 251.
            if pixel == batch.pixels[before(&batch, at)] {
                inside[at / 3 % 81] += 1;
            } else {
                assert_eq!(pixel, batch.pixels[at]);
            }
        }
        // Exactly the box has changed, in every colour of every image.
        assert!(
            inside.iter().all(|&count| count == 0 || count == 12),
            "{inside:?}"
        );
        let taken: Vec<usize> = (0..81).filter(|&at| inside[at] > 0).collect();
        let span = |places: Vec<usize>| match (places.iter().min(), places.iter().max()) {
            (Some(least), Some(most)) => most - least + 1,
            _ => 0,
        };
        let columns = span(taken.iter().map(|at| at % 9).collect());
        let rows = span(taken.iter().map(|at| at / 9).collect());
        assert_eq!(taken.len(), columns * rows);
        assert!((f64::from(mix.lambda) - (1.0 - taken.len() as f64 / 81.0)).abs() < 1e-6);
        shares.push(mix.lambda);
    }
    // Every size occurs. A box at the border is cut, so on average more than half of an image stays.
    let mean = shares.iter().sum::<f32>() / 200.0;
    assert!((0.5..0.8).contains(&mean), "{mean}");
    assert!(shares.iter().any(|&share| share < 0.5) && shares.iter().any(|&share| share > 0.95));
}

#[test]
fn mixing_depends_on_every_part_of_the_draw_and_only_on_it() {
    let batch = batch(4, 8);
    for config in [mixup(), cutmix()] {
        let one = mixed(&config, &batch, 7);
        assert_eq!(mixed(&config, &batch, 7), one);
        let others = (0..5).map(|index| mixed(&config, &batch, index));
        assert!(others.filter(|other| other.mix != one.mix).count() >= 4);
    }
}

#[test]
fn shares_and_choices_come_as_often_as_they_should() {
    let batch = batch(2, 2);
    let config = MixConfig {
        mixup_alpha: 30.0,
        cutmix_alpha: 1.0,
        probability: 0.6,
        switch_probability: 0.25,
    };
    let (mut none, mut cut) = (0, 0);
    for index in 0..2000 {
        // With CutMix on 4 pixels, the share is a multiple of a quarter. MixUp's share is such a multiple only by
        // chance.
        match mixed(&config, &batch, index).mix {
            None => none += 1,
            Some(mix) if (mix.lambda * 4.0).fract() == 0.0 && mix.lambda > 0.0 => cut += 1,
            Some(_) => {}
        }
    }
    // The bounds are six standard deviations around 800 and 300.
    assert!((670..930).contains(&none), "{none}");
    assert!((200..400).contains(&cut), "{cut}");
}

#[test]
fn beta_has_its_mean_and_spread() {
    let mut rng = draw(0).numbers(Purpose::Mix);
    for alpha in [0.1, 0.4, 1.0, 2.0, 30.0] {
        let shares: Vec<f64> = (0..20_000)
            .map(|_| share(&mut rng, "alpha", alpha).unwrap())
            .collect();
        let mean = shares.iter().sum::<f64>() / 20_000.0;
        let variance = shares.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 20_000.0;
        let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
        assert!((mean - 0.5).abs() < 0.02, "{alpha}: {mean}");
        assert!(
            (variance / expected - 1.0).abs() < 0.06,
            "{alpha}: {variance} {expected}"
        );
    }
}

#[test]
fn batches_without_mixing_or_with_one_image_stay() {
    let off = MixConfig::default();
    assert!(off.is_none() && !mixup().is_none());
    let never = MixConfig {
        probability: 0.0,
        ..mixup()
    };
    let several = batch(3, 4);
    assert_eq!(mixed(&off, &several, 0), several);
    assert_eq!(mixed(&never, &several, 0), several);
    let alone = batch(1, 4);
    assert_eq!(mixed(&mixup(), &alone, 0), alone);
}

#[test]
fn images_that_are_alike_stay_as_they_are() {
    let mut alike = batch(4, 8);
    let first = alike.pixels[..alike.pixels.len() / 4].to_vec();
    alike.pixels = first.repeat(4);
    for config in [mixup(), cutmix()] {
        for index in 0..50 {
            let mixed = mixed(&config, &alike, index);
            assert!(mixed.mix.is_some());
            assert_eq!(mixed.pixels, alike.pixels);
        }
    }
}

#[test]
fn impossible_settings_are_refused_by_name() {
    for (config, key) in [
        (
            MixConfig {
                mixup_alpha: -1.0,
                ..mixup()
            },
            "mix.mixup_alpha",
        ),
        (
            MixConfig {
                mixup_alpha: f64::NAN,
                ..mixup()
            },
            "mix.mixup_alpha",
        ),
        (
            MixConfig {
                cutmix_alpha: 0.001,
                ..mixup()
            },
            "mix.cutmix_alpha",
        ),
        (
            MixConfig {
                probability: 1.5,
                ..mixup()
            },
            "mix.probability",
        ),
        (
            MixConfig {
                switch_probability: -0.1,
                ..mixup()
            },
            "mix.switch_probability",
        ),
    ] {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("found"), "{error}");
    }
}

proptest! {
    #[test]
    fn no_batch_breaks_it(count in 1_usize..6, size in 1_usize..12, index: u64, alpha in 0.01..100.0_f64) {
        for config in [
            MixConfig { mixup_alpha: alpha, ..MixConfig::default() },
            MixConfig { cutmix_alpha: alpha, ..MixConfig::default() },
        ] {
            let batch = batch(count, size);
            let mixed = mixed(&config, &batch, index);
            prop_assert_eq!(mixed.pixels.len(), batch.pixels.len());
            prop_assert_eq!(mixed.mix.is_some(), count > 1);
        }
    }
}

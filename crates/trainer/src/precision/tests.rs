use candle_core::Device;
use mobilenet::{ModelConfig, Network, Variant};

use super::*;

const F32: Precision = Precision::F32;
const AMX: Precision = Precision::Bf16Amx;
const AVX512: Precision = Precision::Bf16Avx512;

fn speeds_of(figures: &[(Precision, f64)]) -> Vec<TrainingSpeed> {
    let speed = |&(precision, images_per_second): &(Precision, f64)| TrainingSpeed {
        precision,
        images_per_second,
    };
    figures.iter().map(speed).collect()
}

#[test]
fn the_fastest_wins_and_f32_where_it_is_equal() {
    for (figures, expected) in [
        (&[][..], F32),
        (&[(F32, 100.0)], F32),
        (&[(F32, 100.0), (AVX512, 150.0)], AVX512),
        (&[(F32, 100.0), (AVX512, 103.0)], F32),
        (&[(F32, 100.0), (AVX512, 103.1)], AVX512),
        (&[(F32, 100.0), (AVX512, 60.0)], F32),
        (&[(F32, 100.0), (AMX, 200.0), (AVX512, 150.0)], AMX),
        (&[(F32, 100.0), (AMX, 150.0), (AVX512, 200.0)], AVX512),
        (&[(F32, 100.0), (AMX, 50.0), (AVX512, 110.0)], AVX512),
        (&[(F32, 100.0), (AMX, 101.0), (AVX512, 102.0)], F32),
        (&[(F32, 300.0), (AMX, 200.0), (AVX512, 100.0)], F32),
    ] {
        assert_eq!(fastest(&speeds_of(figures)), expected, "{figures:?}");
    }
}

#[test]
fn a_precision_is_slower_only_beyond_doubt() {
    for (in_bf16, is_slower) in [(50.0, true), (97.0, true), (98.0, false), (150.0, false)] {
        let speeds = speeds_of(&[(F32, 100.0), (AVX512, in_bf16)]);
        let expected = is_slower.then_some(Slower {
            images_per_second: in_bf16,
            in_f32: 100.0,
        });
        assert_eq!(compared(AVX512, &speeds), expected, "{in_bf16}");
        // Not measured.
        assert_eq!(compared(AMX, &speeds), None);
    }
}

#[test]
fn a_choice_is_shown_with_its_figures_or_its_reason() {
    let measured = ChosenPrecision {
        precision: AVX512,
        speeds: speeds_of(&[(F32, 211.6), (AVX512, 301.2)]),
        reason: None,
    };
    assert_eq!(
        measured.to_string(),
        "precision auto: bf16_avx512 (images/s on this processor: f32 212, bf16_avx512 301)"
    );
    let network = Network::new(
        &ModelConfig::new("convnext_atto".parse().unwrap(), 3),
        1,
        &Device::Cpu,
    );
    let cpu = Processor::of(Device::Cpu);
    let settled = settle_precision(PrecisionChoice::Auto, &network.unwrap(), &cpu).unwrap();
    let (F32, Some(chosen)) = settled else {
        panic!("{settled:?}")
    };
    assert!(chosen.speeds.is_empty());
    assert_eq!(
        chosen.to_string(),
        "precision auto: f32, because convnext_atto does not run in bf16"
    );
}

#[test]
fn auto_measures_every_precision_of_this_processor() {
    for variant in [Variant::SMALL, Variant::RESNET18] {
        check_auto(variant);
    }
}

fn check_auto(variant: Variant) {
    let network = Network::new(&ModelConfig::new(variant, 3), 1, &Device::Cpu).unwrap();
    let executor = network.executor();
    let cpu = Processor::of(Device::Cpu);
    let fixed = settle_precision(AMX.into(), &network, &cpu).unwrap();
    assert_eq!(fixed, (AMX, None));
    let (precision, chosen) = settle_precision(PrecisionChoice::Auto, &network, &cpu).unwrap();
    let chosen = chosen.unwrap();
    let bf16 = Precision::bf16_of_this_processor();
    match bf16.is_empty() {
        true => assert!(chosen.reason.is_some() && precision == F32),
        false => {
            let measured = chosen.speeds.iter().map(|speed| speed.precision);
            let expected: Vec<_> = [F32].into_iter().chain(bf16).collect();
            assert_eq!(measured.collect::<Vec<_>>(), expected);
            assert_eq!(precision, fastest(&chosen.speeds));
        }
    }
    // The second answer is that of the first measurement.
    let again = settle_precision(PrecisionChoice::Auto, &network, &cpu).unwrap();
    assert_eq!(again, (precision, Some(chosen)));
    assert_eq!(slower(F32, executor, &cpu).unwrap(), None);
}

//! Optimizer steps against those of the crate `optim`, averages, and the size of a gradient.

use engine::StepRange;
use optim::{Matrix, Optimizer, OptimizerConfig, ParameterGroup};

use super::{Bench, STORAGES};
use crate::args::{Average, Change, GradientSize, OptimizerStep, bytes};
use crate::values::stretches;

const LEN: usize = 9300;

/// Every rule, with its switches in both positions.
const RULES: [&str; 16] = [
    r#"{ "type": "adam", "weight_decay": 0.02 }"#,
    r#"{ "type": "adam", "amsgrad": true }"#,
    r#"{ "type": "adamw", "weight_decay": 0.1 }"#,
    r#"{ "type": "adamw", "amsgrad": true }"#,
    r#"{ "type": "sgd", "weight_decay": 0.01 }"#,
    r#"{ "type": "sgd", "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.01 }"#,
    r#"{ "type": "sgd", "momentum": 0.9, "nesterov": true }"#,
    r#"{ "type": "rmsprop", "weight_decay": 0.01 }"#,
    r#"{ "type": "rmsprop", "momentum": 0.8 }"#,
    r#"{ "type": "rmsprop", "centered": true }"#,
    r#"{ "type": "rmsprop", "momentum": 0.8, "centered": true }"#,
    r#"{ "type": "lion", "weight_decay": 0.05 }"#,
    r#"{ "type": "adabelief", "weight_decay": 0.05 }"#,
    r#"{ "type": "adabelief", "rectify": false, "amsgrad": true, "weight_decouple": false, "weight_decay": 0.01 }"#,
    r#"{ "type": "ranger", "k": 3, "use_gc": false, "weight_decay": 0.01 }"#,
    r#"{ "type": "ranger", "k": 3 }"#,
];

/// Groups with other rates, one without weight decay, one that is frozen; parameters outside of all.
fn groups() -> Vec<ParameterGroup> {
    vec![
        ParameterGroup {
            ranges: vec![0..3, 100..8900],
            ..ParameterGroup::new("most", 0..0)
        },
        ParameterGroup {
            learning_rate_multiplier: 0.3,
            weight_decay: Some(0.0),
            ..ParameterGroup::new("slow", 3..100)
        },
        ParameterGroup::new("frozen", 8900..9000),
        ParameterGroup::new("last", 9000..9290),
    ]
}

fn optimizer(rule: &str) -> Optimizer {
    let config: OptimizerConfig = serde_json::from_str(rule).unwrap();
    let matrix = |range, row| Matrix {
        range,
        row,
        is_convolution: true,
    };
    let matrices = [
        matrix(200..200 + 7 * 300, 300),
        matrix(3000..3000 + 5000, 5000),
        matrix(9000..9000 + 3 * 9, 9),
    ];
    let optimizer = Optimizer::new(&config, LEN, groups()).unwrap();
    let mut optimizer = optimizer.with_matrices(&matrices).unwrap();
    optimizer.set_frozen("frozen", true).unwrap();
    optimizer
}

fn floats(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&x| x as f32).collect()
}

/// Numbers of rows are added in another order.
fn near(found: &[f32], expected: &[f32], centralised: bool, what: &str) {
    for (index, (f, e)) in found.iter().zip(expected).enumerate() {
        let same = f.to_bits() == e.to_bits();
        let near = centralised && (f - e).abs() <= 1e-6 * e.abs().max(1e-3);
        assert!(same || near, "{what}, number {index}: {f} instead of {e}");
    }
}

#[test]
fn steps_have_the_bits_of_the_hosts() {
    for rule in RULES {
        let (mut host, bench) = (optimizer(rule), &mut Bench::new(STORAGES[0]));
        let centralised = rule.contains("ranger") && !rule.contains("use_gc");
        let mut parameters = floats(&bench.numbers(LEN, 1.0));
        let parameters_at =
            bench.put_f32(&parameters.iter().map(|&x| x.into()).collect::<Vec<_>>());
        let state = [0; 3].map(|_| bench.put_f32(&vec![0.0; LEN]));
        let ranges: Vec<StepRange> = (host.stretches())
            .map(|stretch| StepRange {
                range: stretch.range,
                group: stretch.group,
                row: stretch.row,
            })
            .collect();
        let list = stretches(&ranges);
        let words: Vec<u8> = list.iter().flat_map(bytes).collect();
        let stretches_at = bench.put_bytes(&words);
        for step in 0..7 {
            let gradient = bench.numbers(LEN, 0.1);
            // The last steps change the gradient first.
            let change = match step < 5 {
                true => Change {
                    scale: 1.0,
                    limit: f32::INFINITY,
                    factor: 1.0,
                },
                false => Change {
                    scale: 0.25,
                    limit: 0.02,
                    factor: 0.7,
                },
            };
            let changed: Vec<f32> = floats(&gradient)
                .into_iter()
                .map(|g| (g * change.scale).clamp(-change.limit, change.limit) * change.factor)
                .collect();
            host.step(&mut parameters, &changed, 0.01).unwrap();
            let groups: Vec<f64> = host
                .coefficients()
                .flat_map(|of| [f32::from(of.rule as u8)].into_iter().chain(of.numbers))
                .map(f64::from)
                .collect();
            let args = OptimizerStep {
                parameters: parameters_at,
                gradient: bench.put_f32(&gradient),
                first: state[0],
                second: state[1],
                third: state[2],
                stretches: stretches_at,
                groups: bench.put_f32(&groups),
                change,
                unused: 0,
            };
            bench.run("optimizer_step", 256, [list.len(), 1, 1], &args);
            let what = format!("{rule}, step {step}");
            let found = floats(&bench.get_f32(parameters_at));
            near(&found, &parameters, centralised, &what);
            for ((name, buffer), at) in host.buffers().zip(state) {
                let found = floats(&bench.get_f32(at));
                near(&found, buffer, centralised, &format!("{what}, {name}"));
            }
        }
    }
}

#[test]
fn averages_move() {
    let bench = &mut Bench::new(STORAGES[0]);
    let (values, old) = (bench.numbers(700, 1.0), bench.numbers(700, 1.0));
    for weight in [1.0, 0.3, 0.0] {
        let args = Average {
            values: bench.put_f32(&values),
            average: bench.put_f32(&old),
            count: 699,
            weight,
            unused: 0,
        };
        bench.run("move_average", 256, [3, 1, 1], &args);
        let found = floats(&bench.get_f32(args.average));
        for (index, ((f, v), o)) in found.iter().zip(&values).zip(&old).enumerate() {
            let (v, o) = (*v as f32, *o as f32);
            let moved = match (index < 699, weight == 1.0) {
                (false, _) => o,
                (true, true) => v,
                (true, false) => o + weight * (v - o),
            };
            assert_eq!(
                f.to_bits(),
                moved.to_bits(),
                "weight {weight}, number {index}"
            );
        }
    }
}

#[test]
fn a_gradient_is_measured() {
    let change = Change {
        scale: 0.5,
        limit: 0.3,
        factor: 1.0,
    };
    for (count, blocks) in [(1, 1), (300, 2), (5000, 3)] {
        for odd in [None, Some(f64::NAN), Some(f64::NEG_INFINITY)] {
            let bench = &mut Bench::new(STORAGES[0]);
            let mut gradient = bench.numbers(count, 1.0);
            if let Some(odd) = odd {
                gradient[count - 1] = odd;
            }
            let args = GradientSize {
                gradient: bench.put_f32(&gradient),
                out: bench.put_bytes(&vec![0xff; 16 * blocks]),
                count: count as u64,
                change,
                unused: 0,
            };
            bench.run("gradient_size", 256, [blocks, 1, 1], &args);
            let (numbers, _) = bench.bytes(args.out).as_chunks::<8>();
            let numbers: Vec<f64> = numbers.iter().map(|&b| f64::from_ne_bytes(b)).collect();
            let squares: f64 = numbers.iter().step_by(2).sum();
            let infinite: f64 = numbers.iter().skip(1).step_by(2).sum();
            let expected: f64 = (gradient.iter())
                .map(|&g| f64::from((g as f32 * 0.5).clamp(-0.3, 0.3)).powi(2))
                .sum();
            assert_eq!(infinite, f64::from(u8::from(odd.is_some())));
            let same = (squares - expected).abs() <= 1e-12 * expected;
            assert!(
                same || expected.is_nan() && squares.is_nan(),
                "{squares} {expected}"
            );
        }
    }
}

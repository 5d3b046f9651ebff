//! The loss and its gradient are torch's, for every setting in `golden/loss.json`.

use candle_core::{Device, Var};
use serde::Deserialize;
use trainer::CrossEntropy;

#[derive(Deserialize)]
struct Golden {
    logits: Vec<Vec<f32>>,
    labels: Vec<u32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    label_smoothing: f64,
    class_weights: Vec<f32>,
    loss: f64,
    gradient: Vec<Vec<f32>>,
}

#[test]
fn cross_entropy_is_torchs() {
    let golden: Golden = serde_json::from_str(include_str!("golden/loss.json")).unwrap();
    assert_eq!(golden.cases.len(), 6);
    for case in golden.cases {
        let logits = Var::new(golden.logits.clone(), &Device::Cpu).unwrap();
        let loss = CrossEntropy::new(case.label_smoothing, case.class_weights)
            .unwrap()
            .apply(&logits, &golden.labels, &vec![1.0; golden.labels.len()])
            .unwrap();
        let value = loss.value().unwrap();
        assert!(
            (value - case.loss).abs() < 1e-5 * case.loss,
            "{value} is not {}",
            case.loss
        );
        let gradients = loss.mean.backward().unwrap();
        let ours = gradients.get(&logits).unwrap().to_vec2::<f32>().unwrap();
        for (ours, torch) in ours.iter().flatten().zip(case.gradient.iter().flatten()) {
            assert!((ours - torch).abs() < 1e-6, "{ours} is not {torch}");
        }
    }
}

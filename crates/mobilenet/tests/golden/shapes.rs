//! Compares the parameters of each `Design` with the implementation that has the same name.

use std::path::Path;

use engine::Role;
use mobilenet::{Design, ModelConfig, Variant};
use serde::Deserialize;

/// An entry of `tests/golden/shapes.json`.
#[derive(Deserialize)]
struct Case {
    design: Design,
    model: Variant,
    width: f64,
    /// Total number of values.
    parameters: usize,
    /// Shapes of the parameters that have more than one value per channel. Trailing dimensions of 1
    /// are dropped.
    weights: Vec<Vec<usize>>,
}

#[test]
fn designs_have_the_shapes_of_the_real_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let text = std::fs::read_to_string(folder.join("shapes.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    for design in Design::ALL {
        assert!(cases.iter().any(|case| case.design == design), "{design}");
    }
    for case in cases {
        let what = format!("{} of {}, width {}", case.model, case.design, case.width);
        let config = ModelConfig {
            design: case.design,
            width: case.width,
            ..ModelConfig::new(case.model, 1000)
        };
        let plan = config.plan().unwrap();
        // In kuan-wang's implementation, squeeze-excite has no biases.
        let segments = plan.parameters.segments().iter().filter(|segment| {
            let squeeze = segment.role == Role::Bias && segment.name.starts_with("features");
            !(squeeze && case.design == Design::KuanWang)
        });
        let mut parameters = 0;
        let mut weights = Vec::new();
        for segment in segments {
            parameters += segment.range.len();
            let mut shape = segment.shape.clone();
            while shape.len() > 2 && shape.last() == Some(&1) {
                shape.pop();
            }
            if shape.len() > 1 {
                weights.push(shape);
            }
        }
        assert_eq!(weights, case.weights, "{what}");
        assert_eq!(parameters, case.parameters, "{what}");
    }
}

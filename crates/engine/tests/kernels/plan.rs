use engine::{Activation, BatchNormSpec, BlockSpec, HeadSpec, NetworkSpec, Plan, Role, SpecError};

fn tiny() -> NetworkSpec {
    let block = BlockSpec {
        in_channels: 8,
        expanded: 16,
        out_channels: 8,
        kernel: 5,
        stride: 1,
        squeeze: Some(4),
        activation: Activation::Relu,
    };
    NetworkSpec {
        name: "tiny".into(),
        stem_channels: 8,
        stem_stride: 2,
        blocks: vec![
            BlockSpec {
                expanded: 8,
                squeeze: None,
                ..block
            },
            block,
        ],
        features: 24,
        head: HeadSpec {
            hidden: Some(32),
            dropout: 0.2,
            classes: 3,
        },
        batch_norm: BatchNormSpec {
            epsilon: 1e-3,
            momentum: 0.01,
        },
    }
}

#[test]
fn names_follow_torchvision_and_segments_have_no_gaps() {
    let plan = Plan::new(&tiny()).unwrap();
    let names: Vec<&str> = plan
        .parameters
        .segments()
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(names[0], "features.0.0.weight");
    // A block without expansion starts with the depthwise convolution.
    assert!(names.contains(&"features.1.block.1.0.weight"));
    assert!(names.contains(&"features.2.block.2.fc1.bias"));
    assert!(names.contains(&"features.2.block.3.1.weight"));
    assert!(names.contains(&"features.3.0.weight"));
    assert_eq!(names.last(), Some(&"classifier.3.bias"));
    let mut end = 0;
    for segment in plan.parameters.segments() {
        assert_eq!(segment.range.start, end);
        assert_eq!(segment.range.len(), segment.shape.iter().product::<usize>());
        end = segment.range.end;
    }
    assert_eq!((plan.backbone.start, plan.head.end), (0, end));
    assert_eq!(plan.backbone.end, plan.head.start);
    let depthwise = &plan.blocks[1].depthwise;
    assert_eq!(
        plan.parameters.segments()[depthwise.weight].shape,
        [16, 1, 5, 5]
    );
    assert_eq!(
        plan.statistics.segments()[depthwise.statistics + 1].role,
        Role::RunningVariance
    );
}

#[test]
fn impossible_networks_are_refused_by_name() {
    let mut spec = tiny();
    spec.blocks[1].in_channels = 9;
    assert_eq!(
        Plan::new(&spec),
        Err(SpecError::Chain {
            block: 1,
            takes: 9,
            given: 8
        })
    );
    let mut spec = tiny();
    spec.head.classes = 0;
    assert!(
        Plan::new(&spec)
            .unwrap_err()
            .to_string()
            .contains("classes is 0")
    );
    let mut spec = tiny();
    spec.head.dropout = 1.0;
    assert!(
        Plan::new(&spec)
            .unwrap_err()
            .to_string()
            .contains("dropout is 1")
    );
    let mut spec = tiny();
    spec.blocks[0].kernel = 4;
    assert!(
        Plan::new(&spec)
            .unwrap_err()
            .to_string()
            .contains("block 0: kernel is 4")
    );
}

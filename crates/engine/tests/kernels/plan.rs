use engine::{
    Activation, BatchNormSpec, BlockSpec, Chain, HeadSpec, Naming, NetworkSpec, Padding, Role,
    SpecError, SqueezeSpec,
};

fn tiny() -> NetworkSpec {
    let block = BlockSpec {
        in_channels: 8,
        expansion: true,
        expanded: 16,
        out_channels: 8,
        kernel: 5,
        stride: 1,
        squeeze: Some(SqueezeSpec {
            hidden: 4,
            before_activation: false,
        }),
        activation: Activation::Relu,
    };
    NetworkSpec {
        name: "tiny".into(),
        naming: Naming::MobileNetV3,
        stem_channels: 8,
        stem_stride: 2,
        padding: Padding::Symmetric,
        activation: Activation::Hardswish,
        blocks: vec![
            BlockSpec {
                expansion: false,
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
        drop_path: 0.0,
        batch_norm: BatchNormSpec {
            epsilon: 1e-3,
            momentum: 0.01,
        },
    }
}

#[test]
fn names_follow_torchvision_and_segments_have_no_gaps() {
    let plan = tiny().plan().unwrap();
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
    let chain = Chain::find(&plan).unwrap();
    let depthwise = &chain.blocks[1].depthwise;
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
fn mobilenet_v2_names_a_projection_and_its_norm_one_after_the_other() {
    let mut spec = tiny();
    spec.naming = Naming::MobileNetV2;
    spec.blocks[1].squeeze = None;
    // An expansion to the same number of channels is still an expansion.
    spec.blocks[1].expanded = 8;
    let plan = spec.plan().unwrap();
    let names: Vec<&str> = (plan
        .parameters
        .segments()
        .iter()
        .chain(plan.statistics.segments()))
    .map(|segment| segment.name.as_str())
    .filter(|name| name.starts_with("features.1") || name.starts_with("features.2"))
    .collect();
    let expected = [
        "features.1.conv.0.0.weight",
        "features.1.conv.0.1.weight",
        "features.1.conv.0.1.bias",
        "features.1.conv.1.weight",
        "features.1.conv.2.weight",
        "features.1.conv.2.bias",
        "features.2.conv.0.0.weight",
        "features.2.conv.0.1.weight",
        "features.2.conv.0.1.bias",
        "features.2.conv.1.0.weight",
        "features.2.conv.1.1.weight",
        "features.2.conv.1.1.bias",
        "features.2.conv.2.weight",
        "features.2.conv.3.weight",
        "features.2.conv.3.bias",
        "features.1.conv.0.1.running_mean",
        "features.1.conv.0.1.running_var",
        "features.1.conv.2.running_mean",
        "features.1.conv.2.running_var",
        "features.2.conv.0.1.running_mean",
        "features.2.conv.0.1.running_var",
        "features.2.conv.1.1.running_mean",
        "features.2.conv.1.1.running_var",
        "features.2.conv.3.running_mean",
        "features.2.conv.3.running_var",
    ];
    assert_eq!(names, expected);
}

/// The definition of `SAME` in TensorFlow's documentation, as computed in `timm/layers/padding.py`.
#[test]
fn same_padding_puts_the_smaller_half_first() {
    for (size, kernel, stride, expected) in [
        (224, 3, 2, 0),
        (225, 3, 2, 1),
        (56, 5, 2, 1),
        (57, 5, 2, 2),
        (2, 5, 2, 1),
        (1, 3, 2, 1),
        (7, 3, 1, 1),
        (8, 5, 1, 2),
        (6, 1, 1, 0),
    ] {
        let found = Padding::Same.before(size, kernel, stride);
        assert_eq!(found, expected, "{size} px, {kernel} / {stride}");
        assert_eq!(Padding::Symmetric.before(size, kernel, stride), kernel / 2);
    }
}

#[test]
fn impossible_networks_are_refused_by_name() {
    let mut spec = tiny();
    spec.blocks[1].in_channels = 9;
    assert_eq!(
        spec.plan(),
        Err(SpecError::Chain {
            block: 1,
            takes: 9,
            given: 8
        })
    );
    let mut spec = tiny();
    spec.blocks[0].expanded = 9;
    assert_eq!(
        spec.plan(),
        Err(SpecError::NoExpansion {
            block: 0,
            takes: 8,
            expanded: 9
        })
    );
    let mut spec = tiny();
    spec.head.classes = 0;
    assert!(
        spec.plan()
            .unwrap_err()
            .to_string()
            .contains("classes is 0")
    );
    let mut spec = tiny();
    spec.head.dropout = 1.0;
    assert!(
        spec.plan()
            .unwrap_err()
            .to_string()
            .contains("dropout is 1")
    );
    let mut spec = tiny();
    spec.drop_path = 1.0;
    assert!(
        spec.plan()
            .unwrap_err()
            .to_string()
            .contains("drop path is 1")
    );
    let mut spec = tiny();
    spec.head.classes = usize::MAX / 16;
    assert!(
        spec.plan()
            .unwrap_err()
            .to_string()
            .contains("number of parameters is ")
    );
    let mut spec = tiny();
    spec.blocks[0].kernel = 4;
    assert!(
        spec.plan()
            .unwrap_err()
            .to_string()
            .contains("block 0: kernel is 4")
    );
}

#[test]
fn drop_path_grows_over_the_residual_blocks() {
    let mut spec = tiny();
    spec.blocks.push(spec.blocks[1]);
    let without = Chain::find(&spec.plan().unwrap()).unwrap();
    assert!(without.blocks.iter().all(|block| block.drop_path.is_none()));
    assert_eq!(without.dropout, Some(0));
    spec.drop_path = 0.2;
    let plan = spec.plan().unwrap();
    // The last one is the dropout of the head.
    let rates: Vec<f64> = plan.random_layers().map(|layer| layer.rate).collect();
    assert_eq!(rates, [0.1, 0.2, 0.2]);
    let chain = Chain::find(&plan).unwrap();
    let places: Vec<_> = chain.blocks.iter().map(|block| block.drop_path).collect();
    assert_eq!(places, [None, Some(0), Some(1)]);
    assert_eq!(chain.dropout, Some(2));

    // A block that is not residual has none.
    spec.blocks[1].stride = 2;
    let plan = spec.plan().unwrap();
    let rates: Vec<f64> = plan.random_layers().map(|layer| layer.rate).collect();
    assert_eq!(rates, [0.2, 0.2]);
    assert!(Chain::find(&plan).is_some());
}

#[test]
fn the_first_batches_are_averaged_equally() {
    let momentum = tiny().batch_norm.momentum;
    assert_eq!(momentum, 0.01);
    let after = |batches| tiny().batch_norm.momentum_after(batches);
    // torch.nn.BatchNorm2d(momentum=None) uses 1 / num_batches_tracked, which includes this batch.
    let shares = [0, 1, 2, 3].map(after);
    assert_eq!(shares, [1.0, 1.0 / 2.0, 1.0 / 3.0, 1.0 / 4.0]);
    assert_eq!(
        [98, 99, 100, u64::MAX].map(after),
        [1.0 / 99.0, 0.01, 0.01, 0.01]
    );
}

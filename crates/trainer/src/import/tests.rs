//! Tests translations, and messages about keys without an equivalent.

use optim::{LrScheduleConfig, OptimizerConfig};

use super::*;
use crate::config::{CheckpointPolicy, LossConfig};

/// A dictionary in the style of the reference projects.
const EXAMPLE: &str = "
cfg = {
    ### Global Set
    \"model_name\": \"mobilenetv3\",  #shufflenetv2 adv-efficientnet-b2
    'GPU_ID': '0',
    \"class_number\": 10,
    \"random_seed\":43,
    \"cfg_verbose\":True,
    \"num_workers\":4,
    'train_path':\"./data/train\",
    'val_path':\"./data/val\",
    'pretrained':'', #path or ''
    'try_to_train_items': 200,   # 0 means all
    'save_best_only': True,
    'save_one_only':True,
    \"save_dir\": \"output/\",
    'metrics': ['acc'],
    \"loss\": 'Focalloss-1',
    \"target_img_size\": [224, 224], # [h, w]
    'learning_rate':0.001,
    'batch_size':64,
    'epochs':100,
    'optimizer':'SGD',
    'scheduler':'step-4-0.8',
    'warmup_epoch':2, #
    'weight_decay' : 0.0001,
    \"k_flod\":5,
    'start_fold':0,
    'early_stop_patient':7,
    'use_distill':0,
    'label_smooth':0,
    'class_weight': None,
    'clip_gradient': 1,
    'freeze_nonlinear_epoch':2,
    'dropout':0.5,
    'mixup':False,
    'cutmix':False,
    'sample_weights':None,
    'model_path':'output/mobilenetv3_e20_0.85280.pth',
    'TTA':False,
    'merge':False,
    'test_batch_size': 1,
}
";

#[test]
fn the_reference_configuration_becomes_ours() {
    let imported = import_config(EXAMPLE, "config.py").unwrap();
    let config = RunConfig::from_toml(&imported.toml, "a.toml").unwrap();
    assert_eq!(config.model.name.to_string(), "mobilenet_v3_large");
    assert_eq!(config.model.classes, Some(10));
    assert_eq!(
        (config.model.dropout, config.train.epochs),
        (Some(0.5), 100)
    );
    assert_eq!(config.data.root(), std::path::Path::new("./data"));
    assert_eq!(
        (config.data.image_size.sides(), config.data.batch_size),
        ([224, 224], 64)
    );
    assert_eq!(
        (config.data.limit, config.data.val_limit),
        (Some(200), Some(200))
    );
    assert_eq!(config.train.patience, Some(7));
    assert_eq!(config.train.freeze_epochs, 2);
    assert!(!config.train.drop_last);
    assert_eq!(config.train.clip_gradient_value, Some(1.0));
    assert_eq!(config.train.checkpoints, CheckpointPolicy::BestOne);
    assert!(matches!(&config.loss, LossConfig::Focal(focal) if focal.gamma == 1.0));
    assert!(
        matches!(&config.optimizer, OptimizerConfig::Sgd(sgd) if sgd.momentum == 0.9 && sgd.weight_decay == 1e-4)
    );
    assert!(
        matches!(&config.schedule, LrScheduleConfig::Step(step) if step.step_size == 4 && step.gamma == 0.8)
    );
    assert_eq!(config.warmup.unwrap().epochs, Some(2.0));
    let remark = |key: &str| {
        let key = format!("`{key}`");
        imported
            .remarks
            .iter()
            .find(|remark| remark.contains(&key))
            .unwrap()
    };
    for (key, says) in [
        ("clip_gradient", "here it does"),
        ("freeze_nonlinear_epoch", "here it does"),
        ("k_flod", "never did anything"),
        ("mixup", "never did anything"),
        ("cutmix", "[mix]"),
        ("save_dir", "--run-dir"),
        ("model_path", "--weights"),
    ] {
        assert!(remark(key).contains(says), "{key}: {}", remark(key));
    }
    let line = EXAMPLE
        .lines()
        .position(|line| line.contains("clip_gradient"));
    let place = format!("config.py:{}: ", line.unwrap() + 1);
    assert!(remark("clip_gradient").starts_with(&place));
}

#[test]
fn untranslatable_entries_are_reported_with_their_line() {
    for (entry, expected) in [
        ("'model_name': 'vgg16'", "mobilenetv3"),
        ("'img_size': [32]", "two numbers"),
        ("'epochs': 'many'", "a whole number"),
        ("'optimizer': 'Adagrad'", "Adam"),
        ("'scheduler': 'step-x-0.8'", "step-4-0.8"),
        ("'train_path': 3", "expected text"),
        ("'GPU_ID': '0,1'", "one GPU"),
        (
            "'x': 1, 'epochs': 0",
            "c.py:2: `epochs`: `train.epochs` is 0",
        ),
        ("'dropout': 1.5", "c.py:2: `dropout`"),
        ("'weight_decay': -1", "c.py:2: `weight_decay`"),
        ("'warmup_epoch': -1", "c.py:2: `warmup_epoch`"),
        (
            "'freeze_nonlinear_epoch': 5,\n'epochs': 3",
            "c.py:2: `freeze_nonlinear_epoch` with c.py:3: `epochs`: `train.freeze_epochs`",
        ),
    ] {
        let error = import_config(&format!("cfg = {{\n{entry}}}"), "c.py").unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains("c.py:2") && message.contains(expected),
            "{entry}: {message}"
        );
    }
    let imported = import_config("cfg = {'x': 1, 'epochs': N}", "c.py").unwrap();
    assert!(
        imported.remarks[0].contains("`x`"),
        "{:?}",
        imported.remarks
    );
    assert!(
        imported.remarks[1].contains("only Python"),
        "{:?}",
        imported.remarks
    );
}

#[test]
fn splits_in_other_places_and_sizes_that_are_not_square_are_kept() {
    for (entries, lines) in [
        ("'train_path': './data/train'", &["root = \"./data\""][..]),
        (
            "'train_path': 'train', 'val_path': 'val'",
            &["root = \".\""],
        ),
        (
            "'train_path': 'a/train', 'val_path': 'b/val'",
            &["train = \"a/train\"", "val = \"b/val\""],
        ),
        (
            "'train_path': 'a/train', 'val_path': 'a/val', 'eval_path': 'a/new'",
            &["train = \"a/train\"", "val = \"a/val\"", "test = \"a/new\""],
        ),
        ("'eval_path': 'new'", &["root = \"data\"", "test = \"new\""]),
        (
            "'train_path': 'photos', 'val_path': ''",
            &["train = \"photos\""],
        ),
        (
            "'img_size': [64, 96]",
            &["image_size = [64, 96]", "root = \"data\""],
        ),
    ] {
        let imported = import_config(&format!("cfg = {{{entries}}}"), "c.py").unwrap();
        let RunConfig { data, .. } = RunConfig::from_toml(&imported.toml, "a.toml").unwrap();
        for line in lines {
            assert!(imported.toml.contains(line), "{entries}: {}", imported.toml);
        }
        assert_eq!(data.root.is_some(), imported.toml.contains("root ="));
    }
    let imported = import_config("cfg = {'img_size': [64, 96]}", "c.py").unwrap();
    assert!(
        imported.remarks[0].contains("swapped"),
        "{:?}",
        imported.remarks
    );
}

#[test]
fn the_last_of_equal_keys_counts() {
    let imported = import_config("cfg = {'epochs': 2,\n'epochs': 3}", "c.py").unwrap();
    assert!(imported.toml.contains("epochs = 3"), "{}", imported.toml);
    let [remark] = &imported.remarks[..] else {
        panic!("{:?}", imported.remarks);
    };
    assert!(
        remark.starts_with("c.py:1: `epochs`") && remark.contains("line 2"),
        "{remark}"
    );
}

/// These texts once took quadratic time to parse: minutes for a megabyte.
#[test]
fn large_files_are_read_in_one_go() {
    let size = 1 << 18;
    let fill = |line: &str, room: usize| line.repeat((size - room) / line.len());
    let keys = (0..10_000).map(|number| format!("'key{number}': {number},\n"));
    let many = format!("cfg = {{\n'epochs': 0,\n{}}}", keys.collect::<String>());
    let error = import_config(&many, "c.py").unwrap_err().to_string();
    assert!(error.starts_with("c.py:2: `epochs`"), "{error}");
    let same = format!("cfg = {{\n{}}}", fill("'epochs': 3,\n", 100));
    assert!(import_config(&same, "c.py").is_ok());
    for hostile in [
        fill("a={\n", 0),
        fill("a={'b': [\n", 0),
        fill("a={'b': x(\n", 0),
        fill("a={'b': \"\"\"\n", 0),
        fill("\\\"\"\"", 0),
        fill("\\'", 0),
        format!("a = {{'b': {}", fill("[", 100)),
        format!("a = {{'b': {}", fill("{'c': ", 100)),
    ] {
        let error = import_config(&hostile, "c.py").unwrap_err().to_string();
        assert!(error.len() < 200, "{error}");
    }
    let larger = "#\n".repeat(1 << 20);
    let error = import_config(&larger, "c.py").unwrap_err().to_string();
    assert!(error.contains("2097152 bytes"), "{error}");
}

#[test]
fn keys_without_effect_are_reported() {
    for (entries, said) in [
        (
            "'label_smooth': 0.1, 'loss': 'Focalloss-2'",
            "smooths no labels",
        ),
        ("'k_flod': FOLDS", "`k_flod` never did anything"),
        (
            "'clip_gradient': CLIP",
            "`clip_gradient` never did anything",
        ),
        ("'mixup': a or b", "`mixup` never did anything"),
    ] {
        let imported = import_config(&format!("cfg = {{{entries}}}"), "c.py").unwrap();
        let remarks = imported.remarks;
        assert!(
            remarks.len() == 1 && remarks[0].contains(said),
            "{remarks:?}"
        );
    }
    let imported = import_config("cfg = {'label_smooth': 0.1, 'loss': 'CE'}", "c.py").unwrap();
    assert!(imported.remarks.is_empty(), "{:?}", imported.remarks);
}

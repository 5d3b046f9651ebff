//! Loads files with other projects' names, and compares the logits with those projects' own
//! networks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor, safetensors};
use engine::Role;
use mobilenet::weights::{Overrides, Source, save_as};
use mobilenet::{Network, Scheme, Variant};
use serde::Deserialize;

use crate::fill::images;
use crate::{formula, values};

/// Side of the images. The fill of the weights depends on it, too.
const SIDE: usize = 224;
const FILL: usize = 32;
const BATCH: usize = 2;

/// A tensor's name, kind and shape, and the name from which its fill is computed.
#[derive(Deserialize)]
struct Entry(String, String, Vec<usize>, String);

#[derive(Deserialize)]
struct Case {
    tensors: Vec<Entry>,
}

struct Foreign {
    variant: Variant,
    /// The logits that the project's network gives for the images of the formula.
    logits: Vec<f32>,
    tensors: HashMap<String, Tensor>,
}

fn size(variant: Variant) -> &'static str {
    match variant {
        Variant::LARGE => "large",
        Variant::SMALL => "small",
        _ => panic!("there is one size of MobileNetV2"),
    }
}

impl Foreign {
    fn read(scheme: &str, variant: Variant) -> Foreign {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
        let path = folder.join(format!("scheme_{scheme}_{}.safetensors", size(variant)));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, header) = ::safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let case: Case =
            serde_json::from_str(&header.metadata().as_ref().unwrap()["case"]).unwrap();
        let tensors = case.tensors.into_iter().map(|entry| {
            let tensor = filled(&entry, variant);
            (entry.0, tensor)
        });
        Foreign {
            variant,
            logits: values(&safetensors::load(&path, &Device::Cpu).unwrap()["logits"]),
            tensors: tensors.collect(),
        }
    }

    /// Writes the network's weights to a file. Every name starts with `prefix`.
    fn save(&self, folder: &Path, prefix: &str) -> PathBuf {
        let path = folder.join("foreign.safetensors");
        let tensors = self.tensors.iter();
        let tensors = tensors.map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone()));
        safetensors::save(&tensors.collect(), &path).unwrap();
        path
    }

    fn assert_answers(&self, network: &Network, what: &str) {
        let found = values(&network.infer(&images(BATCH, SIDE)).unwrap());
        let off = found.iter().zip(&self.logits).map(|(a, b)| (a - b).abs());
        let worst = off.max_by(f32::total_cmp).unwrap(); // NaN counts as the largest
        assert!(
            found.len() == self.logits.len() && worst <= 1e-4,
            "{what}: logits are off by {worst:e}"
        );
    }
}

fn filled(Entry(_, kind, shape, source): &Entry, variant: Variant) -> Tensor {
    let role = match kind.as_str() {
        "convolution" => Role::ConvWeight,
        "linear" => Role::LinearWeight,
        "bias" => match source.rsplit_once('.') {
            Some(_) => Role::Bias,
            None => panic!("{source} is in no module"),
        },
        "norm.weight" => Role::NormWeight,
        "norm.bias" => Role::NormBias,
        "running_mean" => Role::RunningMean,
        "running_var" => Role::RunningVariance,
        "num_batches_tracked" => return Tensor::new(0i64, &Device::Cpu).unwrap(),
        other => panic!("{source} is {other}"),
    };
    let values: Vec<f32> = formula::tensor(source, role, shape, variant, FILL).collect();
    Tensor::from_vec(values, shape.as_slice(), &Device::Cpu).unwrap()
}

fn check(scheme: Scheme, file: &str, given: &Overrides, prefix: &str) {
    for variant in [Variant::LARGE, Variant::SMALL] {
        let what = format!("{file} {variant}");
        let foreign = Foreign::read(file, variant);
        let folder = tempfile::tempdir().unwrap();
        let path = foreign.save(folder.path(), prefix);
        let source = Source::open(&path, given.clone()).unwrap();
        assert_eq!(source.scheme(), scheme, "{what}");
        let loaded = source.load(&Device::Cpu).unwrap();
        let model = loaded.network.config();
        assert_eq!(
            (model.name, model.classes, model.width),
            (foreign.variant, 10, 1.0),
            "{what}"
        );
        assert!(loaded.report.is_complete(), "{what}: {}", loaded.report);
        foreign.assert_answers(&loaded.network, &what);

        // The same weights as the start of a training, with the same and with other numbers of
        // classes.
        let mut source = Source::open(&path, given.clone()).unwrap();
        let mut network = Network::new(model, 5, &Device::Cpu).unwrap();
        let report = source.load_into(&mut network).unwrap();
        assert!(report.is_complete() && !report.new_classifier, "{report}");
        foreign.assert_answers(&network, &what);
        let mut other = model.clone();
        other.classes = 3;
        let mut network = Network::new(&other, 5, &Device::Cpu).unwrap();
        let report = source.load_into(&mut network).unwrap();
        assert!(report.new_classifier, "{report}");
        assert_eq!((report.mismatched.len(), report.missing.len()), (2, 0));
    }
}

#[test]
fn torchvisions_names() {
    check(
        Scheme::Torchvision,
        "torchvision",
        &Overrides::default(),
        "",
    );
}

#[test]
fn timms_names() {
    check(
        Scheme::Timm,
        "timm",
        &Overrides::default(),
        "state_dict.module.",
    );
}

#[test]
fn timms_names_of_networks_from_tensorflow() {
    check(
        Scheme::Timm,
        "timm_tf",
        &Overrides::tensorflow(),
        "model_ema.",
    );
}

#[test]
fn kuan_wangs_names() {
    check(
        Scheme::KuanWang,
        "kuan_wang",
        &Overrides::default(),
        "_orig_mod.",
    );
}

#[test]
fn d_li14s_names() {
    check(Scheme::DLi14, "d_li14", &Overrides::default(), "pretrain_");
}

#[test]
fn easy_classifications_names() {
    let given = Overrides::default();
    let scheme = Scheme::EasyClassification;
    check(scheme, "easy_classification", &given, "model.");
}

#[test]
fn a_round_trip_changes_no_bit() {
    let foreign = Foreign::read("torchvision", Variant::LARGE);
    let folder = tempfile::tempdir().unwrap();
    let path = foreign.save(folder.path(), "");
    let first = Source::open(&path, Overrides::default()).unwrap();
    let first = first.load(&Device::Cpu).unwrap();
    let timm = folder.path().join("timm.safetensors");
    save_as(&timm, &first.network, &first.metadata, Scheme::Timm).unwrap();
    let tensors = safetensors::load(&timm, &Device::Cpu).unwrap();
    assert_eq!(tensors["conv_head.weight"].dims(), [1280, 960, 1, 1]);
    // Only the tensors, as timm reads and writes them.
    let bare = folder.path().join("bare.safetensors");
    safetensors::save(&tensors, &bare).unwrap();
    let given = Overrides {
        batch_norm_epsilon: Some(1e-3),
        ..Overrides::default()
    };
    for path in [&timm, &bare] {
        let second = Source::open(path, given.clone()).unwrap();
        assert_eq!(second.scheme(), Scheme::Timm);
        let second = second.load(&Device::Cpu).unwrap();
        let [a, b] = [&first, &second].map(|loaded| {
            let parameters = loaded.network.parameters();
            [
                parameters.arena().unwrap(),
                parameters.statistics().unwrap(),
            ]
            .map(values)
        });
        assert!(a == b, "{} lost bits", path.display());
        foreign.assert_answers(&second.network, "back from timm");
    }
}

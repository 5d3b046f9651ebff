//! A network that does as a test says.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use candle_core::Tensor;
use classifier::{Classifier, Device, Image, WeightsMetadata};
use mobilenet::{
    ForwardPass, GradCam, ImageSize, Images, Model, ModelConfig, ModelDescription, Network,
    Parameters, Precision, Processor, Result, Variant,
};

/// The pixels' side.
pub(crate) const SIDE: u32 = 32;
/// An image of this gray makes the network panic.
pub(crate) const PANICS: u8 = 13;
/// An image of this gray has logits that are not finite.
pub(crate) const NOT_FINITE: u8 = 14;

/// A small network that records its batches.
pub(crate) struct Scripted {
    network: Network,
    batches: Mutex<Vec<usize>>,
    gate: Mutex<Option<Gate>>,
    gone: Mutex<Option<Sender<()>>>,
}

struct Gate {
    started: Sender<()>,
    open: Receiver<()>,
}

impl Scripted {
    /// A network for three classes. Networks of the same seed are equal.
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            network: Network::new(&config(), seed, &Device::Cpu).unwrap(),
            batches: Mutex::default(),
            gate: Mutex::default(),
            gone: Mutex::default(),
        })
    }

    pub(crate) fn classifier(self: &Arc<Self>) -> Classifier {
        let names = ["cat", "dog", "emu"].map(str::to_owned).to_vec();
        let metadata = WeightsMetadata::new(config().into(), names, ImageSize::square(SIDE));
        Classifier::new(Arc::clone(self) as Arc<dyn Model>, metadata).unwrap()
    }

    /// From now on each forward pass sends a message, then waits for one; at the end of the sender it waits no more.
    pub(crate) fn gated(&self) -> (Receiver<()>, Sender<()>) {
        let ((started, is_started), (opener, open)) = (channel(), channel());
        *self.gate.lock().unwrap() = Some(Gate { started, open });
        (is_started, opener)
    }

    /// A message comes when the network is dropped.
    pub(crate) fn gone(&self) -> Receiver<()> {
        let (gone, is_gone) = channel();
        *self.gone.lock().unwrap() = Some(gone);
        is_gone
    }

    /// The number of images of each forward pass so far.
    pub(crate) fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(gone) = self.gone.lock().unwrap().take() {
            // The test may have ended.
            let _ = gone.send(());
        }
    }
}

fn config() -> ModelConfig {
    ModelConfig {
        width: 0.25,
        ..ModelConfig::new(Variant::SMALL, 3)
    }
}

/// A PNG file of one gray.
pub(crate) fn gray(value: u8) -> Vec<u8> {
    let pixels = vec![value; (SIDE * SIDE) as usize];
    let image = Image::from_gray(SIDE, SIDE, pixels).unwrap();
    image.to_png().unwrap()
}

/// A PNG file of noise, too large to be decoded at once.
pub(crate) fn large(seed: u32) -> Vec<u8> {
    let value = |index: u32| (index.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 13) as u8;
    let image = Image::from_rgb(64, 64, (0..64 * 64 * 3).map(value).collect()).unwrap();
    let file = image.to_png().unwrap();
    assert!(file.len() > 4 << 10, "{}", file.len());
    file
}

impl Model for Scripted {
    fn infer(&self, images: &Images) -> Result<Tensor> {
        let count = images.pixels().dims()[0];
        self.batches.lock().unwrap().push(count);
        if let Some(gate) = &*self.gate.lock().unwrap() {
            // The test may have ended.
            let _ = gate.started.send(());
            let _ = gate.open.recv();
        }
        let mut firsts = Vec::new();
        if images.table().is_some() {
            let pixels = images.pixels().flatten_all()?.to_vec1::<u8>()?;
            firsts.extend(pixels.chunks(pixels.len() / count).map(|image| image[0]));
        }
        assert!(!firsts.contains(&PANICS), "as the test says");
        let logits = self.network.infer(images)?;
        match firsts.contains(&NOT_FINITE) {
            true => Ok((logits / 0.0)?),
            false => Ok(logits),
        }
    }

    fn executor(&self) -> &'static str {
        self.network.executor()
    }

    fn description(&self) -> ModelDescription {
        self.network.description()
    }

    fn device(&self) -> &Device {
        self.network.device()
    }

    fn parameters(&self) -> &Parameters {
        self.network.parameters()
    }

    fn trains_backbone(&self) -> bool {
        self.network.trains_backbone()
    }

    fn run_on(&mut self, processor: &Processor, precision: Precision) -> Result<()> {
        self.network.run_on(processor, precision)
    }

    fn features(&self, images: &Images) -> Result<Tensor> {
        self.network.features(images)
    }

    fn grad_cam(&self, images: &Images, classes: Option<&[usize]>) -> Result<GradCam> {
        self.network.grad_cam(images, classes)
    }

    fn feature_count(&self) -> usize {
        self.network.feature_count()
    }

    fn backbone_key(&self) -> Result<String> {
        self.network.backbone_key()
    }

    fn infer_head(&self, features: &Tensor) -> Result<Tensor> {
        self.network.infer_head(features)
    }

    fn forward_step(&mut self, images: &Images, step: u64, freeze: bool) -> Result<ForwardPass> {
        self.network.forward_step(images, step, freeze)
    }

    fn forward_head_step(&mut self, features: &Tensor, step: u64) -> Result<ForwardPass> {
        self.network.forward_head_step(features, step)
    }

    fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        self.network.tensors()
    }
}

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use mnist_data::{DecodeOptions, Image};
use mobilenet::Network;
use mobilenet::onnx::{self, OnnxOptions};
use mobilenet::weights::WeightsMetadata;

use crate::args::ExportArgs;

/// The number of images for the check: enough to find a wrong layer, and few enough to be quick.
const MOST_CHECK_IMAGES: usize = 16;

/// Exports the network and checks the file. Returns a text with the largest difference between the logits of network
/// and file.
pub(super) fn export(
    args: &ExportArgs,
    network: &Network,
    metadata: &WeightsMetadata,
) -> anyhow::Result<String> {
    let options = OnnxOptions {
        preprocess: args.preprocess,
        softmax: args.softmax,
        calibrated: args.calibrated,
        fold_batch_norm: args.fold_batch_norm,
    };
    if args.calibrated && metadata.temperature.is_none() {
        return Err(super::super::without_temperature(&args.weights));
    }
    let pictures = check_images(&args.check_images, metadata)?;
    let agreement = onnx::export(&args.out, network, metadata, options, &pictures)?;
    Ok(format!(
        "{:.1e} between rten's logits and ours, on {} images",
        agreement.largest_difference, agreement.pictures
    ))
}

/// Two batches of images from the inputs, which are files or folders: a single image, and the others. The images are
/// spread evenly over the list, so that they come from many classes.
fn check_images(inputs: &[PathBuf], metadata: &WeightsMetadata) -> anyhow::Result<Vec<Tensor>> {
    let mut found = Vec::new();
    for input in inputs {
        found.extend(mnist_data::list_images(input)?);
    }
    let step = found.len().div_ceil(MOST_CHECK_IMAGES).max(1);
    let size = metadata.image_size;
    let [height, width] = size.sides().map(|side| side as usize);
    let decode = DecodeOptions {
        orientation: metadata.orientation,
        ..DecodeOptions::default()
    };
    let mut pixels = Vec::new();
    for sample in found.iter().step_by(step) {
        let picture = Image::read_with(&sample.path(), decode)?.fitted(size, metadata.framing)?;
        let shape = (1, height, width, 3);
        pixels.push(Tensor::from_vec(picture.to_rgb(), shape, &Device::Cpu)?);
    }
    let batches = match &pixels[..] {
        [] => vec![],
        [only] => vec![only.clone()],
        [first, others @ ..] => vec![first.clone(), Tensor::cat(others, 0)?],
    };
    Ok(batches)
}

//! Grad-CAM: the places of an image that speak for a class (Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from
//! Deep Networks via Gradient-based Localization").

use candle_core::{Tensor, Var};

use crate::error::require;
use crate::run::parameters::check_length;
use crate::{Error, Result};

/// Smallest side of a map that is still fine enough to point at a place.
const LEAST_SIDE: usize = 7;

/// Number of images that are explained at once. The layers after the map keep their results for the backward pass.
const TOGETHER: usize = 16;

/// Grad-CAM maps of some images, all of the same layer.
#[derive(Clone, Debug)]
pub struct GradCam {
    /// torchvision's name of the layer, for example `features.12`.
    pub layer: String,
    /// Rows of each map.
    pub height: usize,
    /// Columns of each map.
    pub width: usize,
    /// Logits `[n, classes]`.
    pub logits: Tensor,
    /// The class that each map explains.
    pub classes: Vec<usize>,
    /// For each image `height * width` numbers from 0 to 1, row by row. The largest is 1, unless no place speaks for the
    /// class: then all are 0.
    pub maps: Vec<Vec<f32>>,
}

/// A backbone cut into stages, and its head. All run as in inference, on maps `[n, h, w, c]`.
pub(crate) trait Stages {
    /// Number of stages; at least 1.
    fn count(&self) -> usize;

    /// torchvision's name of a stage.
    fn name(&self, stage: usize) -> String;

    /// Runs a stage on the map of the previous one, or on the images.
    fn run(&mut self, stage: usize, map: &Tensor) -> Result<Tensor>;

    /// Logits `[n, classes]` from the map of the last stage.
    fn logits(&mut self, map: &Tensor) -> Result<Tensor>;
}

/// The maps of images `[n, h, w, 3]`. Without `classes`, each image's own prediction is explained.
///
/// The map is that of the last stage, which global pooling reads. If it has fewer than 7 rows or columns, it is that of
/// the last stage with at least 7 of both. If no stage has these, it is that of the first stage.
pub(crate) fn grad_cam(
    stages: &mut dyn Stages,
    images: &Tensor,
    classes: Option<&[usize]>,
) -> Result<GradCam> {
    let count = images.dim(0)?;
    if let Some(classes) = classes {
        check_length("the list of classes", classes.len(), count)?;
    }
    let mut all: Option<GradCam> = None;
    let mut logits = Vec::new();
    for first in (0..count).step_by(TOGETHER) {
        let some = TOGETHER.min(count - first);
        let classes = classes.map(|classes| &classes[first..first + some]);
        let part = of_some(stages, &images.narrow(0, first, some)?, classes)?;
        logits.push(part.logits.clone());
        match &mut all {
            Some(all) => {
                all.classes.extend(part.classes);
                all.maps.extend(part.maps);
            }
            None => all = Some(part),
        }
    }
    match all {
        Some(all) => Ok(GradCam {
            logits: Tensor::cat(&logits, 0)?,
            ..all
        }),
        None => Err(candle_core::Error::Msg("there are no images".to_owned()).into()),
    }
}

fn of_some(stages: &mut dyn Stages, images: &Tensor, classes: Option<&[usize]>) -> Result<GradCam> {
    let (chosen, map) = chosen(stages, images)?;
    let map = Var::from_tensor(&map.detach())?;
    let mut x = map.as_tensor().clone();
    for stage in chosen + 1..stages.count() {
        x = stages.run(stage, &x)?;
    }
    let logits = stages.logits(&x)?;
    let classes = match classes {
        Some(classes) => classes.to_vec(),
        None => {
            let predicted = logits.argmax(1)?.to_vec1::<u32>()?;
            predicted.into_iter().map(|class| class as usize).collect()
        }
    };
    let weights = weights(&map, &logits, &classes)?;
    let (count, height, width, channels) = map.dims4()?;
    let sums = map
        .detach()
        .reshape((count, height * width, channels))?
        .matmul(&weights.unsqueeze(2)?)?;
    let layer = stages.name(chosen);
    let maps = sums.squeeze(2)?.to_vec2::<f32>()?.into_iter();
    let maps: Result<_> = maps.map(|map| normalised(map, &layer)).collect();
    Ok(GradCam {
        maps: maps?,
        layer,
        height,
        width,
        logits: logits.detach(),
        classes,
    })
}

/// The stage to explain, and its map of these images.
fn chosen(stages: &mut dyn Stages, images: &Tensor) -> Result<(usize, Tensor)> {
    let mut chosen = (0, stages.run(0, images)?);
    for stage in 1..stages.count() {
        let map = stages.run(stage, &chosen.1)?;
        let (_, height, width, _) = map.dims4()?;
        // No stage enlarges a map, so later ones are no larger.
        if height.min(width) < LEAST_SIDE {
            break;
        }
        chosen = (stage, map);
    }
    Ok(chosen)
}

/// The weight of each channel `[n, c]`: the mean over the places of the gradient of the class's logit.
fn weights(map: &Var, logits: &Tensor, classes: &[usize]) -> Result<Tensor> {
    let (count, outputs) = logits.dims2()?;
    let mut picked = vec![0_f32; count * outputs];
    for (row, &class) in picked.chunks_exact_mut(outputs).zip(classes) {
        let expected = "the index of an output of the network";
        require(class < outputs, "class", class, expected)?;
        row[class] = 1.0;
    }
    let picked = Tensor::from_vec(picked, (count, outputs), logits.device())?;
    // An image's logits depend on its own map only, so one backward pass serves all images.
    let mut gradients = (logits * picked)?.sum_all()?.backward()?;
    let Some(gradient) = gradients.remove(map.as_tensor()) else {
        let problem = "the logits do not depend on the map".to_owned();
        return Err(candle_core::Error::Msg(problem).into());
    };
    Ok(gradient.mean((1, 2))?.contiguous()?)
}

/// The positive part of a map, divided by its maximum.
fn normalised(mut map: Vec<f32>, layer: &str) -> Result<Vec<f32>> {
    if map.iter().any(|value| !value.is_finite()) {
        return Err(Error::MapNotFinite {
            layer: layer.to_owned(),
        });
    }
    let largest = map.iter().copied().fold(0.0, f32::max);
    for value in &mut map {
        *value = match largest > 0.0 {
            true => (*value / largest).max(0.0),
            false => 0.0,
        };
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Stages that halve the image, with a known gradient: logit `k` is the mean of channel `k`.
    struct Halving(usize);

    impl Stages for Halving {
        fn count(&self) -> usize {
            self.0
        }

        fn name(&self, stage: usize) -> String {
            format!("stage {stage}")
        }

        fn run(&mut self, _: usize, map: &Tensor) -> Result<Tensor> {
            let (n, h, w, c) = map.dims4()?;
            let even = map.narrow(1, 0, h / 2 * 2)?.narrow(2, 0, w / 2 * 2)?;
            let pairs = even.reshape((n, h / 2, 2, w / 2, 2, c))?;
            Ok(pairs.mean(4)?.mean(2)?)
        }

        fn logits(&mut self, map: &Tensor) -> Result<Tensor> {
            Ok(map.mean((1, 2))?)
        }
    }

    fn images(side: usize, count: usize) -> Tensor {
        let numbers = (0..count * side * side * 3).map(|i| (i as f32 * 0.7).sin());
        Tensor::from_vec(
            numbers.collect::<Vec<_>>(),
            (count, side, side, 3),
            &Device::Cpu,
        )
        .unwrap()
    }

    #[test]
    fn the_last_map_of_at_least_seven_places_a_side_is_explained() {
        for (side, stages, layer, places) in [
            (56, 3, "stage 2", 7), // the last map is large enough
            (56, 4, "stage 2", 7),
            (64, 4, "stage 2", 8),
            (48, 3, "stage 1", 12),
            (12, 2, "stage 0", 6), // none is
        ] {
            let found = grad_cam(&mut Halving(stages), &images(side, 2), None).unwrap();
            assert_eq!((&found.layer[..], found.height), (layer, places), "{side}");
            assert_eq!(found.width, places);
        }
    }

    #[test]
    fn the_map_is_the_positive_part_of_the_class_s_channel() {
        // The gradient is the same at all places, so the map is the channel itself.
        let images = images(32, 20);
        let classes: Vec<usize> = (0..20).map(|index| index % 3).collect();
        let found = grad_cam(&mut Halving(2), &images, Some(&classes)).unwrap();
        assert_eq!((found.maps.len(), found.classes), (20, classes.clone()));
        assert_eq!(found.logits.dims(), [20, 3]);
        let mut halving = Halving(2);
        let map = halving.run(0, &images).unwrap();
        let map = halving.run(1, &map).unwrap();
        for (index, (found, &class)) in found.maps.iter().zip(&classes).enumerate() {
            let channel = map.get(index).unwrap().narrow(2, class, 1).unwrap();
            let channel: Vec<f32> = channel.flatten_all().unwrap().to_vec1().unwrap();
            let largest = channel.iter().copied().fold(0.0, f32::max);
            for (a, b) in found.iter().zip(&channel) {
                assert!((a - (b / largest).max(0.0)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_map_without_evidence_stays_zero_and_bad_input_is_refused() {
        let dark = (images(32, 1).abs().unwrap() * -1.0).unwrap();
        let found = grad_cam(&mut Halving(2), &dark, Some(&[1])).unwrap();
        assert_eq!(found.maps, [vec![0.0; 64]]);
        let wrong = grad_cam(&mut Halving(2), &dark, Some(&[3]));
        assert!(matches!(wrong, Err(Error::Setting { key: "class", .. })));
        let wrong = grad_cam(&mut Halving(2), &dark, Some(&[0, 1]));
        assert!(matches!(wrong, Err(Error::Length { found: 2, .. })));
        let huge = (dark * f64::INFINITY).unwrap();
        let wrong = grad_cam(&mut Halving(2), &huge, Some(&[0]));
        assert!(matches!(wrong, Err(Error::MapNotFinite { .. })));
    }
}

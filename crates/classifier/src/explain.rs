//! Explanations of answers.

use mnist_data::Image;
use mobilenet::GradCam;

use crate::{Classifier, Error, Input, Result};

/// The places of an image that speak for a class: a Grad-CAM map (Selvaraju et al. 2017).
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The class that is explained, as the index of an output.
    pub class: usize,
    /// Its probability, from 0 to 1.
    pub probability: f32,
    /// torchvision's name of the layer whose map it is, for example `features.12`.
    pub layer: String,
    /// Rows of the map.
    pub height: usize,
    /// Columns of the map.
    pub width: usize,
    /// `height * width` numbers from 0 to 1, row by row. The map covers the image as the network sees it. The largest
    /// number is 1, unless no place speaks for the class: then all are 0.
    pub map: Vec<f32>,
}

impl Explanation {
    /// Row and column of the map's maximum, as fractions of the image's height and width: the middle of that place. `None`
    /// if all of the map is 0. Of equal places, the first counts.
    #[must_use]
    pub fn peak(&self) -> Option<[f32; 2]> {
        let largest = self.map.iter().copied().fold(0.0, f32::max);
        let place = self.map.iter().position(|&value| value == largest);
        let place = place.filter(|_| largest > 0.0)?;
        let middle = |index: usize, count: usize| (index as f32 + 0.5) / count as f32;
        Some([
            middle(place / self.width, self.height),
            middle(place % self.width, self.width),
        ])
    }
}

impl Classifier {
    /// Explains why images belong to a class, or to the predicted class of each image without one.
    ///
    /// The map is that of the layer that global pooling reads. If it has fewer than 7 rows or columns, it is that of the
    /// last layer with at least 7 of both.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bytes = std::fs::read("digit.png")?;
    /// let classifier = classifier::Classifier::open("weights.safetensors")?;
    /// let found = &classifier.explain([&bytes], None)?[0];
    /// println!("{} by the map of {}", classifier.class_names()[found.class], found.layer);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Classifier::classify_all`]; [`Error::ExplainEnsemble`] for more than one network, since their maps are of
    /// different layers; [`Error::Network`] for a class that the network lacks, and for a backbone without maps.
    pub fn explain<'i, I>(&self, images: I, class: Option<usize>) -> Result<Vec<Explanation>>
    where
        I: IntoIterator<Item: Into<Input<'i>>>,
    {
        let inputs: Vec<Input<'i>> = images.into_iter().map(Into::into).collect();
        let images = self.fitted(&inputs)?;
        let classes = class.map(|class| vec![class; images.len()]);
        self.explain_fitted(&images, classes.as_deref())
    }

    /// [`Classifier::explain`] for images at the size of the network, as [`Classifier::fitted`] returns them. `classes`
    /// has a class for each image; without it, the predicted classes are explained.
    ///
    /// # Errors
    /// As [`Classifier::explain`]; [`Error::Image`] for an image of another size.
    pub fn explain_fitted(
        &self,
        images: &[Image],
        classes: Option<&[usize]>,
    ) -> Result<Vec<Explanation>> {
        self.check_sizes(images)?;
        if images.is_empty() {
            return Ok(Vec::new());
        }
        explanations(self.grad_cam(images, classes)?)
    }

    /// Refuses images of another size than the networks'.
    pub(crate) fn check_sizes(&self, images: &[Image]) -> Result<()> {
        let [height, width] = self.metadata().image_size.sides();
        for (index, image) in images.iter().enumerate() {
            if [image.height(), image.width()] != [height, width] {
                return Err(Error::Image {
                    index,
                    count: images.len(),
                    problem: format!(
                        "it has {}×{} pixels; expected {height}×{width}, as the network sees it",
                        image.height(),
                        image.width()
                    ),
                });
            }
        }
        Ok(())
    }
}

fn explanations(found: GradCam) -> Result<Vec<Explanation>> {
    let GradCam {
        layer,
        height,
        width,
        logits,
        classes: explained,
        maps,
    } = found;
    let rows = logits.to_vec2::<f32>()?;
    crate::check_answers(&rows, |row| crate::error::image_name(row, rows.len()))?;
    let probabilities = crate::answers::probabilities(&logits)?;
    let each = explained.into_iter().zip(maps).zip(probabilities);
    let explanations = each.map(|((class, map), row)| Explanation {
        class,
        probability: row[class],
        layer: layer.clone(),
        height,
        width,
        map,
    });
    Ok(explanations.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_middle_of_the_largest_place() {
        let mut map = vec![0.0; 7 * 14];
        let explanation = |map: &[f32]| Explanation {
            class: 0,
            probability: 1.0,
            layer: "features.1".to_owned(),
            height: 7,
            width: 14,
            map: map.to_vec(),
        };
        assert_eq!(explanation(&map).peak(), None);
        map[3 * 14 + 6] = 1.0;
        assert_eq!(explanation(&map).peak(), Some([0.5, 6.5 / 14.0]));
    }
}

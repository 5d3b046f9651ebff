//! Logits of images that are already fitted, and of normalised values.

use candle_core::Tensor;
use mnist_data::Image;
use mobilenet::Images;

use crate::answers::{check_answers, mean};
use crate::error::image_name;
use crate::{Classifier, Error, Result};

impl Classifier {
    /// The logits of images at the size of the networks, as [`Classifier::fitted`] returns them: `[n][classes]`, in the
    /// order of the outputs. [`softmax`](crate::softmax) gives the probabilities.
    ///
    /// # Errors
    /// [`Error::Image`] for an image of another size; [`Error::NonFiniteAnswer`].
    pub fn logits_fitted(&self, images: &[Image]) -> Result<Vec<Vec<f32>>> {
        self.check_sizes(images)?;
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let name = |row: usize| image_name(row, images.len());
        Ok(self.logits_of_views(images, name)?.to_vec2()?)
    }

    /// The logits of `count` images given as normalised values `[n, 3, height, width]`, as the exported ONNX network
    /// takes them. Views are not used, since normalised values cannot be shifted with the right border.
    ///
    /// # Errors
    /// [`Error::Values`] for a wrong number of values; [`Error::NonFiniteAnswer`].
    pub fn logits_of_values(&self, values: &[f32], count: usize) -> Result<Vec<Vec<f32>>> {
        let [height, width] = self.metadata().image_size.sides();
        let (height, width) = (height as usize, width as usize);
        if values.len() != count * 3 * height * width {
            return Err(Error::Values {
                found: values.len(),
                shape: [count, 3, height, width],
            });
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let device = self.members[0].network.device();
        let values = Tensor::from_slice(values, (count, 3, height, width), device)?;
        let images = Images::normalised(&values.permute((0, 2, 3, 1))?)?;
        let members = self.members.iter();
        let logits = members.map(|member| member.calibrated_logits(&images));
        let rows = mean(logits.collect::<Result<_>>()?)?.to_vec2()?;
        check_answers(&rows, |row| image_name(row, count))?;
        Ok(rows)
    }
}

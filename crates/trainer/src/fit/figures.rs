//! Checks whether mean and standard deviation suit the images.

use mnist_data::{Image, Sample};

use crate::config::{DataConfig, DataSource, MNIST};

/// Warns if colour images are normalised with MNIST's mean and standard deviation.
pub(super) fn check(data: &DataConfig, samples: &[Sample]) {
    let files = matches!(data.source, DataSource::Folder | DataSource::Csv);
    if !files || data.normalisation() != MNIST {
        return;
    }
    let image = samples.first().map(|sample| Image::read(&sample.path()));
    // If the image cannot be read, the loader reports it.
    if let Some(Ok(image)) = image
        && is_coloured(&image)
    {
        tracing::warn!(
            "data.normalisation has the figures of MNIST's digits, and the images are in colour: \
             set data.normalisation = \"auto\" for ImageNet's, or those of your images"
        );
    }
}

fn is_coloured(image: &Image) -> bool {
    let mut pixels = image.pixels().chunks_exact(3);
    image.channels() == 3 && pixels.any(|pixel| pixel[0] != pixel[1] || pixel[1] != pixel[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gray_is_no_colour_however_it_is_stored() {
        let gray = Image::from_gray(3, 1, vec![1, 2, 3]).unwrap();
        let stored = Image::from_rgb(1, 1, vec![7; 3]).unwrap();
        let red = Image::from_rgb(2, 1, vec![7, 7, 7, 9, 7, 7]).unwrap();
        assert_eq!(
            [gray, stored, red].map(|i| is_coloured(&i)),
            [false, false, true]
        );
    }
}

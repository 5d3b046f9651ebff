//! The input images of a network.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::{Error, Result};

/// A table of the value of each byte, for red, green and blue. See
/// [`Normalisation::table`](crate::weights::Normalisation::table).
pub type ByteTable = [[f32; 256]; 3];

/// Images `[n, h, w, 3]` on a device, channels last: red, green, blue. There is at least one pixel.
/// Clones share the pixels.
///
/// The images are either bytes with a table of values, or normalised values. Bytes need a quarter
/// of the memory, and a quarter of the transfer to a device.
#[derive(Clone, Debug)]
pub struct Images {
    /// The contiguous pixels: u8 if there is a table, otherwise f32.
    pixels: Tensor,
    table: Option<Arc<ByteTable>>,
}

impl Images {
    /// Creates images from bytes, u8 `[n, h, w, 3]`. `table` gives the value of each byte.
    ///
    /// # Errors
    /// [`Error::Images`] if the shape or type is wrong, or there is no pixel.
    pub fn bytes(pixels: &Tensor, table: Arc<ByteTable>) -> Result<Images> {
        Images::new(pixels, DType::U8, Some(table))
    }

    /// Creates images from normalised values, f32 `[n, h, w, 3]`.
    ///
    /// # Errors
    /// [`Error::Images`] if the shape or type is wrong, or there is no pixel.
    pub fn normalised(pixels: &Tensor) -> Result<Images> {
        Images::new(pixels, DType::F32, None)
    }

    fn new(pixels: &Tensor, expected: DType, table: Option<Arc<ByteTable>>) -> Result<Images> {
        match (pixels.dims(), pixels.dtype()) {
            ([n, h, w, 3], found) if found == expected && n * h * w > 0 => Ok(Images {
                pixels: pixels.contiguous()?,
                table,
            }),
            (dims, found) => Err(Error::Images {
                found: format!("{} of shape {dims:?}", found.as_str()),
                expected: expected.as_str(),
            }),
        }
    }

    /// The pixels `[n, h, w, 3]`, contiguous. They are u8 if there is a [`table`](Images::table),
    /// otherwise f32.
    pub fn pixels(&self) -> &Tensor {
        &self.pixels
    }

    /// The table of values, if the pixels are bytes.
    pub fn table(&self) -> Option<&ByteTable> {
        self.table.as_deref()
    }

    /// The normalised pixels, f32 `[n, h, w, 3]`, on the same device. For bytes, they are exactly
    /// the values of the table.
    ///
    /// # Errors
    /// If the device fails.
    pub fn values(&self) -> Result<Tensor> {
        let Some(table) = self.table() else {
            return Ok(self.pixels.clone());
        };
        let device = self.pixels.device();
        let table = Tensor::new(table.as_flattened(), device)?;
        // The tables of the three colours are concatenated.
        let starts = Tensor::new(&[0u32, 256, 512], device)?;
        let places = self.pixels.to_dtype(DType::U32)?.broadcast_add(&starts)?;
        let values = table.index_select(&places.flatten_all()?, 0)?;
        Ok(values.reshape(self.pixels.shape())?)
    }
}

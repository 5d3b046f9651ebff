//! What a network is shown.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::{Error, Result};

/// What each byte of red, green and blue is worth to a network;
/// [`Normalisation::table`](crate::weights::Normalisation::table) makes one.
pub type ByteTable = [[f32; 256]; 3];

/// Images `[n, h, w, 3]` on a device, channels last: red, green, blue. There is at least
/// one pixel. A clone shares the pixels.
///
/// They are bytes with a table of what those are worth, or numbers a network takes as
/// they are. Bytes take a quarter of the memory and of the way to a device.
#[derive(Clone, Debug)]
pub struct Images {
    /// Contiguous, u8 where there is a table and f32 where there is none.
    pixels: Tensor,
    table: Option<Arc<ByteTable>>,
}

impl Images {
    /// Images of bytes: u8 `[n, h, w, 3]`, each worth what `table` says.
    ///
    /// # Errors
    /// [`Error::Images`] if they have another shape or type, or no pixel.
    pub fn bytes(pixels: &Tensor, table: Arc<ByteTable>) -> Result<Images> {
        Images::new(pixels, DType::U8, Some(table))
    }

    /// Images of numbers that are normalised already: f32 `[n, h, w, 3]`.
    ///
    /// # Errors
    /// [`Error::Images`] if they have another shape or type, or no pixel.
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

    /// The pixels `[n, h, w, 3]`, contiguous: u8 where there is a [`table`](Images::table),
    /// else f32.
    pub fn pixels(&self) -> &Tensor {
        &self.pixels
    }

    /// What the bytes are worth, if the pixels are bytes.
    pub fn table(&self) -> Option<&ByteTable> {
        self.table.as_deref()
    }

    /// The pixels as the network sees them, f32 `[n, h, w, 3]`, on their device: the table's
    /// own bits, where there is one.
    ///
    /// # Errors
    /// If the device gives out.
    pub fn values(&self) -> Result<Tensor> {
        let Some(table) = self.table() else {
            return Ok(self.pixels.clone());
        };
        let device = self.pixels.device();
        let table = Tensor::new(table.as_flattened(), device)?;
        // The colours' tables lie one behind the other.
        let starts = Tensor::new(&[0u32, 256, 512], device)?;
        let places = self.pixels.to_dtype(DType::U32)?.broadcast_add(&starts)?;
        let values = table.index_select(&places.flatten_all()?, 0)?;
        Ok(values.reshape(self.pixels.shape())?)
    }
}

//! What travels between the host and the device: images, factors of random layers, logits and gradients.

use engine::{ImagePixels, Images, Op};
use half::{bf16, f16};

use crate::device::{Device, DeviceError, Storage};
use crate::engine::Gpu;
use crate::step::{Place, Ports, width8};

pub(crate) fn floats(values: &[f32]) -> &[u8] {
    // SAFETY: every f32 is four bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), 4 * values.len()) }
}

pub(crate) fn floats_mut(values: &mut [f32]) -> &mut [u8] {
    // SAFETY: any four bytes are an f32.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), 4 * values.len()) }
}

impl<D: Device> Gpu<D> {
    /// Converts numbers to the storage type and writes rows of `channels` numbers to padded rows.
    pub(crate) fn write_rows(
        &self,
        at: u64,
        rows: &[f32],
        channels: usize,
    ) -> Result<(), DeviceError> {
        let width = width8(channels);
        let mut bytes = Vec::with_capacity(rows.len() / channels.max(1) * width * 4);
        for row in rows.chunks_exact(channels) {
            let padded = row
                .iter()
                .copied()
                .chain(std::iter::repeat(0.0))
                .take(width);
            for value in padded {
                match self.device().storage() {
                    Storage::F32 => bytes.extend(value.to_ne_bytes()),
                    Storage::Bf16 => bytes.extend(bf16::from_f32(value).to_ne_bytes()),
                    Storage::F16 => bytes.extend(f16::from_f32(value).to_ne_bytes()),
                }
            }
        }
        // SAFETY: the place has these rows.
        unsafe { self.device().write(at, &bytes) }
    }

    /// Reads rows of `channels` numbers from padded rows. `wide` if they are f32 whatever the storage type.
    pub(crate) fn read_rows(
        &self,
        place: Place,
        rows: &mut [f32],
        channels: usize,
        wide: bool,
    ) -> Result<(), DeviceError> {
        let storage = if wide {
            Storage::F32
        } else {
            self.device().storage()
        };
        let count = rows.len() / channels.max(1);
        let mut bytes = vec![0; count * place.stride * storage.bytes()];
        // SAFETY: the place has these rows.
        unsafe { self.device().read(place.at, &mut bytes)? };
        let widen = |bytes: &[u8]| match (storage, bytes) {
            (Storage::F32, &[a, b, c, d]) => f32::from_ne_bytes([a, b, c, d]),
            (Storage::Bf16, &[a, b]) => bf16::from_ne_bytes([a, b]).to_f32(),
            (Storage::F16, &[a, b]) => f16::from_ne_bytes([a, b]).to_f32(),
            _ => unreachable!("a number has the bytes of its type"),
        };
        let padded = bytes.chunks_exact(place.stride * storage.bytes());
        for (row, padded) in rows.chunks_exact_mut(channels).zip(padded) {
            let numbers = padded.chunks_exact(storage.bytes());
            row.iter_mut()
                .zip(numbers)
                .for_each(|(value, bytes)| *value = widen(bytes));
        }
        Ok(())
    }

    pub(crate) fn write_images(
        &self,
        ports: &Ports,
        images: Images<'_>,
    ) -> Result<(), DeviceError> {
        // SAFETY: the step was made for these images.
        unsafe {
            match images.pixels {
                ImagePixels::U8(bytes, table) => {
                    self.device().send(ports.pixels, bytes)?;
                    self.device()
                        .write(ports.table, floats(table.as_flattened()))
                }
                ImagePixels::F32(values) => self.device().send(ports.pixels, floats(values)),
            }
        }
    }

    /// Writes the factors of random layers, one for each channel.
    pub(crate) fn write_masks(
        &self,
        ports: &Ports,
        images: usize,
        masks: &[Vec<f32>],
    ) -> Result<(), DeviceError> {
        for (index, random) in self.plan().random_layers().enumerate() {
            let Some((at, _)) = ports.masks.iter().find(|(_, layer)| *layer == random.layer) else {
                continue;
            };
            let channels = self.plan().channels[random.layer];
            let per_image = matches!(self.plan().layers[random.layer].op, Op::DropPath { .. });
            let rows = match masks.get(index) {
                None => vec![1.0; images * channels],
                Some(mask) if per_image => (mask.iter())
                    .flat_map(|&value| std::iter::repeat_n(value, channels))
                    .collect(),
                Some(mask) => mask.clone(),
            };
            self.write_rows(*at, &rows, channels)?;
        }
        Ok(())
    }
}

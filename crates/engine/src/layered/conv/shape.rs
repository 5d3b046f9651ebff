//! The geometry of a convolution, and the division of its channels into panels.

use std::ops::Range;

use crate::isa::Isa;
use crate::kernels::{Frame, Packing, frame_ranks, pack_panel, single_panels};
use crate::memory::{Dst, Src, planes};
use crate::network::Conv;
use crate::simd::LANES;

/// Maximum number of values in a frame, so that two frames and a panel of weights fit the cache of a core. Chosen by
/// measurement.
const FRAME: usize = 192 * 1024;

/// Images of fewer pixels are one row where that changes nothing. Threads share them by panels, larger ones by rows.
pub(crate) const SMALL: usize = 200;

/// A convolution over images of one size.
#[derive(Clone, Debug)]
pub(crate) struct ConvShape {
    /// The instruction set of the products. Activations outside of frames are f32 even if it has bf16.
    pub(crate) isa: Isa,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) groups: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    /// Zeros before the first row and the first column.
    pub(crate) zeros: [usize; 2],
    /// Height and width of the input.
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Height and width of the output.
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Panels of outputs.
    pub(super) forward: Vec<Panel>,
    /// Panels of inputs, for the gradient of the input.
    pub(super) backward: Vec<Panel>,
    pub(super) phases: Vec<Phase>,
}

/// One to three planes of columns that read the same channels.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    /// The first plane.
    pub(super) plane: usize,
    /// Number of planes.
    pub(super) width: usize,
    /// The range of channels that the panel reads: all channels of its groups.
    pub(super) channels: (usize, usize),
    /// The number of their ranks.
    pub(super) ranks: usize,
    /// Place of the packed weights.
    pub(super) weights: usize,
    /// Place of the gradient in the layout of the kernel.
    pub(super) gradient: usize,
}

impl Panel {
    /// The planes that the panel reads.
    pub(super) fn reads(&self) -> (usize, usize) {
        let (start, end) = self.channels;
        (start / LANES, end.div_ceil(LANES))
    }

    /// The range of ranks of a frame that the panel reads. Ranks of two channels start at channel 0.
    pub(super) fn rank_range(&self) -> (usize, usize) {
        let start = self.channels.0;
        (start, start + self.ranks)
    }

    /// Number of packed values of a tap.
    pub(super) fn tap(&self) -> usize {
        self.ranks * self.width * LANES
    }
}

/// The pixels of the input whose row and column leave the same remainders when divided by the stride. The same taps
/// reach all of them.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    pub(super) row: usize,
    pub(super) column: usize,
    /// For each tap, the output that reads the phase's first pixel through it, as row and column. Negative for
    /// outputs before the first.
    pub(super) taps: Vec<[isize; 2]>,
    /// Number of taps of earlier phases.
    pub(super) first: usize,
}

impl ConvShape {
    /// The convolution of images of `height` × `width` pixels. Convolutions in groups compute in f32.
    pub(crate) fn new(isa: Isa, conv: &Conv, height: usize, width: usize) -> ConvShape {
        let isa = match conv.groups {
            1 => isa,
            _ => isa.with_f32(),
        };
        let window = conv.window;
        let zeros = [window.before(height), window.before(width)];
        let (inputs, outputs) = (
            conv.in_channels / conv.groups,
            conv.out_channels / conv.groups,
        );
        let taps = window.kernel * window.kernel;
        ConvShape {
            isa,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            groups: conv.groups,
            kernel: window.kernel,
            stride: window.stride,
            zeros,
            height,
            width,
            rows: window.outputs(height),
            columns: window.outputs(width),
            forward: panels(isa, conv.groups, outputs, inputs, taps),
            backward: panels(isa, conv.groups, inputs, outputs, taps),
            phases: phases(window.kernel, window.stride, zeros),
        }
    }

    /// The geometry of a fully connected layer over the pixels of images. Small images become one row, so that few tiles
    /// are cut.
    pub(crate) fn of_pixels(isa: Isa, conv: &Conv, height: usize, width: usize) -> ConvShape {
        match height * width {
            pixels @ ..SMALL => ConvShape::new(isa, conv, 1, pixels),
            _ => ConvShape::new(isa, conv, height, width),
        }
    }

    /// Number of panels of outputs.
    pub(crate) fn panels(&self) -> usize {
        self.forward.len()
    }

    /// Whether products multiply two channels, or two pixels, at once.
    pub(super) fn is_bf16(&self) -> bool {
        self.isa.rank() > 1
    }

    /// Number of weights between an input and an output.
    pub(super) fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Number of packed values for [`super::conv_forward`].
    pub(crate) fn forward_length(&self) -> usize {
        length(&self.forward, self.taps())
    }

    /// Number of packed values for [`super::conv_backward`].
    pub(crate) fn backward_length(&self) -> usize {
        length(&self.backward, self.taps())
    }

    /// Number of values of the weights' gradient in the layout of the kernel.
    pub(super) fn gradient_length(&self) -> usize {
        if self.is_bf16() {
            return self.taps() * self.out_channels * self.in_channels;
        }
        self.forward.last().map_or(0, |panel| {
            panel.gradient + self.panel_gradient(panel.width, panel.reads())
        })
    }

    fn panel_gradient(&self, width: usize, (from, to): (usize, usize)) -> usize {
        width * LANES * (to - from) * self.taps() * LANES
    }

    /// Packs torch's weights for [`super::conv_forward`].
    ///
    /// # Safety
    /// `weights` holds the layer's weights, and `target` has space for [`ConvShape::forward_length`] values.
    pub(crate) unsafe fn pack_forward(&self, weights: Src, target: Dst) {
        // SAFETY: as promised by the caller.
        unsafe {
            let order: Vec<usize> = (0..self.taps()).collect();
            for panel in &self.forward {
                let packing = self.packing(panel, &order, false);
                pack_panel(self.isa, &packing, weights, target.at(panel.weights));
            }
        }
    }

    /// Packs torch's weights for [`super::conv_backward`].
    ///
    /// # Safety
    /// `weights` holds the layer's weights, and `target` has space for [`ConvShape::backward_length`] values.
    pub(crate) unsafe fn pack_backward(&self, weights: Src, target: Dst) {
        // SAFETY: as promised by the caller.
        unsafe {
            let order = order(self.kernel, self.stride, self.zeros);
            for panel in &self.backward {
                let packing = self.packing(panel, &order, true);
                pack_panel(self.isa, &packing, weights, target.at(panel.weights));
            }
        }
    }

    pub(super) fn packing<'a>(
        &self,
        panel: &Panel,
        order: &'a [usize],
        transposed: bool,
    ) -> Packing<'a> {
        Packing {
            inputs: self.in_channels / self.groups,
            outputs: self.out_channels / self.groups,
            groups: self.groups,
            taps: self.taps(),
            order,
            transposed,
            plane: panel.plane,
            width: panel.width,
            channels: panel.channels,
            ranks: panel.ranks,
        }
    }

    /// A frame of the input that `rows` rows of output read.
    ///
    /// # Safety
    /// The frame's memory is `start`.
    pub(super) fn input_frame(&self, start: Dst, images: usize, rows: usize) -> Frame {
        let step = self.step();
        let seen = |outputs: usize| outputs.saturating_sub(1) * step + self.kernel;
        Frame {
            start,
            images,
            rows: seen(rows),
            columns: seen(self.columns).div_ceil(step),
            phases: step,
        }
    }

    /// Distance in rows of a frame of the input from one output row to the next. Pixels that no tap reads are not in
    /// the frame.
    pub(super) fn step(&self) -> usize {
        self.stride.min(self.kernel)
    }

    /// For each tap, its place in a frame of the input.
    pub(super) fn input_taps(&self, frame: &Frame) -> Vec<usize> {
        let side = 0..self.kernel;
        side.clone()
            .flat_map(|row| side.clone().map(move |column| (row, column)))
            .map(|(row, column)| frame.offset(row, column))
            .collect()
    }

    /// Cuts images with `rows` rows into bands of whole images, or of rows of one image, of about equal size.
    /// `values(images, rows)` is the length of the band's largest frame.
    pub(super) fn bands(
        images: usize,
        rows: Range<usize>,
        values: impl Fn(usize, usize) -> usize,
    ) -> Vec<Band> {
        let whole = values(1, rows.len()).max(1);
        let mut bands = Vec::new();
        if whole <= FRAME {
            let count = images.div_ceil(FRAME / whole);
            for band in 0..count {
                bands.push(Band {
                    images: images * band / count..images * (band + 1) / count,
                    rows: rows.clone(),
                });
            }
            return bands;
        }
        // The rows that the window adds are in every band.
        let most = (1..=rows.len())
            .rev()
            .find(|&count| values(1, count) <= FRAME)
            .unwrap_or(1);
        let count = rows.len().div_ceil(most);
        for image in 0..images {
            for band in 0..count {
                let (start, length) = (rows.start, rows.len());
                bands.push(Band {
                    images: image..image + 1,
                    rows: start + length * band / count..start + length * (band + 1) / count,
                });
            }
        }
        bands
    }
}

/// Some images, and some rows of each.
#[derive(Clone, Debug)]
pub(super) struct Band {
    pub(super) images: Range<usize>,
    pub(super) rows: Range<usize>,
}

fn length(panels: &[Panel], taps: usize) -> usize {
    panels
        .last()
        .map_or(0, |panel| panel.weights + taps * panel.tap())
}

/// The panels of `groups * columns` channels. Each group reads `depth` channels of its own.
fn panels(isa: Isa, groups: usize, columns: usize, depth: usize, taps: usize) -> Vec<Panel> {
    let total = groups * columns;
    let reads = |plane: usize| {
        let last = (plane * LANES + LANES - 1).min(total - 1);
        let (first, last) = (plane * LANES / columns, last / columns);
        (first * depth, (last + 1) * depth)
    };
    let mut panels = Vec::new();
    let (mut weights, mut gradient) = (0, 0);
    let mut plane = 0;
    while plane < planes(total) {
        let channels = reads(plane);
        let alike = (plane..planes(total))
            .take_while(|&other| reads(other) == channels)
            .count();
        for range in single_panels(isa, alike) {
            let panel = Panel {
                plane: plane + range.start,
                width: range.len(),
                channels,
                ranks: frame_ranks(isa, channels.1 - channels.0),
                weights,
                gradient,
            };
            let (from, to) = panel.reads();
            weights += taps * panel.tap();
            gradient += range.len() * LANES * (to - from) * taps * LANES;
            panels.push(panel);
        }
        plane += alike;
    }
    panels
}

/// The phases of the input, and the taps that reach them.
fn phases(kernel: usize, stride: usize, [above, left]: [usize; 2]) -> Vec<Phase> {
    // For a pixel of the phase, the output that a tap belongs to.
    let reached = |phase: usize, tap: usize, zeros: usize| {
        let distance = (phase + zeros) as isize - tap as isize;
        let stride = stride as isize;
        (distance % stride == 0).then_some(distance / stride)
    };
    let mut phases = Vec::new();
    let mut first = 0;
    for row in 0..stride {
        for column in 0..stride {
            let mut taps = Vec::new();
            for tap_row in 0..kernel {
                for tap_column in 0..kernel {
                    let y = reached(row, tap_row, above);
                    let x = reached(column, tap_column, left);
                    taps.extend(y.zip(x).map(|(y, x)| [y, x]));
                }
            }
            first += taps.len();
            phases.push(Phase {
                row,
                column,
                first: first - taps.len(),
                taps,
            });
        }
    }
    phases
}

/// For each tap, its place among the taps of all phases.
fn order(kernel: usize, stride: usize, [above, left]: [usize; 2]) -> Vec<usize> {
    let phase = |tap: usize| {
        let (row, column) = (tap / kernel, tap % kernel);
        // The phase whose pixels the tap reaches.
        let of = |tap: usize, zeros: usize| (tap + stride * zeros - zeros) % stride;
        (of(row, above), of(column, left))
    };
    let mut sorted: Vec<usize> = (0..kernel * kernel).collect();
    sorted.sort_by_key(|&tap| phase(tap));
    let mut places = vec![0; sorted.len()];
    for (place, tap) in sorted.into_iter().enumerate() {
        places[tap] = place;
    }
    places
}

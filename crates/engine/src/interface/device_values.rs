//! The interface of an engine that keeps a network's values in the memory of a device.

use std::fmt::Debug;
use std::ops::Range;

use crate::fused::{FusedError, Images};

/// A flat buffer of f32 numbers in a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// The network's parameters.
    Parameters,
    /// The running statistics.
    Statistics,
    /// The gradient of the last backward pass.
    Gradient,
    /// A buffer of [`DeviceValues::add_buffer`].
    Added(usize),
}

/// The ranges of an optimizer: see [`DeviceValues::add_ranges`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges(pub usize);

/// How an optimizer's step changes a gradient: times `scale`, then limited to `-limit..=limit`, then times `factor`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientChange {
    /// The first factor: the inverse of a loss scale.
    pub scale: f32,
    /// Infinity for no limit.
    pub limit: f32,
    /// The last factor, which limits the norm.
    pub factor: f32,
}

impl Default for GradientChange {
    /// No change.
    fn default() -> Self {
        GradientChange {
            scale: 1.0,
            limit: f32::INFINITY,
            factor: 1.0,
        }
    }
}

/// What [`DeviceValues::measure`] finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientSize {
    /// Whether every number is finite before the change.
    pub finite: bool,
    /// The sum of squares after the change.
    pub squares: f64,
}

/// Contiguous parameters with the same coefficients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRange {
    /// Their indices.
    pub range: Range<usize>,
    /// The number of their group.
    pub group: usize,
    /// Length of the rows whose gradients are centralised; 0 if there are none.
    pub row: usize,
}

/// A forward pass whose values are in a device's memory.
#[derive(Debug)]
pub struct Pass {
    /// Its number.
    pub number: u64,
    /// Number of images.
    pub images: usize,
}

/// The numbers of a step's coefficients of one group, behind the number of the update rule.
pub type GroupStep = [f32; 12];

/// A network's values in the memory of a device, on which training steps run without a copy to the host.
///
/// Work is done in the order of the calls, and only functions that return numbers wait for it. Callers take turns: two
/// trainings with the same values would mix them.
pub trait DeviceValues: Debug + Send + Sync {
    /// A new buffer of zeros. It lives until [`DeviceValues::remove_buffer`], or as long as the engine.
    ///
    /// # Errors
    /// If the device has too little memory.
    fn add_buffer(&self, len: usize) -> Result<Buffer, FusedError>;

    /// Frees a buffer that was added.
    fn remove_buffer(&self, buffer: Buffer);

    /// Overwrites a buffer.
    ///
    /// # Errors
    /// If the length differs, or the device fails.
    fn write(&self, to: Buffer, values: &[f32]) -> Result<(), FusedError>;

    /// Copies a buffer to the host.
    ///
    /// # Errors
    /// If the length differs, or the device fails.
    fn read(&self, from: Buffer, values: &mut [f32]) -> Result<(), FusedError>;

    /// Moves an average of two buffers' length: `average += weight * (values - average)`. The weight 1 copies.
    ///
    /// # Errors
    /// If the lengths differ, or the device fails.
    fn average(&self, values: Buffer, average: Buffer, weight: f32) -> Result<(), FusedError>;

    /// The size of a gradient.
    ///
    /// # Errors
    /// If the device fails.
    fn measure(&self, gradient: Buffer, change: GradientChange)
    -> Result<GradientSize, FusedError>;

    /// New ranges for [`DeviceValues::step`]. They must not overlap. They live until [`DeviceValues::remove_ranges`], or as
    /// long as the engine.
    ///
    /// # Errors
    /// If a range exceeds the parameters, or the device fails.
    fn add_ranges(&self, ranges: &[StepRange]) -> Result<Ranges, FusedError>;

    /// Frees ranges.
    fn remove_ranges(&self, ranges: Ranges);

    /// Takes an optimizer's step on the parameters in `ranges`. `groups` has the coefficients of each group, `state` the rule's buffers.
    ///
    /// # Errors
    /// If a range, a group or a buffer is missing, or the device fails.
    fn step(
        &self,
        ranges: Ranges,
        gradient: Buffer,
        change: GradientChange,
        groups: &[GroupStep],
        state: &[Buffer],
    ) -> Result<(), FusedError>;

    /// The forward pass of a training step, as [`Engine::forward`](crate::Engine::forward) with the values in memory.
    /// `momentum` is the weight of this batch in the running statistics.
    ///
    /// # Errors
    /// As [`Engine::forward`](crate::Engine::forward).
    fn forward_step(
        &self,
        momentum: f64,
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) -> Result<Pass, FusedError>;

    /// The backward pass. It overwrites [`Buffer::Gradient`].
    ///
    /// # Errors
    /// If another forward pass replaced the values of this one, or the device fails.
    fn backward_step(&self, pass: Pass, logits_gradient: &[f32]) -> Result<(), FusedError>;
}

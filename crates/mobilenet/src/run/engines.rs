//! The engines of the executors in [`super::native`], behind one interface.

use std::fmt::Debug;
use std::sync::Arc;

use engine::{
    Folded, Fused, FusedError, FusedOptions, Images, Isa, Layered, LayeredRecord, LayeredWeights,
    Plan, Record, RunningStatistics,
};

/// An engine for one network; see [`engine::Fused`] for the methods.
pub trait Engine: Debug + Send + Sync + Sized + 'static {
    /// The name of the executor in logs.
    const NAME: &'static str;
    /// Weights that are ready for inference.
    type Folded: Debug + Send + Sync;
    /// The state of a forward pass.
    type Record: Send;

    /// Creates an engine. `None` if it cannot run the network.
    fn create(plan: Arc<Plan>, options: FusedOptions) -> Option<Self>;

    /// The instruction set.
    fn isa(&self) -> Isa;

    /// Prepares weights for inference.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    fn fold(&self, parameters: &[f32], statistics: &[f32]) -> Result<Self::Folded, FusedError>;

    /// Logits in inference.
    ///
    /// # Errors
    /// If the images do not fit.
    fn infer(
        &self,
        folded: &Self::Folded,
        images: Images<'_>,
        logits: &mut [f32],
    ) -> Result<(), FusedError>;

    /// Pooled features in inference.
    ///
    /// # Errors
    /// If the images do not fit.
    fn features(
        &self,
        folded: &Self::Folded,
        images: Images<'_>,
        features: &mut [f32],
    ) -> Result<(), FusedError>;

    /// The forward pass of a training step.
    ///
    /// # Errors
    /// If the images do not fit.
    fn forward(
        &self,
        parameters: &[f32],
        statistics: RunningStatistics<'_>,
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits: &mut [f32],
    ) -> Result<Self::Record, FusedError>;

    /// The backward pass.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    fn backward(
        &self,
        record: Self::Record,
        parameters: &[f32],
        images: Images<'_>,
        masks: &[Vec<f32>],
        logits_gradient: &[f32],
        gradient: &mut [f32],
    ) -> Result<(), FusedError>;
}

macro_rules! engine {
    ($engine:ident, $name:literal, $folded:ty, $record:ty) => {
        impl Engine for $engine {
            const NAME: &'static str = $name;
            type Folded = $folded;
            type Record = $record;

            fn create(plan: Arc<Plan>, options: FusedOptions) -> Option<Self> {
                $engine::new(plan, options)
            }

            fn isa(&self) -> Isa {
                $engine::isa(self)
            }

            fn fold(&self, parameters: &[f32], statistics: &[f32]) -> Result<$folded, FusedError> {
                $engine::fold(self, parameters, statistics)
            }

            fn infer(
                &self,
                folded: &$folded,
                images: Images<'_>,
                logits: &mut [f32],
            ) -> Result<(), FusedError> {
                $engine::infer(self, folded, images, logits)
            }

            fn features(
                &self,
                folded: &$folded,
                images: Images<'_>,
                features: &mut [f32],
            ) -> Result<(), FusedError> {
                $engine::features(self, folded, images, features)
            }

            fn forward(
                &self,
                parameters: &[f32],
                statistics: RunningStatistics<'_>,
                images: Images<'_>,
                masks: &[Vec<f32>],
                logits: &mut [f32],
            ) -> Result<$record, FusedError> {
                $engine::forward(self, parameters, statistics, images, masks, logits)
            }

            fn backward(
                &self,
                record: $record,
                parameters: &[f32],
                images: Images<'_>,
                masks: &[Vec<f32>],
                slope: &[f32],
                gradient: &mut [f32],
            ) -> Result<(), FusedError> {
                $engine::backward(self, record, parameters, images, masks, slope, gradient)
            }
        }
    };
}
engine!(Fused, "fused", Folded, Record);
engine!(Layered, "layered", LayeredWeights, LayeredRecord);

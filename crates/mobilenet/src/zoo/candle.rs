//! Builds a model of candle-transformers from its name.

use candle_core::Result;
use candle_nn::{Func, VarBuilder};
use candle_transformers::models::{fastvit, mobileone, repvgg};

use super::Backbone;

/// A backbone for images `[n, 3, h, w]`.
///
/// These models end with their classifier. `vb` must give the identity as the classifier's weight.
/// The model then returns the classifier's inputs, computed by all layers and normalisations before
/// it.
pub(super) fn model(backbone: Backbone, vb: VarBuilder<'static>) -> Result<Func<'static>> {
    use Backbone as B;
    let n = backbone.features();
    match backbone {
        B::MobileOneS1 => mobileone::mobileone(&mobileone::Config::s1(), n, vb),
        B::MobileOneS2 => mobileone::mobileone(&mobileone::Config::s2(), n, vb),
        B::MobileOneS3 => mobileone::mobileone(&mobileone::Config::s3(), n, vb),
        B::MobileOneS4 => mobileone::mobileone(&mobileone::Config::s4(), n, vb),
        B::RepVggA0 => repvgg::repvgg(&repvgg::Config::a0(), n, vb),
        B::RepVggA1 => repvgg::repvgg(&repvgg::Config::a1(), n, vb),
        B::RepVggA2 => repvgg::repvgg(&repvgg::Config::a2(), n, vb),
        B::RepVggB0 => repvgg::repvgg(&repvgg::Config::b0(), n, vb),
        B::RepVggB1 => repvgg::repvgg(&repvgg::Config::b1(), n, vb),
        B::RepVggB1G4 => repvgg::repvgg(&repvgg::Config::b1g4(), n, vb),
        B::RepVggB2 => repvgg::repvgg(&repvgg::Config::b2(), n, vb),
        B::RepVggB2G4 => repvgg::repvgg(&repvgg::Config::b2g4(), n, vb),
        B::RepVggB3 => repvgg::repvgg(&repvgg::Config::b3(), n, vb),
        B::RepVggB3G4 => repvgg::repvgg(&repvgg::Config::b3g4(), n, vb),
        B::FastVitT8 => fastvit::fastvit(&fastvit::Config::t8(), n, vb),
        B::FastVitT12 => fastvit::fastvit(&fastvit::Config::t12(), n, vb),
        B::FastVitS12 => fastvit::fastvit(&fastvit::Config::s12(), n, vb),
    }
}

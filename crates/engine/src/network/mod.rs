//! A network as a list of layers. Families of networks write the list with a [`Builder`]. Executors, weights files,
//! initialisation, cost and exports read it.

mod builder;
mod chain;
mod check;
mod cost;
mod layer;
mod plan;
mod spec;
mod table;

pub use builder::{Builder, ConvSpec};
pub use chain::{Block, Chain, ConvNorm, SqueezeExcite};
pub use layer::{Attention, BatchNorm, Conv, Layer, LayerNorm, Linear, Op, Pad, Window};
pub use plan::{Plan, RandomLayer, Shape};
pub use spec::{BlockSpec, HeadSpec, Naming, NetworkSpec, SpecError, SqueezeSpec};
pub use table::{Role, Segment, Table};

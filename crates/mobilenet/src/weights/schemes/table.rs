//! Tables of module names.

use std::collections::HashMap;

use engine::{Chain, ConvNorm, Linear, Plan};

use super::TensorName;

/// The kinds of layers in a table of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// The first convolution.
    Stem,
    /// The depthwise convolution of a block without expansion. The block's other layers are listed
    /// next.
    PlainDepthwise,
    PlainReduce,
    PlainExcite,
    PlainProject,
    /// The first convolution of a block with expansion. The block's other layers are listed next.
    Expand,
    Depthwise,
    /// The first layer of squeeze-excite.
    Reduce,
    /// The second layer of squeeze-excite.
    Excite,
    Project,
    /// The convolution after the blocks.
    Last,
    Hidden,
    Classifier,
}

/// A layer, the name of its module, and the name of its batch normalisation (empty if it has none).
///
/// Names contain placeholders in braces:
/// - `i`: index of the block in the network, from 1 on.
/// - `stage`: index of the block's stage, from 0 on.
/// - `block`: index of the block in its stage, from 0 on.
/// - `after` and `after+2`: index of the first and of the third module after the blocks.
/// - `stages`: index of the first stage after the blocks.
pub(super) type Row = (Layer, &'static str, &'static str);

/// The names of one network.
#[derive(Clone, Copy)]
pub(crate) struct Table {
    pub(super) rows: &'static [Row],
    /// Number of blocks per stage, if the names count stages.
    pub(super) stages: &'static [usize],
    /// Fully connected layers that this scheme stores as 1×1 convolutions. All other fully
    /// connected layers are plain matrices, even the layers of squeeze-excite, which are
    /// convolutions in torchvision.
    pub(super) convolutions: &'static [Layer],
    /// Layers that have no bias in this scheme. Their bias is zero.
    pub(super) without_bias: &'static [Layer],
}

/// The modules of a network. The key is the name in the plan; the value is the layer and the
/// scheme's name.
pub(super) type Modules = HashMap<String, (Layer, String)>;

impl Table {
    /// Every tensor of a network. `None` if the table lacks one of the network's layers.
    pub(crate) fn names(&self, plan: &Plan) -> Option<Vec<TensorName>> {
        let modules = self.modules(plan)?;
        (TensorName::all(plan))
            .map(|name| self.rename(&modules, name))
            .collect()
    }

    /// All modules of a network. `None` if the table lacks one of the network's layers.
    fn modules(&self, plan: &Plan) -> Option<Modules> {
        let chain = Chain::find(plan)?;
        let mut modules = Finder {
            table: self,
            plan,
            found: Modules::new(),
        };
        let mut place = Place {
            after: chain.blocks.len() + 1,
            stages: self.stages.len(),
            ..Place::default()
        };
        modules.conv_norm(Layer::Stem, &place, &chain.stem)?;
        for (index, block) in chain.blocks.iter().enumerate() {
            (place.index, place.stage, place.block) = (index + 1, 0, index);
            while let Some(&length) = self.stages.get(place.stage)
                && place.block >= length
            {
                place.block -= length;
                place.stage += 1;
            }
            let [depthwise, reduce, excite, project] = match &block.expand {
                Some(expand) => {
                    modules.conv_norm(Layer::Expand, &place, expand)?;
                    [
                        Layer::Depthwise,
                        Layer::Reduce,
                        Layer::Excite,
                        Layer::Project,
                    ]
                }
                None => [
                    Layer::PlainDepthwise,
                    Layer::PlainReduce,
                    Layer::PlainExcite,
                    Layer::PlainProject,
                ],
            };
            modules.conv_norm(depthwise, &place, &block.depthwise)?;
            if let Some(squeeze) = &block.squeeze {
                modules.linear(reduce, &place, &squeeze.reduce)?;
                modules.linear(excite, &place, &squeeze.expand)?;
            }
            modules.conv_norm(project, &place, &block.project)?;
        }
        modules.conv_norm(Layer::Last, &place, &chain.last)?;
        if let Some(hidden) = &chain.hidden {
            modules.linear(Layer::Hidden, &place, hidden)?;
        }
        modules.linear(Layer::Classifier, &place, &chain.classifier)?;
        Some(modules.found)
    }

    /// The tensor under the name that the table gives it.
    fn rename(&self, modules: &Modules, tensor: TensorName) -> Option<TensorName> {
        use Layer::{Classifier, Excite, Hidden, PlainExcite, PlainReduce, Reduce};
        let (module, leaf) = split(&tensor.native);
        let (layer, foreign) = modules.get(module)?;
        let has = leaf != "bias" || !self.without_bias.contains(layer);
        let foreign = has.then(|| format!("{foreign}.{leaf}"));
        let mut shape = tensor.shape;
        let connected = matches!(
            layer,
            PlainReduce | PlainExcite | Reduce | Excite | Hidden | Classifier
        );
        if let Some(shape) = shape.as_mut().filter(|_| connected && leaf == "weight") {
            shape.truncate(2);
            if self.convolutions.contains(layer) {
                shape.extend([1, 1]);
            }
        }
        Some(TensorName {
            foreign,
            shape,
            ..tensor
        })
    }
}

struct Finder<'a> {
    table: &'a Table,
    plan: &'a Plan,
    found: Modules,
}

impl Finder<'_> {
    fn conv_norm(&mut self, layer: Layer, place: &Place, own: &ConvNorm) -> Option<()> {
        let &(_, convolution, norm) = self.row(layer)?;
        self.add(layer, place, convolution, own.weight);
        self.add(layer, place, norm, own.norm);
        Some(())
    }

    fn linear(&mut self, layer: Layer, place: &Place, own: &Linear) -> Option<()> {
        let &(_, name, _) = self.row(layer)?;
        self.add(layer, place, name, own.weight);
        Some(())
    }

    fn row(&self, layer: Layer) -> Option<&'static Row> {
        self.table.rows.iter().find(|row| row.0 == layer)
    }

    fn add(&mut self, layer: Layer, place: &Place, name: &str, weight: usize) {
        let (native, _) = split(&self.plan.parameters.segments()[weight].name);
        let names = (layer, place.fill(name));
        self.found.insert(native.to_owned(), names);
    }
}

/// Splits a tensor's name into the module and the name within the module.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('.').unwrap_or(("", name))
}

/// Values of the numbers that occur in names.
#[derive(Default)]
struct Place {
    index: usize,
    stage: usize,
    block: usize,
    after: usize,
    stages: usize,
}

impl Place {
    fn fill(&self, name: &str) -> String {
        [
            ("{i}", self.index),
            ("{stage}", self.stage),
            ("{block}", self.block),
            ("{after}", self.after),
            ("{after+2}", self.after + 2),
            ("{stages}", self.stages),
        ]
        .into_iter()
        .fold(name.to_owned(), |name, (hole, number)| {
            name.replace(hole, &number.to_string())
        })
    }
}

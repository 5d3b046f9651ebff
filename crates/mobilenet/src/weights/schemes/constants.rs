//! Tensors that torch's modules save although they follow from the network. Strict loading in torch needs them.

use engine::{Attention, Layer, Op, Plan};

use super::{Content, TensorName};

/// A tensor that follows from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Constant {
    /// For each two pixels of a window of this side, the row of the table of position biases.
    PositionIndex {
        /// Side of the window.
        window: usize,
    },
    /// Microsoft's masks of shifted windows: -100 for two pixels that are not neighbours, otherwise 0. They depend on the
    /// image size.
    AttentionMask {
        /// Index of the attention among the layers.
        layer: usize,
    },
}

const TABLE: &str = "relative_position_bias_table";
const INDEX: &str = "relative_position_index";
const MASK: &str = "attn_mask";

/// Whether a tensor with this name follows from the network.
pub(crate) fn is_constant(name: &str) -> bool {
    let leaf = name.rsplit_once('.').map_or(name, |(_, leaf)| leaf);
    matches!(leaf, INDEX | MASK)
}

fn attentions(plan: &Plan) -> impl Iterator<Item = (usize, &Layer, &Attention)> {
    let layers = plan.layers.iter().enumerate();
    layers.filter_map(|(index, layer)| match &layer.op {
        Op::Attention(attention) => Some((index, layer, attention)),
        _ => None,
    })
}

/// The constants that torchvision saves: name, shape, content.
pub(super) fn of(plan: &Plan) -> impl Iterator<Item = (String, Vec<usize>, Constant)> {
    attentions(plan).map(|(_, layer, &Attention { window, .. })| {
        let name = format!("{}.{INDEX}", layer.name);
        (
            name,
            vec![window.pow(4)],
            Constant::PositionIndex { window },
        )
    })
}

/// The names of a project that does not save the constants.
pub(crate) fn without(mut names: Vec<TensorName>) -> Vec<TensorName> {
    names.retain(|name| !matches!(name.content, Content::Constant(_)));
    names
}

/// Changes the constants to Microsoft's: the indices are matrices, and blocks with shifted windows have masks. `names`
/// are the names without masks.
pub(crate) fn microsoft(plan: &Plan, mut names: Vec<TensorName>) -> Vec<TensorName> {
    for name in &mut names {
        if let Content::Constant(Constant::PositionIndex { window }) = name.content {
            name.shape = Some(vec![window.pow(2); 2]);
        }
    }
    let shifted = attentions(plan).filter(|(_, _, attention)| attention.shift > 0);
    let masks: Vec<TensorName> = shifted
        .filter_map(|(layer, module, _)| {
            let table = format!("{}.{TABLE}", module.name);
            let table = names.iter().find(|name| name.native == table)?;
            let foreign = table.foreign.as_deref()?;
            let block = foreign.strip_suffix(TABLE)?.strip_suffix("attn.")?;
            Some(TensorName {
                native: format!("{}.{MASK}", module.name),
                foreign: Some(format!("{block}{MASK}")),
                shape: None,
                content: Content::Constant(Constant::AttentionMask { layer }),
            })
        })
        .collect();
    names.extend(masks);
    names
}

/// For each two pixels of a window, the row of the table of position biases (`relative_position_index`).
pub(crate) fn position_index(window: usize) -> Vec<i64> {
    let pixels = || (0..window).flat_map(|row| (0..window).map(move |column| (row, column)));
    let rows = 2 * window - 1;
    let pairs = pixels().flat_map(|a| pixels().map(move |b| (a, b)));
    pairs
        .map(|((row, column), (other_row, other_column))| {
            let below = row + window - 1 - other_row;
            let right = column + window - 1 - other_column;
            (below * rows + right) as i64
        })
        .collect()
}

/// Microsoft's mask of shifted windows on a map of `height` × `width`, and its shape. `None` if the project has no mask
/// there: the map is not larger than a window, or no multiple of it.
pub(crate) fn attention_mask(
    attention: &Attention,
    height: usize,
    width: usize,
) -> Option<(Vec<usize>, Vec<f32>)> {
    let &Attention { window, shift, .. } = attention;
    let sides = [height, width];
    let fits = (sides.iter()).all(|side| *side > window && side.is_multiple_of(window));
    if !fits || shift == 0 {
        return None;
    }
    // The parts of a side that are neighbours before the shift: all but the last window, and the last window's two parts.
    let part =
        |at: usize, side: usize| usize::from(at >= side - window) + usize::from(at >= side - shift);
    let pixels = window * window;
    let mut mask = Vec::with_capacity(height * width * pixels);
    for top in (0..height).step_by(window) {
        for left in (0..width).step_by(window) {
            let region = |pixel: usize| {
                let (row, column) = (top + pixel / window, left + pixel % window);
                (part(row, height), part(column, width))
            };
            let pairs = (0..pixels).flat_map(|a| (0..pixels).map(move |b| (a, b)));
            mask.extend(pairs.map(|(a, b)| if region(a) == region(b) { 0.0 } else { -100.0 }));
        }
    }
    let windows = (height / window) * (width / window);
    Some((vec![windows, pixels, pixels], mask))
}

#[cfg(test)]
mod tests {
    use engine::Linear;

    use super::*;

    #[test]
    fn positions_are_torchvisions() {
        // `swin_t().features[1][0].attn.relative_position_index` for a window of 2.
        let expected = [4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4];
        assert_eq!(position_index(2), expected);
    }

    #[test]
    fn masks_are_microsofts() {
        let linear = Linear {
            in_features: 1,
            out_features: 1,
            weight: 0,
            bias: None,
        };
        let attention = Attention {
            channels: 1,
            heads: 1,
            window: 2,
            shift: 1,
            table: 0,
            qkv: linear.clone(),
            project: linear,
        };
        let (shape, mask) = attention_mask(&attention, 4, 4).unwrap();
        assert_eq!(shape, [4, 4, 4]);
        // The top left window has no border. The top right one has a border between its columns.
        assert!(mask[..16].iter().all(|&value| value == 0.0));
        let (no, yes) = (0.0, -100.0);
        #[rustfmt::skip]
        let columns = [no, yes, no, yes, yes, no, yes, no, no, yes, no, yes, yes, no, yes, no];
        assert_eq!(mask[16..32], columns);
        #[rustfmt::skip]
        let rows = [no, no, yes, yes, no, no, yes, yes, yes, yes, no, no, yes, yes, no, no];
        assert_eq!(mask[32..48], rows);
        assert_eq!(mask[48..].iter().filter(|&&value| value == no).count(), 4);
        assert!(attention_mask(&attention, 2, 2).is_none());
        assert!(attention_mask(&attention, 5, 4).is_none());
    }
}

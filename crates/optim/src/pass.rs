//! The one parallel pass over the buffers.
//!
//! Every rule works element by element, so it does not matter to the result
//! where the pass is cut or which thread takes a part: one thread and many give
//! the same bits. The halving below needs no allocation and no `unsafe`.

use std::ops::Range;

use crate::rules::Update;

/// Longest stretch one task works through: with four buffers, 256 KiB, which a
/// core's second-level cache holds.
const GRAIN: usize = 16 * 1024;

/// A stretch of at most [`GRAIN`] parameters of one group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    range: Range<usize>,
    group: usize,
}

/// Cuts ranges, each with the index of its group, into pieces; the order is kept.
pub(crate) fn cut(ranges: &[(Range<usize>, usize)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (range, group) in ranges {
        for start in range.clone().step_by(GRAIN) {
            let end = range.end.min(start + GRAIN);
            let (range, group) = (start..end, *group);
            pieces.push(Piece { range, group });
        }
    }
    pieces
}

/// Aligned parts of all buffers: the same positions of each.
pub(crate) struct Buffers<'a> {
    pub(crate) parameters: &'a mut [f32],
    pub(crate) gradients: &'a [f32],
    /// The rule's own buffers; those it does not use are empty.
    pub(crate) state: [&'a mut [f32]; 2],
}

impl<'a> Buffers<'a> {
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (left, right) = self.parameters.split_at_mut(mid);
        let (left_gradients, right_gradients) = self.gradients.split_at(mid);
        let [first, second] = self.state;
        let (left_first, right_first) = first.split_at_mut(mid.min(first.len()));
        let (left_second, right_second) = second.split_at_mut(mid.min(second.len()));
        let left = Buffers {
            parameters: left,
            gradients: left_gradients,
            state: [left_first, left_second],
        };
        let right = Buffers {
            parameters: right,
            gradients: right_gradients,
            state: [right_first, right_second],
        };
        (left, right)
    }
}

/// Applies to every piece the update of its group.
///
/// `pieces` are in the order of the buffer and `offset` is the position in it
/// at which `buffers` start.
pub(crate) fn pass(pieces: &[Piece], updates: &[Update], offset: usize, buffers: Buffers<'_>) {
    let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
        return;
    };
    if pieces.len() == 1 || last.range.end - first.range.start <= GRAIN {
        return pass_in_order(pieces, updates, offset, buffers);
    }
    let (left_pieces, right_pieces) = pieces.split_at(pieces.len() / 2);
    let middle = right_pieces[0].range.start;
    let (left, right) = buffers.split_at(middle - offset);
    rayon::join(
        || pass(left_pieces, updates, offset, left),
        || pass(right_pieces, updates, middle, right),
    );
}

fn pass_in_order(pieces: &[Piece], updates: &[Update], offset: usize, buffers: Buffers<'_>) {
    let (mut rest, mut at) = (buffers, offset);
    for piece in pieces {
        let (_, from_piece) = rest.split_at(piece.range.start - at);
        let (part, after) = from_piece.split_at(piece.range.len());
        updates[piece.group].apply(part);
        (rest, at) = (after, piece.range.end);
    }
}

//! The parallel pass over all buffers.
//!
//! Most rules work element by element. Rules that centralise the gradients of a matrix work row by
//! row, and no row is ever divided. So the result does not depend on the division into tasks: it
//! has the same bits for any number of threads. The recursive halving below needs no allocation and
//! no `unsafe`.

use std::ops::Range;

use crate::rules::Update;

/// Maximum number of parameters in a task. Five buffers of this length take 320 KiB, which fits a
/// core's second-level cache.
pub(crate) const GRAIN: usize = 16 * 1024;

/// A contiguous part of one group's parameters: at most [`GRAIN`] parameters, or one longer row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) range: Range<usize>,
    pub(crate) group: usize,
    /// Length of a matrix row in this piece; 0 if the piece is not part of a matrix.
    pub(crate) row: usize,
}

/// Divides long pieces into pieces of whole rows, in the same order.
pub(crate) fn cut(stretches: &[Piece]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for stretch in stretches {
        let row = stretch.row.max(1);
        let length = (GRAIN / row).max(1) * row;
        for start in stretch.range.clone().step_by(length) {
            pieces.push(Piece {
                range: start..stretch.range.end.min(start + length),
                group: stretch.group,
                row: stretch.row,
            });
        }
    }
    pieces
}

/// The same range of indices in all buffers.
pub(crate) struct Buffers<'a> {
    pub(crate) parameters: &'a mut [f32],
    pub(crate) gradients: &'a [f32],
    /// The state buffers of the rule. Unused buffers are empty.
    pub(crate) state: [&'a mut [f32]; 3],
}

impl<'a> Buffers<'a> {
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (left, right) = self.parameters.split_at_mut(mid);
        let (left_gradients, right_gradients) = self.gradients.split_at(mid);
        let [first, second, third] = self.state;
        let (left_first, right_first) = first.split_at_mut(mid.min(first.len()));
        let (left_second, right_second) = second.split_at_mut(mid.min(second.len()));
        let (left_third, right_third) = third.split_at_mut(mid.min(third.len()));
        let left = Buffers {
            parameters: left,
            gradients: left_gradients,
            state: [left_first, left_second, left_third],
        };
        let right = Buffers {
            parameters: right,
            gradients: right_gradients,
            state: [right_first, right_second, right_third],
        };
        (left, right)
    }
}

/// Applies the update of the piece's group to every piece.
///
/// `pieces` are in buffer order. `offset` is the buffer index of the first element of `buffers`.
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
        updates[piece.group].apply(part, piece.row);
        (rest, at) = (after, piece.range.end);
    }
}

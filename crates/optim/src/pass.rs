//! The one parallel pass over the buffers.
//!
//! Every rule works element by element, or row by row if it centralises the gradients of a matrix;
//! no row is ever cut. So the other cuts and the assignment to threads do not affect the result:
//! any number of threads gives the same bits. The halving below needs no allocation and no
//! `unsafe`.

use std::ops::Range;

use crate::rules::Update;

/// Longest stretch of one task: with five buffers 320 KiB, which fits a core's second-level cache.
pub(crate) const GRAIN: usize = 16 * 1024;

/// A stretch of one group's parameters: at most [`GRAIN`] of them, or one longer row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) range: Range<usize>,
    pub(crate) group: usize,
    /// The length of its rows; 0 outside a matrix.
    pub(crate) row: usize,
}

/// Cuts stretches of any length into pieces of whole rows, in the same order.
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

/// The same index range of all buffers.
pub(crate) struct Buffers<'a> {
    pub(crate) parameters: &'a mut [f32],
    pub(crate) gradients: &'a [f32],
    /// The rule's own buffers; unused ones are empty.
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

/// Applies its group's update to every piece.
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

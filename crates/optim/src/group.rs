//! Parameter groups: parts of the parameter buffer with separate settings.

use std::ops::Range;

use crate::error::{Error, is_non_negative, require};
use crate::pass::{Piece, cut};

/// A named part of the parameter buffer with separate settings.
///
/// Parameters outside every group never change.
///
/// ```
/// use optim::ParameterGroup;
///
/// let backbone = ParameterGroup {
///     learning_rate_multiplier: 0.1,
///     ..ParameterGroup::new("backbone", 0..900)
/// };
/// let biases = ParameterGroup {
///     ranges: vec![900..910, 990..1000],
///     weight_decay: Some(0.0),
///     ..ParameterGroup::new("biases", 0..0)
/// };
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterGroup {
    /// Unique name. It identifies the group for freezing and in saved states.
    pub name: String,
    /// Ranges of indices in the buffer, in any order. They must not overlap.
    pub ranges: Vec<Range<usize>>,
    /// Multiplies the learning rate of every step.
    pub learning_rate_multiplier: f64,
    /// Replaces the optimizer's weight decay for this group.
    pub weight_decay: Option<f64>,
}

impl ParameterGroup {
    /// A group with one range and the optimizer's settings.
    pub fn new(name: impl Into<String>, range: Range<usize>) -> Self {
        Self {
            name: name.into(),
            ranges: vec![range],
            learning_rate_multiplier: 1.0,
            weight_decay: None,
        }
    }

    fn validate(&self, len: usize) -> Result<(), Error> {
        let section = format!("parameter group {}", self.name);
        let (rate, decay) = (
            self.learning_rate_multiplier,
            self.weight_decay.unwrap_or(0.0),
        );
        let expected = "a finite number >= 0";
        let ok = is_non_negative(rate);
        require(ok, &section, "learning_rate_multiplier", rate, expected)?;
        let ok = is_non_negative(decay);
        require(ok, &section, "weight_decay", decay, expected)?;
        match self.ranges.iter().find(|r| r.start > r.end || r.end > len) {
            None => Ok(()),
            Some(range) => Err(Error::Group {
                group: self.name.clone(),
                problem: format!("range {range:?} is not within the {len} parameters"),
            }),
        }
    }
}

/// A matrix in the buffer, in row-major order: the weight of a layer, with one row per output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// The matrix's range in the buffer.
    pub range: Range<usize>,
    /// Length of a row: the product of all dimensions except the first.
    pub row: usize,
    /// Whether this is the weight of a convolution (in torch: more than three dimensions).
    pub is_convolution: bool,
}

impl Matrix {
    fn validate(&self, len: usize) -> Result<(), Error> {
        let Range { start, end } = self.range;
        let ok =
            start <= end && end <= len && self.row > 0 && (end - start).is_multiple_of(self.row);
        require(
            ok,
            "optimizer",
            "matrices",
            format!("{start}..{end} in rows of {}", self.row),
            "whole rows within the parameters",
        )
    }
}

/// Checks the groups and divides them into pieces, in buffer order. Pieces inside `matrices`
/// consist of whole rows.
pub(crate) fn lay_out(
    groups: &[ParameterGroup],
    matrices: &[Matrix],
    len: usize,
) -> Result<Vec<Piece>, Error> {
    let mut ranges = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        group.validate(len)?;
        if groups[..index].iter().any(|other| other.name == group.name) {
            return Err(Error::Group {
                group: group.name.clone(),
                problem: "two groups have this name; give each its own".to_owned(),
            });
        }
        let filled = group.ranges.iter().filter(|range| !range.is_empty());
        ranges.extend(filled.map(|range| (range.clone(), index)));
    }
    ranges.sort_by_key(|(range, _)| range.start);
    for pair in ranges.windows(2) {
        let ((before, owner), (after, other)) = (&pair[0], &pair[1]);
        if after.start < before.end {
            let problem = format!(
                "range {after:?} overlaps range {before:?} of group `{}`; a parameter belongs to one group",
                groups[*owner].name
            );
            let group = groups[*other].name.clone();
            return Err(Error::Group { group, problem });
        }
    }
    let mut matrices: Vec<&Matrix> = matrices.iter().collect();
    matrices.sort_by_key(|matrix| matrix.range.start);
    matrices
        .iter()
        .try_for_each(|matrix| matrix.validate(len))?;
    let mut stretches = Vec::new();
    for (range, group) in ranges {
        divide(range, group, &matrices, &groups[group].name, &mut stretches)?;
    }
    Ok(cut(&stretches))
}

/// Divides a group's range into its matrices and the ranges between them.
fn divide(
    range: Range<usize>,
    group: usize,
    matrices: &[&Matrix],
    name: &str,
    stretches: &mut Vec<Piece>,
) -> Result<(), Error> {
    let mut at = range.start;
    let mut push = |range: Range<usize>, row| {
        if !range.is_empty() {
            stretches.push(Piece { range, group, row });
        }
    };
    let first = matrices.partition_point(|matrix| matrix.range.end <= range.start);
    let within = matrices[first..]
        .iter()
        .take_while(|m| m.range.start < range.end);
    for matrix in within {
        let whole = matrix.range.start >= at && matrix.range.end <= range.end;
        if !whole {
            let problem = format!(
                "its range {range:?} contains a part of the matrix at {:?}; a matrix must be within one range or outside all, and must not overlap another matrix",
                matrix.range
            );
            let group = name.to_owned();
            return Err(Error::Group { group, problem });
        }
        push(at..matrix.range.start, 0);
        push(matrix.range.clone(), matrix.row);
        at = matrix.range.end;
    }
    push(at..range.end, 0);
    Ok(())
}

//! Values that cannot be used as weights.

use std::fmt;

/// Unusable values in a tensor: NaN, infinite or, in a running variance, negative.
#[derive(Clone, Debug, PartialEq)]
pub struct BadNumbers {
    /// The tensor's name in the file.
    pub tensor: String,
    /// Index of the first unusable value, one number per dimension.
    pub index: Vec<usize>,
    /// The first unusable value, as an f32.
    pub value: f32,
    /// Number of unusable values.
    pub count: usize,
}

impl BadNumbers {
    /// Finds the unusable values of a tensor with this `shape`. `values` are in torch's order.
    pub(super) fn find(tensor: &str, shape: &[usize], values: &[f32]) -> Option<Self> {
        let least = match tensor.ends_with("running_var") {
            true => 0.0,
            false => f32::MIN,
        };
        // This form also catches NaN, because no range contains it.
        let is_bad = |value: &f32| !(least..=f32::MAX).contains(value);
        let first = values.iter().position(is_bad)?;
        let count = values[first..].iter().filter(|value| is_bad(value)).count();
        let mut rest = first;
        let mut index = vec![0; shape.len()];
        for (index, &side) in index.iter_mut().zip(shape).rev() {
            (*index, rest) = (rest % side, rest / side);
        }
        Some(BadNumbers {
            tensor: super::escaped(tensor),
            index,
            value: values[first],
            count,
        })
    }
}

impl fmt::Display for BadNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index: Vec<String> = self.index.iter().map(usize::to_string).collect();
        let index = index.join(", ");
        write!(f, "{}[{index}] is {}", self.tensor, self.value)
    }
}

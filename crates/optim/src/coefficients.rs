//! A step as plain numbers, for code that takes it elsewhere, for example on a GPU.

/// The coefficients of one step for one group of parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// The update rule.
    pub rule: RuleKind,
    /// The rule's numbers, in the order of its [`RuleKind`]; the others are 0.
    pub numbers: [f32; Coefficients::LEN],
}

impl Coefficients {
    /// The most numbers that a rule needs.
    pub const LEN: usize = 11;

    /// The numbers of a rule.
    pub(crate) fn new<const N: usize>(rule: RuleKind, own: [f32; N]) -> Self {
        let mut numbers = [0.0; Self::LEN];
        numbers[..N].copy_from_slice(&own);
        Self { rule, numbers }
    }
}

/// 1 for true.
pub(crate) fn switch(on: bool) -> f32 {
    f32::from(u8::from(on))
}

/// An update rule, with the order of its numbers. Switches are 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RuleKind {
    /// Nothing changes: the group is frozen.
    Hold,
    /// `l2, shrink, mean_weight, square_decay, square_weight, correction, eps, rate, amsgrad`
    Adam,
    /// `l2, decay, weight, look_ahead, rate, momentum, nesterov`
    Sgd,
    /// `l2, square_decay, weight, eps, momentum, rate, has_momentum, centered`
    RmsProp,
    /// `shrink, direction_weight, momentum_weight, learning_rate`
    Lion,
    /// `l2, shrink, mean_weight, variance_decay, variance_weight, correction, eps, rate, amsgrad, divides`
    AdaBelief,
    /// `shrink, mean_weight, square_decay, square_weight, eps, rate, divides, starts, meets, alpha`
    Ranger,
}

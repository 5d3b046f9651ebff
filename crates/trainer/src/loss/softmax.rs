//! The softmax of one image's logits, and the divergence of two softmaxes, in f64.
//!
//! A batch has only some thousand logits, so f64 costs little. It keeps precision for logits of ±10,000 and
//! probabilities near 1.

/// A softmax: its values and their natural logarithms.
pub(super) struct Softmax {
    pub(super) log: Vec<f64>,
    pub(super) values: Vec<f64>,
}

impl Softmax {
    /// The softmax of `logits / temperature`.
    pub(super) fn of(logits: &[f32], temperature: f64) -> Self {
        let scaled = logits.iter().map(|&z| f64::from(z) / temperature);
        let largest = scaled.clone().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scaled.clone().map(|z| (z - largest).exp()).sum();
        let log: Vec<f64> = scaled.map(|z| z - largest - sum.ln()).collect();
        let values = log.iter().map(|l| l.exp()).collect();
        Self { log, values }
    }
}

/// The cross-entropy of one image: `-ln softmax(logits)[label]`.
pub(crate) fn cross_entropy(logits: &[f32], label: u32) -> f64 {
    -Softmax::of(logits, 1.0).log[label as usize]
}

/// The distillation loss `T² KL(teacher || student)`, of softmaxes at temperature T. Returns `weight` times the loss,
/// and adds `weight` times its gradient with respect to the student's logits to `gradient`.
pub(super) fn divergence(
    logits: &[f32],
    teacher: &[f32],
    temperature: f64,
    weight: f64,
    gradient: &mut [f64],
) -> f64 {
    let student = Softmax::of(logits, temperature);
    let teacher = Softmax::of(teacher, temperature);
    let mut loss = 0.0;
    for (class, gradient) in gradient.iter_mut().enumerate() {
        let (p, q) = (student.values[class], teacher.values[class]);
        // q log q goes to 0 as q goes to 0.
        if q > 0.0 {
            loss += q * (teacher.log[class] - student.log[class]);
        }
        *gradient += weight * temperature * (p - q);
    }
    weight * temperature * temperature * loss
}

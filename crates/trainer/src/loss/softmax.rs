//! The softmax of one image's logits, and the distance of two, in f64.
//!
//! A batch has at most some thousand logits, so f64 costs nothing. Logits of ±10,000 and
//! probabilities near 1 keep their digits.

/// Natural logarithms of the softmax of some logits, and its values.
pub(super) struct Softmax {
    pub(super) log: Vec<f64>,
    pub(super) values: Vec<f64>,
}

impl Softmax {
    /// Of `logits / temperature`.
    pub(super) fn of(logits: &[f32], temperature: f64) -> Self {
        let scaled = logits.iter().map(|&z| f64::from(z) / temperature);
        let largest = scaled.clone().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scaled.clone().map(|z| (z - largest).exp()).sum();
        let log: Vec<f64> = scaled.map(|z| z - largest - sum.ln()).collect();
        let values = log.iter().map(|l| l.exp()).collect();
        Self { log, values }
    }
}

/// Adds `weight` times the gradient of the student's logits to `gradient`, and returns `weight` times
/// the loss: `T² KL(teacher || student)`, of softmaxes at temperature T.
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
        // q log q goes to 0 with q.
        if q > 0.0 {
            loss += q * (teacher.log[class] - student.log[class]);
        }
        *gradient += weight * temperature * (p - q);
    }
    weight * temperature * temperature * loss
}

//! The losses of one image, and their gradients by its logits, in f64.
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

/// Adds `weight` times the gradient to `gradient` and returns `weight` times the loss.
pub(super) fn cross_entropy(
    softmax: &Softmax,
    label: usize,
    class_weights: &[f64],
    smoothing: f64,
    weight: f64,
    gradient: &mut [f64],
) -> f64 {
    let share = smoothing / class_weights.len() as f64;
    let own = (1.0 - smoothing) * class_weights[label];
    let target =
        |class: usize| share * class_weights[class] + if class == label { own } else { 0.0 };
    let total: f64 = (0..class_weights.len()).map(target).sum();
    let mut loss = 0.0;
    for (class, gradient) in gradient.iter_mut().enumerate() {
        let target = target(class);
        // A class without a target adds nothing, however small its probability.
        if target != 0.0 {
            loss -= target * softmax.log[class];
        }
        *gradient += weight * (softmax.values[class] * total - target);
    }
    weight * loss
}

/// [`cross_entropy`] for `-alpha (1 - p)^gamma log p`.
pub(super) fn focal(
    softmax: &Softmax,
    label: usize,
    alpha: f64,
    gamma: f64,
    weight: f64,
    gradient: &mut [f64],
) -> f64 {
    // 1 - p as the sum of the other probabilities, since the subtraction would lose digits.
    let others = softmax.values.iter().enumerate();
    let rest: f64 = others.filter(|(c, _)| *c != label).map(|(_, p)| p).sum();
    let (p, log) = (softmax.values[label], softmax.log[label]);
    let factor = rest.powf(gamma);
    // The derivative by log p. As the remainder 1 - p goes to 0, so does the second term. In f64,
    // log p reaches 0 first, while a negative power of the remainder may still be infinite.
    let steepness = match gamma == 0.0 || log == 0.0 {
        true => 0.0,
        false => gamma * rest.powf(gamma - 1.0) * p * log,
    };
    let slope = -alpha * (factor - steepness);
    for (class, gradient) in gradient.iter_mut().enumerate() {
        let own = if class == label {
            rest
        } else {
            -softmax.values[class]
        };
        *gradient += weight * slope * own;
    }
    -weight * alpha * factor * log
}

/// [`cross_entropy`] for the mean over the classes, each against the rest.
pub(super) fn binary_cross_entropy(
    logits: &[f32],
    label: usize,
    class_weights: &[f64],
    smoothing: f64,
    weight: f64,
    gradient: &mut [f64],
) -> f64 {
    let classes = class_weights.len() as f64;
    let off = smoothing / classes;
    let mut loss = 0.0;
    for (class, gradient) in gradient.iter_mut().enumerate() {
        let z = f64::from(logits[class]);
        let target = off + if class == label { 1.0 - smoothing } else { 0.0 };
        let weight = weight * class_weights[class] / classes;
        loss += weight * (z.max(0.0) - z * target + (-z.abs()).exp().ln_1p());
        *gradient += weight * (1.0 / (1.0 + (-z).exp()) - target);
    }
    loss
}

/// [`cross_entropy`] for `T² KL(teacher || student)` of softmaxes at temperature T.
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

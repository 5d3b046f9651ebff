//! The forward passes of a batch.

use std::panic::{AssertUnwindSafe, catch_unwind};

use classifier::{Classifier, Image};
use tokio::sync::oneshot::Sender;

use super::Refused;
use super::network::{Logits, Prepared, Ready};

/// The logits of a batch: one forward pass for its images, and one for its tensors. Images without a request are left
/// out. If a pass fails, each of its images is computed alone, so that the others are not lost.
pub(super) fn logits(classifier: &Classifier, batch: Vec<Ready>) -> Vec<(Sender<Logits>, Logits)> {
    let (mut images, mut of_images) = (Vec::new(), Vec::new());
    let (mut values, mut of_values) = (Vec::new(), Vec::new());
    for Ready { input, answer, .. } in batch {
        match input {
            _ if answer.is_closed() => {}
            Prepared::Image(image) => {
                images.push(image);
                of_images.push(answer);
            }
            Prepared::Values(row) => {
                values.push(row);
                of_values.push(answer);
            }
        }
    }
    let pass_of_images = |images: &[Image]| classifier.logits_fitted(images);
    let pass_of_values = |rows: &[Vec<f32>]| match rows {
        [row] => classifier.logits_of_values(row, 1),
        rows => classifier.logits_of_values(&rows.concat(), rows.len()),
    };
    let logits = each(&images, &pass_of_images).into_iter();
    let of_images = of_images.into_iter().zip(logits);
    let logits = each(&values, &pass_of_values).into_iter();
    of_images.chain(of_values.into_iter().zip(logits)).collect()
}

/// The logits of each input, together if possible, otherwise alone.
fn each<T>(inputs: &[T], pass: &impl Fn(&[T]) -> classifier::Result<Vec<Vec<f32>>>) -> Vec<Logits> {
    if inputs.is_empty() {
        return Vec::new();
    }
    match caught(|| pass(inputs)) {
        Ok(rows) => rows.into_iter().map(Ok).collect(),
        Err(refused) if inputs.len() == 1 => vec![Err(refused)],
        Err(_) => {
            let alone = |input| {
                let mut rows = caught(|| pass(std::slice::from_ref(input)))?;
                rows.pop().ok_or(Refused::Closed)
            };
            inputs.iter().map(alone).collect()
        }
    }
}

/// The result of a forward pass, or its failure.
fn caught<T>(pass: impl FnOnce() -> classifier::Result<T>) -> Result<T, Refused> {
    match catch_unwind(AssertUnwindSafe(pass)) {
        Ok(result) => result.map_err(Refused::Failed),
        Err(panic) => Err(Refused::panicked(&*panic)),
    }
}

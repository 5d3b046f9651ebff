//! Decoding, apart from the threads of connections and of networks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use classifier::{Classifier, DecodeOptions, Image};
use tokio::sync::Semaphore;

use super::{Input, Refused};

/// The most bytes of the images of a request that are decoded at once, on the thread of the connection. Decoding a digit
/// takes 20 µs; the way to another thread and back takes 100 µs.
const SMALL: usize = 4 << 10;
/// The most memory in bytes for an image that is decoded at once. A small file can declare a large image.
const SMALL_MEMORY: u64 = 256 << 10;

/// The limit on images that are decoded or explained at once, shared by all models of a server. The work runs on tokio's
/// threads for blocking work, which are not those of connections.
#[derive(Clone)]
pub(crate) struct Decoders {
    free: Arc<Semaphore>,
}

impl Decoders {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
        }
    }

    /// Runs this work when a decoder is free. If the future is dropped before, the work never runs.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let free = Arc::clone(&self.free).acquire_owned().await;
        let permit = free.map_err(|_| Refused::Closed)?;
        let work = move || {
            let result = work();
            // The work may outlive its request, and is counted until its end.
            drop(permit);
            result
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| match error.try_into_panic() {
            Ok(panic) => Refused::panicked(&*panic),
            Err(_) => Refused::Closed,
        })
    }
}

/// Whether the images of a request are so small that they are decoded at once.
pub(super) fn are_small(inputs: &[Input]) -> bool {
    let bytes = |input: &Input| match input {
        Input::Image(bytes) => bytes.len(),
        Input::Tensor(_) => 0,
    };
    inputs.iter().map(bytes).sum::<usize>() <= SMALL
}

/// The classifier that [`try_now`] takes.
pub(super) fn at_once(classifier: &Classifier) -> Classifier {
    let options = classifier.decoding();
    classifier.clone().with_decoding(DecodeOptions {
        max_bytes: options.max_bytes.min(SMALL_MEMORY),
        ..options
    })
}

/// Decodes a small image on this thread. `None` for an image that needs much memory or is bad.
pub(super) fn try_now(classifier: &Classifier, bytes: &[u8]) -> Option<Image> {
    let decode = AssertUnwindSafe(|| classifier.fit(bytes));
    catch_unwind(decode).ok()?.ok()
}

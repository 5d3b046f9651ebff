//! The thread of a network, and the images that are ready for it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use classifier::{Classifier, Image};
use tokio::sync::oneshot;

use super::policy::{Moment, Pace, Policy, Step};
use super::{Refused, compute};
use crate::metrics::ModelMetrics;

/// An image that the network can compute.
pub(super) enum Prepared {
    /// An image of the network's size.
    Image(Image),
    /// Normalised values `[3, height, width]`.
    Values(Vec<f32>),
}

/// The logits of an image.
pub(super) type Logits = Result<Vec<f32>, Refused>;

/// An image that waits for its batch.
pub(super) struct Ready {
    /// Images become ready in the order of their numbers.
    number: u64,
    pub(super) input: Prepared,
    accepted: Instant,
    pub(super) since: Instant,
    pub(super) answer: oneshot::Sender<Logits>,
}

/// The images on their way to a network.
pub(super) struct Network {
    policy: Policy,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    coming: usize,
    ready: VecDeque<Ready>,
    next: u64,
    pace: Pace,
    last_end: Instant,
    sleep: Sleep,
    /// Whether the thread ends when no image is ready.
    ends: bool,
    /// Whether the thread has ended.
    has_ended: bool,
}

/// What the thread waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    /// It computes.
    No,
    /// For an image.
    ForImage,
    /// For more images of a batch, until a time has passed.
    ForBatch,
}

impl Network {
    /// Starts the thread.
    pub(super) fn start(
        name: &str,
        classifier: Arc<Classifier>,
        policy: Policy,
        metrics: ModelMetrics,
    ) -> io::Result<Arc<Self>> {
        let network = Arc::new(Self {
            policy,
            state: Mutex::new(State {
                coming: 0,
                ready: VecDeque::new(),
                next: 0,
                pace: Pace::default(),
                last_end: Instant::now(),
                sleep: Sleep::No,
                ends: false,
                has_ended: false,
            }),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&network);
        std::thread::Builder::new()
            .name(format!("network {name}"))
            .spawn(move || of_thread.work(&classifier, &metrics))?;
        Ok(network)
    }

    /// Announces an image. Until it is ready, batches wait for it.
    pub(super) fn coming(&self) -> Coming<'_> {
        self.lock().coming += 1;
        Coming {
            network: self,
            accepted: Instant::now(),
        }
    }

    /// Lets the thread end when no image is ready.
    pub(super) fn end(&self) {
        self.lock().ends = true;
        self.changed.notify_one();
    }

    /// The time until this many images are answered.
    pub(super) fn time_until_room(&self, images: usize) -> Duration {
        self.lock().pace.time_for(images, self.policy.max_batch)
    }

    /// Computes batches until the end.
    fn work(&self, classifier: &Classifier, metrics: &ModelMetrics) {
        // If this thread panics, its images must not wait for ever.
        let _end = End(self);
        while let Some(batch) = self.next_batch() {
            let begin = Instant::now();
            let images = batch.len();
            for ready in &batch {
                let waited = begin.duration_since(ready.since);
                metrics.queue.observe(waited.as_secs_f64());
            }
            let accepted = batch.first().map_or(begin, |first| first.accepted);
            let answers = compute::logits(classifier, batch);
            let end = Instant::now();
            metrics.batch.observe(images as f64);
            metrics.network.observe((end - begin).as_secs_f64());
            {
                let mut state = self.lock();
                let cycle = end - accepted.max(state.last_end);
                let crowd = images + state.ready.len() + state.coming;
                state.pace = state.pace.after(crowd, end - begin, cycle);
                state.last_end = end;
            }
            for (answer, logits) in answers {
                // A client that has gone needs no answer.
                let _ = answer.send(logits);
            }
        }
    }

    /// Waits for the next batch; `None` at the end.
    fn next_batch(&self) -> Option<Vec<Ready>> {
        let mut state = self.lock();
        loop {
            let step = match state.step(&self.policy, Instant::now()) {
                // No other image comes.
                Step::Wait(_) if state.ends => Step::Send(state.ready.len()),
                step => step,
            };
            match step {
                Step::Send(count) => {
                    state.sleep = Sleep::No;
                    return Some(state.ready.drain(..count).collect());
                }
                Step::Sleep if state.ends => return None,
                Step::Sleep => {
                    state.sleep = Sleep::ForImage;
                    let woken = self.changed.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
                Step::Wait(time) => {
                    state.sleep = Sleep::ForBatch;
                    let woken = self.changed.wait_timeout(state, time);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    /// Wakes the thread if it has something to do.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let is_due = match state.sleep {
            Sleep::No => false,
            Sleep::ForImage => !state.ready.is_empty(),
            Sleep::ForBatch => {
                matches!(state.step(&self.policy, Instant::now()), Step::Send(_))
            }
        };
        if is_due {
            // The thread is woken once.
            state.sleep = Sleep::No;
            drop(state);
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn step(&self, policy: &Policy, now: Instant) -> Step {
        let first = self.ready.front();
        let moment = Moment {
            ready: self.ready.len(),
            coming: self.coming,
            waited: first.map_or(Duration::ZERO, |first| now.duration_since(first.since)),
            idle: now.duration_since(self.last_end),
        };
        policy.step(moment, self.pace)
    }
}

/// An accepted image that is not ready yet.
pub(super) struct Coming<'n> {
    network: &'n Network,
    accepted: Instant,
}

impl Coming<'_> {
    /// The logits of the image. If the future is dropped, the image leaves its queue.
    pub(super) async fn logits(self, input: Prepared) -> Logits {
        let (answer, answered) = oneshot::channel();
        let waiting = {
            let mut state = self.network.lock();
            if state.has_ended {
                return Err(Refused::Closed);
            }
            let number = state.next;
            state.next += 1;
            state.ready.push_back(Ready {
                number,
                input,
                accepted: self.accepted,
                since: Instant::now(),
                answer,
            });
            Waiting {
                network: self.network,
                number,
            }
        };
        // It is no longer on its way, which may make its batch complete.
        drop(self);
        let logits = answered.await;
        waiting.done();
        logits.unwrap_or(Err(Refused::Closed))
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        let mut state = self.network.lock();
        state.coming -= 1;
        self.network.wake(state);
    }
}

/// An image that waits for its answer.
struct Waiting<'n> {
    network: &'n Network,
    number: u64,
}

impl Waiting<'_> {
    fn done(self) {
        std::mem::forget(self);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.network.lock();
        let number = |ready: &Ready| ready.number;
        if let Ok(index) = state.ready.binary_search_by_key(&self.number, number) {
            state.ready.remove(index);
        }
    }
}

/// Marks the end of the thread, and drops the images that are still there.
struct End<'n>(&'n Network);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.has_ended = true;
        state.ready.clear();
    }
}

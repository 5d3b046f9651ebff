//! One pass over a loader's samples, made by threads of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::error::{Error, Result};
use crate::loader::{HostBatch, LoaderOptions};
use crate::resize::Scaler;
use crate::store::Store;

/// The batches of one epoch, in order; see [`Loader::epoch`](crate::Loader::epoch).
///
/// Worker `w` of `n` makes batches `w`, `w + n`, `w + 2n`, … and sends them
/// through a bounded channel of its own. Asking the channels in turn gives the
/// batches in order, whoever is faster.
pub struct Epoch {
    receivers: Vec<Receiver<Result<HostBatch>>>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    batches: usize,
    next: usize,
    delivered: usize,
    /// Whether it is an error that every image was left out.
    must_deliver: bool,
    /// An error to yield before anything else.
    failed: Option<Error>,
}

impl Epoch {
    /// `order` is the sample indices of all batches, one batch after the other.
    pub(crate) fn start(store: &Arc<Store>, order: Vec<usize>, options: &LoaderOptions) -> Self {
        let batches = order.len().div_ceil(options.batch_size);
        let workers = options.workers.min(batches);
        let mut epoch = Self {
            receivers: Vec::new(),
            threads: Vec::new(),
            stop: Arc::default(),
            batches,
            next: 0,
            delivered: 0,
            must_deliver: true,
            failed: None,
        };
        let order = Arc::new(order);
        let running = Arc::new(AtomicUsize::new(workers));
        for first in 0..workers {
            let (sender, receiver) = sync_channel(options.prefetch.div_ceil(workers));
            let worker = Worker {
                store: Arc::clone(store),
                order: Arc::clone(&order),
                batch_size: options.batch_size,
                image_size: options.image_size,
                first,
                step: workers,
                stop: Arc::clone(&epoch.stop),
                running: Arc::clone(&running),
                sender,
            };
            let thread = thread::Builder::new()
                .name(format!("loader-{first}"))
                .spawn(move || worker.run());
            match thread {
                Ok(thread) => {
                    epoch.receivers.push(receiver);
                    epoch.threads.push(thread);
                }
                Err(error) => {
                    epoch.failed = Some(Error::Worker {
                        problem: format!("cannot start it: {error}"),
                    });
                    break;
                }
            }
        }
        epoch
    }

    /// The same epoch, for which it is no error that every image is left out.
    pub(crate) fn or_none(mut self) -> Self {
        self.must_deliver = false;
        self
    }

    fn end(&mut self, error: Error) -> Option<Result<HostBatch>> {
        self.next = self.batches;
        self.delivered = 1;
        self.stop.store(true, Ordering::Relaxed);
        Some(Err(error))
    }
}

impl Iterator for Epoch {
    type Item = Result<HostBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            return self.end(error);
        }
        while self.next < self.batches {
            let receiver = &self.receivers[self.next % self.receivers.len()];
            self.next += 1;
            match receiver.recv() {
                Ok(Ok(batch)) if batch.count == 0 => {}
                Ok(Ok(batch)) => {
                    self.delivered += 1;
                    return Some(Ok(batch));
                }
                Ok(Err(error)) => return self.end(error),
                Err(_) => {
                    return self.end(Error::Worker {
                        problem: "it sent nothing more".into(),
                    });
                }
            }
        }
        if self.must_deliver && self.delivered == 0 && self.batches > 0 {
            return self.end(Error::Setting {
                setting: "on_bad_image",
                problem: "every image was left out; the warnings say why".into(),
            });
        }
        None
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A worker that waits to send wakes up when nobody listens any more.
        self.receivers.clear();
        for thread in self.threads.drain(..) {
            // Its panic, if any, has been reported as a batch that never came.
            let _ = thread.join();
        }
    }
}

struct Worker {
    store: Arc<Store>,
    order: Arc<Vec<usize>>,
    batch_size: usize,
    image_size: usize,
    first: usize,
    step: usize,
    stop: Arc<AtomicBool>,
    /// Workers of this epoch that have not ended.
    running: Arc<AtomicUsize>,
    sender: SyncSender<Result<HostBatch>>,
}

impl Worker {
    fn run(self) {
        self.make_batches();
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            // While the last batches made are still waiting to be used.
            self.store.epoch_ended();
        }
    }

    fn make_batches(&self) {
        let mut scaler = Scaler::default();
        for indices in self
            .order
            .chunks(self.batch_size)
            .skip(self.first)
            .step_by(self.step)
        {
            let batch = self.batch(indices, &mut scaler);
            let failed = batch.is_err();
            if self.stop.load(Ordering::Relaxed) || self.sender.send(batch).is_err() || failed {
                return;
            }
        }
    }

    fn batch(&self, indices: &[usize], scaler: &mut Scaler) -> Result<HostBatch> {
        let size = self.image_size;
        let mut batch = HostBatch {
            count: 0,
            height: size,
            width: size,
            pixels: Vec::with_capacity(indices.len() * size * size * 3),
            labels: Vec::with_capacity(indices.len()),
            weights: Vec::with_capacity(indices.len()),
            ids: Vec::with_capacity(indices.len()),
        };
        for &index in indices {
            // What a stopped epoch has made so far is thrown away.
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if self.store.append(index, scaler, &mut batch.pixels)? {
                let sample = &self.store.samples[index];
                batch.count += 1;
                batch.labels.push(sample.label as u32);
                batch.weights.push(1.0);
                batch.ids.push(sample.id.clone());
            }
        }
        Ok(batch)
    }
}

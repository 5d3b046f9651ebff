//! One pass over a loader's samples, on separate threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::batch::{BatchMaker, HostBatch, Tools};
use crate::error::{Error, Result};
use crate::loader::LoaderOptions;

/// The batches of one epoch, in order; see [`Loader::epoch`](crate::Loader::epoch).
///
/// Worker `w` of `n` builds batches `w`, `w + n`, `w + 2n`, … and sends them through its own bounded channel. The
/// iterator reads the channels in turn, so batches arrive in order however fast each worker is. With several views, the
/// batches of the same samples are consecutive.
pub struct Epoch {
    receivers: Vec<Receiver<Result<HostBatch>>>,
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    batches: usize,
    /// The number of views: one worker sends a batch of the same samples for each.
    views: usize,
    /// The number of the first batch.
    first: usize,
    next: usize,
    delivered: usize,
    /// Whether it is an error if every image is left out.
    must_deliver: bool,
    /// An error to yield before anything else.
    failed: Option<Error>,
}

impl Epoch {
    /// `order` holds the sample indices of all batches, one batch after the other, of which the first `skipped` are
    /// not built. `number` is the epoch's number; without one, images are neither augmented nor mixed.
    pub(crate) fn start(
        maker: &Arc<BatchMaker>,
        order: Vec<usize>,
        skipped: usize,
        number: Option<u64>,
        options: &LoaderOptions,
    ) -> Self {
        let chunks = order.len().div_ceil(options.batch_size);
        let first = skipped.min(chunks);
        let workers = options.workers.min(chunks - first);
        let views = maker.views();
        let mut epoch = Self {
            receivers: Vec::new(),
            threads: Vec::new(),
            stop: Arc::default(),
            batches: chunks * views,
            views,
            first,
            next: first * views,
            delivered: 0,
            // The batches before had images.
            must_deliver: first == 0,
            failed: None,
        };
        // A channel allocates its slots at once, so it gets at most one per batch.
        let ahead = options.prefetch.min(epoch.batches - epoch.next);
        let order = Arc::new(order);
        let running = Arc::new(AtomicUsize::new(workers));
        for index in 0..workers {
            let (sender, receiver) = sync_channel(ahead.div_ceil(workers));
            let worker = Worker {
                maker: Arc::clone(maker),
                order: Arc::clone(&order),
                number,
                batch_size: options.batch_size,
                first: first + index,
                step: workers,
                stop: Arc::clone(&epoch.stop),
                running: Arc::clone(&running),
                sender,
            };
            let thread = thread::Builder::new()
                .name(format!("loader-{index}"))
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

    /// Makes it no error if every image is left out.
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
            let receiver =
                &self.receivers[(self.next / self.views - self.first) % self.receivers.len()];
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
                        problem: "it sent no more batches".into(),
                    });
                }
            }
        }
        if self.must_deliver && self.delivered == 0 && self.batches > 0 {
            return self.end(Error::EveryImageLeftOut);
        }
        None
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Dropping the receivers wakes up workers that wait to send.
        self.receivers.clear();
        for thread in self.threads.drain(..) {
            // A panic outside of an image was already reported as a missing batch.
            let _ = thread.join();
        }
    }
}

struct Worker {
    maker: Arc<BatchMaker>,
    order: Arc<Vec<usize>>,
    /// The epoch's number.
    number: Option<u64>,
    batch_size: usize,
    first: usize,
    step: usize,
    stop: Arc<AtomicBool>,
    /// The number of workers of this epoch that are still running.
    running: Arc<AtomicUsize>,
    sender: SyncSender<Result<HostBatch>>,
}

impl Worker {
    fn run(self) {
        self.make_batches();
        if self.running.fetch_sub(1, Ordering::AcqRel) == 1 {
            // This runs while the caller still uses the last batches.
            self.maker.store.epoch_ended();
        }
    }

    fn make_batches(&self) {
        let mut tools = Tools::default();
        let chunks = self.order.chunks(self.batch_size).enumerate();
        for (batch, indices) in chunks.skip(self.first).step_by(self.step) {
            let made = self
                .maker
                .make(indices, batch, self.number, &mut tools, &self.stop);
            let (batches, failed) = match made {
                Ok(batches) => (batches.into_iter().map(Ok).collect(), false),
                Err(error) => (vec![Err(error)], true),
            };
            for batch in batches {
                if self.stop.load(Ordering::Relaxed) || self.sender.send(batch).is_err() {
                    return;
                }
            }
            if failed {
                return;
            }
        }
    }
}

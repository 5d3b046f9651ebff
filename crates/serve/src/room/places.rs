//! The bounded queue: places for images that are accepted and not yet answered.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Refused;
use crate::metrics::{ModelMetrics, Reason};

/// The places of a model.
pub(super) struct Places {
    most: usize,
    free: Semaphore,
    metrics: ModelMetrics,
}

/// The place of an accepted image, until its answer is taken or its request is dropped.
pub(super) struct Place<'p> {
    metrics: &'p ModelMetrics,
    is_settled: bool,
    _permit: SemaphorePermit<'p>,
}

impl Places {
    pub(super) fn new(most: usize, metrics: ModelMetrics) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            most,
            free: Semaphore::new(most),
            metrics,
        }
    }

    /// Takes a place for each image, or none. `time_until_room` estimates the time until this many more places are free.
    pub(super) fn take(
        &self,
        images: usize,
        time_until_room: impl FnOnce(usize) -> Duration,
    ) -> Result<Vec<Place<'_>>, Refused> {
        let refuse = |refused| {
            let counter = self.metrics.refused(Reason::Full);
            counter.inc_by(images as u64);
            Err(refused)
        };
        let most = self.most;
        let count = u32::try_from(images).unwrap_or(u32::MAX);
        if images > most {
            return refuse(Refused::TooMany { images, most });
        }
        let Ok(mut permits) = self.free.try_acquire_many(count) else {
            let missing = images.saturating_sub(self.free.available_permits());
            let retry_after = time_until_room(missing.max(1));
            return refuse(Refused::Full { retry_after });
        };
        let mut places = Vec::with_capacity(images);
        while let Some(permit) = permits.split(1) {
            self.metrics.queued.inc();
            places.push(Place {
                metrics: &self.metrics,
                is_settled: false,
                _permit: permit,
            });
        }
        Ok(places)
    }
}

impl Place<'_> {
    /// Counts the answer, and frees the place.
    pub(super) fn settled<T>(
        mut self,
        answer: Result<Result<T, String>, Refused>,
    ) -> Result<Result<T, String>, Refused> {
        self.is_settled = true;
        let counter = match &answer {
            Ok(Ok(_)) => &self.metrics.answered,
            Ok(Err(_)) => self.metrics.refused(Reason::Image),
            Err(Refused::Failed(error)) if error.is_usage() => self.metrics.refused(Reason::Image),
            Err(_) => self.metrics.refused(Reason::Failed),
        };
        counter.inc();
        answer
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.metrics.queued.dec();
        if !self.is_settled {
            self.metrics.cancelled.inc();
        }
    }
}

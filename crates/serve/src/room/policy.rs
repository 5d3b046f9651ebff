//! When a batch is sent. Pure functions of the queue's state.

use std::time::Duration;

/// The limits of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// The most images of a batch.
    pub(super) max_batch: usize,
    /// The longest time that an image waits for others.
    pub(super) max_wait: Duration,
}

/// The state of a queue while its network is idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// Images that can be computed.
    pub(super) ready: usize,
    /// Images that were accepted and are being decoded, or wait for that.
    pub(super) coming: usize,
    /// The time since the first image of `ready` is ready.
    pub(super) waited: Duration,
    /// The time since the last batch was done.
    pub(super) idle: Duration,
}

/// What the network does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Waits for an image.
    Sleep,
    /// Waits for more images, at most for this time.
    Wait(Duration),
    /// Computes this number of images.
    Send(usize),
}

impl Policy {
    /// A batch is sent when it is full, when its first image has waited for `max_wait`, or when no other image is
    /// expected. Others are expected while they are on their way. They are also expected for a short time after a pass, if
    /// more images were there at its end than are ready now: their clients may send the next ones. A single client never
    /// waits.
    pub(super) fn step(&self, moment: Moment, pace: Pace) -> Step {
        let Moment {
            ready,
            coming,
            waited,
            idle,
        } = moment;
        if ready == 0 {
            return Step::Sleep;
        }
        let rest = self.max_wait.saturating_sub(waited);
        if ready >= self.max_batch || rest.is_zero() {
            return Step::Send(ready.min(self.max_batch));
        }
        if coming > 0 {
            return Step::Wait(rest);
        }
        let window = pace.window().saturating_sub(idle);
        if ready < pace.crowd && !window.is_zero() {
            return Step::Wait(rest.min(window));
        }
        Step::Send(ready)
    }
}

/// The recent batches of a network.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// The images that were there at the end of the last pass: those of its batch, and all others that were accepted. If
    /// each client sends its next image after an answer, this is the number of clients.
    pub(super) crowd: usize,
    /// The smoothed time of a forward pass.
    pub(super) pass: Duration,
    /// The smoothed time from one batch to the next while images are accepted.
    pub(super) cycle: Duration,
}

impl Pace {
    /// The pace after a pass. `cycle` is the time since the last pass or since the first image of this batch was accepted,
    /// whichever is shorter.
    pub(super) fn after(self, crowd: usize, pass: Duration, cycle: Duration) -> Self {
        let smoothed = |old: Duration, new: Duration| match old {
            Duration::ZERO => new,
            old => (old * 3 + new) / 4,
        };
        Self {
            crowd,
            pass: smoothed(self.pass, pass),
            cycle: smoothed(self.cycle, cycle),
        }
    }

    /// The time in which the clients of a batch are expected to send their next images. Larger batches pay for it: a pass
    /// of one image takes nearly as long as one of eight.
    fn window(self) -> Duration {
        self.pass
    }

    /// The time until this many images are answered, if the queue is full.
    pub(super) fn time_for(self, images: usize, max_batch: usize) -> Duration {
        let batches = images.div_ceil(max_batch);
        self.cycle * u32::try_from(batches).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_batch_is_sent_when_it_is_full_or_nobody_else_is_expected() {
        let policy = Policy {
            max_batch: 8,
            max_wait: MS(5),
        };
        // Four images were there at the end of the last pass, and the window is 3 ms.
        let pace = Pace {
            crowd: 4,
            pass: MS(3),
            cycle: MS(8),
        };
        let long = Duration::from_secs(9);
        for (ready, coming, waited, idle, expected) in [
            // Nothing is ready.
            (0, 0, MS(0), long, Step::Sleep),
            (0, 9, MS(0), MS(0), Step::Sleep),
            // The batch is full.
            (8, 0, MS(0), MS(0), Step::Send(8)),
            (20, 20, MS(0), MS(0), Step::Send(8)),
            // The first image has waited long enough.
            (1, 7, MS(5), MS(0), Step::Send(1)),
            (3, 0, MS(6), MS(0), Step::Send(3)),
            // Others are on their way.
            (1, 1, MS(0), long, Step::Wait(MS(5))),
            (7, 1, MS(2), long, Step::Wait(MS(3))),
            // No others are on their way, and the network was idle: nobody is expected.
            (1, 0, MS(0), long, Step::Send(1)),
            (1, 0, MS(0), MS(3), Step::Send(1)),
            // A pass is just done, so its clients may come again.
            (1, 0, MS(0), MS(0), Step::Wait(MS(3))),
            (3, 0, MS(1), MS(2), Step::Wait(MS(1))),
            (3, 0, MS(3), MS(0), Step::Wait(MS(2))),
            // As many as before are there.
            (4, 0, MS(0), MS(0), Step::Send(4)),
            (5, 0, MS(0), MS(0), Step::Send(5)),
        ] {
            let moment = Moment {
                ready,
                coming,
                waited,
                idle,
            };
            assert_eq!(policy.step(moment, pace), expected, "{moment:?}");
        }
    }

    /// The sizes of batches of clients that each send an image, wait for its answer, and send the next one after `think`,
    /// one client after the other. A pass takes 200 µs and 20 µs for each image.
    fn closed_loop(clients: u32, think: Duration, passes: usize) -> Vec<usize> {
        const US: fn(u64) -> Duration = Duration::from_micros;
        let policy = Policy {
            max_batch: 32,
            max_wait: MS(2),
        };
        let (mut now, mut last_end) = (Duration::ZERO, Duration::ZERO);
        let mut arrivals: Vec<Duration> = (1..=clients).map(|client| think * client).collect();
        let (mut pace, mut sizes) = (Pace::default(), Vec::new());
        while sizes.len() < passes {
            arrivals.sort();
            let ready = arrivals.iter().filter(|time| **time <= now).count();
            let moment = Moment {
                ready,
                coming: 0,
                waited: now.saturating_sub(arrivals[0]),
                idle: now - last_end,
            };
            let next = arrivals.get(ready).copied();
            match policy.step(moment, pace) {
                Step::Sleep => now = next.unwrap(),
                Step::Wait(time) => now = next.map_or(now + time, |next| next.min(now + time)),
                Step::Send(count) => {
                    let pass = US(200) + US(20) * count as u32;
                    now += pass;
                    let crowd = arrivals.iter().filter(|time| **time <= now).count();
                    pace = pace.after(crowd, pass, now - last_end);
                    last_end = now;
                    let again = (1..=count as u32).map(|client| now + think * client);
                    arrivals = again.chain(arrivals.drain(count..)).collect();
                    sizes.push(count);
                }
            }
        }
        sizes
    }

    #[test]
    fn clients_find_a_common_batch() {
        let think = Duration::from_micros(15);
        assert_eq!(closed_loop(1, think, 5), [1, 1, 1, 1, 1]);
        for clients in [2, 8, 20, 32] {
            let sizes = closed_loop(clients, think, 10);
            assert!(
                sizes[5..].iter().all(|&size| size == clients as usize),
                "{sizes:?}"
            );
        }
        // More clients than a batch holds keep the batches full.
        let sizes = closed_loop(64, think, 10);
        assert!(sizes[5..].iter().all(|&size| size == 32), "{sizes:?}");
    }

    #[test]
    fn clients_who_come_rarely_are_answered_alone() {
        assert_eq!(closed_loop(3, MS(30), 9), [1; 9]);
    }

    #[test]
    fn a_batch_of_one_never_waits() {
        let policy = Policy {
            max_batch: 1,
            max_wait: MS(5),
        };
        let pace = Pace::default().after(1, MS(10), MS(10));
        let moment = Moment {
            ready: 1,
            coming: 9,
            waited: MS(0),
            idle: MS(0),
        };
        assert_eq!(policy.step(moment, pace), Step::Send(1));
    }

    #[test]
    fn the_pace_is_smoothed() {
        let first = Pace::default().after(4, MS(8), MS(12));
        assert_eq!((first.pass, first.cycle), (MS(8), MS(12)));
        let second = first.after(2, MS(4), MS(16));
        assert_eq!(
            (second.crowd, second.pass, second.cycle),
            (2, MS(7), MS(13))
        );
        assert_eq!(second.time_for(1, 8), MS(13));
        assert_eq!(second.time_for(8, 8), MS(13));
        assert_eq!(second.time_for(9, 8), MS(26));
        assert_eq!(Pace::default().time_for(9, 8), MS(0));
    }
}

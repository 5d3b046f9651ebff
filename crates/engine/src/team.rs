//! A team of threads that work through tasks together.
//!
//! The caller is one of the threads. Each thread is assigned an equal share of the tasks in
//! advance, so that it finds the same data in its cache again. A thread that finishes early takes
//! over tasks that other threads have not started. An idle thread spins for some microseconds and
//! then sleeps, so that other programs can use the processor. During a pass, more work follows soon,
//! so it spins longer.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Number of spins before a thread sleeps. They take about 25 microseconds, as long as a virtual
/// machine needs to wake a thread.
const SPINS: usize = 1000;

/// Number of spins during a pass, about a millisecond. Threads differ by that much in a phase on a
/// busy machine.
const PASS_SPINS: usize = 40_000;

/// Number of spins after which a waiting thread lets others have the processor: a few microseconds. The system call takes
/// about as long as a wait between two phases.
const YIELD: usize = 256;

/// Called as `work(task, thread)`.
type Work<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// A team of threads that wait for work.
pub(crate) struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Locked by the caller: only one job runs at a time.
    turn: Mutex<()>,
}

struct Shared {
    /// The number of the current or last job.
    job: AtomicUsize,
    /// The current job's work: a pointer to the caller's `Work`.
    work: AtomicPtr<()>,
    tasks: AtomicUsize,
    /// For each thread, its next task in the low bits and the number of the job above (see
    /// [`claim`]).
    next: Vec<Line<AtomicU64>>,
    /// Number of finished tasks.
    done: Line<AtomicUsize>,
    stop: AtomicBool,
    /// Number of passes under way.
    passes: AtomicUsize,
    asleep: AtomicUsize,
    lock: Mutex<()>,
    /// Signals that a job has started, or that the threads must exit.
    begun: Condvar,
    /// Signals that a job is done.
    finished: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A value that shares its cache lines with no other value.
#[repr(align(128))]
struct Line<T>(T);

impl Team {
    /// Starts a team of this many threads, including the caller. If the system starts fewer
    /// threads, the team is smaller.
    pub(crate) fn new(threads: usize) -> Self {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            job: AtomicUsize::new(0),
            work: AtomicPtr::default(),
            tasks: AtomicUsize::new(0),
            next: (0..threads).map(|_| Line(AtomicU64::new(0))).collect(),
            done: Line(AtomicUsize::new(0)),
            stop: AtomicBool::new(false),
            passes: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            lock: Mutex::default(),
            begun: Condvar::new(),
            finished: Condvar::new(),
            panic: Mutex::default(),
        });
        let start = |thread| {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("engine-{thread}"))
                .spawn(move || shared.serve(thread))
        };
        Self {
            threads: (1..threads)
                .map_while(|thread| start(thread).ok())
                .collect(),
            shared,
            turn: Mutex::default(),
        }
    }

    /// Number of threads. The second argument of `work` is below this number.
    pub(crate) fn size(&self) -> usize {
        self.shared.next.len()
    }

    /// Tells the threads that several jobs follow each other, until the result is dropped.
    pub(crate) fn pass(&self) -> TeamPass<'_> {
        self.shared.passes.fetch_add(1, Ordering::Relaxed);
        TeamPass(&self.shared)
    }

    /// Calls `work(task, thread)` once for each task below `tasks`, and returns when all are done.
    /// Tasks that run at the same time have different thread numbers.
    ///
    /// If a task panics, the panic continues here when all other tasks are done.
    pub(crate) fn run(&self, tasks: usize, work: impl Fn(usize, usize) + Sync) {
        let _turn = lock(&self.turn);
        if self.threads.is_empty() || tasks <= 1 {
            return (0..tasks).for_each(|task| work(task, 0));
        }
        let shared = &*self.shared;
        let work: Work<'_> = &work;
        let job = shared.job.load(Ordering::Relaxed) + 1;
        // Invalidates the previous job's counters before the number of tasks changes. Otherwise a
        // late thread could claim a task that the previous job did not have.
        for next in &shared.next {
            next.0.store(label(job) | NONE_LEFT, Ordering::Relaxed);
        }
        shared
            .work
            .store((&raw const work).cast_mut().cast(), Ordering::Relaxed);
        shared.tasks.store(tasks, Ordering::Release);
        shared.done.0.store(0, Ordering::Relaxed);
        for (thread, next) in shared.next.iter().enumerate() {
            let first = share(tasks, thread, shared.next.len());
            next.0.store(label(job) | first as u64, Ordering::Release);
        }
        shared.job.store(job, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) > 0 {
            drop(lock(&shared.lock));
            shared.begun.notify_all();
        }
        shared.work_on(job, 0);
        shared.wait_until(&shared.finished, || {
            shared.done.0.load(Ordering::SeqCst) == tasks
        });
        let panic = lock(&shared.panic).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// Several jobs that follow each other.
pub(crate) struct TeamPass<'a>(&'a Shared);

impl Drop for TeamPass<'_> {
    fn drop(&mut self) {
        self.0.passes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.lock));
        self.shared.begun.notify_all();
        for thread in self.threads.drain(..) {
            // The thread catches every panic.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, thread: usize) {
        let mut seen = 0;
        loop {
            let stop = || self.stop.load(Ordering::SeqCst);
            self.wait_until(&self.begun, || {
                stop() || self.job.load(Ordering::SeqCst) != seen
            });
            if stop() {
                return;
            }
            seen = self.job.load(Ordering::SeqCst);
            self.work_on(seen, thread);
        }
    }

    fn wait_until(&self, signal: &Condvar, ready: impl Fn() -> bool) {
        for spin in 1..=PASS_SPINS {
            if ready() {
                return;
            }
            if spin > SPINS && self.passes.load(Ordering::Relaxed) == 0 {
                break;
            }
            // The thread that this one waits for may need the same processor.
            if spin % YIELD == 0 {
                thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
        let mut guard = lock(&self.lock);
        self.asleep.fetch_add(1, Ordering::SeqCst);
        while !ready() {
            guard = signal.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.asleep.fetch_sub(1, Ordering::SeqCst);
    }

    fn work_on(&self, job: usize, thread: usize) {
        let threads = self.next.len();
        for owner in (0..threads).map(|distance| (thread + distance) % threads) {
            while let Some(task) = self.claim(job, owner) {
                // SAFETY: the job does not end before a claimed task is counted as done below.
                // Until then the caller's `work` is alive.
                let work = unsafe { *self.work.load(Ordering::Relaxed).cast::<Work<'_>>() };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(task, thread))) {
                    lock(&self.panic).get_or_insert(panic);
                }
                let tasks = self.tasks.load(Ordering::Relaxed);
                // The job may end after this line, so only the team's own atomics are used from
                // here on.
                let done = self.done.0.fetch_add(1, Ordering::SeqCst) + 1;
                if done == tasks && self.asleep.load(Ordering::SeqCst) > 0 {
                    drop(lock(&self.lock));
                    self.finished.notify_all();
                }
            }
        }
    }

    /// Claims the next task assigned to `owner`, unless the job is over.
    ///
    /// A thread that wakes up late may find tasks of a newer job here. It notices this by the job
    /// number stored with the task. It may also read the newer job's number of tasks. Then the
    /// exchange fails, because the job number changed before the number of tasks was written.
    fn claim(&self, job: usize, owner: usize) -> Option<usize> {
        let next = &self.next[owner].0;
        let mut current = next.load(Ordering::Acquire);
        loop {
            let tasks = self.tasks.load(Ordering::Acquire);
            let task = (current & NONE_LEFT) as usize;
            if current & !NONE_LEFT != label(job)
                || task >= share(tasks, owner + 1, self.next.len())
            {
                return None;
            }
            match next.compare_exchange_weak(
                current,
                current + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(task),
                Err(actual) => current = actual,
            }
        }
    }
}

/// Marks that no task is left: larger than every task index. Also the mask of the bits below a job
/// number.
const NONE_LEFT: u64 = u32::MAX as u64;

fn label(job: usize) -> u64 {
    (job as u64) << 32
}

/// The first task assigned to a thread.
fn share(tasks: usize, thread: usize, threads: usize) -> usize {
    tasks * thread / threads
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_done_once_job_after_job() {
        for threads in [1, 2, 3, 8] {
            let team = Team::new(threads);
            for tasks in [0, 1, 2, 7, 100] {
                let counts: Vec<_> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                let repeats = if cfg!(miri) { 2 } else { 200 };
                for _ in 0..repeats {
                    team.run(tasks, |task, thread| {
                        assert!(thread < threads);
                        counts[task].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == repeats));
            }
        }
    }

    /// A late thread of a small job must not take tasks of the next, larger job.
    #[test]
    fn jobs_of_changing_sizes() {
        for threads in [2, 3] {
            let team = Team::new(threads);
            let counts: Vec<_> = (0..64).map(|_| AtomicUsize::new(0)).collect();
            let jobs = if cfg!(miri) { 20 } else { 50_000 };
            for job in 0..jobs {
                let tasks = if job % 2 == 0 { 2 } else { 2 + job * 7 % 62 };
                team.run(tasks, |task, _| {
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
                for count in &counts[..tasks] {
                    let count = count.swap(0, Ordering::Relaxed);
                    assert_eq!(count, 1, "job {job} of {tasks}");
                }
            }
        }
    }

    #[test]
    fn sleeping_threads_wake_up() {
        let team = Team::new(2);
        for round in 0..4 {
            let _pass = (round % 2 == 1).then(|| team.pass());
            thread::sleep(std::time::Duration::from_millis(20));
            let done = AtomicUsize::new(0);
            // The second task cannot end before the first has started, so both threads take part.
            let barrier = std::sync::Barrier::new(2);
            team.run(2, |_, _| {
                barrier.wait();
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 2);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_lives_on() {
        let team = Team::new(2);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            team.run(8, |task, _| assert!(task != 5, "task five"));
        }));
        let message = caught.unwrap_err();
        assert!(
            message
                .downcast_ref::<&str>()
                .unwrap()
                .contains("task five")
        );
        let done = AtomicUsize::new(0);
        team.run(8, |_, _| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 8);
    }

    #[test]
    fn two_callers_take_turns() {
        let team = Team::new(2);
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        team.run(4, |_, _| {
                            done.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 800);
    }
}

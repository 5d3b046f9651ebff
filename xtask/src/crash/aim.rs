//! Chooses the moment of a kill, and kills.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::folder::{self, Temporary};
use crate::chance::Chance;

/// The time between two looks at a folder.
const TICK: Duration = Duration::from_micros(100);
/// A process that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(300);
const SIGKILL: i32 = 9;

/// The moment of a signal.
#[derive(Debug)]
pub(super) struct Aim {
    moment: Moment,
    /// How long after the moment.
    after: Duration,
    /// Whether the process may save its state before it ends: SIGTERM instead of SIGKILL.
    pub(super) is_gentle: bool,
}

#[derive(Debug)]
enum Moment {
    Start,
    /// The appearance of the n-th temporary of a state.
    Save(u64),
    /// The appearance of the n-th temporary of weights.
    Weights(u64),
}

impl Aim {
    /// A moment in a process that would run for about `rest`; half of them are aimed at writes of states and weights.
    pub(super) fn choose(chance: &mut Chance, rest: Duration) -> Self {
        let is_gentle = chance.within(0..10) == 0;
        // A save takes a few milliseconds, so the kill falls into its beginning, its end, or shortly after it.
        let near = chance.time(Duration::from_millis(6));
        let (moment, after) = match chance.within(0..20) {
            0..7 => (Moment::Save(chance.within(1..7)), near),
            7..10 => (Moment::Weights(chance.within(1..3)), near / 8),
            _ => (Moment::Start, chance.time(rest)),
        };
        Self {
            moment,
            after,
            is_gentle,
        }
    }
}

/// How a process ended.
pub(super) enum End {
    /// By the signal.
    Killed,
    /// On its own, perhaps asked by the gentle signal.
    Exited(ExitStatus),
}

/// Waits for the moment and sends the signal. A process that ends before is not signalled.
pub(super) fn shoot(mut child: Child, aim: &Aim, run: &Path) -> Result<End> {
    let (start, mut seen) = (Instant::now(), Seen::before(run));
    while !seen.is_now(&aim.moment, run) {
        if let Some(status) = child.try_wait()? {
            return Ok(End::Exited(status));
        }
        check_patience(&mut child, start)?;
        sleep(TICK);
    }
    sleep(aim.after);
    match aim.is_gentle {
        true => terminate(&child)?,
        // SIGKILL. A process that has just ended is no error.
        false => child.kill()?,
    }
    let status = wait(child)?;
    match signal(status) == Some(SIGKILL) {
        true => Ok(End::Killed),
        false => Ok(End::Exited(status)),
    }
}

/// Waits for the end of a process. One that hangs is killed, which is an error.
pub(super) fn wait(mut child: Child) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        check_patience(&mut child, start)?;
        sleep(10 * TICK);
    }
}

fn check_patience(child: &mut Child, start: Instant) -> Result<()> {
    if start.elapsed() > PATIENCE {
        child.kill()?;
        child.wait()?;
        bail!("a run did not end within {} s", PATIENCE.as_secs());
    }
    Ok(())
}

/// Sends SIGTERM.
fn terminate(child: &Child) -> Result<()> {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status()?;
    ensure!(sent.success(), "kill -TERM {id} failed: {sent}");
    Ok(())
}

/// The signal that ended a process.
#[cfg(unix)]
pub(super) fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
pub(super) fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

/// The temporaries that have appeared in a run's folder.
struct Seen {
    names: BTreeSet<String>,
    saves: u64,
    weights: u64,
}

impl Seen {
    /// A process before this one may have left temporaries.
    fn before(run: &Path) -> Self {
        let left = folder::temporaries(run);
        Self {
            names: left.into_iter().map(|(name, _)| name).collect(),
            saves: 0,
            weights: 0,
        }
    }

    /// Looks at the folder.
    fn is_now(&mut self, moment: &Moment, run: &Path) -> bool {
        let expected = match moment {
            Moment::Start => return true,
            Moment::Save(_) => Temporary::State,
            Moment::Weights(_) => Temporary::Weights,
        };
        for (name, kind) in folder::temporaries(run) {
            // Weights are known by their first bytes, so an empty file is looked at again.
            if kind == expected && self.names.insert(name) {
                match kind {
                    Temporary::State => self.saves += 1,
                    _ => self.weights += 1,
                }
            }
        }
        match moment {
            Moment::Start => true,
            Moment::Save(nth) => self.saves >= *nth,
            Moment::Weights(nth) => self.weights >= *nth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_moments_is_aimed_at_saves() {
        let mut chance = Chance::new(7);
        let aims = (0..1000).map(|_| Aim::choose(&mut chance, Duration::from_secs(1)));
        let aims: Vec<Aim> = aims.collect();
        let count = |is: fn(&Aim) -> bool| aims.iter().filter(|aim| is(aim)).count();
        assert!(count(|aim| matches!(aim.moment, Moment::Save(_))) > 333);
        assert!(count(|aim| matches!(aim.moment, Moment::Weights(_))) > 100);
        assert!(count(|aim| matches!(aim.moment, Moment::Start)) > 333);
        assert!(count(|aim| aim.is_gentle) > 50);
    }
}

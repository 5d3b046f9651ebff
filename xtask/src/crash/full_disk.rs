//! `cargo xtask crash --full-disk`: training on a disk that is full, a real file system of 8 MB.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::aim::wait;
use super::folder;
use super::lab::Lab;
use crate::shell::{output, run as execute};

const SIZE: &str = "8m";
/// Room for the configuration but not for a state.
const TIGHT: &str = "256k";
const TICK: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(120);

/// A network whose two states, a third unfinished one and two weights files fit on the disk.
const SETTINGS: [&str; 12] = [
    "data.image_size=16",
    "data.limit=192",
    "data.val_limit=64",
    "data.validation.stratified=true",
    "data.batch_size=16",
    "data.workers=1",
    "model.width=0.25",
    "model.head=linear",
    "train.epochs=12",
    "train.device=cpu",
    "train.threads=1",
    "train.save_every=1 step",
];

/// Trains on a disk, and checks what happens. The run ends complete.
type Check = fn(&Case<'_>) -> Result<()>;

/// Fails if this process cannot mount a file system.
pub(super) fn check_root() -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "--full-disk mounts a tmpfs, so it needs Linux"
    );
    let id = output(Command::new("id").arg("-u"))?;
    ensure!(id == "0", "--full-disk mounts a tmpfs, so it needs root");
    Ok(())
}

/// Runs every case. Returns the failures.
pub(super) fn run(lab: &Lab) -> Result<Vec<String>> {
    let settings: Vec<String> = lab
        .digits()?
        .into_iter()
        .chain(SETTINGS.map(str::to_owned))
        .collect();
    let reference = lab.path("reference");
    let status = wait(lab.start(&reference, &settings)?)?;
    ensure!(status.success(), "{status}\n{}", lab.last_words());
    let expected = folder::results(&reference)?;
    let cases: [(&str, Check); 3] = [
        ("a disk that is full for a while", |case| {
            case.while_full_for_a_time()
        }),
        ("a disk that stays full", |case| {
            case.while_full_to_the_end()
        }),
        ("a disk without room for a state", |case| {
            case.without_room()
        }),
    ];
    let mut failures = Vec::new();
    for (name, check) in cases {
        let disk = Disk::mount(lab.path("disk"))?;
        let case = Case {
            lab,
            settings: &settings,
            run: disk.path.join("run"),
            disk,
        };
        let checked =
            check(&case).and_then(|()| folder::compare(&folder::results(&case.run)?, &expected));
        match checked {
            Ok(()) => println!("{name}: equal to the reference"),
            Err(error) => failures.push(format!("{name}: {error:#}\n{}", lab.last_words())),
        }
    }
    Ok(failures)
}

struct Case<'a> {
    lab: &'a Lab,
    settings: &'a [String],
    run: PathBuf,
    disk: Disk,
}

impl Case<'_> {
    /// The disk fills up, a save fails, and there is room again: the run succeeds.
    fn while_full_for_a_time(&self) -> Result<()> {
        let mut child = self.start()?;
        let mut filler = Filler::create(&self.disk.path)?;
        self.until(&mut child, || {
            filler.fill()?;
            Ok(self.lab.stderr().contains("could not be saved"))
        })?;
        self.check_states()?;
        filler.remove()?;
        let status = wait(child)?;
        ensure!(status.success(), "the last save had room, but: {status}");
        Ok(())
    }

    /// The disk fills up and stays full: training goes on to its end, then the run fails. With room it can go on.
    fn while_full_to_the_end(&self) -> Result<()> {
        let mut child = self.start()?;
        let mut filler = Filler::create(&self.disk.path)?;
        let status = self.until(&mut child, || {
            filler.fill()?;
            Ok(false)
        })?;
        self.check_failed(status)?;
        ensure!(self.check_states()? > 0, "no state is left");
        filler.remove()?;
        self.go_on()
    }

    /// There never is room for a state.
    fn without_room(&self) -> Result<()> {
        self.disk.resize(TIGHT)?;
        let status = wait(self.lab.start(&self.run, self.settings)?)?;
        self.check_failed(Some(status))?;
        self.disk.resize(SIZE)?;
        self.go_on()
    }

    /// Starts the run, and waits for its first state.
    fn start(&self) -> Result<Child> {
        let mut child = self.lab.start(&self.run, self.settings)?;
        let ended = self.until(&mut child, || Ok(!folder::states(&self.run).is_empty()))?;
        ensure!(ended.is_none(), "the run ended before its first state");
        Ok(child)
    }

    /// Waits until `is_over` or the process has ended. Returns the status of a process that has ended.
    fn until(
        &self,
        child: &mut Child,
        mut is_over: impl FnMut() -> Result<bool>,
    ) -> Result<Option<ExitStatus>> {
        let start = Instant::now();
        while !is_over()? {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            if start.elapsed() > PATIENCE {
                child.kill()?;
                bail!("nothing happened for {} s", PATIENCE.as_secs());
            }
            sleep(TICK);
        }
        Ok(None)
    }

    /// Checks that a run reached its last epoch, warned, and failed with the reason and a remedy.
    fn check_failed(&self, status: Option<ExitStatus>) -> Result<()> {
        let code = status.and_then(|status| status.code());
        ensure!(code == Some(1), "expected exit code 1, got {status:?}");
        let said = self.lab.stderr();
        for text in [
            "epoch 12/12",
            "warning: ",
            "error: ",
            "could not be",
            "No space left",
        ] {
            ensure!(said.contains(text), "its output lacks {text:?}");
        }
        Ok(())
    }

    /// Checks all states on the disk, and returns their number.
    fn check_states(&self) -> Result<usize> {
        let states = folder::states(&self.run);
        states
            .iter()
            .try_for_each(|(_, path)| folder::check_state(path))?;
        Ok(states.len())
    }

    fn go_on(&self) -> Result<()> {
        let status = wait(self.lab.start(&self.run, self.settings)?)?;
        ensure!(status.success(), "the run cannot go on: {status}");
        Ok(())
    }
}

/// A mounted tmpfs, unmounted on drop.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let size = format!("size={SIZE}");
        let mount = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        execute(Command::new("mount").args(mount).arg(&path))?;
        Ok(Self { path })
    }

    fn resize(&self, size: &str) -> Result<()> {
        let option = format!("remount,size={size}");
        execute(Command::new("mount").args(["-o", &option]).arg(&self.path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // If it stays, the next start of the crash test fails to clear the folder, and says so.
        let _ = execute(Command::new("umount").arg(&self.path));
    }
}

/// A file that takes all the room.
struct Filler {
    file: File,
    path: PathBuf,
}

impl Filler {
    fn create(disk: &Path) -> Result<Self> {
        let path = disk.join("filler");
        let file = File::create(&path)?;
        Ok(Self { file, path })
    }

    /// Takes the room that there is now.
    fn fill(&mut self) -> Result<()> {
        let page = [1; 4096];
        loop {
            match self.file.write_all(&page) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn remove(self) -> Result<()> {
        drop(self.file);
        Ok(fs::remove_file(self.path)?)
    }
}

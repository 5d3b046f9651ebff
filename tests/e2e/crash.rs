//! Runs that are killed, run twice or interrupted, and resumed. `cargo xtask crash` does the same hundreds of times.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::bench::{Bench, Run, SMALL_FOLDER_RUN, sorted};

/// Settings of a run that saves its state after every step and has much to save.
const CAREFUL: [&str; 9] = [
    "train.epochs=8",
    "train.threads=1",
    "train.save_every=1 step",
    "train.accumulate_batches=2",
    "ema={ decay = 0.9 }",
    "augment.preset=digits",
    "mix.mixup_alpha=0.4",
    "schedule.type=plateau",
    "data.image_size=16",
];

/// A process that neither ends nor reaches the expected point within this time has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time between two looks.
const TICK: Duration = Duration::from_micros(200);

/// A bench with two classes, in which runs of [`CAREFUL`] start.
pub(crate) struct Scene(pub(crate) Bench);

impl Scene {
    pub(crate) fn new() -> Self {
        let bench = Bench::new();
        bench.two_classes();
        Self(bench)
    }

    fn arguments<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let settings = SMALL_FOLDER_RUN.iter().chain(&CAREFUL).chain(more);
        let settings = settings.flat_map(|set| ["--set", set]);
        ["train", "--run-dir", run]
            .into_iter()
            .chain(settings)
            .collect()
    }

    /// Trains in the folder `run`, to the end.
    pub(crate) fn train(&self, run: &str, more: &[&str]) -> Run {
        self.0.run(&Self::arguments(run, more))
    }

    /// Starts training in the folder `run`.
    pub(crate) fn start(&self, run: &str, more: &[&str]) -> Process {
        self.spawn(&Self::arguments(run, more))
    }

    pub(crate) fn resume(&self, run: &str, more: &[&str]) -> Run {
        self.0.run(&[&["train", "--resume", run], more].concat())
    }

    /// Starts to resume a run, or starts it anew if it was killed before it wrote its configuration.
    fn go_on(&self, run: &str) -> Process {
        match self.0.path(run).join("config.toml").exists() {
            true => self.start_resume(run),
            false => self.start(run, &[]),
        }
    }

    /// Starts to resume the run in the folder `run`.
    pub(crate) fn start_resume(&self, run: &str) -> Process {
        self.spawn(&["train", "--resume", run])
    }

    fn spawn(&self, arguments: &[&str]) -> Process {
        let errors = self.0.path("stderr.txt");
        let mut command = self.0.command(arguments);
        let quiet = command.stdout(Stdio::null());
        let child = quiet
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn();
        Process {
            child: child.unwrap(),
            errors,
        }
    }

    /// The results of a run; see [`results`].
    pub(crate) fn results(&self, run: &str) -> BTreeMap<String, Vec<u8>> {
        results(&self.0.path(run))
    }
}

/// A process of `classify`, killed on drop.
pub(crate) struct Process {
    child: Child,
    errors: PathBuf,
}

impl Process {
    /// Waits until `is_reached`, or until the process has ended. Returns whether it was reached.
    pub(crate) fn until(&mut self, mut is_reached: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        loop {
            if is_reached() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(start.elapsed() < PATIENCE, "{}", self.stderr());
            std::thread::sleep(TICK);
        }
    }

    /// Sends SIGKILL and waits. Returns whether the process ended by it.
    pub(crate) fn kill(mut self) -> bool {
        // A process that has ended is no error.
        self.child.kill().unwrap();
        self.child.wait().unwrap().code().is_none()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let mut kill = std::process::Command::new("kill");
        assert!(
            kill.args([&format!("-{name}"), &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end and returns the exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.until(|| false);
        self.child.wait().unwrap().code()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both calls fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The weights, scores, answers and metrics of a run by file name. Times, which differ, are left out.
fn results(run: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut results = BTreeMap::new();
    for path in sorted(run) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_compared = ["safetensors", "csv", "json", "svg", "png"].map(OsStr::new);
        // These contain times.
        let has_times = ["run.json", "metrics.csv", "MODEL_CARD.md", "report.html"];
        if !has_times.contains(&name.as_str())
            && path.extension().is_some_and(|e| is_compared.contains(&e))
        {
            results.insert(name, std::fs::read(&path).unwrap());
        } else if name == "metrics.jsonl" {
            let lines = std::fs::read_to_string(&path).unwrap();
            let lines: String = lines.lines().map(without_times).collect();
            results.insert(name, lines.into_bytes());
        } else {
            let others = ["config.toml", "state", ".lock", "explanations"];
            let known = others.iter().chain(&has_times).any(|known| *known == name);
            assert!(known, "{name} was left behind");
        }
    }
    results
}

fn without_times(line: &str) -> String {
    let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
    let fields = line.as_object_mut().unwrap();
    for field in ["images_per_second", "seconds", "times"] {
        fields.remove(field).unwrap();
    }
    format!("{line}\n")
}

/// Names in the folder of a run's states; none if there is no folder.
pub(crate) fn names(dir: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The number of complete states.
pub(crate) fn states(run: &Path) -> usize {
    let names = names(&run.join("state"));
    names
        .iter()
        .filter(|name| name.starts_with("epoch-"))
        .count()
}

/// Asserts that both runs ended equally.
pub(crate) fn assert_equal(
    found: &BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
) {
    let of = |results: &BTreeMap<String, Vec<u8>>| results.keys().cloned().collect::<Vec<_>>();
    assert_eq!(of(found), of(expected));
    assert_eq!(
        of(expected).len(),
        13,
        "weights, their average, metrics, scores, answers, mistakes, 7 pictures"
    );
    for (name, bytes) in expected {
        assert!(found[name] == *bytes, "{name} differs");
    }
}

/// The number of kills of the test below.
const KILLS: u32 = 10;

#[test]
fn a_run_that_is_killed_at_any_moment_ends_with_the_same_bytes() {
    let scene = Scene::new();
    scene.train("first", &[]).success();
    let start = Instant::now();
    scene.train("whole", &[]).success();
    let whole = start.elapsed();
    let expected = scene.results("whole");
    assert_equal(&scene.results("first"), &expected);

    let run = scene.0.path("run");
    let (mut kills, mut inside) = (0, 0);
    for attempt in 0..10 * KILLS {
        // Temporaries of an earlier process are removed when the next one starts.
        let mut seen = names(&run.join("state"));
        let mut process = scene.go_on("run");
        let began = Instant::now();
        // Two of three kills are aimed at the first or second save, the others at any time.
        let moment = whole.mul_f64(f64::from(attempt * 7 % 10) / 15.0);
        let mut saves = attempt % 3;
        let is_running = process.until(|| match attempt % 3 {
            0 => began.elapsed() >= moment,
            _ => {
                let fresh = names(&run.join("state"));
                let fresh = fresh.into_iter().filter(|name| name.starts_with('.'));
                saves = saves
                    .saturating_sub(fresh.filter(|name| seen.insert(name.clone())).count() as u32);
                saves == 0
            }
        });
        let stderr = process.stderr();
        assert!(!stderr.contains("cannot be used"), "{stderr}");
        if is_running && process.kill() {
            kills += 1;
            let left = names(&run.join("state"));
            inside += u32::from(left.iter().any(|name| name.starts_with('.')));
        } else {
            // The run has ended before its moment, so the next process begins another one.
            assert_equal(&scene.results("run"), &expected);
            std::fs::remove_dir_all(&run).unwrap();
        }
        if kills == KILLS {
            break;
        }
    }
    assert!(
        kills == KILLS && inside > 0,
        "{kills} kills, {inside} in a save"
    );
    assert_eq!(scene.go_on("run").wait(), Some(0));
    assert_equal(&scene.results("run"), &expected);
    assert_eq!(states(&run), 1);
}

#[test]
fn a_run_that_is_killed_before_its_first_state_begins_again() {
    let scene = Scene::new();
    // The states are only those at the ends of epochs, if at all: none was saved yet.
    let rare = ["train.save_every=none"];
    scene.train("whole", &rare).success();
    let mut process = scene.start("run", &rare);
    let metrics = scene.0.path("run/metrics.jsonl");
    let lines = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
    assert!(process.until(|| lines() >= 2), "{}", process.stderr());
    assert!(process.kill());
    let run = scene.resume("run", &[]).success();
    assert!(run.stderr.contains("begins again"), "{}", run.stderr);
    assert_equal(&scene.results("run"), &scene.results("whole"));
}

#[test]
fn a_second_training_in_the_same_folder_is_refused() {
    let scene = Scene::new();
    let mut process = scene.start("run", &["train.epochs=100000"]);
    let run = scene.0.path("run");
    assert!(process.until(|| states(&run) > 0), "{}", process.stderr());
    let said = ["run folder run", "still running"];
    scene.resume("run", &[]).failure(1, &said);
    scene.train("run", &[]).failure(1, &said);
    // Neither has disturbed the first, and the lock ends with its process.
    assert!(process.kill());
    scene.train("run", &[]).failure(1, &["never overwrites"]);
    let before = states(&run);
    assert!(before > 0);
    scene.resume("run", &["--set", "train.epochs=1"]).success();
}

#[test]
fn two_trainings_share_a_data_folder_and_its_cache() {
    let scene = Scene::new();
    // Neither finds a cache, so both write it.
    let both = ["one", "two"].map(|run| scene.start(run, &[]));
    for process in both {
        assert_eq!(process.wait(), Some(0));
    }
    scene.train("three", &[]).success();
    let expected = scene.results("three");
    for run in ["one", "two"] {
        assert_equal(&scene.results(run), &expected);
    }
    let cache = names(&scene.0.path("images/.classify-cache"));
    assert!(!cache.is_empty());
    assert!(
        !cache.iter().any(|name| name.starts_with(".unfinished-")),
        "{cache:?}"
    );
}

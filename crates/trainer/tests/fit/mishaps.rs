//! Runs on disks that fail, with images that vanish and numbers that are none.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use files::faults::{Faults, Lasting, Operation};
use trainer::config::{OnDivergence, SaveEvery};
use trainer::{Ending, Error, Event, EventSink, MetricsFile, Recorder, RunConfig, RunDir, Splits};

use crate::resume::{files, run, states};
use crate::scene::Scene;

/// The settings of a run whose state is saved at every step.
fn careful(scene: &Scene) -> RunConfig {
    let mut config = scene.config.clone();
    config.train.save_every = SaveEvery::Steps(1);
    config
}

fn newest(dir: &Path) -> Option<trainer::Place> {
    let run = RunDir::reopen(dir).unwrap();
    run.state().unwrap().map(|state| state.place())
}

#[test]
fn after_an_error_at_any_operation_of_a_save_a_state_loads() {
    let scene = Scene::new();
    let config = careful(&scene);
    let dir = scene.dir.path().join("run");
    assert_eq!(run(&config, &dir, 5).unwrap().ending, Ending::Interrupted);
    let before = newest(&dir).unwrap();
    let saved = scene.dir.path().join("saved");
    copy(&dir, &saved);
    // The operations of the next save, one after the other.
    let state = dir.join("state");
    let faults = Faults::inject(&state, usize::MAX, ErrorKind::StorageFull, Lasting::Once);
    run(&config, &dir, 0).unwrap();
    let operations = faults.seen();
    drop(faults);
    for kind in [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::Rename,
        Operation::SyncFolder,
    ] {
        assert!(operations.contains(&kind), "{operations:?}");
    }
    for nth in 0..operations.len() {
        for (kind, lasting) in [
            (ErrorKind::StorageFull, Lasting::Forever),
            (ErrorKind::Other, Lasting::Once),
            (ErrorKind::ReadOnlyFilesystem, Lasting::Forever),
        ] {
            copy(&saved, &dir);
            let faults = Faults::inject(&state, nth, kind, lasting);
            let outcome = run(&config, &dir, 0);
            assert!(
                faults.seen().len() > nth,
                "{nth}: the fault was not reached"
            );
            drop(faults);
            // Only the last save decides whether the run fails.
            if let Err(error) = outcome {
                assert!(
                    matches!(error, Error::StateUnsaved { .. }),
                    "{nth}: {error:?}"
                );
            }
            let after = newest(&dir).unwrap();
            assert!(after >= before, "{nth}: {after:?} is before {before:?}");
            let entries = fs::read_dir(&state).unwrap();
            let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            let left = names
                .iter()
                .filter(|name| name.to_string_lossy().starts_with('.'));
            assert_eq!(left.count(), 0, "{nth}: {names:?}");
        }
    }
    // The cause is gone: the run goes on to its end.
    assert_eq!(
        run(&config, &dir, usize::MAX).unwrap().ending,
        Ending::Completed
    );
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

#[test]
fn a_save_that_fails_is_tried_again_while_training_goes_on() {
    let scene = Scene::new();
    let config = careful(&scene);
    let dir = scene.dir.path().join("run");
    let run = RunDir::create(&dir).unwrap();
    let splits = Splits::open(&config).unwrap();
    let mut recorder = Recorder::default();
    // The first operations write the list of images.
    let faults = Faults::inject(&dir.join("state"), 9, ErrorKind::StorageFull, Lasting::Once);
    let outcome = trainer::fit(
        &config,
        &splits,
        &run,
        &mut recorder,
        &AtomicBool::new(false),
    );
    drop(faults);
    assert_eq!(outcome.unwrap().ending, Ending::Completed);
    let events = recorder.events.iter();
    let failed = events
        .clone()
        .position(|event| matches!(event, Event::StateDelayed { .. }));
    let saved = events
        .rev()
        .position(|event| matches!(event, Event::StateSaved { .. }));
    assert!(failed.is_some() && saved.is_some());
    assert!(failed.unwrap() < recorder.events.len() - saved.unwrap());

    // If the disk stays full, training reaches its end, and then the error says so.
    let dir = scene.dir.path().join("full");
    let run = RunDir::create(&dir).unwrap();
    let faults = Faults::inject(
        &dir.join("state"),
        9,
        ErrorKind::StorageFull,
        Lasting::Forever,
    );
    let mut recorder = Recorder::default();
    let error = trainer::fit(
        &config,
        &splits,
        &run,
        &mut recorder,
        &AtomicBool::new(false),
    )
    .err()
    .unwrap();
    drop(faults);
    let Error::StateUnsaved { best, .. } = &error else {
        panic!("{error}");
    };
    assert!(best.as_ref().unwrap().is_file());
    assert_eq!(recorder.epochs().len(), config.train.epochs);
}

#[test]
fn a_damaged_state_falls_back_to_the_one_before() {
    let scene = Scene::new();
    let config = careful(&scene);
    let [whole, dir] = ["whole", "run"].map(|name| scene.dir.path().join(name));
    run(&config, &whole, usize::MAX).unwrap();
    run(&config, &dir, 9).unwrap();
    let both = states(&dir);
    assert_eq!(both.len(), 2);
    let (last, place) = (both.last().unwrap(), newest(&dir).unwrap());
    let mut bytes = fs::read(last).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(last, &bytes).unwrap();
    let before = newest(&dir).unwrap();
    assert!(before < place, "{before:?} {place:?}");
    assert_eq!(
        run(&config, &dir, usize::MAX).unwrap().ending,
        Ending::Completed
    );
    assert_eq!(files(&dir), files(&whole));
    assert!(!last.exists());

    // If all are damaged, nothing is overwritten.
    let left = states(&dir);
    for path in &left {
        fs::write(path, "damaged").unwrap();
    }
    let error = run(&config, &dir, usize::MAX).err().unwrap();
    assert!(matches!(error, Error::State { .. }), "{error}");
    assert_eq!(states(&dir), left);
}

#[test]
fn changed_images_are_refused_by_name() {
    let scene = Scene::new();
    let dir = scene.dir.path().join("run");
    run(&scene.config, &dir, 3).unwrap();
    let image = fs::read_dir(scene.root().join("train/1"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let name = image.file_name().unwrap().to_str().unwrap().to_owned();
    let moved = scene.root().join("train/0").join("moved.png");
    fs::rename(&image, &moved).unwrap();
    let error = run(&scene.config, &dir, usize::MAX).err().unwrap();
    assert!(matches!(error, Error::Changed(_)), "{error}");
    assert!(error.to_string().contains("moved.png"), "{error}");
    fs::rename(&moved, &image).unwrap();
    let val = fs::read_dir(scene.root().join("val/1"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let aside = scene.dir.path().join("aside.png");
    fs::rename(&val, &aside).unwrap();
    let error = run(&scene.config, &dir, usize::MAX)
        .err()
        .unwrap()
        .to_string();
    let val_name = val.file_name().unwrap().to_str().unwrap();
    assert!(
        error.contains(val_name) && !error.contains(&format!("`1/{name}`")),
        "{error}"
    );
    fs::rename(&aside, &val).unwrap();
    // The same images elsewhere are the same images.
    let mut config = scene.config.clone();
    let elsewhere = scene.dir.path().join("elsewhere");
    fs::rename(scene.root(), &elsewhere).unwrap();
    config.data.root = Some(elsewhere);
    assert_eq!(
        run(&config, &dir, usize::MAX).unwrap().ending,
        Ending::Completed
    );
}

#[test]
fn classes_in_another_order_are_refused() {
    let scene = Scene::new();
    let names = scene.dir.path().join("names.txt");
    fs::write(&names, "0\n1\n").unwrap();
    let root = scene.root();
    for split in ["train", "val"] {
        let mut text = "path,label\n".to_owned();
        for class in ["0", "1"] {
            for entry in fs::read_dir(root.join(split).join(class)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                text.push_str(&format!("{split}/{class}/{name},{class}\n"));
            }
        }
        fs::write(root.join(format!("{split}.csv")), text).unwrap();
    }
    let mut config = scene.config.clone();
    config.data.source = trainer::config::DataSource::Csv;
    config.data.class_names = Some(names.clone());
    let dir = scene.dir.path().join("run");
    run(&config, &dir, 3).unwrap();
    fs::write(&names, "1\n0\n").unwrap();
    let error = run(&config, &dir, usize::MAX).err().unwrap();
    assert!(matches!(error, Error::Changed(_)), "{error}");
    fs::write(&names, "0\n1\n").unwrap();
    let outcome = run(&config, &dir, usize::MAX).unwrap();
    assert_eq!(outcome.ending, Ending::Completed);
}

#[test]
fn a_refused_change_of_a_path_is_not_kept() {
    let scene = Scene::new();
    let dir = scene.dir.path().join("run");
    run(&scene.config, &dir, 3).unwrap();
    let before = fs::read(dir.join("config.toml")).unwrap();
    let mut config = scene.config.clone();
    let other = scene.dir.path().join("other");
    copy(&scene.root(), &other);
    fs::remove_dir_all(other.join("train/1")).unwrap();
    copy(&other.join("train/0"), &other.join("train/1"));
    config.data.root = Some(other);
    let error = run(&config, &dir, usize::MAX).err().unwrap();
    assert!(matches!(error, Error::Changed(_)), "{error}");
    assert_eq!(fs::read(dir.join("config.toml")).unwrap(), before);
}

#[test]
fn an_infinite_gradient_is_noticed_where_a_step_would_hide_it() {
    let scene = Scene::new();
    let mut config = careful(&scene);
    // The loss is finite, and the gradient of the huge weights is not.
    config.train.learning_rate = 1e18;
    config.train.clip_gradient_value = Some(1.0);
    config.optimizer = scene_sgd();
    let dir = scene.dir.path().join("run");
    let error = run(&config, &dir, usize::MAX).err().unwrap();
    assert!(error.is_divergence(), "{error}");
    assert!(dir.join("diverged.json").is_file());
}

fn scene_sgd() -> optim::OptimizerConfig {
    optim::OptimizerConfig::Sgd(optim::SgdConfig::default())
}

#[test]
fn divergence_is_described_and_never_saved() {
    let scene = Scene::new();
    let mut config = careful(&scene);
    let wild = optim::MultiStepConfig {
        milestones: vec![1],
        gamma: 1e30,
    };
    config.schedule = optim::LrScheduleConfig::MultiStep(wild);
    let dir = scene.dir.path().join("run");
    let error = run(&config, &dir, usize::MAX).err().unwrap();
    assert!(
        matches!(
            error,
            Error::NonFiniteLoss { epoch: 2, .. } | Error::NonFiniteWeights { epoch: 2, .. }
        ),
        "{error}"
    );
    let text = fs::read_to_string(dir.join("diverged.json")).unwrap();
    let diverged: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(diverged["epoch"], 2);
    assert_eq!(diverged["images"].as_array().unwrap().len(), 8, "{text}");
    assert!(
        diverged["largest_gradient"]["parameter"]
            .as_str()
            .unwrap()
            .contains('.'),
        "{text}"
    );
    let state = RunDir::reopen(&dir).unwrap().state().unwrap().unwrap();
    // On a slow disk the save after epoch 1 may be skipped, since an earlier one is still being written.
    assert!((1..=2).contains(&state.place().epoch), "{state:?}");
    assert_eq!(state.ending(), None);

    // Left out are ten batches in a row, then the run ends. The weights stay what they were.
    config.train.on_divergence = OnDivergence::Skip;
    let again = run(&config, &dir, usize::MAX).err().unwrap();
    assert!(matches!(
        again,
        Error::NonFiniteLoss { .. }
            | Error::NonFiniteWeights { .. }
            | Error::NonFiniteValidation { .. }
    ));
}

#[test]
fn a_vanished_folder_ends_the_run_and_it_goes_on_when_the_folder_is_back() {
    let scene = Scene::new();
    let mut config = careful(&scene);
    config.data.cache_mb = 0;
    config.data.disk_cache_mb = 0;
    config.data.on_bad_image = mnist_data::BadImage::Skip;
    config.data.bad_image_limit = 1.0;
    let [whole, dir] = ["whole", "run"].map(|name| scene.dir.path().join(name));
    run(&config, &whole, usize::MAX).unwrap();
    run(&config, &dir, 4).unwrap();
    let aside = scene.dir.path().join("aside");
    struct Vanish<'a>(&'a Path, &'a Path);
    impl EventSink for Vanish<'_> {
        fn handle(&mut self, event: &Event) -> trainer::Result<()> {
            if let Event::EpochStarted { .. } = event {
                fs::rename(self.0, self.1).unwrap();
            }
            Ok(())
        }
    }
    let folder = scene.root().join("train");
    {
        let run = RunDir::reopen(&dir).unwrap();
        let mut sink = (
            MetricsFile::append(&run.metrics()).unwrap(),
            Vanish(&folder, &aside),
        );
        let splits = Splits::open(&config).unwrap();
        let state = run.state().unwrap();
        let error = trainer::resume(
            &config,
            &splits,
            &run,
            state,
            &mut sink,
            &AtomicBool::new(false),
        );
        let error = error.err().unwrap();
        assert!(
            matches!(error, Error::Data(mnist_data::Error::Vanished { .. })),
            "{error}"
        );
    }
    fs::rename(&aside, &folder).unwrap();
    assert_eq!(
        run(&config, &dir, usize::MAX).unwrap().ending,
        Ending::Completed
    );
    assert_eq!(files(&dir), files(&whole));
}

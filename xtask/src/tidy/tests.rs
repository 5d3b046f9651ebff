use super::*;

#[test]
fn the_workspace_is_tidy() {
    let found = violations(crate::shell::root().unwrap()).unwrap();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

const LINTS: &str = "[lints]\nworkspace = true\n";
const README: &str = "# x\n\n```rust\nfn main() {}\n```\n";

/// A tidy workspace with one library, in which these files are added or replaced.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let base = [
        ("crates/optim/Cargo.toml", LINTS),
        ("crates/optim/README.md", README),
        (
            "crates/optim/src/lib.rs",
            "//! It prints nothing: println!\n",
        ),
        ("tests/golden/generate.py", "x = 1\n"),
        ("tests/golden/README.md", "generate.py writes a.bin\n"),
        ("tests/golden/a.bin", "\t \n"),
    ];
    for (path, text) in base.iter().chain(files) {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// Asserts that there is exactly one violation, and that its message contains all these texts.
fn caught(files: &[(&str, &str)], says: &[&str]) {
    let dir = tree(files);
    let found = violations(dir.path()).unwrap();
    assert_eq!(found.len(), 1, "{files:?}: {found:?}");
    for part in says {
        assert!(found[0].contains(part), "{part:?} not in {:?}", found[0]);
    }
}

#[test]
fn a_tidy_tree_passes() {
    let skipped = [
        ("target/x.rs", "unsafe\t"),
        ("data/mnist/x.md", "\t"),
        ("runs/a/config.toml", "\t"),
        (".venv/x.py", "\t"),
        (
            "crates/optim/src/words.rs",
            "// unsafe\nfn f() { g(\"unsafe #[ignore]\") }\n",
        ),
    ];
    let found = violations(tree(&skipped).path()).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn imports_run_one_way() {
    let manifest = |dependency: &str| format!("{LINTS}{dependency}\n");
    let at = "crates/optim/Cargo.toml";
    for (dependency, says) in [
        (
            "[dependencies]\nmnist-data = {}",
            "optim must not import mnist-data",
        ),
        ("[dev-dependencies]\ncli = {}", "optim must not import cli"),
        (
            "[build-dependencies]\nengine.workspace = true",
            "optim must not import engine",
        ),
        (
            "[dependencies]\ncandle-nn = \"1\"",
            "optim must not import candle-nn",
        ),
        (
            "[dependencies]\nclap = \"1\"",
            "a library does not own a command line",
        ),
        (
            "[dependencies]\nx = { package = \"anyhow\" }",
            "a library's errors",
        ),
        (
            "[target.'cfg(unix)'.dependencies]\nindicatif = \"1\"",
            "through a trait",
        ),
    ] {
        caught(&[(at, &manifest(dependency))], &[at, says]);
    }
    let mobilenet = manifest("[dependencies]\nengine = {}\n[dev-dependencies]\noptim = {}");
    let allowed = [("crates/mobilenet/Cargo.toml", mobilenet.as_str())];
    let found = violations(tree(&allowed).path()).unwrap();
    assert!(found.is_empty(), "{found:?}");
    caught(
        &[(
            "crates/mobilenet/Cargo.toml",
            &manifest("[dependencies]\noptim = {}"),
        )],
        &["mobilenet must not import optim"],
    );
    caught(
        &[(
            "crates/classifier/Cargo.toml",
            &manifest("[dependencies]\ntrainer = {}"),
        )],
        &["classifier must not import trainer"],
    );
    caught(
        &[("crates/new/Cargo.toml", LINTS)],
        &["new is missing in tidy's ARROWS"],
    );
    caught(
        &[(at, "[lints]\nworkspace = true\n[\n")],
        &[at, "is not TOML"],
    );
}

#[test]
fn a_reexport_does_not_evade_the_rule() {
    let at = "crates/optim/src/a.rs";
    caught(
        &[(at, "// x\nuse other::candle_core::Tensor;\n")],
        &["a.rs:2", "candle-core"],
    );
    caught(
        &[(at, "fn f() { anyhow::bail!() }\n")],
        &["a.rs:1", "anyhow"],
    );
    caught(&[(at, "use candle_nn;\n")], &["a.rs:1", "candle-nn"]);
    // A package inside another package's folder is not part of that package.
    let peer = [
        ("crates/optim/peers/a/Cargo.toml", LINTS),
        ("crates/optim/peers/a/src/main.rs", "use candle_nn;\n"),
    ];
    let found = violations(tree(&peer).path()).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn code_rules_hold() {
    let at = "crates/optim/src/a.rs";
    caught(
        &[(at, "fn f() {\n    unsafe {}\n}\n")],
        &["a.rs:2", "only engine"],
    );
    caught(
        &[("tests/e2e/a.rs", "unsafe fn f() {}\n")],
        &["a.rs:1", "only engine"],
    );
    caught(
        &[(at, "fn f() { println!() }\n")],
        &["a.rs:1", "does not print"],
    );
    caught(
        &[(at, "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n")],
        &["a.rs:2", "ignored"],
    );
    let fine = [
        ("crates/optim/examples/a.rs", "fn main() { println!() }\n"),
        ("crates/engine/Cargo.toml", LINTS),
        ("crates/engine/src/main.rs", "unsafe fn f() {}\n"),
    ];
    let found = violations(tree(&fine).path()).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn text_rules_hold() {
    let at = "crates/optim/src/a.rs";
    caught(&[(at, "fn f() {} \n")], &["a.rs:1", "end of the line"]);
    caught(&[("a.md", "x\n\ty\n")], &["a.md:2", "a tab"]);
    caught(&[("a.toml", "x = 1")], &["a.toml", "no line break"]);
    caught(&[(".ci/run", "# \x54ODO\n")], &["run:1", "do it"]);
    caught(&[("a.py", "# \x46IXME\n")], &["a.py:1", "do it"]);
    caught(&[(at, &"\n".repeat(451))], &["a.rs", "451 lines"]);
    let found = violations(tree(&[(at, &"\n".repeat(450))]).path()).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn crates_and_golden_data_are_documented() {
    caught(
        &[("rust-toolchain.toml", "x = 1\n")],
        &["rust-toolchain.toml", "rust-version"],
    );
    caught(
        &[("crates/optim/Cargo.toml", "x = 1\n")],
        &["[lints] workspace = true"],
    );
    caught(
        &[("crates/optim/README.md", "# x\n")],
        &["README.md", "exactly one"],
    );
    let engine = [
        ("crates/engine/Cargo.toml", LINTS),
        ("crates/engine/src/lib.rs", "//! x\n"),
    ];
    caught(&engine, &["crates/engine", "no README.md"]);
    caught(
        &[("tests/golden/b.bin", "")],
        &["tests/golden/b.bin", "names b.bin"],
    );
    caught(
        &[("crates/optim/tests/golden/b.bin", "")],
        &["optim/tests/golden/", "no generate*.py"],
    );
    caught(
        &[("tests/golden/generate_b.py", "x = 1\n")],
        &["names generate_b.py"],
    );
    let large = "x".repeat(3_100_001);
    caught(&[("tests/golden/a.bin", &large)], &["the most is 3100000"]);
    let own = [
        (
            "crates/optim/tests/golden/generate.py",
            "write(\"steps/1.bin\")\n",
        ),
        ("crates/optim/tests/golden/steps/1.bin", ""),
    ];
    let found = violations(tree(&own).path()).unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn both_profiles_make_the_same_crates_fast() {
    let packages = |dev: &str, release: &str| {
        format!("[profile.dev.package]\n{dev}\n[profile.release.package]\n{release}\n")
    };
    let fast = "png = { opt-level = 3 }";
    let slow = "png = { opt-level = 0 }";
    for (dev, release) in [(fast, ""), ("", fast), (fast, slow)] {
        caught(
            &[("Cargo.toml", &packages(dev, release))],
            &["Cargo.toml", "png"],
        );
    }
    for (dev, release) in [(fast, fast), ("", slow), ("optim = { opt-level = 3 }", "")] {
        let dir = tree(&[("Cargo.toml", &packages(dev, release))]);
        assert_eq!(violations(dir.path()).unwrap(), [""; 0]);
    }
}

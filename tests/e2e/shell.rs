//! Tests shell completions, man pages and the variable for log levels.

use crate::bench::Bench;

/// The commands that `--help` lists.
fn commands(bench: &Bench) -> Vec<String> {
    let help = bench.run(&["--help"]).success().stdout;
    let list = help.split("Commands:").nth(1).unwrap();
    let list = list.split("\n\n").next().unwrap().lines();
    let names = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<String> = names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 10, "{names:?}");
    names
}

#[test]
fn every_command_is_completed_in_every_shell() {
    let bench = Bench::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = bench.run(&["completions", shell]).success().stdout;
        for name in commands(&bench) {
            assert!(script.contains(&name), "{shell} does not know {name}");
        }
    }
    bench
        .run(&["completions", "sh"])
        .failure(2, &["sh", "bash"]);
}

#[test]
fn every_command_has_a_man_page() {
    let bench = Bench::new();
    bench.run(&["man", "pages/man1"]).success();
    let page = std::fs::read_to_string(bench.path("pages/man1/classify.1")).unwrap();
    assert!(
        page.contains(".SH COMMANDS") || page.contains(".SH SUBCOMMANDS"),
        "{page}"
    );
    for name in commands(&bench).iter().filter(|name| *name != "help") {
        let path = bench.path(&format!("pages/man1/classify-{name}.1"));
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(page.contains(".SH NAME"), "{name}: {page}");
    }
    std::fs::write(bench.path("file"), "").unwrap();
    bench.run(&["man", "file/man1"]).failure(1, &["file/man1"]);
}

#[test]
fn the_log_variable_sets_the_log_level() {
    let bench = Bench::new();
    bench.two_classes();
    let run = |filter: &str| {
        let arguments = [
            "evaluate",
            "--weights",
            "none.safetensors",
            "--data",
            "images/val",
            "-v",
        ];
        let mut command = bench.command(&arguments);
        crate::bench::Run::of(command.env("RUST_LOG", filter)).stderr
    };
    assert!(!run("error").contains("WARN"));
    let refused = run("classify=loud");
    assert!(
        refused.contains("RUST_LOG") && refused.contains("classify=loud"),
        "{refused}"
    );
}

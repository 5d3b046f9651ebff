//! Builds and runs the libraries as other projects would. The example in each library's README
//! becomes the `main` of a package that depends on that library by path.
//!
//! These packages are a workspace that one command builds. So cargo builds each dependency only
//! once, with one set of features.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use toml::{Table, Value};

use crate::programs::executable;
use crate::shell::{cargo, output, root, run, target_dir};

struct Consumer {
    /// The library that is tested with the example in its README.
    name: &'static str,
    /// Workspace crates that the example depends on, by path.
    crates: &'static [&'static str],
    /// Registry crates that the example uses. The versions are those of the workspace.
    registry: &'static [&'static str],
    /// Prefixes of crate names that must not occur among the library's direct and indirect
    /// dependencies.
    without: &'static [&'static str],
    /// The files that the example needs in its working folder.
    input: Option<Input>,
}

struct Input {
    /// An example of a workspace crate, by path. It writes the files to the working folder.
    program: &'static str,
    /// Workspace crates that this program depends on and the example does not.
    crates: &'static [&'static str],
    /// A committed file, and its name in the working folder.
    file: (&'static str, &'static str),
}

const CONSUMERS: [Consumer; 11] = [
    Consumer {
        name: "files",
        crates: &["files"],
        registry: &[],
        without: &["candle", "image", "clap", "indicatif"],
        input: None,
    },
    Consumer {
        name: "framing",
        crates: &["framing"],
        registry: &[],
        without: &["candle", "image", "clap", "indicatif"],
        input: None,
    },
    Consumer {
        name: "gpu",
        crates: &["engine", "gpu"],
        registry: &[],
        without: &["candle", "image", "clap", "indicatif", "cudarc"],
        input: None,
    },
    Consumer {
        name: "engine",
        crates: &["engine"],
        registry: &[],
        without: &["candle", "image", "clap", "indicatif"],
        input: None,
    },
    Consumer {
        name: "optim",
        crates: &["optim"],
        registry: &[],
        without: &["candle", "image", "clap", "indicatif"],
        input: None,
    },
    Consumer {
        name: "mnist-data",
        crates: &["mnist-data"],
        registry: &[],
        without: &["candle", "clap", "indicatif"],
        input: None,
    },
    Consumer {
        name: "mobilenet",
        crates: &["mobilenet", "optim"],
        registry: &["candle-core", "candle-nn"],
        without: &["mnist-data", "rten", "clap", "indicatif"],
        input: None,
    },
    Consumer {
        name: "classifier",
        crates: &["classifier"],
        registry: &[],
        without: &["optim", "rten", "clap", "indicatif", "toml"],
        input: Some(Input {
            program: "crates/classifier/examples/untrained.rs",
            crates: &["mobilenet"],
            file: (
                "crates/mnist-data/tests/golden/decode/jpeg.jpeg",
                "photo.jpg",
            ),
        }),
    },
    Consumer {
        name: "serve",
        crates: &["serve", "classifier"],
        registry: &["tokio"],
        without: &["optim", "rten", "clap", "indicatif"],
        input: Some(Input {
            program: "crates/classifier/examples/untrained.rs",
            crates: &["classifier", "mobilenet"],
            file: (
                "crates/mnist-data/tests/golden/decode/jpeg.jpeg",
                "photo.jpg",
            ),
        }),
    },
    Consumer {
        name: "trainer",
        crates: &["trainer", "mnist-data"],
        registry: &[],
        without: &["clap", "indicatif"],
        input: None,
    },
    Consumer {
        name: "report",
        crates: &["report", "mnist-data"],
        registry: &[],
        without: &["clap", "indicatif"],
        input: None,
    },
];

/// `cargo xtask consumers`
pub(crate) fn run_all() -> Result<()> {
    let dir = target_dir()?.join("consumers");
    write_workspace(root()?, &dir)?;
    for consumer in &CONSUMERS {
        let package = consumer.package();
        let tree = [
            "tree",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--edges",
            "normal,build",
        ];
        let mut tree = cargo(&tree)?;
        check_tree(
            &output(tree.args(["--package", &package]).current_dir(&dir))?,
            consumer,
        )?;
    }
    let mut build = cargo(&["build", "--quiet", "--workspace", "--bins", "--examples"])?;
    run(build
        .env("CARGO_TARGET_DIR", target_dir()?)
        .current_dir(&dir))?;
    let built = target_dir()?.join("debug");
    for consumer in &CONSUMERS {
        let dir = dir.join(consumer.name);
        if let Some(input) = &consumer.input {
            let program = built.join("examples").join(executable(&consumer.package()));
            run(Command::new(program).current_dir(&dir))?;
            let (from, name) = input.file;
            fs::copy(root()?.join(from), dir.join(name)).with_context(|| from.to_owned())?;
        }
        run(Command::new(built.join(executable(&consumer.package()))).current_dir(&dir))?;
        println!("{}: its README's example builds and runs", consumer.name);
    }
    Ok(())
}

impl Consumer {
    /// The name of the package and of its program. The program that writes the input has this name,
    /// too.
    fn package(&self) -> String {
        format!("{}-consumer", self.name)
    }
}

fn write_workspace(root: &Path, dir: &Path) -> Result<()> {
    let workspace: Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    for consumer in &CONSUMERS {
        write(root, &workspace, &dir.join(consumer.name), consumer)?;
    }
    fs::write(dir.join("Cargo.toml"), workspace_manifest(&workspace)?)?;
    // The copy fixes the versions of dependencies. Cargo drops entries that are not needed.
    fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock"))?;
    Ok(())
}

/// Writes the package of a consumer.
fn write(root: &Path, workspace: &Table, dir: &Path, consumer: &Consumer) -> Result<()> {
    for folder in ["src", "examples"] {
        let folder = dir.join(folder);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let library = root.join("crates").join(consumer.name);
    let readme_path = library.join("README.md");
    let readme = fs::read_to_string(&readme_path)
        .with_context(|| format!("cannot read {}", readme_path.display()))?;
    let example = example(&readme).with_context(|| readme_path.display().to_string())?;
    fs::write(dir.join("src/main.rs"), example)?;
    if let Some(input) = &consumer.input {
        let program = root.join(input.program);
        let copy = dir
            .join("examples")
            .join(consumer.package())
            .with_extension("rs");
        fs::copy(&program, copy).with_context(|| program.display().to_string())?;
    }
    fs::write(dir.join("Cargo.toml"), manifest(root, workspace, consumer)?)?;
    Ok(())
}

/// The only Rust block in a README. A block marked `no_run` is not run as a documentation test,
/// because its input files are missing there.
pub(crate) fn example(readme: &str) -> Result<&str> {
    let blocks = readme.split("\n```rust").skip(1);
    let blocks = blocks.filter_map(|block| {
        let (info, code) = block.split_once('\n')?;
        matches!(info, "" | ",no_run").then_some(code)
    });
    let blocks: Vec<&str> = blocks.collect();
    let [block] = blocks[..] else {
        bail!("expected exactly one ```rust block, found {}", blocks.len());
    };
    let (code, _) = block
        .split_once("```")
        .context("the ```rust block has no end")?;
    Ok(code)
}

fn manifest(root: &Path, workspace: &Table, consumer: &Consumer) -> Result<String> {
    let mut dependencies = by_path(root, consumer.crates)?;
    let declared = at(workspace, &["workspace", "dependencies"])?;
    for &name in consumer.registry {
        let dependency = declared
            .get(name)
            .with_context(|| format!("Cargo.toml declares no workspace dependency {name}"))?;
        dependencies.insert(name.to_owned(), dependency.clone());
    }
    let for_input = consumer
        .input
        .as_ref()
        .map_or(&[][..], |input| input.crates);
    let edition = at(workspace, &["workspace", "package", "edition"])?;
    let package = Table::from_iter([
        ("name".to_owned(), Value::from(consumer.package())),
        ("edition".to_owned(), edition.clone()),
        ("publish".to_owned(), Value::from(false)),
    ]);
    let manifest = Table::from_iter([
        ("package".to_owned(), package.into()),
        ("dependencies".to_owned(), dependencies.into()),
        (
            "dev-dependencies".to_owned(),
            by_path(root, for_input)?.into(),
        ),
    ]);
    Ok(toml::to_string(&manifest)?)
}

/// Dependencies on workspace crates, by path.
fn by_path(root: &Path, crates: &[&str]) -> Result<Table> {
    let dependency = |name: &&str| {
        let path = root.join("crates").join(name);
        let path = path.to_str().context("the workspace's path is not UTF-8")?;
        let dependency = Table::from_iter([("path".to_owned(), Value::from(path))]);
        Ok((name.to_string(), dependency.into()))
    };
    crates.iter().map(dependency).collect()
}

fn workspace_manifest(workspace: &Table) -> Result<String> {
    // The dependencies are built again, because these packages use other features than the
    // workspace. The examples do little work, so an unoptimised build is fastest overall.
    let mut dev = at(workspace, &["profile", "dev"])?.clone();
    if let Some(packages) = dev.get_mut("package").and_then(Value::as_table_mut) {
        packages.retain(|name, _| name == "*");
    }
    let names: Vec<Value> = CONSUMERS
        .iter()
        .map(|consumer| consumer.name.into())
        .collect();
    let members = Table::from_iter([
        (
            "resolver".to_owned(),
            at(workspace, &["workspace", "resolver"])?.clone(),
        ),
        ("members".to_owned(), names.into()),
    ]);
    let profile = Table::from_iter([("dev".to_owned(), dev)]);
    let manifest = Table::from_iter([
        ("workspace".to_owned(), members.into()),
        ("profile".to_owned(), profile.into()),
    ]);
    Ok(toml::to_string(&manifest)?)
}

/// The value at these nested keys of a manifest.
fn at<'a>(manifest: &'a Table, keys: &[&str]) -> Result<&'a Value> {
    let (first, rest) = keys.split_first().context("no key")?;
    rest.iter()
        .try_fold(manifest.get(*first), |value, key| Some(value?.get(key)))
        .flatten()
        .with_context(|| format!("Cargo.toml has no {}", keys.join(".")))
}

/// Fails if the output of `cargo tree` contains a crate that the library promises not to depend on.
fn check_tree(tree: &str, consumer: &Consumer) -> Result<()> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let names: Vec<&str> = names.collect();
    ensure!(
        names.contains(&consumer.name),
        "cargo tree does not name {}",
        consumer.name
    );
    for name in names {
        let unwanted = consumer.without.iter().any(|start| name.starts_with(start));
        ensure!(!unwanted, "{} depends on {name}", consumer.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_readme_has_exactly_one_example() {
        let one = "# x\n\n```rust\nfn main() {}\n```\n\n```text\nno\n```\n";
        assert_eq!(example(one).unwrap(), "fn main() {}\n");
        assert!(example("# x\n").is_err());
        assert!(example(&one.repeat(2)).is_err());
        assert!(example("# x\n\n```rust\nfn main() {}\n").is_err());
        let not_tested = one.replace("rust", "rust,no_run");
        assert_eq!(example(&not_tested).unwrap(), "fn main() {}\n");
        assert!(example(&one.replace("rust", "rust,ignore")).is_err());
    }

    fn named(name: &str) -> &'static Consumer {
        CONSUMERS.iter().find(|c| c.name == name).unwrap()
    }

    #[test]
    fn an_unwanted_dependency_is_found_however_deep() {
        let tree = "x-consumer v0.0.0 (/x)\nmnist-data v0.1.0 (/y)\nmobilenet v0.1.0 (/z)\ncandle-core v1.0.0 (*)\n";
        let error = check_tree(tree, named("mnist-data")).unwrap_err();
        assert_eq!(error.to_string(), "mnist-data depends on candle-core");
        let without = tree.replace("mnist-data", "other");
        check_tree(&without, named("mobilenet")).unwrap();
        assert!(check_tree(&without, named("mnist-data")).is_err());
    }

    #[test]
    fn every_library_has_a_consumer() {
        let crates = fs::read_dir(root().unwrap().join("crates")).unwrap();
        let crates = crates.map(|entry| entry.unwrap().path());
        let libraries = crates.filter(|path| path.join("src/lib.rs").is_file());
        let mut libraries: Vec<PathBuf> = libraries.collect();
        let file_name = |path: &PathBuf| path.file_name().unwrap().to_owned();
        libraries.sort();
        let mut consumers: Vec<&str> = CONSUMERS.iter().map(|consumer| consumer.name).collect();
        consumers.sort_unstable();
        assert_eq!(
            libraries.iter().map(file_name).collect::<Vec<_>>(),
            consumers
        );
    }

    #[test]
    fn a_consumer_is_a_package_outside_our_workspace() {
        let root = root().unwrap();
        let text = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let workspace: Table = text.parse().unwrap();
        let own: Table = workspace_manifest(&workspace).unwrap().parse().unwrap();
        let members = own["workspace"]["members"].as_array().unwrap();
        assert_eq!(members.len(), CONSUMERS.len());
        for consumer in &CONSUMERS {
            let text = manifest(root, &workspace, consumer).unwrap();
            let manifest: Table = text.parse().unwrap();
            let dependencies = manifest["dependencies"].as_table().unwrap();
            let expected = consumer.crates.len() + consumer.registry.len();
            assert_eq!(dependencies.len(), expected, "{text}");
            for name in consumer.crates {
                let path = dependencies[*name]["path"].as_str().unwrap();
                assert!(Path::new(path).join("Cargo.toml").is_file(), "{path}");
            }
            if let Some(input) = &consumer.input {
                assert!(root.join(input.file.0).is_file(), "{}", input.file.0);
            }
        }
    }
}

//! The libraries as used by another project: a crate outside the workspace that depends on them by
//! path, with the README's example as its `main`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use toml::{Table, Value};

use crate::shell::{cargo, root, run, target_dir};

struct Consumer {
    /// The library with the example in its README.
    name: &'static str,
    /// The workspace crates that it depends on, by path.
    crates: &'static [&'static str],
    /// Registry crates used by the example, in the workspace's versions.
    registry: &'static [&'static str],
    /// Prefixes of crate names that must not be among its dependencies, at any depth.
    without: &'static [&'static str],
}

const CONSUMERS: [Consumer; 6] = [
    Consumer {
        name: "files",
        crates: &["files"],
        registry: &[],
        without: &["candle", "image", "clap", "indicatif"],
    },
    Consumer {
        name: "engine",
        crates: &["engine"],
        registry: &[],
        without: &["candle", "image", "clap", "indicatif"],
    },
    Consumer {
        name: "optim",
        crates: &["optim"],
        registry: &[],
        without: &["candle", "image", "clap", "indicatif"],
    },
    Consumer {
        name: "mnist-data",
        crates: &["mnist-data"],
        registry: &[],
        without: &["candle", "clap", "indicatif"],
    },
    Consumer {
        name: "mobilenet",
        crates: &["mobilenet", "optim"],
        registry: &["candle-core", "candle-nn"],
        without: &["mnist-data", "rten", "clap", "indicatif"],
    },
    Consumer {
        name: "trainer",
        crates: &["trainer", "mnist-data"],
        registry: &[],
        without: &["clap", "indicatif"],
    },
];

/// `cargo xtask consumers`
pub(crate) fn run_all() -> Result<()> {
    for consumer in &CONSUMERS {
        let dir = write(root()?, &target_dir()?.join("consumers"), consumer)?;
        // One target folder, so that shared dependencies are built once.
        let manifest = dir.join("Cargo.toml");
        let mut command = cargo(&["run", "--quiet", "--manifest-path"])?;
        command.arg(&manifest);
        run(command
            .env("CARGO_TARGET_DIR", target_dir()?)
            .current_dir(&dir))?;
        let lock = fs::read_to_string(dir.join("Cargo.lock"))
            .with_context(|| format!("cannot read the Cargo.lock of {}", dir.display()))?;
        check_lock(&lock, consumer)?;
        println!(
            "{}: its README's example builds and runs alone",
            consumer.name
        );
    }
    Ok(())
}

/// Writes the crate; returns its folder.
fn write(root: &Path, under: &Path, consumer: &Consumer) -> Result<PathBuf> {
    let dir = under.join(consumer.name);
    fs::create_dir_all(dir.join("src"))
        .with_context(|| format!("cannot create {}", dir.display()))?;
    let readme_path = root.join("crates").join(consumer.name).join("README.md");
    let readme = fs::read_to_string(&readme_path)
        .with_context(|| format!("cannot read {}", readme_path.display()))?;
    let example = example(&readme).with_context(|| readme_path.display().to_string())?;
    let workspace: Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    fs::write(dir.join("src/main.rs"), example)?;
    fs::write(
        dir.join("Cargo.toml"),
        manifest(root, &workspace, consumer)?,
    )?;
    // The same versions; cargo drops unused packages.
    fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock"))?;
    Ok(dir)
}

/// The only Rust block of a README.
pub(crate) fn example(readme: &str) -> Result<&str> {
    let blocks: Vec<&str> = readme.split("\n```rust\n").skip(1).collect();
    let [block] = blocks[..] else {
        bail!("expected exactly one ```rust block, found {}", blocks.len());
    };
    let (code, _) = block
        .split_once("```")
        .context("the ```rust block has no end")?;
    Ok(code)
}

fn manifest(root: &Path, workspace: &Table, consumer: &Consumer) -> Result<String> {
    let mut dependencies = Table::new();
    for &name in consumer.crates {
        let path = root.join("crates").join(name);
        let path = path.to_str().context("the workspace's path is not UTF-8")?;
        let dependency = Table::from_iter([("path".to_owned(), Value::from(path))]);
        dependencies.insert(name.to_owned(), dependency.into());
    }
    let declared = at(workspace, &["workspace", "dependencies"])?;
    for &name in consumer.registry {
        let dependency = declared
            .get(name)
            .with_context(|| format!("Cargo.toml declares no workspace dependency {name}"))?;
        dependencies.insert(name.to_owned(), dependency.clone());
    }
    let package = Table::from_iter([
        (
            "name".to_owned(),
            Value::from(format!("{}-consumer", consumer.name)),
        ),
        (
            "edition".to_owned(),
            at(workspace, &["workspace", "package", "edition"])?.clone(),
        ),
        ("publish".to_owned(), Value::from(false)),
    ]);
    // Examples run little code. Dependencies are rebuilt in any case, since these packages enable
    // other features than the workspace does, so they are built without optimisation.
    let mut dev = at(workspace, &["profile", "dev"])?.clone();
    if let Some(packages) = dev.get_mut("package").and_then(Value::as_table_mut) {
        packages.retain(|name, _| name == "*");
    }
    let manifest = Table::from_iter([
        ("workspace".to_owned(), Table::new().into()),
        ("package".to_owned(), package.into()),
        ("dependencies".to_owned(), dependencies.into()),
        (
            "profile".to_owned(),
            Table::from_iter([("dev".to_owned(), dev)]).into(),
        ),
    ]);
    Ok(toml::to_string(&manifest)?)
}

/// The value in a manifest under these nested keys.
fn at<'a>(manifest: &'a Table, keys: &[&str]) -> Result<&'a Value> {
    let (first, rest) = keys.split_first().context("no key")?;
    rest.iter()
        .try_fold(manifest.get(*first), |value, key| Some(value?.get(key)))
        .flatten()
        .with_context(|| format!("Cargo.toml has no {}", keys.join(".")))
}

/// Fails if the resolved dependencies include a crate that the library promises to avoid.
fn check_lock(lock: &str, consumer: &Consumer) -> Result<()> {
    let lock: Table = lock.parse().context("the consumer's Cargo.lock")?;
    let packages = lock.get("package").and_then(Value::as_array);
    for package in packages.context("a Cargo.lock without packages")? {
        let name = package.get("name").and_then(Value::as_str).unwrap_or("");
        let unwanted = consumer.without.iter().any(|start| name.starts_with(start));
        ensure!(!unwanted, "{} depends on {name}", consumer.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readme_has_exactly_one_example() {
        let one = "# x\n\n```rust\nfn main() {}\n```\n\n```text\nno\n```\n";
        assert_eq!(example(one).unwrap(), "fn main() {}\n");
        assert!(example("# x\n").is_err());
        assert!(example(&one.repeat(2)).is_err());
        assert!(example("# x\n\n```rust\nfn main() {}\n").is_err());
    }

    fn named(name: &str) -> &'static Consumer {
        CONSUMERS.iter().find(|c| c.name == name).unwrap()
    }

    #[test]
    fn an_unwanted_dependency_is_found_however_deep() {
        let lock = "version = 4\n[[package]]\nname = \"candle-core\"\nversion = \"1.0.0\"\n";
        let error = check_lock(lock, named("mnist-data")).unwrap_err();
        assert_eq!(error.to_string(), "mnist-data depends on candle-core");
        check_lock(lock, named("mobilenet")).unwrap();
        assert!(check_lock("version = 4\n", named("optim")).is_err());
    }

    #[test]
    fn a_consumer_is_a_workspace_of_its_own() {
        let root = root().unwrap();
        let workspace: Table = fs::read_to_string(root.join("Cargo.toml"))
            .unwrap()
            .parse()
            .unwrap();
        for consumer in &CONSUMERS {
            let text = manifest(root, &workspace, consumer).unwrap();
            let manifest: Table = text.parse().unwrap();
            assert!(manifest["workspace"].as_table().unwrap().is_empty());
            let dependencies = manifest["dependencies"].as_table().unwrap();
            let expected = consumer.crates.len() + consumer.registry.len();
            assert_eq!(dependencies.len(), expected, "{text}");
            for name in consumer.crates {
                let path = dependencies[*name]["path"].as_str().unwrap();
                assert!(Path::new(path).join("Cargo.toml").is_file(), "{path}");
            }
        }
    }
}

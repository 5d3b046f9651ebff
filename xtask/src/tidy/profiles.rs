//! cargo cannot share a list between two profiles, so `Cargo.toml` contains the list FAST twice.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Tree;

/// External crates that are optimised in only one of the two profiles. With such a crate, a
/// benchmark and a test would run at different speeds.
pub(super) fn violations(tree: &Tree) -> Vec<String> {
    let Some(Ok(manifest)) = tree.text("Cargo.toml").map(str::parse::<Table>) else {
        return Vec::new();
    };
    let ours = tree.crates();
    let [dev, release] = ["dev", "release"].map(|profile| fast(&manifest, profile, &ours));
    dev.symmetric_difference(&release)
        .map(|name| format!("Cargo.toml: {name} is in one of the two lists FAST, not in both"))
        .collect()
}

fn fast<'a>(manifest: &'a Table, profile: &str, ours: &[&str]) -> BTreeSet<&'a str> {
    let table = |value: Option<&'a Value>, key: &str| value.and_then(|value| value.get(key));
    let packages = table(table(manifest.get("profile"), profile), "package");
    let packages = packages.and_then(Value::as_table).into_iter().flatten();
    packages
        .filter(|(_, settings)| settings.get("opt-level").and_then(Value::as_integer) == Some(3))
        .map(|(name, _)| name.as_str())
        .filter(|name| !ours.contains(name))
        .collect()
}

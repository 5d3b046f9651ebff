//! Paths of the splits, and the size of images.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::Value as Toml;

use super::keys::{Meaning, Outcome, Settings, set, whole};
use super::python::Value;

impl Settings {
    /// Sets `data.root` if all splits are in one folder under their usual names. Otherwise sets the path of each split.
    pub(super) fn set_splits(&mut self) {
        let mut splits = std::mem::take(&mut self.splits);
        let test = splits.get("test");
        if test.is_some() && (test == splits.get("val") || test == splits.get("train")) {
            splits.remove("test");
        }
        let parents: BTreeSet<_> = splits.values().map(|path| path.parent()).collect();
        let usual = |(split, path): (&&str, &PathBuf)| path.file_name() == Some((*split).as_ref());
        match parents.first() {
            None => self.set("data", "root", "data"),
            Some(parent) if parents.len() == 1 && splits.iter().all(usual) => {
                let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
                let root = parent.unwrap_or(Path::new("."));
                self.set("data", "root", root.to_string_lossy().into_owned());
            }
            Some(_) => {
                if !splits.contains_key("train") {
                    self.set("data", "root", "data");
                }
                for (split, path) in &splits {
                    self.set("data", split, path.to_string_lossy().into_owned());
                }
            }
        }
    }
}

/// The folder of a split.
pub(super) fn split(name: &'static str, path: &str, to: &mut Settings) -> Outcome {
    if path.is_empty() {
        return Ok(Meaning::Foreign(
            "it is empty; without a folder val, a tenth of the training images validates; see classify cross-validate",
        ));
    }
    to.splits.insert(name, path.into());
    Ok(Meaning::Setting)
}

/// `[height, width]`, or one number if they are equal.
pub(super) fn image_size(value: &Value, to: &mut Settings) -> Outcome {
    const SWAPPED: &str = "its project swapped both in the resize; here it is [height, width]";
    let Value::List(sides) = value else {
        return Err("expected [height, width], such as [224, 224]".to_owned());
    };
    let [height, width] = sides.as_slice() else {
        return Err("expected two numbers, [height, width]".to_owned());
    };
    let (height, width) = (whole(height)?, whole(width)?);
    if height == width {
        return set(to, "data", "image_size", height);
    }
    to.set(
        "data",
        "image_size",
        Toml::Array(vec![height.into(), width.into()]),
    );
    Ok(Meaning::Noted(SWAPPED.to_owned()))
}

//! The cache of published weights, and the lookup of weights files by name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use mnist_data::{FetchReport, PublishedWeights};
use trainer::RunConfig;

use crate::terminal::{Terminal, Work};

/// Downloads weights into `dir` or the cache, if they are missing there.
pub(crate) fn fetch(
    weights: PublishedWeights,
    dir: Option<&Path>,
    terminal: &Terminal,
) -> Result<(PathBuf, FetchReport)> {
    let dir = dir.map_or_else(cache, |dir| Ok(dir.to_owned()))?;
    let report = mnist_data::fetch_weights(weights, &dir, &Work::new(terminal))?;
    Ok((dir.join(weights.file_name()), report))
}

/// The weights file that an argument means: a path, or the name of published weights in the cache. An existing file
/// with that name takes precedence.
pub(crate) fn resolve(weights: &Path) -> Result<PathBuf> {
    // If the path cannot be checked, opening the file later reports the error.
    if !matches!(weights.try_exists(), Ok(false)) {
        return Ok(weights.to_owned());
    }
    let shown = weights.display();
    let name = weights.file_name().unwrap_or_default().to_string_lossy();
    let Ok(published) = name.parse::<PublishedWeights>() else {
        return Err(anyhow!(
            "{shown}: no such file; expected a weights file, or the name of weights that \
             `classify fetch weights NAME` has brought, such as mobilenet_v2"
        ));
    };
    let cache = cache()?;
    let is_name = weights
        .parent()
        .is_none_or(|dir| dir.as_os_str().is_empty());
    match published.in_dir(&cache) {
        Some(path) if is_name => Ok(path),
        Some(_) => Err(anyhow!(
            "{shown}: no such file; the weights are in {}, so give their name alone: {published}",
            cache.display()
        )),
        None => Err(anyhow!(
            "{shown}: no such file, and {} has no {}; bring it with\n  classify fetch weights {published}\n\
             then the name {published} is enough",
            cache.display(),
            published.file_name()
        )),
    }
}

/// Replaces names of published weights in the configuration by the paths of their files.
pub(crate) fn resolve_all(config: &mut RunConfig) -> Result<()> {
    if let Some(path) = &mut config.model.pretrained {
        *path = resolve(path).context("`model.pretrained` cannot be read")?;
    }
    if let Some(distillation) = &mut config.distillation {
        let path = &mut distillation.teacher;
        *path = resolve(path).context("`distillation.teacher` cannot be read")?;
    }
    Ok(())
}

/// The folder of published weights.
fn cache() -> Result<PathBuf> {
    cache_among(|name| std::env::var_os(name)).context(
        "there is no folder for caches: set XDG_CACHE_HOME to the absolute path of one, or name \
         a folder with `classify fetch weights NAME --dir DIR` and give the file's path",
    )
}

/// The folder for kernels that were compiled for a GPU, if there is one for caches.
pub(crate) fn kernels() -> Option<PathBuf> {
    let weights = cache_among(|name| std::env::var_os(name))?;
    Some(weights.with_file_name("kernels"))
}

/// The folder for measured speeds of training, if there is one for caches.
pub(crate) fn speeds() -> Option<PathBuf> {
    let weights = cache_among(|name| std::env::var_os(name))?;
    Some(weights.with_file_name("speeds"))
}

/// `XDG_CACHE_HOME`, or else the system's folder for caches. A relative path is ignored, as in the
/// XDG Base Directory Specification.
fn cache_among(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name| {
        let path = variable(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let of_the_system = || match std::env::consts::OS {
        "windows" => folder("LOCALAPPDATA"),
        "macos" => folder("HOME").map(|home| home.join("Library/Caches")),
        _ => folder("HOME").map(|home| home.join(".cache")),
    };
    let caches = folder("XDG_CACHE_HOME").or_else(of_the_system)?;
    Some(caches.join("classify").join("weights"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn the_cache_is_where_the_system_keeps_caches() {
        let of = |variables: &[(&str, &str)]| {
            cache_among(|name| {
                let mut found = variables.iter().filter(|(key, _)| *key == name);
                found.next().map(|(_, value)| value.into())
            })
        };
        let at_home = Some(PathBuf::from("/home/a/.cache/classify/weights"));
        assert_eq!(of(&[("HOME", "/home/a")]), at_home);
        for ignored in ["", "relative"] {
            let variables = [("HOME", "/home/a"), ("XDG_CACHE_HOME", ignored)];
            assert_eq!(of(&variables), at_home);
        }
        assert_eq!(
            of(&[("HOME", "/home/a"), ("XDG_CACHE_HOME", "/big")]),
            Some("/big/classify/weights".into())
        );
        assert_eq!(of(&[]), None);
    }
}

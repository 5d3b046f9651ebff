//! Code shared by the benchmark runners that read a folder of images.

use std::error::Error;
use std::path::Path;

use mnist_data::{DiskCache, ImageFolder, Loader, LoaderOptions};

use crate::protocol::Arguments;

impl Arguments {
    /// Batches of the class folders in `root`, with the cache set by `--cache`: `off` (the default) decodes every image
    /// in every epoch; `memory` keeps decoded images; the name of a folder also writes a disk cache there. The cache is
    /// filled before the first step.
    pub(crate) fn loader(
        &self,
        root: &Path,
        mut options: LoaderOptions,
    ) -> Result<Loader, Box<dyn Error>> {
        let cache = self.get::<String>("--cache")?;
        let cache = cache.as_deref().unwrap_or("off");
        match cache {
            "off" => options.cache_bytes = 0,
            "memory" => {}
            dir => {
                options.disk_cache = Some(DiskCache {
                    path: Path::new(dir).join(format!("{}.pixels", options.image_size)),
                    max_bytes: u64::MAX,
                    read_only: false,
                });
            }
        }
        let loader = Loader::new(ImageFolder::training(root)?.samples, options)?;
        if cache != "off" {
            // The timed epochs have other numbers than this one.
            for batch in loader.epoch(u64::MAX / 2) {
                batch?;
            }
        }
        Ok(loader)
    }
}

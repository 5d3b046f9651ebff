//! Writes drawn photographs to ten class folders, for benchmarks:
//! `cargo run --release -p mnist-data --example make_photos /tmp/photos 2000`.

use std::error::Error;
use std::fs;
use std::path::Path;

use rayon::prelude::*;

mod photos;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, count] = arguments.as_slice() else {
        return Err("usage: make_photos DIR COUNT".into());
    };
    let dir = Path::new(dir);
    let count: usize = count.parse()?;
    (0..count).into_par_iter().try_for_each(|index| {
        let class = dir.join(format!("class-{}", index % 10));
        fs::create_dir_all(&class)?;
        fs::write(class.join(format!("{index:06}.jpg")), photos::jpeg(index)?)?;
        Ok(())
    })
}

use std::io::Write;
use std::path::Path;

use crate::args::FetchArgs;
use crate::terminal::{Terminal, Work};

pub(crate) fn fetch(args: &FetchArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let default = || Path::new("data").join(args.dataset.as_str()).join("idx");
    let dir = args.dir.clone().unwrap_or_else(default);
    let report = mnist_data::fetch(args.dataset, &dir, &Work::new(terminal))?;
    let mut out = super::stdout();
    for name in &report.present {
        writeln!(out, "{}\talready there", dir.join(name).display())?;
    }
    for (name, source) in &report.fetched {
        writeln!(out, "{}\tfrom {source}", dir.join(name).display())?;
    }
    out.flush()?;
    Ok(())
}

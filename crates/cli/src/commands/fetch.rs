use std::io::Write;
use std::path::{Path, PathBuf};

use mnist_data::FetchReport;

use crate::args::{FetchArgs, FetchCommand};
use crate::terminal::{Terminal, Work};
use crate::weights_cache;

pub(crate) fn fetch(args: &FetchArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let (dir, report) = match &args.command {
        Some(FetchCommand::Weights(args)) => {
            let (file, report) = weights_cache::fetch(args.name, args.dir.as_deref(), terminal)?;
            (files::parent(&file).to_owned(), report)
        }
        None => dataset(args, terminal)?,
    };
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

fn dataset(args: &FetchArgs, terminal: &Terminal) -> anyhow::Result<(PathBuf, FetchReport)> {
    let default = || Path::new("data").join(args.dataset.as_str()).join("idx");
    let dir = args.dir.clone().unwrap_or_else(default);
    let report = mnist_data::fetch(args.dataset, &dir, &Work::new(terminal))?;
    Ok((dir, report))
}

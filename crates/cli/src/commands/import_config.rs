use std::io::Write;

use anyhow::{Context, bail};

use trainer::config::MAX_FILE_BYTES;

use crate::args::ImportConfigArgs;
use crate::terminal::Terminal;

pub(crate) fn import_config(args: &ImportConfigArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let origin = args.file.display().to_string();
    let text = mnist_data::read_text(&args.file, MAX_FILE_BYTES)
        .with_context(|| format!("cannot read {origin}"))?;
    let imported = trainer::import_config(&text, &origin)?;
    for remark in &imported.remarks {
        terminal.line(remark);
    }
    let mut stdout = super::stdout();
    match &args.out {
        Some(path) if path.exists() => {
            bail!(
                "{} exists and is not overwritten; choose another --out",
                path.display()
            )
        }
        Some(path) => {
            mnist_data::write_atomically(path, |file| file.write_all(imported.toml.as_bytes()))?;
            writeln!(stdout, "written {}", path.display())?;
        }
        None => stdout.write_all(imported.toml.as_bytes())?,
    }
    stdout.flush()?;
    Ok(())
}

use std::io::Write;

use mnist_data::{UnpackOptions, Validation};

use crate::args::UnpackArgs;
use crate::prepare::class_names;
use crate::terminal::{Terminal, Work};

pub(crate) fn unpack(args: &UnpackArgs, terminal: &Terminal) -> anyhow::Result<()> {
    let options = UnpackOptions {
        validation: Validation {
            count: args.validation,
            stratified: args.stratified.is_some(),
            seed: args.stratified.unwrap_or(0),
        },
        class_names: args.classes_of.map(class_names),
    };
    let report = mnist_data::unpack(&args.idx_dir, &args.out_dir, &options, &Work::new(terminal))?;
    let mut out = super::stdout();
    for (split, images) in [
        ("train", report.train),
        ("val", report.validation),
        ("test", report.test),
    ] {
        writeln!(
            out,
            "{}\t{images} images",
            args.out_dir.join(split).display()
        )?;
    }
    out.flush()?;
    Ok(())
}

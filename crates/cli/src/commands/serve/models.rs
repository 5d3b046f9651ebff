//! The models of a server, and their weights files.

use serve::{Classifier, Error};
use trainer::config::check_batch;

use crate::args::{NamedWeights, ServeArgs};
use crate::commands::{self, NUMBERED, Started};
use crate::terminal::Terminal;

/// The arguments that say where the models come from, so that they can be loaded again.
pub(super) struct Models {
    args: ServeArgs,
    started: Started,
    terminal: Terminal,
}

impl Models {
    /// Checks the names and starts the CPU threads.
    pub(super) fn start(args: ServeArgs, terminal: Terminal) -> anyhow::Result<Self> {
        check_names(&args.weights)?;
        let started = commands::start(&args.network)?;
        Ok(Self {
            args,
            started,
            terminal,
        })
    }

    /// The number of CPU threads.
    pub(super) fn threads(&self) -> usize {
        self.started.threads
    }

    /// Loads all models from their files. The errors name the file.
    pub(super) fn load(&self) -> anyhow::Result<Vec<(String, Classifier)>> {
        let models = self.args.weights.iter();
        models
            .map(|weights| Ok((weights.name.clone(), self.classifier(weights)?)))
            .collect()
    }

    fn classifier(&self, weights: &NamedWeights) -> anyhow::Result<Classifier> {
        let (args, processor) = (&self.args, &self.started.processor);
        let classifier =
            commands::classifier(&weights.file, &args.network, processor, &self.terminal)?;
        let metadata = classifier.metadata();
        check_batch(args.max_batch.get(), metadata.image_size)?;
        if !metadata.class_order.is_named() {
            self.terminal.line(&format!("{}: {NUMBERED}", weights.name));
        }
        Ok(classifier)
    }
}

/// Refuses equal names.
fn check_names(weights: &[NamedWeights]) -> anyhow::Result<()> {
    for (index, NamedWeights { name, file }) in weights.iter().enumerate() {
        let mut earlier = weights[..index].iter();
        if let Some(other) = earlier.find(|other| other.name == *name) {
            let files = format!(
                "{} and {}; name one of them: --weights NAME=FILE",
                other.file.display(),
                file.display()
            );
            return Err(anyhow::Error::from(Error::SameName(name.clone())).context(files));
        }
    }
    Ok(())
}

//! The exit code of an error: 2 if the user's arguments or configuration are wrong, otherwise 1.

use trainer::config::ConfigError;

/// Whether the user's arguments or configuration are wrong. Each error type decides this in `is_usage`.
pub(crate) fn is_usage(error: &anyhow::Error) -> bool {
    fn of<E: std::error::Error + Send + Sync + 'static>(
        error: &anyhow::Error,
        is_usage: fn(&E) -> bool,
    ) -> bool {
        error.downcast_ref().is_some_and(is_usage)
    }
    error.is::<ConfigError>()
        || error.is::<mobilenet::UnknownIsa>()
        || error.is::<crate::tui::NoTerminal>()
        || of(error, mnist_data::Error::is_usage)
        || of(error, mobilenet::Error::is_usage)
        || of(error, optim::Error::is_usage)
        || of(error, classifier::Error::is_usage)
        || of(error, trainer::Error::is_usage)
        || of(error, report::Error::is_usage)
        || of(error, serve::Error::is_usage)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use mnist_data::Error as DataError;
    use mobilenet::Error as NetworkError;
    use optim::Error as OptimError;
    use trainer::Error as TrainerError;

    use super::*;

    #[test]
    fn settings_are_told_from_everything_else() {
        let setting = || DataError::Setting {
            setting: "folds",
            problem: String::new(),
        };
        let table = DataError::Table {
            path: "weights.csv".into(),
            line: 2,
            problem: String::new(),
        };
        let rule = OptimError::Setting {
            section: "warmup".to_owned(),
            key: "epochs",
            value: "-1".to_owned(),
            expected: "a finite number >= 0",
        };
        let missing = || DataError::MissingSplit { path: "val".into() };
        let f16 = || NetworkError::Precision(mobilenet::Precision::F16);
        let config = ConfigError::Parse {
            origin: "my.toml".to_owned(),
            message: String::new(),
        };
        let unnamed = TrainerError::UnnamedClasses {
            data: "test".into(),
            found: 2,
            outputs: 3,
        };
        let wrapped = |error: TrainerError| anyhow::Error::from(error);
        let pixels = || classifier::Error::Pixels {
            found: 0,
            shape: [1, 1, 1, 3],
        };
        let ensemble = || classifier::Error::Ensemble(String::new());
        for (error, expected) in [
            (wrapped(config.into()), true),
            (wrapped(rule.clone().into()), true),
            (wrapped(OptimError::State(String::new()).into()), false),
            (wrapped(setting().into()), true),
            (wrapped(table.into()), true),
            (wrapped(missing().into()), false),
            (wrapped(DataError::EveryImageLeftOut.into()), false),
            (wrapped(f16().into()), true),
            (wrapped(NetworkError::NoGradient.into()), false),
            (wrapped(TrainerError::RunExists("run".into())), false),
            (wrapped(unnamed), true),
            (wrapped(pixels().into()), true),
            (wrapped(ensemble().into()), false),
            (pixels().into(), true),
            (ensemble().into(), false),
            (classifier::Error::from(f16()).into(), true),
            (rule.into(), true),
            (setting().into(), true),
            (missing().into(), false),
            (f16().into(), true),
            (
                "emnist"
                    .parse::<mnist_data::DatasetName>()
                    .unwrap_err()
                    .into(),
                true,
            ),
            (crate::tui::NoTerminal.into(), true),
            (anyhow::anyhow!("anything"), false),
        ] {
            assert_eq!(is_usage(&error), expected, "{error:?}");
        }
        // Context added to an error does not change the exit code.
        let unpacking = Err::<(), _>(setting()).context("cannot unpack a into b");
        assert!(is_usage(&unpacking.unwrap_err()));
    }
}

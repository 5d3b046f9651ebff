//! Which errors are the user's settings (exit code 2), and which are all others (1).

use mnist_data::Error as DataError;
use mobilenet::Error as NetworkError;
use optim::Error as OptimError;
use trainer::Error as TrainerError;
use trainer::config::ConfigError;

/// Whether arguments or configuration are at fault, be it that they show it only later: when the
/// data, the network or the optimizer meet them.
pub(crate) fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<ConfigError>()
        || error.is::<mobilenet::UnknownIsa>()
        || error.downcast_ref().is_some_and(of_data)
        || error.downcast_ref().is_some_and(of_network)
        || error.downcast_ref().is_some_and(of_optimizer)
        || error.downcast_ref().is_some_and(of_trainer)
}

fn of_trainer(error: &TrainerError) -> bool {
    use TrainerError::{ClassCount, ClassOrder, Config, UnnamedClasses};
    match error {
        Config(_) | ClassCount { .. } | UnnamedClasses { .. } | ClassOrder { .. } => true,
        TrainerError::Data(error) => of_data(error),
        TrainerError::Network(error) => of_network(error),
        TrainerError::Optim(error) => of_optimizer(error),
        _ => false,
    }
}

fn of_data(error: &DataError) -> bool {
    use DataError::{Setting, Table, UnknownName};
    matches!(error, Setting { .. } | Table { .. } | UnknownName { .. })
}

/// Numbers that a network or a device does not compute in.
fn of_network(error: &NetworkError) -> bool {
    use NetworkError::{NoBf16, OnlyF32, Precision};
    matches!(error, Precision(_) | NoBf16(_) | OnlyF32(..))
}

fn of_optimizer(error: &OptimError) -> bool {
    matches!(error, OptimError::Setting { .. })
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

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
            (anyhow::anyhow!("anything"), false),
        ] {
            assert_eq!(is_usage(&error), expected, "{error:?}");
        }
        // What was being done, said on top, changes nothing.
        let unpacking = Err::<(), _>(setting()).context("cannot unpack a into b");
        assert!(is_usage(&unpacking.unwrap_err()));
    }
}

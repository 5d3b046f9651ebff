//! The settings that may change when a run is resumed.

use toml::{Table, Value};

use super::{ConfigError, RunConfig};

/// Keys that do not affect the weights of a run that goes well: speed, memory, output, when a run ends with an error, and
/// the places of files. The state of a run identifies the images by their names, and the teacher by its contents.
const MAY_CHANGE: [&str; 19] = [
    "data.root",
    "data.idx_dir",
    "data.class_names",
    "data.train",
    "data.val",
    "data.test",
    "data.sample_weights",
    "data.workers",
    "data.prefetch",
    "data.bad_image_limit",
    "data.cache_mb",
    "data.disk_cache_mb",
    "model.pretrained",
    "train.cache_features",
    "train.checkpoints",
    "train.save_every",
    "train.tensorboard",
    "train.on_divergence",
    "distillation.teacher",
];

/// Keys on which the rounding of floating-point sums depends: with other values the run goes on, with other bits.
const CHANGES_BITS: [&str; 3] = ["train.device", "train.precision", "train.threads"];

/// The longest list of refused keys in a message.
const NAMED: usize = 8;

/// A setting that differs between the start of a run and its continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The key with its section.
    pub key: String,
    /// The value at the start of the run.
    pub from: String,
    /// The new value.
    pub to: String,
    /// Whether later weights may differ from those of an uninterrupted run.
    pub changes_bits: bool,
}

impl RunConfig {
    /// The settings of `next` that differ from this configuration, with which a run began. Both must be resolved.
    ///
    /// `train.epochs` may change if the schedule does not depend on it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unchangeable`], naming every setting that must not change.
    pub fn changes(&self, next: &Self) -> Result<Vec<Change>, ConfigError> {
        let [before, after] = [self, next].map(|config| {
            let table = Table::try_from(config);
            table.map_err(|error| ConfigError::parse("the configuration", &error))
        });
        let mut changes = Vec::new();
        compare("", &before?.into(), &after?.into(), &mut changes);
        let (allowed, refused): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| self.may_change(&change.key));
        if refused.is_empty() {
            return Ok(allowed);
        }
        let shown = refused.iter().take(NAMED);
        let mut named: Vec<String> = shown
            .map(|change| format!("`{}` from {} to {}", change.key, change.from, change.to))
            .collect();
        if refused.len() > NAMED {
            named.push("…".to_owned());
        }
        let on_epochs = refused.iter().any(|change| change.key == "train.epochs");
        Err(ConfigError::Unchangeable {
            changes: named.join(", "),
            hint: match on_epochs {
                true => "; the learning rates of this schedule depend on train.epochs",
                false => "",
            },
        })
    }

    fn may_change(&self, key: &str) -> bool {
        let within = |allowed: &str| {
            let rest = key.strip_prefix(allowed);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match key {
            "train.epochs" => !self.schedule.depends_on_length(),
            _ => MAY_CHANGE
                .iter()
                .chain(&CHANGES_BITS)
                .any(|allowed| within(allowed)),
        }
    }
}

/// Adds the differences of two values below `path`.
fn compare(path: &str, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    if let (Value::Table(one), Value::Table(other)) = (before, after) {
        let names = one
            .keys()
            .chain(other.keys().filter(|key| !one.contains_key(*key)));
        let absent = Value::String("none".to_owned());
        // A section of another type has other keys.
        let is_other = one.get("type") != other.get("type");
        for name in names.filter(|name| !is_other || *name == "type") {
            let path = match path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            let of = |table: &Table| table.get(name).unwrap_or(&absent).clone();
            compare(&path, &of(one), &of(other), changes);
        }
    } else if before != after {
        let shown = |value: &Value| super::shortened(&value.to_string());
        changes.push(Change {
            changes_bits: CHANGES_BITS.contains(&path),
            key: path.to_owned(),
            from: shown(before),
            to: shown(after),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::KEYS;

    fn changes(before: &str, after: &str) -> Result<Vec<Change>, ConfigError> {
        let [before, after] =
            [before, after].map(|text| RunConfig::from_toml(text, "test").unwrap());
        before.changes(&after)
    }

    #[test]
    fn every_key_that_may_change_is_a_key() {
        for allowed in MAY_CHANGE.iter().chain(&CHANGES_BITS) {
            assert!(
                KEYS.iter().any(|key| key.path == *allowed || key.path.starts_with(&format!("{allowed}."))),
                "{allowed}"
            );
        }
    }

    #[test]
    fn harmless_changes_are_listed_and_others_refused_by_name() {
        assert_eq!(changes("", "").unwrap(), []);
        let found = changes("train.threads = 2", "train.threads = 4\ndata.workers = 3").unwrap();
        let keys: Vec<_> = found
            .iter()
            .map(|change| (change.key.as_str(), change.changes_bits))
            .collect();
        assert_eq!(keys, [("data.workers", false), ("train.threads", true)]);
        assert_eq!((found[1].from.as_str(), found[1].to.as_str()), ("2", "4"));
        let refused = changes(
            "",
            "data.batch_size = 32\ntrain.learning_rate = 0.5\ntrain.threads = 3\noptimizer.type = 'sgd'",
        );
        let text = refused.unwrap_err().to_string();
        for key in [
            "`data.batch_size`",
            "`train.learning_rate`",
            "`optimizer.type`",
        ] {
            assert!(text.contains(key), "{text}");
        }
        assert!(!text.contains("threads"), "{text}");
    }

    #[test]
    fn epochs_may_change_unless_the_schedule_needs_them() {
        for (schedule, may) in [
            ("'constant'", true),
            ("'step'\nschedule.step_size = 2", true),
            ("'sgdr'\nschedule.t_0 = 2", true),
            ("'plateau'", true),
            ("'exponential'\nschedule.gamma = 0.9", true),
            ("'cosine'", false),
            ("'one_cycle'", false),
            ("'polynomial'", false),
        ] {
            let before = format!("train.epochs = 5\nschedule.type = {schedule}");
            let after = before.replace("= 5", "= 7");
            let found = changes(&before, &after);
            assert_eq!(found.is_ok(), may, "{schedule}");
            if let Err(error) = found {
                assert!(
                    error.to_string().contains("depend on train.epochs"),
                    "{error}"
                );
            }
        }
    }
}

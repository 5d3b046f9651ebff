//! Unknown keys are found layer by layer, so that the error can name the file
//! they stand in and the key that was probably meant.

use mnist_data::AugmentConfig;
use optim::{EmaConfig, LrScheduleConfig, OptimizerConfig};
use serde_json::{Value, json};

use super::{ConfigError, DistillationConfig, LossConfig, RunConfig};

/// Sections whose keys depend on their `type`. A layer that names a `type`
/// starts such a section afresh instead of adding to a lower layer's keys.
const TAGGED: [&str; 3] = ["optimizer", "schedule", "loss"];

/// Whether the keys of the section `name` depend on its `type`.
pub fn is_tagged_section(name: &str) -> bool {
    TAGGED.contains(&name)
}

/// Refuses a key that no section has.
///
/// `table` is one layer of a configuration, and may leave out any key; `origin`
/// names it in the error ("configs/mnist.toml", "--set").
///
/// # Errors
///
/// [`ConfigError::UnknownKey`], with the nearest valid key.
pub fn check_keys(table: &toml::Table, origin: &str) -> Result<(), ConfigError> {
    let mut schema =
        serde_json::to_value(RunConfig::default()).map_err(|e| ConfigError::parse(origin, &e))?;
    // What is absent by default shows none of its keys there.
    schema["warmup"] = json!({ "steps": null, "epochs": null, "start_factor": null });
    schema["data"]["sample_weights"]["file"] = Value::Null;
    let every_operation = r#"{ "resized_crop": true, "horizontal_flip": true,
        "vertical_flip": true, "affine": true, "elastic": true, "rand_augment": true,
        "color_jitter": true, "erasing": true }"#;
    let augment: AugmentConfig =
        serde_json::from_str(every_operation).map_err(|e| ConfigError::parse(origin, &e))?;
    schema["augment"] = Value::Object(augment.explicit());
    schema["ema"] =
        serde_json::to_value(EmaConfig::default()).map_err(|e| ConfigError::parse(origin, &e))?;
    schema["distillation"] = serde_json::to_value(DistillationConfig::new(""))
        .map_err(|e| ConfigError::parse(origin, &e))?;
    check_section(table, &schema, &schema, "", origin)
}

fn check_section(
    table: &toml::Table,
    section: &Value,
    schema: &Value,
    path: &str,
    origin: &str,
) -> Result<(), ConfigError> {
    for (key, value) in table {
        let full = join(path, key);
        let Some(known) = section.get(key) else {
            return Err(unknown(&full, section, schema, path, origin));
        };
        let Some(inner) = value.as_table() else {
            continue;
        };
        if is_tagged_section(&full) {
            check_section(
                inner,
                &tagged_keys(&full, inner, origin)?,
                schema,
                &full,
                origin,
            )?;
        } else if known.is_object() {
            check_section(inner, known, schema, &full, origin)?;
        }
    }
    Ok(())
}

/// The keys a tagged section may have: those of its type, or of every type when the layer names none.
fn tagged_keys(section: &str, layer: &toml::Table, origin: &str) -> Result<Value, ConfigError> {
    let variants = match section {
        "optimizer" => serde_json::to_value(OptimizerConfig::all()),
        "loss" => serde_json::to_value(LossConfig::all()),
        _ => serde_json::to_value(LrScheduleConfig::all()),
    }
    .map_err(|e| ConfigError::parse(origin, &e))?;
    let wanted = layer.get("type").and_then(toml::Value::as_str);
    let mut keys = serde_json::Map::new();
    for variant in variants.as_array().into_iter().flatten() {
        let named = variant.get("type").and_then(Value::as_str);
        if wanted.is_none() || wanted == named {
            keys.extend(variant.as_object().cloned().unwrap_or_default());
        }
    }
    // An unknown type is reported by name when the whole is deserialised.
    keys.entry("type").or_insert(Value::Null);
    Ok(Value::Object(keys))
}

fn unknown(full: &str, section: &Value, schema: &Value, path: &str, origin: &str) -> ConfigError {
    let mut candidates: Vec<String> = names(section).map(|name| join(path, name)).collect();
    candidates.extend(leaves(schema, ""));
    let name = last(full);
    let close = (name.chars().count() / 3).max(1);
    let nearest = candidates
        .iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(name, last(candidate)),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= close)
        .min_by_key(|(distance, _)| *distance);
    ConfigError::UnknownKey {
        origin: origin.to_owned(),
        key: full.to_owned(),
        hint: match nearest {
            Some((_, candidate)) => format!("did you mean `{candidate}`?"),
            None => format!(
                "{} has: {}",
                if path.is_empty() {
                    "a configuration".to_owned()
                } else {
                    format!("[{path}]")
                },
                names(section).collect::<Vec<_>>().join(", ")
            ),
        },
    }
}

fn names(section: &Value) -> impl Iterator<Item = &str> {
    section
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
}

/// Every key of the schema with its full path.
fn leaves(section: &Value, path: &str) -> Vec<String> {
    let Some(object) = section.as_object() else {
        return Vec::new();
    };
    object
        .iter()
        .flat_map(|(name, value)| {
            let full = join(path, name);
            let mut all = leaves(value, &full);
            all.push(full);
            all
        })
        .collect()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn last(full: &str) -> &str {
    full.rsplit('.').next().unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(text: &str) -> String {
        check_keys(&text.parse().unwrap(), "a.toml")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_file_and_neighbour() {
        let message = hint("[data]\nbatch_sise = 3\n");
        assert!(message.contains("a.toml"), "{message}");
        assert!(message.contains("`data.batch_sise`"), "{message}");
        assert!(
            message.contains("did you mean `data.batch_size`?"),
            "{message}"
        );
    }

    #[test]
    fn a_key_in_the_wrong_section_is_sent_to_the_right_one() {
        assert!(hint("[train]\nbatch_size = 3\n").contains("`data.batch_size`"));
        assert!(hint("epochs = 3\n").contains("`train.epochs`"));
    }

    #[test]
    fn a_key_like_no_other_gets_the_list() {
        assert!(hint("[warp]\n").contains("a configuration has: "));
        assert!(hint("[model]\nquantum_foam = 1\n").contains("[model] has: "));
    }

    #[test]
    fn a_typed_section_takes_the_keys_of_its_type_only() {
        let sgd = "[optimizer]\ntype = \"sgd\"\nmomentum = 0.9\n";
        check_keys(&sgd.parse().unwrap(), "a.toml").unwrap();
        assert!(
            hint("[optimizer]\ntype = \"adam\"\nmomentum = 0.9\n").contains("`optimizer.momentum`")
        );
        check_keys(&"[optimizer]\nmomentum = 0.9\n".parse().unwrap(), "a.toml").unwrap();
    }

    #[test]
    fn every_key_of_the_default_is_valid() {
        let table = toml::Table::try_from(RunConfig::default()).unwrap();
        check_keys(&table, "default").unwrap();
    }
}

//! `classify train PHOTOS`: chooses settings that suit the images.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mnist_data::PublishedWeights;
use mobilenet::zoo::Backbone;
use mobilenet::{ModelName, Variant};
use toml::{Table, Value};
use trainer::config::{ConfigError, DataSource, Layer};
use trainer::{Listed, Photos, Recipe, RunConfig, Splits};

use crate::args::RunArgs;
use crate::terminal::Terminal;
use crate::{layers, weights_cache};

/// The network for photos.
const NETWORK: ModelName = ModelName::MobileNet(Variant::V2);
/// Any network with a frozen backbone.
const FROZEN: ModelName = ModelName::Zoo(Backbone::RepVggA0);

/// The settings chosen for a folder of images.
pub(crate) struct Chosen {
    pub(crate) config: RunConfig,
    /// The listed images.
    pub(crate) images: Listed,
    /// A description of the settings for the user.
    pub(crate) lines: Vec<String>,
}

/// Chooses the settings for the images in `photos`.
pub(crate) fn choose(
    photos: &Path,
    args: &RunArgs,
    budget: Option<Duration>,
    terminal: &Terminal,
) -> anyhow::Result<Chosen> {
    let user = layers::user_layers(args.config.as_deref(), &args.set)?;
    let place = place(photos)?;
    let first = with_recipe(&first_guess(NETWORK), &user, &place);
    // A frozen backbone of another family needs other settings around it.
    let frozen = || with_recipe(&first_guess(FROZEN), &user, &place);
    let first = first.or_else(|error| frozen().map_err(|_| error))?;
    super::commands::use_threads(first.train.threads())?;
    let images = Listed::open(&first)?;
    let has = |key: &str| user.iter().any(|layer| layer.has(key));
    let pretrained = match has("model.pretrained") {
        true => first.model.pretrained.clone(),
        false => pretrained(&first, terminal),
    };
    let recipe = Photos {
        model: first.model.name,
        train_images: images.train_images(&first),
        class_counts: images.class_counts(),
        sizes: images.sizes(),
        pretrained,
        seconds_an_image: trainer::training_speed(&first)?,
        budget,
        image_size: has("data.image_size").then(|| first.data.image_size.longest()),
        epochs: has("train.epochs").then_some(first.train.epochs),
    }
    .recipe();
    let mut config = with_recipe(&recipe, &user, &place)?;
    weights_cache::resolve_all(&mut config)?;
    Ok(Chosen {
        lines: told(&recipe, &config, &user, budget),
        config: config.settled()?,
        images,
    })
}

/// Refuses to train on MNIST in a folder of photos, which were probably meant.
pub(crate) fn refuse_bystanders(args: &RunArgs) -> anyhow::Result<()> {
    let here = Path::new(".");
    let has_settings = args.config.is_some() || !args.set.is_empty() || layers::has_default_file();
    let holds_images = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .into_iter()
            .any(|entry| mnist_data::is_image(&entry.path()))
    };
    let folders = std::fs::read_dir(here)?.flatten().map(|entry| entry.path());
    let classes = folders
        .filter(|path| path.is_dir() && holds_images(path))
        .count();
    if has_settings || (classes < 2 && !holds_images(here)) {
        return Ok(());
    }
    Err(ConfigError::Invalid {
        key: "PHOTOS",
        found: "missing, and the current folder holds images".to_owned(),
        expected: "the folder of the class folders, such as `classify train .`; for MNIST, run `classify train` in \
                   another folder"
            .to_owned(),
    }
    .into())
}

/// A recipe that is valid below any setting that the user may give: image size and weights do not matter for listing.
fn first_guess(model: ModelName) -> Recipe {
    Photos {
        model,
        train_images: 1000,
        class_counts: Vec::new(),
        sizes: None,
        // A configuration of some networks is valid only with pretrained weights.
        pretrained: Some(PathBuf::from("pretrained")),
        seconds_an_image: None,
        budget: None,
        image_size: None,
        epochs: None,
    }
    .recipe()
}

/// The configuration from three layers: the recipe, the user's layers above it, and the images' path on top.
fn with_recipe(recipe: &Recipe, user: &[Layer], place: &Layer) -> anyhow::Result<RunConfig> {
    let mut all = vec![recipe.layer()?];
    all.extend_from_slice(user);
    all.push(place.clone());
    Ok(RunConfig::from_layers(&all)?)
}

/// The layer with the path and the source of the images.
fn place(photos: &Path) -> anyhow::Result<Layer> {
    let refused = |problem: &str, expected: &str| ConfigError::Invalid {
        key: "PHOTOS",
        found: format!("{}, {problem}", photos.display()),
        expected: expected.to_owned(),
    };
    if !photos.exists() {
        let expected =
            "a folder with class folders in it, or a CSV file with the columns path and label";
        return Err(refused("which does not exist", expected).into());
    }
    if photos.is_file() && mnist_data::is_image(photos) {
        let expected = "the folder that holds the class folders, or a CSV file with the columns path and label";
        return Err(refused("which is an image", expected).into());
    }
    let text = photos.to_str();
    let text = text.ok_or_else(|| refused("which is not UTF-8", "another name: rename it"))?;
    let source = match Splits::source_of(photos)? {
        DataSource::Csv => "csv",
        _ => "folder",
    };
    // A path that is valid TOML, such as 2024, is still text.
    let quoted = Value::String(text.to_owned()).to_string();
    let settings = [("data.source", source), ("data.root", quoted.as_str())];
    Ok(Layer::from_assignments(settings, "PHOTOS")?)
}

/// Published weights for the model, from the cache or downloaded; `None` with a warning if that fails.
fn pretrained(config: &RunConfig, terminal: &Terminal) -> Option<PathBuf> {
    if config.model.width != 1.0 {
        tracing::warn!(
            "there are no published weights of width {}: training from scratch",
            config.model.width
        );
        return None;
    }
    let name = config.model.name.to_string();
    let published: PublishedWeights = match name.parse() {
        Ok(published) => published,
        Err(_) => {
            tracing::warn!(
                "there are no published weights of {name} to fetch: training from scratch; \
                 --set model.pretrained=FILE takes a file that you have"
            );
            return None;
        }
    };
    match weights_cache::fetch(published, None, terminal) {
        Ok((path, _)) => Some(path),
        Err(error) => {
            tracing::warn!("{error:#}");
            tracing::warn!(
                "training from scratch, which takes more photos and more time for the same accuracy; \
                 `classify fetch weights {name}` brings pretrained weights where there is a network, and \
                 --set model.pretrained=FILE takes a file that you have"
            );
            None
        }
    }
}

/// The settings of the recipe as they are in effect, and warnings about the time.
fn told(
    recipe: &Recipe,
    config: &RunConfig,
    user: &[Layer],
    budget: Option<Duration>,
) -> Vec<String> {
    let mut lines = vec!["settings for these images (--set KEY=VALUE changes one):".to_owned()];
    let written = Table::try_from(config).unwrap_or_default();
    let mut section = String::new();
    for line in recipe.to_toml().lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[') {
            section = format!("{}.", name.trim_end_matches(']'));
        }
        let key = line
            .split_once(" = ")
            .map(|(key, _)| format!("{section}{key}"));
        let set = key.filter(|key| user.iter().any(|layer| layer.has(key)));
        lines.push(match set {
            Some(key) => {
                let name = key.rsplit('.').next().unwrap_or(&key);
                let value =
                    value_of(&written, &key).map_or_else(String::new, |value| value.to_string());
                format!("    {name} = {value}   # set by you")
            }
            None => format!("    {line}"),
        });
    }
    if let Some(budget) = budget
        .map(|budget| budget.as_secs())
        .filter(|&budget| recipe.seconds > 1.2 * budget as f64)
    {
        lines.push(format!(
            "warning: {budget} s are too short: the run takes about {:.0} s, since image size or epochs are set",
            recipe.seconds
        ));
    } else if let (true, Some(budget)) = (recipe.is_rushed, budget) {
        lines.push(format!(
            "warning: {} s are too short for this many images: only {} epochs of small images fit, so the network \
             will learn little; raise --time-budget",
            budget.as_secs(),
            recipe.epochs
        ));
    }
    lines
}

/// The value at a dotted path.
fn value_of<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut parts = sections.split('.').filter(|part| !part.is_empty());
    let table = parts.try_fold(table, |table, part| table.get(part)?.as_table())?;
    table.get(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_user_lie_above_the_recipe_and_below_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path()).unwrap();
        let user = [Layer::from_toml(
            "data = { image_size = 40, root = 'elsewhere', normalisation = { mean = [0.1, 0.2, 0.3] } }",
            "my.toml",
        )
        .unwrap()];
        let config = with_recipe(&first_guess(NETWORK), &user, &place).unwrap();
        assert_eq!(config.data.image_size, mnist_data::ImageSize::square(40));
        assert_eq!(config.data.root(), dir.path());
        assert_eq!(config.model.name, NETWORK);
        assert_eq!(config.augment.preset, mnist_data::Preset::Photos);
    }

    #[test]
    fn a_csv_file_and_a_folder_of_them_are_told_from_class_folders() {
        let dir = tempfile::tempdir().unwrap();
        let source = || {
            with_recipe(&first_guess(NETWORK), &[], &place(dir.path()).unwrap())
                .unwrap()
                .data
                .source
        };
        assert_eq!(source(), DataSource::Folder);
        let file = dir.path().join("Train.csv");
        std::fs::write(&file, "path,label\n").unwrap();
        assert_eq!(source(), DataSource::Csv);
        std::fs::create_dir(dir.path().join("train")).unwrap();
        assert_eq!(source(), DataSource::Folder);
        let config = with_recipe(&first_guess(NETWORK), &[], &place(&file).unwrap()).unwrap();
        assert_eq!(config.data.source, DataSource::Csv);
        assert!(place(&dir.path().join("nowhere")).is_err());
    }
}

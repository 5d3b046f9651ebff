use super::*;
use crate::weights::usage::Usage;

/// A network in a scheme, as a file has it.
struct File {
    scheme: Scheme,
    variant: Variant,
    tensors: Vec<(String, Vec<usize>)>,
}

impl File {
    fn names(&self) -> HashSet<&str> {
        self.tensors.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn prefixed(&self, prefix: &str) -> Vec<(String, Vec<usize>)> {
        let tensors = self.tensors.iter().cloned();
        tensors
            .map(|(name, shape)| (format!("{prefix}{name}"), shape))
            .collect()
    }
}

fn found(tensors: &[(String, Vec<usize>)]) -> Option<Origin> {
    recognise(
        tensors
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice())),
    )
}

/// Every network in every scheme, for 7 classes.
fn files() -> Vec<File> {
    let mut files = Vec::new();
    for group in groups() {
        for variant in Variant::of_family(group.family) {
            for head in [HeadKind::Torchvision, HeadKind::Linear] {
                let config = ModelConfig {
                    head,
                    design: Usage::of(group.scheme, variant).design,
                    ..ModelConfig::new(variant, 7)
                };
                let names = config.plan().ok();
                let names = names.and_then(|plan| variant.names(group.scheme, &plan));
                let tensors = names.into_iter().flatten().filter_map(|tensor| {
                    let shape = tensor.shape.unwrap_or_default();
                    Some((tensor.foreign?, shape))
                });
                let tensors: Vec<_> = tensors.collect();
                if !tensors.is_empty() {
                    files.push(File {
                        scheme: group.scheme,
                        variant,
                        tensors,
                    });
                }
            }
        }
    }
    files
}

/// Whether names and shapes of two files are equal, so that only the images that the weights expect differ.
fn are_twins(file: &File, files: &[File], origin: &Origin) -> bool {
    let mut others = files.iter();
    others.any(|other| {
        (other.scheme, other.variant) == (origin.scheme, origin.variant)
            && other.names() == file.names()
            && other.variant.family() == file.variant.family()
            && shapes(other) == shapes(file)
    })
}

fn shapes(file: &File) -> HashMap<&str, &[usize]> {
    let tensors = file.tensors.iter();
    tensors
        .map(|(name, shape)| (name.as_str(), shape.as_slice()))
        .collect()
}

#[test]
fn every_network_is_recognised_in_every_scheme() {
    let files = files();
    for file in &files {
        let what = format!("{} {}", file.scheme, file.variant);
        let origin = found(&file.tensors).unwrap_or_else(|| panic!("{what}: not recognised"));
        assert_eq!(origin.prefix, "", "{what}");
        assert!(
            are_twins(file, &files, &origin),
            "{what}: taken for {} {}",
            origin.scheme,
            origin.variant
        );
    }
}

#[test]
fn prefixes_other_tensors_and_missing_heads_do_not_matter() {
    let files = files();
    // One network of each family in each scheme, not always the first.
    let mut tried = HashSet::new();
    let some = files.iter().rev().enumerate();
    for (index, file) in
        some.filter(|(_, file)| tried.insert((file.scheme.to_string(), file.variant.family())))
    {
        let what = format!("{} {}", file.scheme, file.variant);
        let prefix = ["module.", "state_dict.model.", "pretrain_", "_orig_mod."][index % 4];
        let mut tensors = file.prefixed(prefix);
        tensors.truncate(tensors.len() * 9 / 10);
        // An average of the weights, a teacher of another family, and an optimizer's state.
        tensors.extend(file.prefixed("model_ema."));
        let other = &files[(index * 31 + files.len() / 2) % files.len()];
        let other = other.prefixed("teacher.");
        let most = other.len() / 2;
        tensors.extend(other.into_iter().take(most.min(file.tensors.len() / 3)));
        tensors.push(("optimizer.state.0.exp_avg".to_owned(), vec![3]));
        let origin = found(&tensors).unwrap_or_else(|| panic!("{what}: not recognised"));
        // Without the average, the copy is not as complete.
        let average = origin.prefix == "model_ema.";
        assert!(
            average || origin.prefix == prefix,
            "{what}: {}",
            origin.prefix
        );
        assert!(
            are_twins(file, &files, &origin),
            "{what}: taken for {} {}",
            origin.scheme,
            origin.variant
        );
    }
}

#[test]
fn a_matrix_may_be_stored_as_a_convolution() {
    assert!(same_numbers(&[8, 4], &[8, 4, 1, 1]));
    assert!(same_numbers(&[8, 1, 1], &[8]));
    assert!(same_numbers(&[1], &[1, 1]));
    assert!(same_numbers(&[], &[]));
    assert!(!same_numbers(&[8, 4], &[4, 8]));
    assert!(!same_numbers(&[], &[1]));
    assert!(!same_numbers(&[8, 1, 3, 3], &[8, 3, 3]));
}

//! Names of other projects that follow from the names in the plan, by rules.

use engine::Plan;

use super::TensorName;

/// A pattern of names, and the replacement.
///
/// A pattern is compared with the beginning of a tensor's name in the plan, part by part; parts end at dots. A `*` stands
/// for a whole number: `layer*.*.conv1`. A replacement may contain the numbers in braces, counted from 0, with an offset:
/// `s{0}.b{1+1}.f.a`, `blocks.{0-1}`. The rest of the name is kept. An empty replacement removes the matched parts.
pub(crate) type Rule = (&'static str, &'static str);

/// Every tensor of a network, each with the name that `rename` makes of its name in the plan. `None` if `rename` returns
/// `None` for any tensor: then the scheme does not have the network.
pub(crate) fn renamed(
    plan: &Plan,
    rename: impl Fn(&str) -> Option<String>,
) -> Option<Vec<TensorName>> {
    renamed_tensors(plan, |tensor| {
        let foreign = Some(rename(&tensor.native)?);
        Some(TensorName { foreign, ..tensor })
    })
}

/// As [`renamed`], for schemes that also lack tensors (`foreign: None`) or have other shapes.
pub(crate) fn renamed_tensors(
    plan: &Plan,
    rename: impl Fn(TensorName) -> Option<TensorName>,
) -> Option<Vec<TensorName>> {
    TensorName::all(plan).map(rename).collect()
}

/// Every tensor of a network, with names by the first rule that matches. Names that no rule matches are unchanged.
pub(crate) fn by_rules(plan: &Plan, rules: &[Rule]) -> Option<Vec<TensorName>> {
    renamed(plan, |name| {
        Some(replaced(rules, name).unwrap_or_else(|| name.to_owned()))
    })
}

/// `name`, changed by the first rule that matches. `None` if no rule matches.
pub(crate) fn replaced(rules: &[Rule], name: &str) -> Option<String> {
    rules.iter().find_map(|rule| apply(rule, name))
}

fn apply((pattern, replacement): &Rule, name: &str) -> Option<String> {
    let mut parts = name.split('.');
    let mut numbers = Vec::new();
    let mut matched = 0;
    for expected in pattern.split('.') {
        let part = parts.next()?;
        matched += part.len() + 1;
        match expected.split_once('*') {
            None if part == expected => {}
            None => return None,
            Some((before, after)) => {
                let number = part.strip_prefix(before)?.strip_suffix(after)?;
                numbers.push(number.parse::<usize>().ok()?);
            }
        }
    }
    let rest = name.get(matched..).unwrap_or("");
    let start = filled(replacement, &numbers)?;
    Some(match (start.is_empty(), rest.is_empty()) {
        (true, _) => rest.to_owned(),
        (_, true) => start,
        _ => format!("{start}.{rest}"),
    })
}

/// The replacement with its numbers. `None` if a number would be below 0.
fn filled(replacement: &str, numbers: &[usize]) -> Option<String> {
    let mut filled = String::with_capacity(replacement.len() + 8);
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('{') {
        let (hole, after) = after.split_once('}')?;
        let at = hole.find(['+', '-']).unwrap_or(hole.len());
        let (index, offset) = hole.split_at(at);
        let number = numbers.get(index.parse::<usize>().ok()?)?;
        let offset: isize = if offset.is_empty() {
            0
        } else {
            offset.parse().ok()?
        };
        filled.push_str(before);
        filled.push_str(&number.checked_add_signed(offset)?.to_string());
        rest = after;
    }
    filled.push_str(rest);
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = [
            ("layer*.0.conv1", "s{0}.b1.f.a"),
            ("layer*.*", "s{0}.b{1+1}"),
            ("features.denseblock*.x*y", "d.{1-1}.{0}"),
            ("fc", "last_linear"),
            ("backbone", ""),
        ];
        for (name, expected) in [
            ("layer1.0.conv1.weight", Some("s1.b1.f.a.weight")),
            ("layer12.3.bn1.bias", Some("s12.b4.bn1.bias")),
            ("fc.weight", Some("last_linear.weight")),
            ("fc2.weight", None),
            ("layer.0.conv1.weight", None),
            ("layer1", None),
            ("features.denseblock3.x1y.weight", Some("d.0.3.weight")),
            ("features.denseblock3.x0y.weight", None),
            ("backbone.fc.weight", Some("fc.weight")),
        ] {
            assert_eq!(replaced(&rules, name).as_deref(), expected, "{name}");
        }
    }
}

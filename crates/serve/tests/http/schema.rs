//! The part of JSON Schema that `openapi.json` uses.

use serde_json::Value;

/// Checks a value. Returns the place of the first difference.
pub(crate) fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let object = schema.as_object().unwrap();
    for (keyword, rule) in object {
        keyword_check(document, schema, keyword, rule, value)
            .map_err(|error| format!("{error}\n  in {value} by {keyword}: {rule}"))?;
    }
    Ok(())
}

/// The part of the document to which a reference leads.
pub(crate) fn resolved<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value.get("$ref") {
        Some(reference) => {
            let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
            document
                .pointer(pointer)
                .unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => value,
    }
}

fn keyword_check(
    document: &Value,
    schema: &Value,
    keyword: &str,
    rule: &Value,
    value: &Value,
) -> Result<(), String> {
    let require = |is_right: bool| is_right.then_some(()).ok_or_else(|| "no".to_owned());
    let number = |rule: &Value| rule.as_f64().unwrap();
    match (keyword, value) {
        ("$ref", _) => check(document, resolved(document, schema), value),
        ("type", _) => {
            let types = rule
                .as_array()
                .cloned()
                .unwrap_or_else(|| vec![rule.clone()]);
            require(types.iter().any(|name| is_a(value, name.as_str().unwrap())))
        }
        ("const", _) => require(value == rule),
        ("enum", _) => require(rule.as_array().unwrap().contains(value)),
        ("oneOf", _) => {
            let rules = rule.as_array().unwrap().iter();
            let results: Vec<_> = rules.map(|rule| check(document, rule, value)).collect();
            match results.iter().filter(|result| result.is_ok()).count() {
                1 => Ok(()),
                _ => Err(format!("{results:?}")),
            }
        }
        ("minimum", Value::Number(_)) => require(number(value) >= number(rule)),
        ("maximum", Value::Number(_)) => require(number(value) <= number(rule)),
        ("minItems", Value::Array(items)) => require(items.len() as f64 >= number(rule)),
        ("maxItems", Value::Array(items)) => require(items.len() as f64 <= number(rule)),
        ("items", Value::Array(items)) => items
            .iter()
            .try_for_each(|item| check(document, rule, item)),
        ("required", Value::Object(members)) => {
            let names = rule.as_array().unwrap().iter();
            require(
                names
                    .map(|name| name.as_str().unwrap())
                    .all(|name| members.contains_key(name)),
            )
        }
        ("properties", Value::Object(members)) => rule
            .as_object()
            .unwrap()
            .iter()
            .filter_map(|(name, rule)| Some((members.get(name)?, rule)))
            .try_for_each(|(member, rule)| check(document, rule, member)),
        ("additionalProperties", Value::Object(members)) => {
            let known = |name: &str| schema.pointer(&format!("/properties/{name}")).is_some();
            members
                .iter()
                .filter(|(name, _)| !known(name))
                .try_for_each(|(name, member)| match rule {
                    Value::Bool(false) => Err(format!("{name:?} is unknown")),
                    _ => check(document, rule, member),
                })
        }
        ("pattern", Value::String(text)) => {
            // The only patterns are beginnings.
            require(text.starts_with(rule.as_str().unwrap().strip_prefix('^').unwrap()))
        }
        ("description" | "default" | "format" | "contentEncoding", _) => Ok(()),
        // Keywords for values of another type.
        (
            "minimum"
            | "maximum"
            | "minItems"
            | "maxItems"
            | "items"
            | "required"
            | "properties"
            | "additionalProperties"
            | "pattern",
            _,
        ) => Ok(()),
        _ => Err("the keyword is not known here".to_owned()),
    }
}

fn is_a(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => panic!("{name} is no type"),
    }
}

//! What holds of all schemas alike.
//!
//! - A page holds what its name says by reference.
//! - A member that is flattened into another object is part of it, so that there is nothing to be put together, and nothing is
//!   described that nobody refers to.
//! - What a request holds and nobody knows is refused, so that its objects are closed.
//! - What may be `null` in an answer is there: `null` says that there is none. (A member that is left out is never `null`.)

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// Makes it so for the schemas that `paths` refer to.
pub(super) fn settle(
    schemas: &mut Map<String, Value>,
    paths: &BTreeMap<String, Map<String, Value>>,
    problems: &Map<String, Value>,
) {
    let names: Vec<String> = schemas.keys().cloned().collect();
    for name in &names {
        let mut flat = flattened(schemas[name].clone(), schemas);
        if let Some(of) = name.strip_prefix("Page_") {
            flat["properties"]["data"]["items"] = json!({ "$ref": format!("#/components/schemas/{of}") });
            flat["example"] = json!({ "data": [schemas[of]["example"]], "next_cursor": null });
        }
        schemas.insert(name.clone(), flat);
    }
    let calls = || paths.values().flat_map(Map::values);
    let asked = reached(calls().filter_map(|call| call.get("requestBody")), schemas);
    let answers = calls().filter_map(|call| call.get("responses")).chain(problems.values());
    let answered = reached(answers, schemas);
    for name in names {
        let (is_asked, is_answered) = (asked.contains(&name), answered.contains(&name));
        let schema = schemas.get_mut(&name).expect("it was just there");
        assert!(
            !(is_asked && is_answered && schema.get("properties").is_some()),
            "{name} is an object of requests and of answers, which have different rules"
        );
        if is_asked {
            close(schema);
        } else {
            always_there(schema);
        }
    }
}

/// Those that somebody refers to.
pub(super) fn referred_to<'a>(
    schemas: &'a Map<String, Value>,
    from: impl Iterator<Item = &'a Value>,
) -> Map<String, Value> {
    let reached = reached(from, schemas);
    let kept = schemas.iter().filter(|(name, _)| reached.contains(*name));
    kept.map(|(name, schema)| (name.clone(), schema.clone())).collect()
}

fn flattened(mut schema: Value, schemas: &Map<String, Value>) -> Value {
    let Some(parts) = schema.as_object_mut().and_then(|schema| schema.remove("allOf")) else { return schema };
    schema["type"] = json!("object");
    for part in parts.as_array().into_iter().flatten() {
        let part = match referred(part) {
            Some(name) => flattened(schemas[name].clone(), schemas),
            None => part.clone(),
        };
        for (name, property) in part["properties"].as_object().into_iter().flatten() {
            schema["properties"][name] = property.clone();
        }
        let mut required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        required.extend(part["required"].as_array().into_iter().flatten().cloned());
        if !required.is_empty() {
            schema["required"] = required.into();
        }
    }
    schema
}

/// The names of all schemas that these refer to, and those in turn.
fn reached<'a>(from: impl Iterator<Item = &'a Value>, schemas: &'a Map<String, Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&Value> = from.collect();
    while let Some(value) = open.pop() {
        if let Some(schema) = referred(value).and_then(|name| schemas.get_key_value(name))
            && found.insert(schema.0.clone())
        {
            open.push(schema.1);
        }
        match value {
            Value::Object(members) => open.extend(members.values()),
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    found
}

/// The name of the schema that this is a reference to.
pub(super) fn referred(value: &Value) -> Option<&str> {
    value.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")
}

fn close(schema: &mut Value) {
    if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
        schema["additionalProperties"] = json!(false);
    }
}

fn always_there(schema: &mut Value) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    let nullable =
        properties.iter().filter(|(_, property)| may_be_null(property)).map(|(name, _)| name.clone());
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let required: BTreeSet<String> =
        required.iter().filter_map(Value::as_str).map(str::to_owned).chain(nullable).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
}

fn may_be_null(property: &Value) -> bool {
    let is_null = |kind: &Value| kind == "null";
    let named =
        property.get("type").is_some_and(|kind| kind.as_array().is_some_and(|all| all.iter().any(is_null)));
    let listed = property.get("oneOf").and_then(Value::as_array);
    named || listed.is_some_and(|all| all.iter().any(|one| one.get("type").is_some_and(is_null)))
}

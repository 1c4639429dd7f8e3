//! Schemas on the page: what a value is, in words, and the members of objects.

use serde_json::Value;

use super::super::shapes::referred;
use super::text::{escaped, inline, prose};
use super::{resolved, text};

/// Every schema that has a place of its own: those that are a plain text or number are told where they stand.
pub(super) fn listed(document: &Value) -> String {
    let schemas = document["components"]["schemas"].as_object().into_iter().flatten();
    let shown = |(name, schema): (&String, &Value)| {
        let given = schema.get("example").map(example).unwrap_or_default();
        format!(
            "<article id=\"schema-{name}\">\n<h3>{name}</h3>\n{}<p>{}</p>\n{}{given}</article>\n",
            prose(text(schema, "description")),
            plain(document, schema),
            members(document, schema),
        )
    };
    let shown: String = schemas.map(shown).collect();
    format!("<section>\n<h2 id=\"schemas\">Schemas</h2>\n{shown}</section>\n")
}

/// The members of an object as a table; nothing for what is no object.
pub(super) fn members(document: &Value, schema: &Value) -> String {
    let Some(properties) = schema["properties"].as_object() else { return String::new() };
    let required = schema["required"].as_array();
    let row = |(name, property): (&String, &Value)| {
        let needed = required.is_some_and(|names| names.iter().any(|needed| needed == name));
        format!(
            "<tr><td><code>{}</code></td><td>{} {}</td><td>{}</td></tr>\n",
            escaped(name),
            kind(document, property),
            if needed { "" } else { "<i>optional</i>" },
            inline(description(document, property)),
        )
    };
    let rows: String = properties.iter().map(row).collect();
    if rows.is_empty() { rows } else { format!("<table>\n{rows}</table>\n") }
}

/// A property's own description, or that of what it refers to.
fn description<'a>(document: &'a Value, property: &'a Value) -> &'a str {
    let inner = either(property).unwrap_or(property);
    let own = [property, inner].into_iter().map(|schema| text(schema, "description"));
    own.chain([text(resolved(document, inner), "description")])
        .find(|said| !said.is_empty())
        .unwrap_or_default()
}

/// What a value is, in a few words.
pub(super) fn kind(document: &Value, schema: &Value) -> String {
    if let Some(inner) = either(schema) {
        return format!("{} or <code>null</code>", kind(document, inner));
    }
    match referred(schema) {
        Some(name) => format!("<a href=\"#schema-{name}\">{name}</a>"),
        None => plain(document, schema),
    }
}

/// What is beside `null` in a choice of two.
fn either(schema: &Value) -> Option<&Value> {
    let choices = schema["oneOf"].as_array()?;
    choices.iter().find(|choice| choice["type"] != "null").filter(|_| choices.len() == 2)
}

fn plain(document: &Value, schema: &Value) -> String {
    if let Some(names) = schema["enum"].as_array() {
        let names =
            names.iter().filter_map(Value::as_str).map(|name| format!("<code>{}</code>", escaped(name)));
        return names.collect::<Vec<_>>().join(" · ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return "any JSON".to_owned(),
    };
    let words = types.iter().map(|kind| match *kind {
        "array" => format!("list of {}", kind_of_items(document, schema)),
        "string" => bounded(schema, "text", ("minLength", "maxLength"), " characters"),
        "integer" => bounded(schema, "whole number", ("minimum", "maximum"), ""),
        "number" => bounded(schema, "number", ("minimum", "maximum"), ""),
        "null" => "<code>null</code>".to_owned(),
        other => other.to_owned(),
    });
    words.collect::<Vec<_>>().join(" or ")
}

fn kind_of_items(document: &Value, schema: &Value) -> String {
    kind(document, &schema["items"])
}

fn bounded(schema: &Value, word: &str, (least, most): (&str, &str), unit: &str) -> String {
    let format = schema["format"].as_str().filter(|format| !format.starts_with("int") && *format != "double");
    let format = format.map_or(String::new(), |format| format!(" ({})", escaped(format)));
    match (schema[least].as_f64(), schema[most].as_f64()) {
        (Some(least), Some(most)) => format!("{word}{format}, {least} to {most}{unit}"),
        (None, Some(most)) => format!("{word}{format}, at most {most}{unit}"),
        _ => format!("{word}{format}"),
    }
}

/// An example, as it is written.
pub(super) fn example(value: &Value) -> String {
    format!("<pre>{}</pre>\n", escaped(&format!("{value:#}")))
}

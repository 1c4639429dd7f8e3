//! The calls on the page, by their tags, with a table of contents.

use serde_json::{Map, Value};

use super::schemas::{example, kind, members};
use super::text::{escaped, inline, prose};
use super::{resolved, text};

/// In this order, as people think of them.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

struct Call<'a> {
    method: &'static str,
    path: &'a str,
    described: &'a Value,
}

/// The contents, and the calls themselves.
pub(super) fn listed(document: &Value) -> (String, String) {
    let calls = calls(document);
    let (mut contents, mut shown) = (String::new(), String::new());
    for (n, tag) in document["tags"].as_array().into_iter().flatten().enumerate() {
        let name = escaped(text(tag, "name"));
        contents += &format!("<h3><a href=\"#tag-{n}\">{name}</a></h3>\n<ul>\n");
        let about = prose(text(tag, "description"));
        shown += &format!("<section>\n<h2 id=\"tag-{n}\">{name}</h2>\n{about}");
        for call in calls.iter().filter(|call| call.described["tags"][0] == tag["name"]) {
            let (id, summary) =
                (text(call.described, "operationId"), inline(text(call.described, "summary")));
            contents += &format!("<li><a href=\"#{id}\">{summary}</a></li>\n");
            shown += &call.shown(document);
        }
        contents += "</ul>\n";
        shown += "</section>\n";
    }
    contents +=
        "<h3><a href=\"#schemas\">Schemas</a></h3>\n<h3><a href=\"#headers\">Headers of answers</a></h3>\n";
    (contents, shown)
}

/// Those that stand for themselves, by path and method.
fn calls(document: &Value) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().into_iter().flatten() {
        for method in METHODS {
            if let Some(described) = item.get(method).filter(|described| !is_variant(described)) {
                calls.push(Call { method, path, described });
            }
        }
    }
    calls
}

/// Whether it is another call under a tenant's path, and so is told of there.
pub(super) fn is_variant(call: &Value) -> bool {
    text(call, "operationId").ends_with("OfTenant")
}

impl Call<'_> {
    fn shown(&self, document: &Value) -> String {
        let Self { method, path, described } = self;
        let (id, summary) = (text(described, "operationId"), inline(text(described, "summary")));
        let scopes = described["security"][0]["key"].as_array().into_iter().flatten();
        let scopes: String = scopes
            .filter_map(Value::as_str)
            .map(|scope| format!("<p>Scope: <code>{scope}</code></p>\n"))
            .collect();
        format!(
            "<article id=\"{id}\">\n<h3>{summary}</h3>\n<p class=\"call\"><b class=\"{method}\">{}</b> <code>{}</code></p>\n\
            {also}{about}{scopes}{parameters}{body}{answers}</article>\n",
            method.to_uppercase(),
            escaped(path),
            also = self.also(document),
            about = prose(text(described, "description")),
            parameters = parameters(document, described),
            body = body(document, described),
            answers = answers(document, described),
        )
    }

    fn also(&self, document: &Value) -> String {
        let Some(rest) = self.path.strip_prefix("/v1") else { return String::new() };
        let variant = format!("/v1/tenants/{{tenant}}{rest}");
        match document["paths"][&variant].get(self.method).filter(|call| is_variant(call)) {
            Some(_) => format!("<p>Also <code>{}</code></p>\n", escaped(&variant)),
            None => String::new(),
        }
    }
}

fn parameters(document: &Value, described: &Value) -> String {
    let parameters = described["parameters"].as_array().into_iter().flatten();
    let row = |parameter: &Value| {
        let parameter = resolved(document, parameter);
        let needed = if parameter["required"] == true { "needed" } else { "" };
        format!(
            "<tr><td><code>{}</code></td><td>{}</td><td>{} {needed}</td><td>{}</td></tr>\n",
            escaped(text(parameter, "name")),
            text(parameter, "in"),
            kind(document, &parameter["schema"]),
            inline(text(parameter, "description")),
        )
    };
    let rows: String = parameters.map(row).collect();
    if rows.is_empty() { rows } else { format!("<h4>Parameters</h4>\n<table>\n{rows}</table>\n") }
}

fn body(document: &Value, described: &Value) -> String {
    let Some(body) = described.get("requestBody") else { return String::new() };
    let needed = if body["required"] == true { "" } else { " (may be left out)" };
    let contents = body["content"].as_object().into_iter().flatten();
    let shown = |(form, content): (&String, &Value)| {
        let (schema, form) = (resolved(document, &content["schema"]), escaped(form));
        let given = content.get("example").map(example).unwrap_or_default();
        format!("<p><code>{form}</code></p>\n{}{given}{}", members(document, schema), own_example(schema))
    };
    let contents: String = contents.map(shown).collect();
    format!("<h4>Body{needed}</h4>\n{contents}")
}

fn own_example(schema: &Value) -> String {
    let listed = schema["examples"].as_array().and_then(|examples| examples.first());
    schema.get("example").or(listed).map(example).unwrap_or_default()
}

fn answers(document: &Value, described: &Value) -> String {
    let answers = described["responses"].as_object().into_iter().flatten();
    let row = |(status, answer): (&String, &Value)| {
        let answer = resolved(document, answer);
        let contents = answer["content"].as_object();
        let kinds = contents.into_iter().flat_map(Map::values);
        let kinds: String = kinds.map(|content| kind(document, &content["schema"])).collect();
        let own: Vec<_> = answer["headers"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, header)| header.get("$ref").is_none())
            .map(|(name, _)| format!("<code>{name}</code>"))
            .collect();
        let own = if own.is_empty() { String::new() } else { format!(" Header: {}.", own.join(", ")) };
        let class = if status.starts_with('2') { "good" } else { "bad" };
        format!(
            "<tr class=\"{class}\"><td>{status}</td><td>{kinds}</td><td>{}{own}</td></tr>\n",
            inline(text(answer, "description")),
        )
    };
    let rows: String = answers.map(row).collect();
    format!("<h4>Answers</h4>\n<table>\n{rows}</table>\n")
}

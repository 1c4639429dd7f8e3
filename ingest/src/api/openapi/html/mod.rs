//! The document for people: one page, made here, with nothing in it that comes from elsewhere, and no script.

mod calls;
mod schemas;
mod text;

use serde_json::Value;

use text::{escaped, prose};

/// The page that shows `document`.
pub(super) fn page(document: &Value) -> String {
    let info = &document["info"];
    let (title, version) = (text(info, "title"), text(info, "version"));
    let (contents, calls) = calls::listed(document);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
        <title>{title} {version}: the API</title>\n<style>\n{style}</style>\n</head>\n<body>\n\
        <nav><h2><a href=\"#top\">{title}</a></h2>\n{contents}</nav>\n<main id=\"top\">\n\
        <h1>{title} <small>{version}</small></h1>\n{about}{keys}\
        <p>The same as a document for programs: <a href=\"openapi.json\">openapi.json</a>.</p>\n\
        {calls}{schemas}{shared}</main>\n</body>\n</html>\n",
        title = escaped(title),
        version = escaped(version),
        style = include_str!("style.css"),
        about = prose(text(info, "description")),
        keys = keys(document),
        schemas = schemas::listed(document),
        shared = headers(document),
    )
}

fn keys(document: &Value) -> String {
    let described = prose(text(&document["components"]["securitySchemes"]["key"], "description"));
    format!("<h2 id=\"keys\">Who calls</h2>\n<p><code>Authorization: Bearer KEY</code></p>\n{described}")
}

/// The headers of answers.
fn headers(document: &Value) -> String {
    let headers = document["components"]["headers"].as_object().into_iter().flatten();
    let row = |(name, header): (&String, &Value)| {
        let (always, description) = (header["required"] == true, prose(text(header, "description")));
        let example = header["example"].as_str().map_or_else(|| header["example"].to_string(), str::to_owned);
        let always = if always { "always" } else { "where it applies" };
        format!(
            "<tr><td><code>{name}</code></td><td>{always}</td><td>{description}<code>{}</code></td></tr>\n",
            escaped(&example)
        )
    };
    let rows: String = headers.map(row).collect();
    format!("<section><h2 id=\"headers\">Headers of answers</h2>\n<table>\n{rows}</table>\n</section>\n")
}

/// A member that is a text; none is an empty one.
fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// What a reference leads to, or the value itself if it is none.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let place = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    place.and_then(|place| document.pointer(place)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::super::document;
    use super::*;

    /// Opening tags without their closing ones, of those that have any.
    fn open_tags(page: &str) -> Vec<&str> {
        let mut open = Vec::new();
        for piece in page.split('<').skip(1) {
            let name = piece.split([' ', '>', '\n']).next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{piece}"),
                None if matches!(name, "!doctype" | "meta") => {}
                None => open.push(name),
            }
        }
        open
    }

    #[test]
    fn every_call_and_schema_is_on_the_page_and_every_link_leads_somewhere() {
        let page = page(document());
        assert_eq!(open_tags(&page), Vec::<&str>::new());
        let linked = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next());
        let mut links = 0;
        for link in linked {
            assert!(page.contains(&format!("id=\"{link}\"")), "#{link} leads nowhere");
            links += 1;
        }
        assert!(links > 200, "only {links} links");
        for (path, item) in document()["paths"].as_object().expect("paths") {
            assert!(page.contains(&escaped(path)), "{path} is missing");
            let plain = item.as_object().expect("calls").values().filter(|call| !calls::is_variant(call));
            for call in plain {
                let id = text(call, "operationId");
                assert!(page.contains(&format!("id=\"{id}\"")), "{id} is missing");
            }
        }
    }

    #[test]
    fn nothing_on_the_page_comes_from_elsewhere() {
        let page = page(document());
        for outside in ["<script", "<link", "<img", "src=", "@import", "url(", "href=\"http"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}

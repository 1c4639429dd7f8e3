//! Short names that may stand in a path, a subdomain and the name of a queue.

use uuid::Uuid;

use crate::limits;

/// Checks a slug: it has to fit a subdomain and a queue's name, and to be told from an id.
pub fn check_slug(text: &str) -> Result<(), &'static str> {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || text.len() > limits::SLUG_CHARS {
        return Err("a slug has 1 to 63 characters");
    }
    if !text.chars().all(inside) || text.starts_with('-') || text.ends_with('-') {
        return Err("a slug is made of a-z, 0-9 and `-`, and begins and ends with a letter or digit");
    }
    if Uuid::try_parse(text).is_ok() {
        return Err("a slug must not look like a UUID");
    }
    Ok(())
}

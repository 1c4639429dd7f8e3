//! What comes in at a source, without the coming in: who has signed it, what type it is of, and which delivery of its
//! provider's. Pure: the time is an argument.

pub mod places;
pub mod verify;

use axum::http::HeaderMap;

/// The only value of a header, if it is text. What is there twice says nothing: whoever stands before us may have gone by
/// the other one.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

//! fairhook
fn main() {}

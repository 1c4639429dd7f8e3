//! What requests hold. Their readers read field by field, so that these types are for the document only; a test
//! (`tests/api/documented.rs`) asks each reader which fields it knows and needs, and compares.
//!
//! A field that is an `Option` may be left out, and may be `null` too unless it says otherwise.

mod cloudevents;
mod control;
mod deliveries;
mod queries;
mod sources;

pub use cloudevents::*;
pub use control::*;
pub use deliveries::*;
pub use queries::*;
pub use sources::*;

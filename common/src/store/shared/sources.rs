//! What a change makes of a source.

use crate::ids::SourceId;
use crate::source::Source;
use crate::store::{ControlError, NewSource, SourceChanges};
use crate::time::Timestamp;

/// A new source.
pub(in crate::store) fn made(id: SourceId, new: NewSource, now: Timestamp) -> Source {
    let NewSource { tenant, token_hash, settings, status } = new;
    Source { id, tenant, token_hash, settings, status, created_at: now, updated_at: now }
}

/// Makes the changes, unless somebody has changed it since the caller read it.
pub(in crate::store) fn change(
    source: &mut Source,
    changes: SourceChanges,
    now: Timestamp,
) -> Result<(), ControlError> {
    if changes.if_updated_at.is_some_and(|read_at| read_at != source.updated_at) {
        return Err(ControlError::Conflict);
    }
    source.settings = changes.settings.unwrap_or_else(|| source.settings.clone());
    source.status = changes.status.unwrap_or(source.status);
    source.token_hash = changes.token_hash.unwrap_or(source.token_hash);
    // It differs after every change, or somebody who read in the same millisecond could not tell.
    source.updated_at = now.max(Timestamp(source.updated_at.0.saturating_add(1)));
    Ok(())
}

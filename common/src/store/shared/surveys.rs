//! What both backends read of a survey alike.

use crate::endpoint::StatusReason;
use crate::ids::EndpointId;
use crate::store::shared::values::damaged;

/// Reads what the query spelt: endpoints as 32 hexadecimal digits, each with `:` and the reason, separated by commas.
pub(in crate::store) fn disabled(
    text: Option<&str>,
) -> Result<Vec<(EndpointId, Option<StatusReason>)>, sqlx::Error> {
    let one = |part: &str| {
        let (id, reason) = part.split_once(':')?;
        let id = uuid::Uuid::try_parse(id).ok()?;
        Some((EndpointId::from_uuid(id), StatusReason::from_name(reason)))
    };
    let parts = text.unwrap_or_default().split(',').filter(|part| !part.is_empty());
    parts.map(|part| one(part).ok_or_else(|| damaged("disabled"))).collect()
}

//! The rows of `attempts`.

use sqlx::postgres::PgConnection;

use crate::delivery::AttemptRecord;
use crate::ids::{DeliveryId, TenantId};

/// An attempt with its number.
pub(super) struct Attempt<'a> {
    pub delivery: DeliveryId,
    pub tenant: TenantId,
    pub n: u32,
    pub record: &'a AttemptRecord,
}

/// Keeps attempts, none of which is kept already.
pub(super) async fn keep(connection: &mut PgConnection, attempts: &[Attempt<'_>]) -> Result<(), sqlx::Error> {
    const KEEP: &str = "INSERT INTO attempts (event, ordinal, n, tenant, id, started_at, duration_ms, status_code, \
            error_code, error_detail, response_snippet) \
        SELECT * FROM unnest($1::uuid[], $2::integer[], $3::integer[], $4::uuid[], $5::uuid[], $6::bigint[], $7::bigint[], \
            $8::integer[], $9::text[], $10::text[], $11::bytea[])";
    if attempts.is_empty() {
        return Ok(());
    }
    let records = || attempts.iter().map(|attempt| attempt.record);
    let errors = || records().map(|record| record.error.as_ref());
    sqlx::query(KEEP)
        .bind(attempts.iter().map(|a| a.delivery.event.uuid()).collect::<Vec<_>>())
        .bind(attempts.iter().map(|a| i32::from(a.delivery.ordinal)).collect::<Vec<_>>())
        .bind(attempts.iter().map(|a| a.n as i32).collect::<Vec<_>>())
        .bind(attempts.iter().map(|a| a.tenant.uuid()).collect::<Vec<_>>())
        .bind(records().map(|record| record.id).collect::<Vec<_>>())
        .bind(records().map(|record| record.started_at.0).collect::<Vec<_>>())
        .bind(records().map(|record| i64::from(record.duration_ms)).collect::<Vec<_>>())
        .bind(records().map(|record| record.status_code.map(i32::from)).collect::<Vec<_>>())
        .bind(errors().map(|error| error.map(|e| e.code.name())).collect::<Vec<_>>())
        .bind(errors().map(|error| error.map(|e| e.detail.as_str())).collect::<Vec<_>>())
        .bind(records().map(|record| &record.response_snippet[..]).collect::<Vec<_>>())
        .execute(connection)
        .await
        .map(drop)
}

//! How a tenant's overrides come with its row: as a JSON list of `[policy, limit, window in ms, created_at, ends_at]`.

use std::time::Duration;

use super::values::damaged;
use crate::policy::{Override, Policy, PolicyRate, WindowLength};
use crate::time::Timestamp;

/// Reads such a list, in the order of the policies.
pub(in crate::store) fn read(text: &str) -> Result<Vec<Override>, sqlx::Error> {
    let rows: Vec<(String, u32, u64, i64, i64)> =
        serde_json::from_str(text).map_err(|_| damaged("overrides"))?;
    let mut overrides = rows.into_iter().map(one).collect::<Option<Vec<_>>>();
    if let Some(overrides) = &mut overrides {
        overrides.sort_by_key(|one| one.policy);
    }
    overrides.ok_or_else(|| damaged("an override"))
}

fn one((policy, limit, window_ms, created_at, ends_at): (String, u32, u64, i64, i64)) -> Option<Override> {
    Some(Override {
        policy: Policy::from_name(&policy)?,
        rate: PolicyRate { limit, window: WindowLength::new(Duration::from_millis(window_ms)).ok()? },
        created_at: Timestamp(created_at),
        ends_at: Timestamp(ends_at),
    })
}

/// A window as it is kept; the longest is a day.
pub(in crate::store) fn window_ms(window: WindowLength) -> i64 {
    window.length().as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_read_back_is_a_damaged_store() {
        let read = |text: &str| read(text).map(|overrides| overrides.len()).ok();
        assert_eq!(read("[]"), Some(0));
        assert_eq!(read(r#"[["tier", 5, 10000, 1, 2], ["events", 7, 1000, 1, 2]]"#), Some(2));
        for damaged in [
            r#"[["nothing", 5, 10000, 1, 2]]"#,
            r#"[["tier", -5, 10000, 1, 2]]"#,
            r#"[["tier", 5, 0, 1, 2]]"#,
        ] {
            assert_eq!(read(damaged), None, "{damaged}");
        }
    }
}

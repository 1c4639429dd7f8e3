//! The bounds of what is seen of tenants: what processes tell of them, and the conditions that follow.

use std::time::Duration;

/// How often a process tells the store how busy its tenants are: one small row.
pub const ACTIVITY_INTERVAL: Duration = Duration::from_secs(2);
/// Rates forget what was before so fast: after twice this little of it is left. A quieter figure would hide what begins now.
pub const ACTIVITY_MEMORY: Duration = Duration::from_secs(5);
/// What a process told is forgotten when it has been silent for so long.
pub const ACTIVITY_TTL: Duration = Duration::from_secs(10);
/// Tenants that a process tells of by name: the busiest. Who holds a hundredth of all slots, of which at most three processes
/// have a part, is among the busiest 300 of one of them.
pub const ACTIVITY_TENANTS: usize = 500;
/// Tenants that a process counts apart, some 200 bytes each; what more there are are counted together.
pub const ACTIVITY_METERED: usize = 20_000;
/// Tenants with metrics of their own: the labels of one family, which a Prometheus keeps for weeks.
pub const METRIC_TENANTS: usize = 20;
/// Tenants that `GET /v1/top` names.
pub const TOP_TENANTS: usize = 50;
/// How long it is known what limits did: a week can be compared with the one before its end.
pub const LIMIT_MINUTES_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The span that is looked at unless it is said.
pub const LIMIT_SPAN: Duration = Duration::from_secs(24 * 3600);
/// Tenants of whom an ingest counts requests in a minute, some 50 bytes each.
pub const LIMIT_TENANTS_COUNTED: usize = 10_000;
/// Of these, the busiest are kept, each minute: some rows a minute for each ingest, a few million a week at the most.
pub const LIMIT_TENANTS_KEPT: usize = 200;
/// How often it is looked whether a minute is over.
pub const LIMIT_MINUTES_SAVE: Duration = Duration::from_secs(10);
/// Rows that are added to in one transaction.
pub const LIMIT_ROWS_SAVED: usize = super::WRITER_ROWS as usize;
/// Minutes that are kept in memory while the store cannot be written; the oldest go.
pub const LIMIT_MINUTES_WAITING: usize = 60;
/// Sums of each kind that are read: every route and policy there is, and of the tenants more than are shown.
pub const LIMIT_SUMS: u32 = 500;
/// Tenants, and routes, that are shown.
pub const LIMIT_TOP: usize = 10;
/// How often the tenants are looked at for conditions.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Tenants that are looked at in one read of the store.
pub const SURVEY_TENANTS: u32 = 500;
/// Conditions that hold, or may begin to, at once: some hundred bytes each. More than these tell nobody anything.
pub const CONDITIONS: usize = 10_000;
/// Conditions told to the operator's endpoint in one step.
pub const CONDITIONS_TOLD: u32 = 100;
/// How long an operational event may be on its way.
pub const CONDITION_EVENT_LIFE: Duration = Duration::from_secs(24 * 3600);

/// A tenant that uses less than this part of the slots hurts nobody.
pub const NOISY_SLOTS_PART: f64 = 0.01;
/// Nor does one that uses fewer slots than this.
pub const NOISY_SLOTS_MIN: f64 = 2.0;
/// A tenant is noisy above so many times its fair share of the slot time that is used.
pub const NOISY_FACTOR: f64 = 1.5;
/// A tenant that uses less of a slot has not been active of late.
pub const ACTIVE_SLOTS: f64 = 0.000_5;
/// Who waits longer from post to attempt, though nothing of its own holds it back, is hurt.
pub const HURT_DELAY: Duration = Duration::from_secs(1);

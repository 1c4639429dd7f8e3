//! The bounds of the way from a request to its 202, and on to the queue.

use std::time::Duration;

use super::UPLOAD_BYTES_FREE;

/// Deliveries that one transaction admits, unless they are of one event: bounds the time that others wait for it.
pub const ADMIT_BATCH_DELIVERIES: usize = 256;
/// Payload bytes that one transaction admits.
pub const ADMIT_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Payload bytes that wait for admission, over all tenants, of small events and of large ones each; beyond it: 503.
pub const ADMIT_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Payload bytes of one tenant that wait for admission, of small events and of large ones each; beyond it: 503 for that tenant.
pub const ADMIT_WAITING_BYTES_PER_TENANT: usize = 16 * 1024 * 1024;
/// So much of a tenant may wait even when too much waits in all: floods of others must not shut a quiet tenant out.
pub const ADMIT_WAITING_BYTES_FREE: usize = UPLOAD_BYTES_FREE;
/// What an event weighs in those bounds beside its payload.
pub const ADMIT_EVENT_OVERHEAD_BYTES: usize = 512;
/// Deliveries that wait to be published; beyond it they become due.
pub const PUBLISH_WAITING: usize = 50_000;
/// Deliveries of one tenant that wait to be published: ten floods together leave room for others.
pub const PUBLISH_WAITING_PER_TENANT: usize = 5_000;
/// Messages handed to the queue in one call.
pub const PUBLISH_CHUNK: usize = 128;
/// Such calls under way at once: with the chunk, the window of unconfirmed messages that a broker likes best.
pub const PUBLISHES_IN_FLIGHT: usize = 8;
/// Unconfirmed messages of one tenant: a quarter of that window, so that one slow queue does not fill it.
pub const PUBLISH_UNCONFIRMED_PER_TENANT: usize = 256;
/// Outbox rows are settled together at least this often: each transaction is a write that others wait for.
pub const SETTLE_INTERVAL: Duration = Duration::from_millis(100);
/// Outbox rows settled in one transaction.
pub const SETTLE_ROWS: usize = 256;
/// Deliveries made due in one transaction that settles.
pub const SETTLE_DELIVERIES: usize = 2_000;
/// Outbox rows that wait to be settled while the store cannot be written; beyond it they are left to housekeeping.
pub const SETTLE_WAITING_ROWS: usize = 10_000;
/// Callers at the same time from which on a batch waits a little for those who are about to come back.
pub const GATHER_CROWD: usize = 16;
/// How long it waits at most: well under what a caller notices.
pub const GATHER_MAX: Duration = Duration::from_millis(3);
/// After an orderly stop began, requests that were under way may still be admitted for so long.
pub const ADMIT_LINGER: Duration = Duration::from_secs(3);
/// Failing transactions spent on finding what one of them cannot take.
pub const ADMIT_BISECTIONS: u32 = 64;
/// Tenants whose quotas one ingest remembers; beyond it the one that was idle longest is forgotten, and its burst with it. So
/// many others have then sent to this ingest since: at the 20,000 events per second that an ingest hardly reaches that takes
/// ten seconds, in which every plan's burst is full again.
pub const QUOTA_TENANTS: u64 = 200_000;
/// The shortest window in which all ingests together count a tenant's events: some round trips to Redis and leases fit in it.
pub const QUOTA_WINDOW_MIN: Duration = Duration::from_millis(100);
/// One lease is this part of a window's events (2 %): what three ingests hold unspent is little beside the limit.
pub const TOKEN_LEASE_PART: u32 = 50;
/// Tokens in one lease of a smaller window, of which they are twice that part at most: with fewer, a round trip for every second event
/// of a hundred a second costs more than deciding may.
pub const TOKEN_LEASE_SMALL: u32 = 4;
/// Tokens in one lease: with more, round trips are rare enough already and only the error grows.
pub const TOKEN_LEASE_MAX: u32 = 1_000;
/// What Redis knows of a tenant's saved burst is forgotten after this at the latest: a day without events is a quiet time.
pub const LIMIT_KEPT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Keys that are remembered of tenants, of addresses, of sources, and of operators' names each (some 400 bytes): beyond, who asked longest ago is
/// forgotten and begins anew.
pub const LIMITER_KEYS: u64 = 200_000;
/// After this without a request nothing is counted any more of the longest window and the one before it.
pub const LIMITER_IDLE: Duration = Duration::from_secs(2 * 24 * 3600);
/// How long a request waits for Redis before this ingest's share decides: hardly felt beside a commit.
pub const REDIS_BUDGET: Duration = Duration::from_millis(50);
/// What of that is left at least when Redis is asked: a question that waited for others of its key until the last moment would
/// call Redis away, for everybody, that has done nothing wrong.
pub const REDIS_ANSWER: Duration = Duration::from_millis(25);
/// How long a probe waits for a new connection to Redis; no request waits for it.
pub const REDIS_DIAL_DEADLINE: Duration = Duration::from_secs(2);
/// How often Redis is probed while it is away: the limits are whole again soon, and it is not stormed as it starts.
pub const REDIS_PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// What a limit per tenant remembers is forgotten when the tenant is idle for so long.
pub const QUOTA_IDLE: Duration = Duration::from_secs(3_600);
/// The highest limit of an override unless configured: above any plan's, and below what somebody types by mistake.
pub const OVERRIDE_CEILING: u32 = 1_000_000;
/// How long an override holds unless it is said.
pub const OVERRIDE_TTL: Duration = Duration::from_secs(24 * 3600);
/// The longest: what is to hold for longer is a plan or a quota.
pub const OVERRIDE_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Tenants whose use is read in one statement: as many as commonly wait while the one before is under way, and few enough that it
/// takes milliseconds.
pub const USAGE_TENANTS: usize = 256;
/// Such reads under way at once: one that hangs does not hold up the others, and beyond that more tenants wait for a read that
/// asks for all of them together.
pub const USAGE_READERS: usize = 2;
/// A tenant's backlog is known at most this late.
pub const BACKLOG_AGE_MAX: Duration = Duration::from_secs(1);
/// From this age on it is read again beside the requests, so that none of them waits for it.
pub const BACKLOG_AGE_REFRESH: Duration = Duration::from_millis(500);
/// While it cannot be read, the last value counts for so long: a late reader must not close the way in.
pub const BACKLOG_AGE_STALE: Duration = Duration::from_secs(10);

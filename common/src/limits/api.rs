//! The bounds of the API: requests, answers, and what an ingest remembers of keys and tenants.

use std::time::Duration;

/// A request body, and so a payload: well under what a broker or a row takes, ample for a webhook.
pub const REQUEST_BODY_BYTES: usize = 1024 * 1024;
/// A batch request's body: a thousand events of 8 KiB.
pub const BATCH_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Events in one batch request.
pub const BATCH_EVENTS: usize = 1_000;
/// Items on a page.
pub const PAGE_ITEMS: u32 = 250;
/// Items on a page when the caller does not say.
pub const PAGE_ITEMS_DEFAULT: u32 = 50;
/// Payload bytes on a page of events; it is shorter if they are large.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Deliveries shown with their event, and attempts with their delivery: the latest. Replays can make any number.
pub const RELATED_ITEMS: u32 = 500;
/// Rows that a list looks at between two looks at the clock.
pub const LIST_ROWS: u32 = 2_000;
/// How long a list looks for rows that match before it answers with what it has: one caller must not hold a reader.
pub const LIST_BUDGET: Duration = Duration::from_millis(500);
/// How long a change that a tenant makes by the API waits for those that it makes at the same time.
pub const CONTROL_TURN_WAIT: Duration = Duration::from_secs(5);
/// A tenant's lists and changes may have one in so many parts of the time each, of one connection to the store: one that asks for
/// them without end takes as much of a processor at most.
pub const TURN_PART: u32 = 4;
/// What a tenant may use at once beyond that: a page of an application that shows some lists, or some dozen changes, wait for
/// nothing.
pub const TURN_ALLOWANCE: Duration = Duration::from_millis(100);
/// What a process has said of its readiness may be said again for so long: strangers may ask, and an answer is a commit.
pub const HEALTH_AGE_MAX: Duration = Duration::from_millis(500);
/// How long any read of the API may take in the store.
pub const READ_DEADLINE: Duration = Duration::from_secs(2);
/// How long a caller may wait for its event to be durable before it is told to come again.
pub const ADMIT_DEADLINE: Duration = Duration::from_secs(10);
/// The longest `?wait_s=` of an endpoint's test.
pub const TEST_WAIT: Duration = Duration::from_secs(20);
/// An endpoint's test is not tried for longer: nobody looks any more.
pub const TEST_TTL: Duration = Duration::from_secs(3_600);
/// Connections that the API serves at once.
pub const API_CONNECTIONS: usize = 4_096;
/// Of these, one peer's at most: a load balancer is a peer, and a quarter is left for whoever else there is.
pub const API_CONNECTIONS_PER_PEER: usize = API_CONNECTIONS / 4 * 3;
/// How long a client may take to read what of an answer does not fit into the system's buffers.
pub const ANSWER_DEADLINE: Duration = REQUEST_BODY_DEADLINE;
/// How long a client may take to send a request's head, the quiet time before it on a kept connection included.
pub const REQUEST_HEAD_DEADLINE: Duration = Duration::from_secs(30);
/// How long a client may take to send a request's body.
pub const REQUEST_BODY_DEADLINE: Duration = Duration::from_secs(30);
/// What is read and thrown away of a body that its answer does not need, a refused one's above all, so that a client that
/// is still sending gets to see the answer.
pub const DISCARDED_BODY_BYTES: usize = 16 * 1024 * 1024;
/// How long that may take.
pub const DISCARDED_BODY_DEADLINE: Duration = Duration::from_secs(2);
/// Request bodies in memory at once, over all tenants; beyond it: 503.
pub const UPLOAD_BYTES: usize = 128 * 1024 * 1024;
/// Request bodies of one tenant in memory at once: four full batches; beyond it: 503 for that tenant.
pub const UPLOAD_BYTES_PER_TENANT: usize = 4 * BATCH_BODY_BYTES;
/// Bodies in memory at once that come in at sources, which are not verified before they are read.
pub const SOURCE_UPLOAD_BYTES: usize = UPLOAD_BYTES / 4;
/// The same of one tenant's sources: four of the largest.
pub const SOURCE_UPLOAD_BYTES_PER_TENANT: usize = 4 * REQUEST_BODY_BYTES;
/// So much a tenant may send even when all together send too much: an ordinary event, from as many tenants as there are
/// connections.
pub const UPLOAD_BYTES_FREE: usize = 64 * 1024;
/// A request's head, and what is read of a connection at once; 4,096 connections of strangers hold 256 MiB at most.
pub const REQUEST_HEAD_BYTES: usize = 64 * 1024;
/// Members of a JSON object that is read field by field: more than any request has.
pub const OBJECT_MEMBERS: usize = 64;
/// Faults told of one request.
pub const PROBLEM_FAULTS: usize = 32;
/// What is shown of a name, an id or the like that the caller sent.
pub const SHOWN_NAME_CHARS: usize = 64;
/// A request's id, if the caller gives one.
pub const REQUEST_ID_CHARS: usize = 128;
/// `deliver_at` is at most this far ahead.
pub const DELIVER_AT_AHEAD: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 3600);
/// How far the time in a provider's signature may be from ours, unless it is said.
pub const SIGNATURE_TOLERANCE: Duration = Duration::from_secs(300);
/// The farthest, before and after our time: until then a repetition is known by its idempotency key.
pub const SIGNATURE_TOLERANCE_MAX: Duration = Duration::from_secs(11 * 3600);
/// How long what was read about keys, tenants and sources may be used without knowing of every change since: the kill switch is in
/// force within a second.
pub const CONTROL_CACHE_TTL: Duration = Duration::from_millis(500);
/// How long it may be used while every change is heard of: a tenant that posts now and then is read once a minute; and so long
/// what somebody writes into the database by hand, of which nobody is told, may go unseen.
pub const CONTROL_CACHE_HELD: Duration = Duration::from_secs(60);
/// Keys, tenants, and sources, remembered by one ingest.
pub const CONTROL_CACHE_ENTRIES: u64 = 20_000;
/// Addresses known to be over a limit of strangers, some 100 bytes each. One without a place guesses as it likes.
pub const GUESSERS: u64 = 20_000;
/// For so long after it was last refused; each refusal is another begin.
pub const GUESSING_TTL: Duration = Duration::from_secs(10);
/// What all of them have looked up at once: of the two connections that look up ([`DOOR_READERS`](super::DOOR_READERS); with
/// Postgres three) the others are for everybody else.
pub const GUESSES_AT_ONCE: usize = 1;
/// A rotated secret signs beside the new one for so long, unless said otherwise, and at most.
pub const ROTATION_GRACE: Duration = Duration::from_secs(24 * 3600);
/// The longest grace of a rotation.
pub const ROTATION_GRACE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

//! Every bound of the system, with its reason. What an operator may change is in `config` and only has its default here.

use std::time::Duration;

// The API.

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

// Names and texts.

/// An event type.
pub const EVENT_TYPE_CHARS: usize = 128;
/// A tenant's or a key's name, an endpoint's description.
pub const NAME_CHARS: usize = 256;
/// A slug; it is part of a queue's name and of a subdomain (RFC 1035: 63).
pub const SLUG_CHARS: usize = 63;
/// An endpoint's uid.
pub const UID_CHARS: usize = 128;
/// An idempotency key.
pub const IDEMPOTENCY_KEY_CHARS: usize = 256;
/// `metadata` as JSON text.
pub const METADATA_BYTES: usize = 8 * 1024;
/// A URL; what servers commonly take.
pub const URL_CHARS: usize = 2_048;
/// A host's name, and each label of it (RFC 1035).
pub const HOST_CHARS: usize = 253;
/// See [`HOST_CHARS`].
pub const HOST_LABEL_CHARS: usize = 63;
/// Event types of one endpoint.
pub const ENDPOINT_EVENT_TYPES: usize = 64;
/// Custom headers of one endpoint.
pub const ENDPOINT_HEADERS: usize = 32;
/// A custom header's name and value together.
pub const ENDPOINT_HEADER_BYTES: usize = 4 * 1024;
/// Waits in a retry schedule.
pub const RETRY_STEPS: usize = 30;
/// One wait in a retry schedule.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// A tenant's weight: with larger ones a tenant of weight 1 would hardly be seen.
pub const TENANT_WEIGHT_MAX: u64 = 1_000;
/// Attempts per second that an endpoint may ask for.
pub const ENDPOINT_RATE_MAX: u64 = 100_000;
/// The largest number that a quota may be set to.
pub const QUOTA_MAX: u64 = 1_000_000_000;
/// Endpoints that a tenant may be allowed: what one event makes of deliveries has to fit into a transaction.
pub const ENDPOINTS_MAX: u64 = ADMIT_BATCH_DELIVERIES as u64;
/// API keys of one tenant.
pub const KEYS_PER_TENANT: u32 = 100;

// Time.

/// `deliver_at` is at most this far ahead.
pub const DELIVER_AT_AHEAD: Duration = Duration::from_secs(14 * 24 * 3600);
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 3600);
/// How long what was read about keys and tenants may be used: the kill switch is in force within a second.
pub const CONTROL_CACHE_TTL: Duration = Duration::from_millis(500);
/// Keys, and tenants, remembered by one ingest.
pub const CONTROL_CACHE_ENTRIES: u64 = 20_000;
/// A rotated secret signs beside the new one for so long, unless said otherwise, and at most.
pub const ROTATION_GRACE: Duration = Duration::from_secs(24 * 3600);
/// The longest grace of a rotation.
pub const ROTATION_GRACE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

// Admission.

/// Deliveries that one transaction admits: bounds the time that others wait for it.
pub const ADMIT_BATCH_DELIVERIES: usize = 2_000;
/// Payload bytes that one transaction admits.
pub const ADMIT_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Payload bytes that wait for admission, over all tenants; beyond it: 503.
pub const ADMIT_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Payload bytes of one tenant that wait for admission; beyond it: 503 for that tenant.
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
pub const QUOTA_LEASE_PART: u32 = 50;
/// Tokens in one lease: with more, round trips are rare enough already and only the error grows.
pub const QUOTA_LEASE_MAX: u32 = 1_000;
/// What Redis knows of a tenant's saved burst is forgotten after this at the latest: a day without events is a quiet time.
pub const QUOTA_KEPT_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long a request waits for Redis before this ingest's share decides: hardly felt beside a commit.
pub const REDIS_BUDGET: Duration = Duration::from_millis(50);
/// How long a probe waits for a new connection to Redis; no request waits for it.
pub const REDIS_DIAL_DEADLINE: Duration = Duration::from_secs(2);
/// How often Redis is probed while it is away: the limits are whole again soon, and it is not stormed as it starts.
pub const REDIS_PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// What a limit per tenant remembers is forgotten when the tenant is idle for so long.
pub const QUOTA_IDLE: Duration = Duration::from_secs(3_600);
/// A tenant's backlog is known at most this late.
pub const BACKLOG_AGE_MAX: Duration = Duration::from_secs(1);
/// From this age on it is read again beside the requests, so that none of them waits for it.
pub const BACKLOG_AGE_REFRESH: Duration = Duration::from_millis(500);
/// While it cannot be read, the last value counts for so long: a late reader must not close the way in.
pub const BACKLOG_AGE_STALE: Duration = Duration::from_secs(10);

// The embedded store.

/// Jobs of one class that wait for the writer; more wait in their callers.
pub const WRITER_WAITING: usize = 256;
/// Jobs of one class of the hot path in one transaction: bounds what a failing commit fails.
pub const COMMIT_JOBS: usize = 64;
/// Jobs of the control plane in one transaction: events and outcomes come first.
pub const COMMIT_CONTROL_JOBS: usize = 4;
/// A transaction takes no further job after this, whatever waits.
pub const COMMIT_BUDGET: Duration = Duration::from_millis(20);
/// How long a file that something else has locked is waited for.
pub const STORE_BUSY: Duration = Duration::from_millis(1_000);
/// How long a process that is just ending may keep the data directory.
pub const STORE_LOCK_WAIT: Duration = Duration::from_secs(2);
/// Connections that read for the API.
pub const API_READERS: usize = 4;
/// Connections that read what every request and every dispatcher asks first: keys, tenants, usage, the roster. Each is a
/// look-up; no list stands before them.
pub const DOOR_READERS: usize = 2;
/// An outage of the store has ended when nothing has failed for so long: one that comes and goes is told once.
pub const OUTAGE_QUIET: Duration = Duration::from_secs(1);
/// Connections that read for the dispatcher, apart from the API's.
pub const LOAD_READERS: usize = 2;
/// How long a read of the dispatcher may take.
pub const LOAD_DEADLINE: Duration = Duration::from_secs(10);
/// What outcomes a power failure may take at most: those of so long (it makes them be attempted once more).
pub const OUTCOME_SYNC: Duration = Duration::from_millis(50);
/// Statements that a connection keeps prepared: those over many rows have a text per number of rows.
pub const STATEMENTS_CACHED: usize = 1_024;
/// Changes of the control plane that a slow listener may leave unread; beyond it, it forgets everything it remembers.
pub const CHANGES_WAITING: usize = 1_024;
/// Pages that wait for a checkpoint (16 MiB): few enough to look through, enough to write each page once.
pub const CHECKPOINT_PAGES: i64 = 4_096;
/// How often the log's length is looked at while there are commits.
pub const CHECKPOINT_LOOK: Duration = Duration::from_millis(100);
/// The longest time until what was written is checkpointed while there are commits.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);
/// How long the end of a checkpoint waits for readers while the writer waits for it.
pub const CHECKPOINT_BUSY: Duration = Duration::from_millis(50);
/// Pages in the write-ahead log (32 MiB) above which it is begun anew.
pub const WAL_PAGES: i64 = 8_192;

// Postgres. Each process has its connections of each kind, and a server takes 100 unless told otherwise: with these, five
// processes of all roles, or more of one.

/// Connections that admit: a batch commits while the next one is written.
pub const PG_ADMIT_CONNECTIONS: usize = 2;
/// Connections for loads, outcomes, claims and settled outbox rows: one of each, and room for a slow one.
pub const PG_OUTCOME_CONNECTIONS: usize = 6;
/// Connections for the API's lists and changes and for housekeeping.
pub const PG_API_CONNECTIONS: usize = 6;
/// So many of those read at once: however slow the lists of however many tenants are, a change finds a connection.
pub const PG_API_READS: usize = PG_API_CONNECTIONS - 2;
/// Connections that read what every request and every dispatcher asks first.
pub const PG_DOOR_CONNECTIONS: usize = 3;
/// How long a transaction may take, the wait for its connection included: as long as whoever waits for an admission.
pub const PG_WRITE_DEADLINE: Duration = ADMIT_DEADLINE;
/// An event is committed at the latest so long after its id was made: a transaction's deadline and, as clocks may differ, more.
pub const PG_LATE_COMMIT: Duration = Duration::from_secs(30);
/// How often a transaction is tried that others were in the way of.
pub const PG_CONFLICTS: u32 = 5;
/// Deliveries of a day past its retention that one step looks through for those that have not ended.
pub const PARTITION_WINDOW: u32 = 20 * SWEEP_ROWS;
/// Days for which partitions are made ahead: a week without anybody to make more.
pub const PARTITION_DAYS_AHEAD: i64 = 7;
/// How long the end of a tenant waits for the admissions that are under way, and others behind it.
pub const ADMISSIONS_WAIT: Duration = Duration::from_millis(500);
/// How long the making or dropping of a partition waits for whoever uses the tables, and others behind it.
pub const PARTITION_LOCK_WAIT: Duration = Duration::from_millis(500);
/// A connection that has heard no change of the control plane for so long is asked whether it still is one.
pub const NOTICES_SILENCE_MAX: Duration = Duration::from_secs(60);
/// Statements that a connection keeps prepared: every one of ours has one text, whatever its batch.
pub const PG_STATEMENTS_CACHED: usize = 256;

/// When a caller may come again whose event could not be made durable now: a commit takes far less.
pub const ADMIT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// When a caller may come again whose tenant has too large a backlog: the time to work some of it off.
pub const BACKLOG_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Deliveries per second that a replay may be limited to; beyond it a limit is none.
pub const REPLAY_RATE: u32 = 100_000;

// The queue; RabbitMQ's bounds are in a file of their own.

mod amqp;

pub use amqp::*;

/// Messages kept per tenant by the in-process queue; beyond it deliveries wait in the store.
pub const MEMORY_QUEUE_MESSAGES: usize = 1_000;
/// Messages that wait in the in-process queues of all tenants together: some 20 MB.
pub const MEMORY_QUEUE_MESSAGES_TOTAL: usize = 200_000;
/// So many messages a tenant may have in its in-process queue even when all together have too many: a flood over many
/// tenants must not take a quiet one's place.
pub const MEMORY_QUEUE_MESSAGES_FLOOR: usize = 16;
/// Epoch marks the in-process queue remembers. One process makes one, at its start; the others only bound a mistake.
pub const MEMORY_QUEUE_EPOCHS: usize = 16;
/// Subscriptions that a dispatcher changes at the same time: thousands are made in seconds, and one that is slow keeps few
/// waiting.
pub const SUBSCRIBING_AT_ONCE: usize = 32;
/// How long a message is held unacked beyond the longest attempt, before it is parked.
pub const MESSAGE_HOLD: Duration = Duration::from_secs(120);
/// How long after a queue was seen empty every message that was in it before has come to its end or back: [`MESSAGE_HOLD`],
/// the longest attempt, and the record of its outcome by a store that is slow.
pub const LONGEST_HOLD: Duration =
    Duration::from_secs(MESSAGE_HOLD.as_secs() + ATTEMPT_TIMEOUT_MAX.as_secs() + 60);
/// Queues that are looked at together for lost messages: asked for at once, they cost the broker some ten milliseconds.
pub const QUEUE_LOOKS: usize = 64;
/// The pause before the next [`QUEUE_LOOKS`]: thousands of tenants are looked after within a minute, so that a proof takes
/// little longer than [`LONGEST_HOLD`], at a few percent of the broker's time.
pub const QUEUE_LOOK_PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked whether the queue's data is still there.
pub const EPOCH_LOOK: Duration = Duration::from_secs(3);
/// How many messages beyond its share a dispatcher fetches ahead for a tenant.
pub const PREFETCH_AHEAD: u32 = 32;

// Dispatch.

/// Slots (deliveries in flight) of a dispatcher unless configured.
pub const SLOTS: usize = 2_000;
/// An attempt's deadline unless the endpoint sets one.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// An attempt's longest deadline.
pub const ATTEMPT_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// An attempt's shortest deadline.
pub const ATTEMPT_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// `Retry-After` is obeyed up to this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);
/// A receiver's body is read up to this; more is `too_large`.
pub const RESPONSE_BODY_BYTES: usize = 256 * 1024;
/// What is kept of it.
pub const RESPONSE_SNIPPET_BYTES: usize = 1_024;
/// What is kept of an error's detail.
pub const ERROR_DETAIL_CHARS: usize = 300;
/// Idle connections kept to one host.
pub const IDLE_CONNECTIONS_PER_HOST: usize = 128;
/// Connections opened within [`IDLE_CONNECTION_TTL`], which is at least how many are idle, before connections to hosts that
/// had none are no longer kept: idle connections must not use up the open files.
pub const IDLE_CONNECTIONS: usize = 4_096;
/// How long an idle connection is kept.
pub const IDLE_CONNECTION_TTL: Duration = Duration::from_secs(15);
/// Tickets in one load.
pub const LOAD_BATCH: usize = 256;
/// A delivery that the store has and cannot read is tried again after this: somebody may mend it.
pub const UNREADABLE_PAUSE: Duration = Duration::from_secs(300);
/// Outcomes in one transaction.
pub const RECORD_BATCH: usize = 1_000;
/// Loads under way at once: one that reads while another is being handed out.
pub const LOADS_AT_ONCE: usize = 2;
/// No new attempts while the oldest unrecorded outcome is older than this.
pub const RECORD_LAG_MAX: Duration = Duration::from_secs(5);
/// No new attempts while so many outcomes are unrecorded: each holds up to a snippet, so this is some 15 MB.
pub const UNRECORDED_OUTCOMES: usize = 10_000;
/// Deliveries in one claiming transaction: bounds the time that others wait for it.
pub const CLAIM_BATCH: u32 = 1_000;
/// The least time between two claims, and between two looks for due work, so that small wants become one.
pub const CLAIM_PAUSE: Duration = Duration::from_millis(10);
/// Messages between the queue's consumer and the engine: one turn's worth, for the scheduler is where waiting is fair.
pub const ENGINE_INBOX: usize = 256;
/// Prefetch of a tenant that has had no message for `PREFETCH_IDLE_AFTER`: enough for a trickle.
pub const PREFETCH_IDLE: u32 = 8;
/// A tenant without a message for so long is idle.
pub const PREFETCH_IDLE_AFTER: Duration = Duration::from_secs(60);
/// The first wait before a failed verb of the store is tried again.
pub const STORE_RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest wait before a failed verb of the store is tried again.
pub const STORE_RETRY_MAX: Duration = Duration::from_secs(1);
/// A claim gives its delivery back after this and the longest attempt: longer than anything claimed waits in memory
/// ([`MESSAGE_HOLD`]) and is loaded and recorded, or it would be attempted twice.
pub const CLAIM_LEASE: Duration = Duration::from_secs(150);
/// Tenants or endpoints with due work that are looked at for one claim; the next claim goes on behind them.
pub const CLAIM_LOOK: usize = 2_048;
/// After a look for due work there is none for so many times its length ([`DUE_POLL`] at most), so that with very many
/// tenants it does not take a reader of the store all the time.
pub const DUE_LOOK_REST: u32 = 4;
/// How often the store is asked for due work when nobody said that there is some.
pub const DUE_POLL: Duration = Duration::from_millis(500);
/// Names in the resolver's cache.
pub const DNS_CACHE_ENTRIES: usize = 4_096;
/// One look-up of a name.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// An address is used this long whatever its name server says: a name that moves is followed soon.
pub const DNS_TTL_MAX: Duration = Duration::from_secs(60);
/// That a name has no address is believed this long.
pub const DNS_NEGATIVE_TTL_MAX: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried.
pub const DNS_ADDRESSES: usize = 8;
/// What is kept ready to be sent to endpoints (URLs and headers), in bytes over all endpoints.
pub const PREPARED_BYTES: u64 = 32 * 1024 * 1024;

// The fair scheduler.

/// The part of the slots kept for what turns over quickly.
pub const RESERVE: f64 = 0.10;
/// What turns over quickly: endpoints whose estimate is below this, so that the reserve is free again within it.
pub const RESERVE_ESTIMATE: Duration = Duration::from_secs(1);
/// Our own work for one delivery (loading, signing, recording), in slot time.
pub const HANDLING_COST: Duration = Duration::from_millis(1);
/// Our own work for a new connection with its handshake.
pub const NEW_CONNECTION_COST: Duration = Duration::from_millis(2);
/// What an attempt is charged at its start while nothing is known; corrected at its end.
pub const FIRST_ESTIMATE: Duration = Duration::from_millis(100);
/// What waits at a gate in memory is what the gate takes within this; the rest is parked.
pub const GATE_PATIENCE: Duration = Duration::from_secs(1);
/// Overloads in a row that open an endpoint's circuit: more than a hiccup, little beside a tenant's share.
pub const CIRCUIT_TRIP_AFTER: u32 = 10;
/// The first pause of an open circuit.
pub const CIRCUIT_PROBE_PAUSE: Duration = Duration::from_secs(2);
/// The longest pause of an open circuit: how late a receiver's return may be noticed.
pub const CIRCUIT_PROBE_PAUSE_MAX: Duration = Duration::from_secs(60);
/// By which part of a pause a probe may come early: many endpoints of one host must not probe in step.
pub const CIRCUIT_PROBE_JITTER: f64 = 0.25;
/// What is known of an endpoint is forgotten when it was not used for so long; longer than the longest probe pause.
pub const GATE_FORGET_AFTER: Duration = Duration::from_secs(300);
/// Parked deliveries that an endpoint takes of which nothing is known (after a restart).
pub const UNKNOWN_GATE_ROOM: u32 = 4;
/// How late a tick of the engine's loop may be before fewer attempts are made at once.
pub const LOOP_LAG_TARGET: Duration = Duration::from_millis(50);
/// How long recording may take before fewer attempts are made at once.
pub const RECORD_LATENCY_TARGET: Duration = Duration::from_millis(500);
/// The effective slots never fall below this part of all. What makes us late may be another process: with much fewer, one on
/// a busy machine would deliver less than it could (at 100 ms each, 250 slots are 2,500 per second). And so many of our own do
/// not make us later than about [`LOOP_LAG_TARGET`].
pub const CAPACITY_FLOOR_PART: usize = 8;
/// The effective slots grow back by this part of all.
pub const CAPACITY_STEP_PART: usize = 32;

// Membership.

/// Dispatchers that serve one tenant at most: enough to go on without one, few enough that a share is not crumbs, and that
/// a bad tenant is felt by few.
pub const DISPATCHERS_PER_TENANT: usize = 3;
/// How often a process renews its lease in the store.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a process that falls silent is held alive: a few lost heartbeats, or a store that restarts, move no work.
pub const NODE_LEASE: Duration = Duration::from_secs(8);
/// How long the answer to one renewal is waited for; late, it is as good as lost.
pub const HEARTBEAT_DEADLINE: Duration = Duration::from_secs(3);
/// How far a machine's clock may be off the store's before its process is not ready: nothing here follows the machine's, but
/// what receivers and people see of signatures and logs does.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(5);
/// How long the dead are kept in mind. A process starts nothing after its lease, so that after this no attempt of its is
/// under way, whatever the two clocks' rates and its last steps take.
pub const NODE_QUARANTINE: Duration =
    Duration::from_secs(ATTEMPT_TIMEOUT_MAX.as_secs() + Duration::from_secs(5).as_secs());

// Housekeeping.

/// Rows that one step of a sweep or of a job changes: bounds the time that others wait for it.
pub const SWEEP_ROWS: u32 = 1_000;
/// Payload bytes that one such step removes: their pages are walked one by one.
pub const SWEEP_BYTES: u64 = 8 * 1024 * 1024;
/// How far deliveries are counted for a job's `total`.
pub const JOB_TOTAL: u64 = 100_000;
/// Jobs that are worked on in turn, one per tenant; the next ones follow when these are done.
pub const OPEN_JOBS: u32 = 1_000;
/// Jobs of one tenant that are not at their end: they are worked on one after the other.
pub const OPEN_JOBS_PER_TENANT: u32 = 100;
/// Jobs of one tenant that ended and can still be looked at, the latest: each holds a filter of up to some 50 kB.
pub const ENDED_JOBS_PER_TENANT: u32 = 100;
/// Deliveries named one by one in a job.
pub const JOB_DELIVERIES: usize = 1_000;
/// What a dispatcher said is forgotten when it has been silent for so long.
pub const REPORT_TTL: Duration = Duration::from_secs(30);
/// How often housekeeping looks around.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Steps of one sweep in one round, so that every sweep has its turn.
pub const SWEEP_STEPS: u32 = 20;
/// The shortest pause after a step of a sweep, of a job or of a release, which leaves the store to the hot path.
pub const SWEEP_PAUSE: Duration = Duration::from_millis(50);
/// That pause is so many times the length of the step: housekeeping takes a quarter of the writer at most.
pub const SWEEP_REST: u32 = 3;
/// The longest such pause: a disk that is slow for once must not stop housekeeping.
pub const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Held deliveries released in one transaction.
pub const RELEASE_ROWS: u32 = 500;
/// An outbox row that is not settled after this was left behind by a crash or a failed settling.
pub const OUTBOX_GRACE: Duration = Duration::from_secs(60);
/// How long an ended job can be looked at.
pub const JOBS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often the lateness of a tick is measured.
pub const LAG_TICK: Duration = Duration::from_millis(5);
/// How often the number of effective slots is decided.
pub const CAPACITY_INTERVAL: Duration = Duration::from_millis(100);
/// How often the live table is refreshed while somebody looks at it.
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(250);
/// Tenants in it at most, those with work first.
pub const SNAPSHOT_TENANTS: usize = 1_000;
/// A tenant without work stays in it for so long, so that what it used of late is seen.
pub const SNAPSHOT_RECENT: Duration = Duration::from_secs(300);
/// How often dispatchers tell what is in flight and which circuits are open.
pub const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// Events and their payloads are kept this long unless configured.
pub const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// Log lines that wait for whoever reads them, some 500 bytes each: 4 MiB. Half of it is for what attempts alone log.
pub const LOG_LINES_WAITING: usize = 8_192;
/// How long the end of a process waits for them.
pub const LOG_DRAIN: Duration = Duration::from_secs(2);
/// How long an orderly stop may take unless configured.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

//! Every bound of the system, with its reason. What an operator may change is in `config` and only has its default here.

use std::time::Duration;

mod admission;
mod api;
mod dispatch;
mod schedule;
mod texts;

pub use admission::*;
pub use api::*;
pub use dispatch::*;
pub use schedule::*;
pub use texts::*;

// The embedded store.

/// Jobs of one class that wait for the writer; more wait in their callers.
pub const WRITER_WAITING: usize = 256;
/// Jobs of one class of the hot path in one transaction: bounds what a failing commit fails.
pub const COMMIT_JOBS: usize = 64;
/// Jobs of the control plane in one transaction: events and outcomes come first.
pub const COMMIT_CONTROL_JOBS: usize = 4;
/// A transaction takes no further job after this, whatever waits.
pub const COMMIT_BUDGET: Duration = Duration::from_millis(5);
/// A transaction that somebody waits for is kept this short, unless it is of many events.
pub const COMMIT_SHORT: Duration = Duration::from_millis(1);
/// So many events admitted together are many: everything else joins them for as long as they took, which is half the work of two
/// transactions, and each of them waits for the others anyway.
pub const MANY_EVENTS: usize = 16;
/// Outcomes, in parts, that wait: with more of them the writer gives them as much time as the admissions, however few these are.
pub const OUTCOMES_BEHIND: usize = 64;
/// While few events are coming, each transaction of anything else is followed by so many times its length without one: so
/// much of the writer is always free for whoever posts next.
pub const WRITER_REST: u32 = 3;
/// The longest such rest: a disk that is slow for once must not stop outcomes.
pub const WRITER_REST_MAX: Duration = Duration::from_millis(20);
/// Deliveries that one job of the writer changes, but for admissions: half a millisecond or so, for which admissions wait.
pub const WRITER_ROWS: u32 = 32;
/// Rows that one looks at for those that it changes, or removes one after the other: that costs a fraction of a change.
pub const WRITER_LOOKS: u32 = 4 * WRITER_ROWS;
/// Payload bytes that a step of a sweep removes: their pages are walked one by one.
pub const WRITER_BYTES: u64 = 512 * 1024;
/// From this size on a payload lies in a file of its own, and its event is not admitted together with smaller ones. In its row it
/// would hold these up for 0.3 ms here, one of a mebibyte for 6; a file takes 1.2 to 2.4 ms, beside the others, so that an ordinary
/// event is better in its row.
pub const LARGE_PAYLOAD_BYTES: usize = UPLOAD_BYTES_FREE;
/// Such files that are written at the same time: each is a wait for the disk, which commits wait for too.
pub const PAYLOAD_WRITES: usize = 4;
/// Files that a start looks at in one step for those that no event needs.
pub const PAYLOADS_SWEPT: usize = 512;
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
/// Deliveries that are remembered from their admission to their load: what a few seconds of a full load admit.
pub const RECENT_DELIVERIES: usize = 16_384;
/// Payload bytes remembered with them; and, beside them, bytes of endpoints.
pub const RECENT_BYTES: usize = 16 * 1024 * 1024;
/// Pairs of a tenant's event type and an endpoint that it goes to, remembered for admissions: some 10 MB with long names.
pub const RECENT_TARGETS: usize = 65_536;
/// Events count as coming for so long after the last admission.
pub const ADMISSIONS_FLOW: Duration = Duration::from_millis(20);
/// How long outcomes wait, while many events are coming, to be committed together with the next ones: nobody waits for an
/// outcome.
pub const OUTCOME_JOIN: Duration = Duration::from_millis(5);
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
/// How often what a checkpoint has moved is brought to the disk while it goes on: whatever waits to be written there, the next
/// commit waits behind it.
pub const CHECKPOINT_FLUSH: Duration = Duration::from_millis(2);
/// How long reads that would begin are held up so that those under way end and the log can begin anew, and then for the end of
/// the transaction under way; it is tried again.
pub const CHECKPOINT_GATE: Duration = Duration::from_millis(10);
/// How long the end of a checkpoint waits, and the writer with it, for readers of other processes.
pub const CHECKPOINT_BUSY: Duration = Duration::from_millis(50);
/// Pages (1 MiB) that may be left to be moved while the writer waits.
pub const CHECKPOINT_REST: i64 = 256;
/// How often more is moved beside the writer until so few are left: one that writes faster than that is to wait.
pub const CHECKPOINT_ROUNDS: usize = 3;
/// Pages in the write-ahead log (32 MiB) above which it is begun anew, when no read is in the way.
pub const WAL_PAGES: i64 = 8_192;
/// Pages in the log (256 MiB) above which reads wait until all those under way have ended.
pub const WAL_PAGES_MAX: i64 = 8 * WAL_PAGES;

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
/// A migration waits for a table so long, while everybody else who wants it waits behind it. Less than Postgres' own
/// `deadlock_timeout` of a second: of a deadlock it is the migration that gives way.
pub const PG_SCHEMA_LOCK_WAIT: Duration = Duration::from_millis(500);
/// The first pause before a migration that found no room is tried again: several times as long as others had to wait for it.
pub const PG_SCHEMA_PAUSE_MIN: Duration = Duration::from_secs(2);
/// The longest.
pub const PG_SCHEMA_PAUSE_MAX: Duration = Duration::from_secs(10);
/// How often, some two minutes in all. A dump may take longer: then the start fails and says so.
pub const PG_SCHEMA_TRIES: usize = 14;
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
/// How often the connection that hears of changes is asked whether it has heard of all: several times within
/// [`CONTROL_CACHE_TTL`], so that a slow answer or two change nothing.
pub const NOTICES_ASKED: Duration = Duration::from_millis(CONTROL_CACHE_TTL.as_millis() as u64 / 4);
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
mod watching;

pub use amqp::*;
pub use watching::*;

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

// Membership.

/// Dispatchers that serve one tenant at most: enough to go on without one, few enough that a share is not crumbs, and that
/// a bad tenant is felt by few.
pub const DISPATCHERS_PER_TENANT: usize = 3;
/// Tenants that a process may name, in each heartbeat, as those of which it still holds more than its share. With more it
/// says nothing yet, and who has joined waits for all of them.
pub const BEHIND_TENANTS: usize = 256;
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
/// Payload bytes that one such step removes.
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
/// How long one sweep goes on in one round, so that every sweep has its turn.
pub const SWEEP_TURN: Duration = Duration::from_secs(2);
/// The shortest pause after a step of a sweep, of a job or of a release, which leaves the store to the hot path.
pub const SWEEP_PAUSE: Duration = Duration::from_millis(5);
/// That pause is so many times the length of the step, as far as [`SWEEP_PAUSE_MAX`] goes.
pub const SWEEP_REST: u32 = 3;
/// The longest such pause: a disk that is slow for once must not stop housekeeping.
pub const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Held deliveries released in one step.
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

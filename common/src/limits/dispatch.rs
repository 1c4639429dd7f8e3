//! The bounds of a dispatcher: attempts, loads, records, claims.

use std::time::Duration;

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
/// A receiver's body is read up to this; more is `too_large`. It is read so that the connection can be kept, for nobody looks at
/// more than its beginning. Four times as much was felt by other tenants where one answered without end.
pub const RESPONSE_BODY_BYTES: usize = 64 * 1024;
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
/// From one record to the next: nobody waits for an outcome, and a transaction costs the store more than what is in it.
pub const RECORD_GATHER: Duration = Duration::from_millis(10);
/// From one load to the next, for the same reason. The first after a pause goes at once.
pub const LOAD_GATHER: Duration = Duration::from_millis(2);
/// Outcomes in one transaction.
pub const RECORD_BATCH: usize = 1_000;
/// Loads under way at once: one that reads while another is being handed out.
pub const LOADS_AT_ONCE: usize = 2;
/// No new attempts while the oldest unrecorded outcome is older than this.
pub const RECORD_LAG_MAX: Duration = Duration::from_secs(5);
/// No new attempts while so many outcomes are unrecorded: each holds up to a snippet, so this is some 15 MB.
pub const UNRECORDED_OUTCOMES: usize = 10_000;
/// Nothing is parked for want of room while so many deliveries that were not attempted are unrecorded, one batch of them: the
/// outcomes of attempts must not wait behind thousands. (What is overdue, given back or not wanted any more is recorded all
/// the same.)
pub const UNRECORDED_PARKED: usize = 1_000;
/// Deliveries in one claiming transaction: bounds the time that others wait for it.
pub const CLAIM_BATCH: u32 = 256;
/// The least time between two claims, and between two looks for due work, so that small wants become one.
pub const CLAIM_PAUSE: Duration = Duration::from_millis(10);
/// Messages between the queue's consumer and the engine: one turn's worth, for the scheduler is where waiting is fair.
pub const ENGINE_INBOX: usize = 256;
/// Prefetch of a tenant that has few deliveries here, or none for `PREFETCH_IDLE_AFTER`: enough for a trickle.
pub const PREFETCH_IDLE: u32 = 8;
/// A tenant without a message for so long is idle.
pub const PREFETCH_IDLE_AFTER: Duration = Duration::from_secs(60);
/// The first wait before a failed verb of the store is tried again.
pub const STORE_RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest wait before a failed verb of the store is tried again.
pub const STORE_RETRY_MAX: Duration = Duration::from_secs(1);
/// A claim gives its delivery back after this and the longest attempt: longer than anything claimed waits in memory
/// ([`MESSAGE_HOLD`](super::MESSAGE_HOLD)) and is loaded and recorded, or it would be attempted twice.
pub const CLAIM_LEASE: Duration = Duration::from_secs(150);
/// Tenants or endpoints with due work that are looked at for one claim; the next claim goes on behind them.
pub const CLAIM_LOOK: usize = 2_048;
/// After a look for due work there is none for so many times its length ([`DUE_POLL`] at most), so that with very many
/// tenants it does not take a reader of the store all the time.
pub const DUE_LOOK_REST: u32 = 4;
/// How often the store is asked for due work when nobody said that there is some.
pub const DUE_POLL: Duration = Duration::from_millis(500);
/// An endpoint that wants handshakes is asked again after this, so that a consent that was taken back, or another rate, is
/// heeded.
pub const HANDSHAKE_TTL: Duration = Duration::from_secs(3_600);
/// A consent that could not be renewed is asked for again after this.
pub const HANDSHAKE_RENEWAL_PAUSE: Duration = Duration::from_secs(60);
/// A consent that cannot be renewed, for the endpoint gives no clear answer, holds for so long: what answers its questions may be
/// broken for an evening while what takes its deliveries is not.
pub const HANDSHAKE_GRACE: Duration = Duration::from_secs(6 * 3_600);
/// How often an endpoint that has not consented is asked: its address may be that of somebody who wants nothing from us.
pub const HANDSHAKES_PER_MINUTE: u32 = 60;
/// Consents in memory, some 300 bytes each, over all tenants. One without a place is asked for before each attempt, so this is
/// far more than ask for handshakes; the tenant that has the most loses its own first.
pub const HANDSHAKE_CONSENTS: usize = 65_536;
/// From one look through all consents for idle ones to the next: while it goes on, some milliseconds, attempts wait.
pub const HANDSHAKE_SWEEP_PAUSE: Duration = Duration::from_secs(60);
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

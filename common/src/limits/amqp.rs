//! The bounds of the RabbitMQ queue.

use std::time::Duration;

/// The first wait before a lost connection is dialled again.
pub const AMQP_REDIAL_MIN: Duration = Duration::from_millis(200);
/// The longest wait between two dials: a broker that is back is in use after this.
pub const AMQP_REDIAL_MAX: Duration = Duration::from_secs(2);
/// One dial with its handshake and the declarations that go with it.
pub const AMQP_DIAL_DEADLINE: Duration = Duration::from_secs(10);
/// How long a start waits for the broker before it goes on without.
pub const AMQP_START_WAIT: Duration = Duration::from_secs(3);
/// A connection that is silent for about twice this is lost. Shorter would take a stalled machine for a lost one.
pub const AMQP_HEARTBEAT: Duration = Duration::from_secs(10);
/// How often a connection is looked at, beside what its futures say at once.
pub const AMQP_LOOK: Duration = Duration::from_millis(200);
/// One question to the broker: a declaration, a depth, a ping.
pub const AMQP_CALL_DEADLINE: Duration = Duration::from_secs(5);
/// Questions asked at the same time, each on a channel of its own, for an error ends its channel.
pub const AMQP_CALLS: usize = 16;
/// A publish that is not confirmed by then is refused, and its delivery due.
pub const AMQP_PUBLISH_DEADLINE: Duration = Duration::from_secs(5);
/// A channel with a message unconfirmed for so long is given up: it would fill the window, and a window is shared.
pub const AMQP_CONFIRM_PATIENCE: Duration = Duration::from_secs(30);
/// Channels to publish on.
pub const AMQP_PUBLISH_LINES: usize = 4;
/// Unconfirmed messages of one publishing channel. More only adds to the latency, and what a confirm of many costs grows.
pub const AMQP_WINDOW: usize = 512;
/// Deliveries that travel in one message. A message costs broker and client some 200 us, so that two or three pay already; each
/// that waits for another one of its message keeps it from being acked, and is handed out again with it if it comes back.
pub const AMQP_BUNDLE: usize = 8;
/// Tenants whose queue is known to exist, so that it is not declared for every message.
pub const AMQP_KNOWN_QUEUES: u64 = 50_000;
/// Tenants consumed on one channel: an error ends all of a channel's consumers.
pub const AMQP_CONSUMERS_PER_CHANNEL: usize = 100;
/// Channels to consume on that are opened together. A channel makes one consumer at a time: over eight, thousands are made in
/// seconds, and a ninth would wait for the broker.
pub const AMQP_LANES_AT_ONCE: usize = 8;
/// Subscriptions that are made or ended at the same time: enough to keep [`AMQP_LANES_AT_ONCE`] busy while as many queues are
/// declared ([`AMQP_CALLS`]).
pub const AMQP_SUBSCRIBING: usize = 32;
/// The largest prefetch a quorum queue takes.
pub const AMQP_PREFETCH_MAX: u32 = 2_000;
/// How many messages the broker may hand out beyond a prefetch that was lowered, rather than be told of it.
pub const AMQP_PREFETCH_SLACK: u16 = 64;
/// Messages without a queue that are handed out at once.
pub const AMQP_UNROUTED_PREFETCH: u32 = 256;
/// The pause before a queue that could not be consumed, or a message that could not be put aside, is tried again.
pub const AMQP_RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Deliveries after which a quorum queue would drop a message: never, for messages come back by design.
pub const AMQP_DELIVERY_LIMIT: i32 = i32::MAX;

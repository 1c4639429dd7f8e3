//! The bounds of names, texts and numbers that callers give.

use std::time::Duration;

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
/// The attributes of a CloudEvent as JSON text: intermediaries must forward CloudEvents of 64 KiB (CloudEvents 1.0.2, §5).
pub const CLOUDEVENT_BYTES: usize = 64 * 1024;
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
/// An operator's own key of a limit: an address or an account, not a document.
pub const CHECK_KEY_CHARS: usize = 256;
/// Plans. They are listed whole, and every roster is joined with them.
pub const PLANS_MAX: u32 = 100;
/// Endpoints that a tenant may be allowed: what one event makes of deliveries is one transaction, for which others wait.
pub const ENDPOINTS_MAX: u64 = 2_000;
/// API keys of one tenant.
pub const KEYS_PER_TENANT: u32 = 100;
/// Sources of one tenant: one for each service that it listens to, and some to spare.
pub const SOURCES_PER_TENANT: u32 = 50;
/// The secret that a source shares with its provider: the longest that one is known to give out has half of it.
pub const SOURCE_SECRET_CHARS: usize = 256;
/// The name of a header in which a provider says something.
pub const SOURCE_HEADER_CHARS: usize = 128;
/// What stands before a signature in its header, such as `sha256=`.
pub const SOURCE_PREFIX_CHARS: usize = 64;
/// A JSON pointer into a provider's body.
pub const SOURCE_POINTER_CHARS: usize = 256;
/// Steps of such a pointer: for each of them what it leads into is read once more.
pub const SOURCE_POINTER_STEPS: usize = 16;

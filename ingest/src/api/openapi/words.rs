//! The words that requests are made of: texts and numbers with their bounds, which are those that the readers have.

use fairhook_common::limits;
use fairhook_common::policy::Policy;
use fairhook_common::source::Scheme;
use utoipa::openapi::schema::{AdditionalProperties, Schema, SchemaFormat, SchemaType};
use utoipa::openapi::{ObjectBuilder, RefOr, Type};
use utoipa::{PartialSchema, ToSchema};

/// Every code of a problem, and every other closed list that is a text in answers, by its own list.
pub(super) fn one_of(description: &str, names: impl IntoIterator<Item = &'static str>) -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .enum_values(Some(names))
        .into()
}

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)+) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let described: ObjectBuilder = $schema;
                described.description(Some(concat!($($doc),+).trim())).into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

/// `whsec_` and the base64 of 24 to 64 bytes, with its padding, before which the last bits are zero (RFC 4648, section 4).
const SECRET: &str = concat!(
    "^whsec_([A-Za-z0-9+/]{4}){8,20}",
    "([A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|([A-Za-z0-9+/]{4})?([A-Za-z0-9+/][AQgw]==)?)$"
);

/// A text of 1 to `max` characters, none of them U+0000.
fn text(max: usize, example: &str) -> ObjectBuilder {
    spelled(max, "^[^\\x00]+$", example)
}

/// A text of 1 to `max` characters that matches `pattern`.
fn spelled(max: usize, pattern: &str, example: &str) -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(max));
    text.pattern(Some(pattern)).examples([example])
}

/// A whole number from `least` to `most`.
fn whole(least: u64, most: u64, example: u64) -> ObjectBuilder {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    number.minimum(Some(least as f64)).maximum(Some(most as f64)).examples([example])
}

words! {
    /// A text for people.
    Name = text(limits::NAME_CHARS, "Acme Inc.");
    /// A short name of a tenant, which may stand for its id everywhere. It never looks like a UUID.
    Slug = spelled(limits::SLUG_CHARS, "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", "acme");
    /// A tenant: its id, the bare UUID of that, or its slug.
    TenantName = spelled(limits::SHOWN_NAME_CHARS, "^[A-Za-z0-9_-]+$", "acme");
    /// The tenant's own name for an endpoint. It does not begin as an endpoint's id does.
    Uid = spelled(limits::UID_CHARS, "^[A-Za-z0-9_.:@-]+$", "billing");
    /// An endpoint: its id, or its uid.
    EndpointName = spelled(limits::UID_CHARS, "^[A-Za-z0-9_.:@-]+$", "billing");
    /// A JSON object of at most 8 KiB; it is shown as it was posted. No text in it holds U+0000.
    Metadata = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .examples([serde_json::json!({"crm": "4711"})]);
    /// An `http` or `https` URL without credentials. Addresses of private networks are refused unless the operator allows them.
    Url = spelled(limits::URL_CHARS, "^https?://[^\\x00]+$", "https://example.com/hooks").format(Some(uri()));
    /// The type of an event: letters, digits, `_` and `-`, in parts between dots.
    EventTypeName = spelled(limits::EVENT_TYPE_CHARS, "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", "order.paid");
    /// An event type, the beginning of some followed by `.*`, or `*` for all of them.
    EventTypes = spelled(limits::EVENT_TYPE_CHARS, "^(\\*|[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*(\\.\\*)?)$", "order.*");
    /// A signing secret: `whsec_` and the base64 of 24 to 64 bytes.
    Secret = spelled(limits::NAME_CHARS, SECRET, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    /// Names and values of headers, at most 32, each of at most 4 KiB. A value is visible ASCII without spaces at its ends. What speaks of the
    /// connection or is the engine's to send (`host`, `content-type`, `webhook-*`, …) is refused.
    Headers = headers();
    /// Whatever tells this event from every other of the tenant; none of those that sources and CloudEvents get.
    IdempotencyKey = text(limits::IDEMPOTENCY_KEY_CHARS, "order-1001-paid");
    /// What an operator counts by, such as an address or a name.
    CheckKey = text(limits::CHECK_KEY_CHARS, "203.0.113.7");
    /// The share of dispatch time, relative to other tenants.
    Weight = whole(1, limits::TENANT_WEIGHT_MAX, 10);
    /// A limit below which nothing would ever be sent.
    SomeOf = whole(1, limits::QUOTA_MAX, 100);
    /// A limit that may be nothing.
    AnyOf = whole(0, limits::QUOTA_MAX, 1_000);
    /// So many endpoints.
    EndpointCount = whole(0, limits::ENDPOINTS_MAX, 50);
    /// Attempts per second.
    EndpointRate = whole(1, limits::ENDPOINT_RATE_MAX, 20);
    /// Milliseconds over a whole attempt.
    TimeoutMs =
        whole(limits::ATTEMPT_TIMEOUT_MIN.as_millis() as u64, limits::ATTEMPT_TIMEOUT_MAX.as_millis() as u64, 15_000);
    /// Seconds between two attempts.
    WaitS = whole(1, limits::RETRY_WAIT_MAX.as_secs(), 300);
    /// Seconds for which two secrets sign.
    GraceS = whole(0, limits::ROTATION_GRACE_MAX.as_secs(), 86_400);
    /// Deliveries per second.
    ReplayRate = whole(1, limits::REPLAY_RATE.into(), 100);
    /// Seconds until an override ends by itself.
    TtlS = whole(1, limits::OVERRIDE_TTL_MAX.as_secs(), 86_400);
    /// A secret that is shared with a provider.
    SourceSecret = text(limits::SOURCE_SECRET_CHARS, "It's a Secret to Everybody");
    /// Seconds that a signature's time may be from ours.
    ToleranceS = whole(1, limits::SIGNATURE_TOLERANCE_MAX.as_secs(), 300);
    /// The name of a header, in any case.
    HeaderName = spelled(limits::SOURCE_HEADER_CHARS, "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", "X-Signature");
    /// What stands before a signature in its header.
    SignaturePrefix = text(limits::SOURCE_PREFIX_CHARS, "sha256=");
    /// A JSON pointer (RFC 6901) of at most 16 steps.
    JsonPointer = spelled(
        limits::SOURCE_POINTER_CHARS,
        &format!("^(/([^~/\\x00]|~[01])*){{1,{}}}$", limits::SOURCE_POINTER_STEPS),
        "/type",
    );
    /// What an event type can begin with.
    EventTypePrefix = spelled(limits::EVENT_TYPE_CHARS - 1, "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*\\.?$", "github.");
    /// The end of a source's URL.
    SourceTokenText = ObjectBuilder::new().schema_type(Type::String);
    /// Items on a page.
    PageLimit = whole(1, limits::PAGE_ITEMS.into(), 50);
    /// What the page before gave as `next_cursor`.
    Cursor = ObjectBuilder::new().schema_type(Type::String);
    /// Seconds to wait for the first attempt.
    TestWaitS = whole(0, limits::TEST_WAIT.as_secs(), 5);
}

/// The name of a policy.
pub struct PolicyName;

impl PartialSchema for PolicyName {
    fn schema() -> RefOr<Schema> {
        one_of("The name of a policy.", Policy::ALL.iter().map(|policy| policy.name()))
    }
}

impl ToSchema for PolicyName {}

/// How it is known who sends to a source.
pub struct SchemeName;

impl PartialSchema for SchemeName {
    fn schema() -> RefOr<Schema> {
        one_of("How it is known who sends.", Scheme::NAMES.iter().copied())
    }
}

impl ToSchema for SchemeName {}

fn headers() -> ObjectBuilder {
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9_-]+$"));
    let value = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .max_length(Some(limits::ENDPOINT_HEADER_BYTES))
        .pattern(Some("^([!-~]([ -~]*[!-~])?)?$"));
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .property_names(Some(name))
        .additional_properties(Some(value))
        .max_properties(Some(limits::ENDPOINT_HEADERS))
        .examples([serde_json::json!({"Authorization": "Bearer 6f1c"})])
}

fn uri() -> SchemaFormat {
    SchemaFormat::Custom("uri".into())
}

//! Sources.

use fairhook_common::source::{HmacAlgorithm, HmacEncoding};
use utoipa::ToSchema;

use super::super::words::*;
use super::SettableStatus;

/// A source to be made.
#[derive(ToSchema)]
#[schema(example = json!({
    "name": "our repositories", "verification": {"scheme": "github", "secret": "It's a Secret to Everybody"},
    "event_type": {"header": "X-GitHub-Event", "prefix": "github."}
}))]
pub struct NewSource {
    /// For whom an operator makes it.
    pub tenant_id: Option<TenantName>,
    /// For people.
    pub name: Option<Name>,
    /// The tenant's notes.
    pub metadata: Option<Metadata>,
    /// How it is known who sends.
    pub verification: NewVerification,
    /// What type the events have. Needed with the schemes `hmac` and `none`; of the others it is otherwise the header
    /// `X-GitHub-Event`, or `/type` in the body.
    pub event_type: Option<NewEventType>,
    /// What a repetition is recognised by: what the provider gives (`webhook-id`, `X-GitHub-Delivery`, `/id` in the body) unless
    /// it is said, and nothing with the schemes `hmac` and `none`.
    pub delivery_id: Option<NewPlace>,
    /// `active` unless it is said.
    pub status: Option<SettableStatus>,
}

/// What changes of a source; `null` goes back to the default.
#[derive(ToSchema)]
#[schema(example = json!({"verification": {"secret": "another one", "grace_period_s": 3600}}))]
pub struct SourceChanges {
    /// Whose source it is, for an operator.
    pub tenant_id: Option<TenantName>,
    /// For people.
    pub name: Option<Name>,
    /// The tenant's notes.
    pub metadata: Option<Metadata>,
    /// How it is known who sends: of the same scheme what is named changes, another one begins anew.
    #[schema(nullable = false)]
    pub verification: Option<VerificationChanges>,
    /// What type the events have.
    pub event_type: Option<NewEventType>,
    /// What a repetition is recognised by.
    pub delivery_id: Option<NewPlace>,
    /// A paused source answers 403.
    #[schema(nullable = false)]
    pub status: Option<SettableStatus>,
}

/// How it is known who sends. What does not belong to the scheme is refused.
#[derive(ToSchema)]
pub struct NewVerification {
    /// Whose signatures.
    pub scheme: SchemeName,
    /// What belongs to it.
    #[serde(flatten)]
    pub rest: OfScheme,
}

/// What changes of how it is known who sends.
#[derive(ToSchema)]
pub struct VerificationChanges {
    /// Whose signatures.
    #[schema(nullable = false)]
    pub scheme: Option<SchemeName>,
    /// What belongs to it.
    #[serde(flatten)]
    pub rest: OfScheme,
}

/// What belongs to one scheme or another.
#[derive(ToSchema)]
pub struct OfScheme {
    /// What is shared with the provider, as it gave it; `whsec_…` for `standard_webhooks`. It is never shown. Needed but for `none`.
    #[schema(nullable = false)]
    pub secret: Option<SourceSecret>,
    /// For a secret that takes the place of another one: for so long that one counts too, a day unless it is said.
    pub grace_period_s: Option<GraceS>,
    /// How far the time in the signature may be from ours: 300 unless it is said. For `standard_webhooks` and `stripe`.
    pub tolerance_s: Option<ToleranceS>,
    /// Where the signature is. For `hmac`, which needs it.
    #[schema(nullable = false)]
    pub header: Option<HeaderName>,
    /// `sha256` unless it is said. For `hmac`.
    pub algorithm: Option<HmacAlgorithm>,
    /// `hex` unless it is said. For `hmac`.
    pub encoding: Option<HmacEncoding>,
    /// What stands before the signature. For `hmac`.
    pub prefix: Option<SignaturePrefix>,
}

/// What type the events have: one of `fixed`, `header` and `pointer`.
#[derive(ToSchema)]
pub struct NewEventType {
    /// Always this.
    pub fixed: Option<EventTypeName>,
    /// What this header says.
    pub header: Option<HeaderName>,
    /// What the body says there.
    pub pointer: Option<JsonPointer>,
    /// Put before what is found.
    pub prefix: Option<EventTypePrefix>,
}

/// One of both.
#[derive(ToSchema)]
pub struct NewPlace {
    /// A header.
    pub header: Option<HeaderName>,
    /// A place of the body.
    pub pointer: Option<JsonPointer>,
}

//! How sources are shown. Their secrets never are, and a token is once.

use fairhook_common::ids::SourceId;
use fairhook_common::source::{
    HmacAlgorithm, HmacEncoding, Place, Source, SourceStatus, SourceToken, TypeRule, Verification,
};
use fairhook_common::time::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::openapi::words::SchemeName;
use super::show::kept_json;

/// A source.
#[derive(Serialize, ToSchema)]
#[schema(as = Source, example = json!({
    "id": "src_01kz0z5m4he58vf3j2c4q9w7xd", "name": "our repositories", "metadata": null,
    "verification": {"scheme": "github"}, "previous_secret_until": null,
    "event_type": {"header": "X-GitHub-Event", "prefix": "github."}, "delivery_id": {"header": "X-GitHub-Delivery"},
    "status": "active", "created_at": "2026-01-31T12:00:00.000Z", "updated_at": "2026-01-31T12:00:00.000Z"
}))]
pub struct SourceView {
    id: SourceId,
    /// For people.
    name: Option<String>,
    /// As it was posted.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    verification: VerificationView,
    /// Until when the secret before the present one counts too.
    previous_secret_until: Option<Timestamp>,
    event_type: TypeView,
    /// What a repetition is recognised by; `null`: it is not.
    delivery_id: Option<PlaceView>,
    status: SourceStatus,
    created_at: Timestamp,
    updated_at: Timestamp,
    /// The end of its URL, which is all that it takes to send there. Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<String>,
    /// Where it is, seen from the root of this API. Shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<String>,
}

/// How it is known who sends: the scheme, and what belongs to it.
#[derive(Serialize, ToSchema, Default)]
#[schema(as = Verification)]
pub struct VerificationView {
    #[schema(value_type = SchemeName)]
    scheme: &'static str,
    /// How far the time in a signature may be from ours, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tolerance_s: Option<u64>,
    /// Where the signature is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    header: Option<String>,
    /// Its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    algorithm: Option<HmacAlgorithm>,
    /// How it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    encoding: Option<HmacEncoding>,
    /// What stands before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    prefix: Option<String>,
}

/// What type the events have: a fixed one, or what a header or a place of the body says, behind a prefix.
#[derive(Serialize, ToSchema, Default)]
#[schema(as = EventTypeRule)]
pub struct TypeView {
    /// Always this.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    fixed: Option<String>,
    /// The header that says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    header: Option<String>,
    /// The place of the body that says it: a JSON pointer (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pointer: Option<String>,
    /// What is put before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    prefix: Option<String>,
}

/// A header, or a place of the body.
#[derive(Serialize, ToSchema)]
#[schema(as = Place)]
pub struct PlaceView {
    /// The header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    header: Option<String>,
    /// A JSON pointer (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pointer: Option<String>,
}

impl SourceView {
    /// A source, without its token.
    pub fn of(source: &Source, now: Timestamp) -> Self {
        let settings = &source.settings;
        let previous = settings.secrets.as_ref().and_then(|secrets| secrets.previous.as_ref());
        Self {
            id: source.id,
            name: settings.name.clone(),
            metadata: settings.metadata.as_deref().and_then(kept_json),
            verification: VerificationView::of(&settings.verification),
            previous_secret_until: previous.map(|(_, until)| *until).filter(|until| now < *until),
            event_type: settings.type_rule().map(TypeView::of).unwrap_or_default(),
            delivery_id: settings.delivery_place().map(PlaceView::of),
            status: source.status,
            created_at: source.created_at,
            updated_at: source.updated_at,
            token: None,
            url: None,
        }
    }

    /// A source that has this token from now on.
    pub fn with_token(source: &Source, now: Timestamp, token: &SourceToken) -> Self {
        let token = token.reveal().to_owned();
        Self { url: Some(format!("/in/{token}")), token: Some(token), ..Self::of(source, now) }
    }
}

impl VerificationView {
    fn of(verification: &Verification) -> Self {
        let own = match verification {
            Verification::StandardWebhooks { tolerance_s } | Verification::Stripe { tolerance_s } => {
                Self { tolerance_s: Some(*tolerance_s), ..Self::default() }
            }
            Verification::Hmac(rule) => Self {
                header: Some(rule.header.clone()),
                algorithm: Some(rule.algorithm),
                encoding: Some(rule.encoding),
                prefix: rule.prefix.clone(),
                ..Self::default()
            },
            Verification::Github | Verification::None => Self::default(),
        };
        Self { scheme: verification.scheme().name(), ..own }
    }
}

impl TypeView {
    fn of(rule: TypeRule) -> Self {
        match rule {
            TypeRule::Fixed { fixed } => Self { fixed: Some(fixed), ..Self::default() },
            TypeRule::Found { place, prefix } => {
                let PlaceView { header, pointer } = PlaceView::of(place);
                Self { fixed: None, header, pointer, prefix }
            }
        }
    }
}

impl PlaceView {
    fn of(place: Place) -> Self {
        match place {
            Place::Header(name) => Self { header: Some(name), pointer: None },
            Place::Pointer(pointer) => Self { header: None, pointer: Some(pointer) },
        }
    }
}

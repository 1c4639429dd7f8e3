//! The fields of a source, declared once: a `POST` is a change of nothing, a `PATCH` one of what is there.

use std::time::Duration;

use axum::http::HeaderName;
use fairhook_common::event::EventType;
use fairhook_common::limits;
use fairhook_common::signature::SigningSecret;
use fairhook_common::source::{
    HmacAlgorithm, HmacEncoding, HmacRule, Place, Scheme, SourceSecret, SourceSecrets, SourceSettings,
    SourceStatus, TypeRule, Verification,
};
use fairhook_common::time::Timestamp;
use serde_json::value::RawValue;

use super::json::{Faults, Fields, Read};
use super::problem::{Fault, Problem};
use super::read;
use crate::source::places;

/// Changes of settings: the outer `None` stays, the inner one is the default.
pub struct Changes {
    name: Option<Option<String>>,
    metadata: Option<Option<String>>,
    verification: Option<VerificationChanges>,
    event_type: Option<Option<TypeRule>>,
    delivery_id: Option<Option<Place>>,
}

/// Changes of how it is known who sends. What belongs to another scheme is refused where the scheme is known.
#[derive(Default)]
struct VerificationChanges {
    scheme: Option<Scheme>,
    secret: Option<SourceSecret>,
    grace_period_s: Option<u64>,
    tolerance_s: Option<Option<u64>>,
    header: Option<String>,
    algorithm: Option<Option<HmacAlgorithm>>,
    encoding: Option<Option<HmacEncoding>>,
    prefix: Option<Option<String>>,
}

/// The settings of a new source.
pub fn of_new(fields: &mut Fields<'_>) -> Changes {
    let verification = fields.required("verification", |value| verification(value, true));
    rest(fields, verification)
}

/// The changes of one that is there.
pub fn of_known(fields: &mut Fields<'_>) -> Changes {
    let verification = fields.set("verification", |value| verification(value, false));
    rest(fields, verification)
}

fn rest(fields: &mut Fields<'_>, verification: Option<VerificationChanges>) -> Changes {
    Changes {
        name: fields.change("name", read::text(limits::NAME_CHARS)),
        metadata: fields.change("metadata", read::object),
        verification,
        event_type: fields.change("event_type", type_rule),
        delivery_id: fields.change("delivery_id", place),
    }
}

/// Whether it takes anything.
pub fn status(value: &RawValue) -> Read<SourceStatus> {
    read::one_of(SourceStatus::NAMES, SourceStatus::from_name)(value)
}

impl Changes {
    /// The settings of a new source, or those of one that is there with these changes.
    pub fn of(&self, known: Option<&SourceSettings>, now: Timestamp) -> Result<SourceSettings, Problem> {
        let unchanged = VerificationChanges::default();
        let changes = self.verification.as_ref().unwrap_or(&unchanged);
        let (verification, secrets) =
            changes.of(known, now).map_err(|faults| faults.into_problem("/verification"))?;
        let settings = SourceSettings {
            name: changed(&self.name, known.map(|known| &known.name)),
            metadata: changed(&self.metadata, known.map(|known| &known.metadata)),
            verification,
            secrets,
            event_type: changed(&self.event_type, known.map(|known| &known.event_type)),
            delivery_id: changed(&self.delivery_id, known.map(|known| &known.delivery_id)),
        };
        if settings.type_rule().is_none() {
            let scheme = settings.verification.scheme().name();
            let detail = format!(
                "`event_type` is needed: with the scheme `{scheme}` there is no place for it that is known"
            );
            return Err(Problem::invalid(vec![Fault::at("/event_type", detail)]));
        }
        Ok(settings)
    }
}

fn changed<T: Clone>(change: &Option<Option<T>>, known: Option<&Option<T>>) -> Option<T> {
    change.clone().unwrap_or_else(|| known.cloned().flatten())
}

impl VerificationChanges {
    /// What it is with these changes. Of another scheme than the known one it is made anew.
    fn of(
        &self,
        known: Option<&SourceSettings>,
        now: Timestamp,
    ) -> Read<(Verification, Option<SourceSecrets>)> {
        let known_scheme = known.map(|known| known.verification.scheme());
        let Some(scheme) = self.scheme.or(known_scheme) else {
            return Err(Faults::one("`scheme` is needed"));
        };
        let known = known.filter(|_| known_scheme == Some(scheme));
        let mut faults = self.foreign(scheme);
        let verification = self.rule(scheme, known.map(|known| &known.verification), &mut faults);
        let secrets = self.secrets(scheme, known.and_then(|known| known.secrets.clone()), now, &mut faults);
        faults.or((verification, secrets))
    }

    /// What does not belong to the scheme.
    fn foreign(&self, scheme: Scheme) -> Faults {
        let (timed, hmac) = match scheme {
            Scheme::StandardWebhooks | Scheme::Stripe => (true, false),
            Scheme::Hmac => (false, true),
            Scheme::Github | Scheme::None => (false, false),
        };
        let mut faults = Faults::none();
        for (name, given, belongs) in [
            ("secret", self.secret.is_some(), scheme != Scheme::None),
            ("tolerance_s", self.tolerance_s.as_ref().is_some_and(Option::is_some), timed),
            ("header", self.header.is_some(), hmac),
            ("algorithm", self.algorithm.as_ref().is_some_and(Option::is_some), hmac),
            ("encoding", self.encoding.as_ref().is_some_and(Option::is_some), hmac),
            ("prefix", self.prefix.as_ref().is_some_and(Option::is_some), hmac),
        ] {
            if given && !belongs {
                let detail = format!("does not belong to the scheme `{}`", scheme.name());
                faults.keep::<()>(name, Err(Faults::one(detail)));
            }
        }
        faults
    }

    fn rule(&self, scheme: Scheme, known: Option<&Verification>, faults: &mut Faults) -> Verification {
        let known_tolerance = match known {
            Some(Verification::StandardWebhooks { tolerance_s } | Verification::Stripe { tolerance_s }) => {
                Some(*tolerance_s)
            }
            _ => None,
        };
        let tolerance_s = match self.tolerance_s {
            Some(change) => change,
            None => known_tolerance,
        };
        let tolerance_s = tolerance_s.unwrap_or(limits::SIGNATURE_TOLERANCE.as_secs());
        match scheme {
            Scheme::StandardWebhooks => Verification::StandardWebhooks { tolerance_s },
            Scheme::Stripe => Verification::Stripe { tolerance_s },
            Scheme::Github => Verification::Github,
            Scheme::Hmac => {
                let known = match known {
                    Some(Verification::Hmac(rule)) => Some(rule),
                    _ => None,
                };
                let header = self.header.clone().or_else(|| known.map(|rule| rule.header.clone()));
                if header.is_none() {
                    faults
                        .keep::<()>("header", Err(Faults::one("`header` is needed: where the signature is")));
                }
                Verification::Hmac(HmacRule {
                    header: header.unwrap_or_default(),
                    algorithm: self.algorithm.unwrap_or(known.map(|rule| rule.algorithm)).unwrap_or_default(),
                    encoding: self.encoding.unwrap_or(known.map(|rule| rule.encoding)).unwrap_or_default(),
                    prefix: changed(&self.prefix, known.map(|rule| &rule.prefix)),
                })
            }
            Scheme::None => Verification::None,
        }
    }

    /// The one before goes on to count for its grace, if it was for the same scheme.
    fn secrets(
        &self,
        scheme: Scheme,
        known: Option<SourceSecrets>,
        now: Timestamp,
        faults: &mut Faults,
    ) -> Option<SourceSecrets> {
        if self.grace_period_s.is_some() && (known.is_none() || self.secret.is_none()) {
            let detail = "is for a secret that takes the place of another one";
            faults.keep::<()>("grace_period_s", Err(Faults::one(detail)));
        }
        let Some(secret) = self.secret.clone().filter(|_| scheme != Scheme::None) else {
            if known.is_none() && scheme != Scheme::None {
                let detail =
                    format!("`secret` is needed: the one that the scheme `{}` verifies with", scheme.name());
                faults.keep::<()>("secret", Err(Faults::one(detail)));
            }
            return known;
        };
        if scheme == Scheme::StandardWebhooks
            && let Err(invalid) = SigningSecret::parse(secret.reveal())
        {
            faults.keep::<()>("secret", Err(Faults::one(invalid)));
        }
        let grace = self.grace_period_s.map_or(limits::ROTATION_GRACE, Duration::from_secs);
        Some(match known {
            Some(known) => known.rotated(secret, grace, now),
            None => SourceSecrets { current: secret, previous: None },
        })
    }
}

fn verification(value: &RawValue, of_new: bool) -> Read<VerificationChanges> {
    let mut fields = Fields::nested(value, String::new())?;
    let name = read::one_of(Scheme::NAMES, Scheme::from_name);
    let scheme = match of_new {
        true => fields.required("scheme", name),
        false => fields.set("scheme", name),
    };
    let tolerance = read::integer(1..=limits::SIGNATURE_TOLERANCE_MAX.as_secs());
    let grace = read::integer(0..=limits::ROTATION_GRACE_MAX.as_secs());
    let changes = VerificationChanges {
        scheme,
        secret: fields
            .set("secret", |value| Ok(SourceSecret::new(read::text(limits::SOURCE_SECRET_CHARS)(value)?))),
        grace_period_s: fields.optional("grace_period_s", grace),
        tolerance_s: fields.change("tolerance_s", tolerance),
        header: fields.set("header", header),
        algorithm: fields.change("algorithm", read::one_of(HmacAlgorithm::NAMES, HmacAlgorithm::from_name)),
        encoding: fields.change("encoding", read::one_of(HmacEncoding::NAMES, HmacEncoding::from_name)),
        prefix: fields.change("prefix", read::text(limits::SOURCE_PREFIX_CHARS)),
    };
    fields.finish_nested(|| Some(changes))
}

fn type_rule(value: &RawValue) -> Read<TypeRule> {
    let mut fields = Fields::nested(value, String::new())?;
    let event_type = |text: &str| EventType::parse(text).map(|parsed| parsed.as_str().to_owned());
    let fixed = fields.optional("fixed", read::parsed(limits::NAME_CHARS, event_type));
    let header = fields.optional("header", header);
    let pointer = fields.optional("pointer", pointer);
    let prefix = fields.optional(
        "prefix",
        read::parsed(limits::NAME_CHARS, |text| match TypeRule::is_prefix(text) {
            true => Ok(text.to_owned()),
            false => Err("is not what an event type can begin with"),
        }),
    );
    if fixed.is_some() && prefix.is_some() {
        fields.refuse("prefix", "belongs to what is found: write it into `fixed`");
    }
    let given =
        [fixed.is_some(), header.is_some(), pointer.is_some()].into_iter().filter(|given| *given).count();
    let rule = match (fixed, header.map(Place::Header).or(pointer.map(Place::Pointer))) {
        (Some(fixed), _) => Some(TypeRule::Fixed { fixed }),
        (None, Some(place)) => Some(TypeRule::Found { place, prefix }),
        (None, None) => None,
    };
    one_of_them(fields, given, rule, "must name one of `fixed`, `header` and `pointer`")
}

fn place(value: &RawValue) -> Read<Place> {
    let mut fields = Fields::nested(value, String::new())?;
    let header = fields.optional("header", header);
    let pointer = fields.optional("pointer", pointer);
    let given = usize::from(header.is_some()) + usize::from(pointer.is_some());
    let place = header.map(Place::Header).or(pointer.map(Place::Pointer));
    one_of_them(fields, given, place, "must name one of `header` and `pointer`")
}

/// `read`, if exactly one of those that exclude each other was given; what is wrong with one is said before.
fn one_of_them<T>(fields: Fields<'_>, given: usize, read: Option<T>, otherwise: &str) -> Read<T> {
    fields.finish_nested(|| Some(()))?;
    read.filter(|_| given == 1).ok_or_else(|| Faults::one(otherwise))
}

/// A header's name, in lower case.
fn header(value: &RawValue) -> Read<String> {
    read::parsed(limits::SOURCE_HEADER_CHARS, |text| {
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "is not a header's name")?;
        Ok::<_, &str>(name.as_str().to_owned())
    })(value)
}

/// A JSON pointer. (The empty one is of no use: a whole body is no name.)
fn pointer(value: &RawValue) -> Read<String> {
    read::parsed(limits::SOURCE_POINTER_CHARS, places::pointer)(value)
}

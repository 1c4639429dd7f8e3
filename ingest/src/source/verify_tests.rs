//! The vectors that are published, and that no other bit is believed.

use std::time::Duration;

use fairhook_common::source::SourceSecrets;
use proptest::prelude::*;

use super::*;

/// A request as its provider would send it.
#[derive(Debug, Clone)]
struct Sent {
    settings: SourceSettings,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    at: Timestamp,
}

impl Sent {
    fn new(verification: Verification, secret: &str, headers: &[(&'static str, &str)], body: &str) -> Self {
        let settings = SourceSettings {
            name: None,
            metadata: None,
            verification,
            secrets: Some(SourceSecrets { current: SourceSecret::new(secret.into()), previous: None }),
            event_type: None,
            delivery_id: None,
        };
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { settings, headers, body: body.as_bytes().to_vec(), at: Timestamp(0) }
    }

    fn at(self, unix_seconds: i64) -> Self {
        Self { at: Timestamp(unix_seconds * 1_000), ..self }
    }

    fn verified(&self) -> Result<(), Distrust> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(*name, value.parse().expect("a value"));
        }
        verify(&self.settings, &headers, &self.body, self.at)
    }

    /// With another value of a header.
    fn with(&self, name: &str, value: &str) -> Self {
        let mut sent = self.clone();
        sent.headers.iter_mut().filter(|(other, _)| *other == name).for_each(|(_, old)| *old = value.into());
        sent
    }

    /// Without a header.
    fn without(&self, name: &str) -> Self {
        let mut sent = self.clone();
        sent.headers.retain(|(other, _)| *other != name);
        sent
    }
}

/// GitHub, "Validating webhook deliveries", section "Testing the webhook payload validation".
fn github() -> Sent {
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    Sent::new(
        Verification::Github,
        "It's a Secret to Everybody",
        &[("x-hub-signature-256", signature)],
        "Hello, World!",
    )
}

/// Stripe's own library for .NET: `EventUtilityTest` with its resource `event_test_signature.json`.
fn stripe() -> Sent {
    let body = r#"{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "cus_123",
      "object": "customer",
      "created": 123456789,
      "email": "test@stripe.com",
      "livemode": false,
      "metadata": {}
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "customer.created"
}
"#;
    let signature = "t=1533204620,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7,\
                     v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef";
    let verification = Verification::Stripe { tolerance_s: 300 };
    Sent::new(verification, "webhook_secret", &[("stripe-signature", signature)], body).at(1_533_204_620)
}

/// The vector of Standard Webhooks' own libraries.
fn standard() -> Sent {
    Sent::new(
        Verification::StandardWebhooks { tolerance_s: 300 },
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        &[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
        r#"{"test": 2432232314}"#,
    )
    .at(1_614_265_330)
}

/// HMACs of RFC 2202 (SHA-1) and RFC 4231 (SHA-2), test case 2, in a header of our own making.
fn hmac(algorithm: HmacAlgorithm, encoding: HmacEncoding, prefix: Option<&str>, written: &str) -> Sent {
    let prefix = prefix.map(str::to_owned);
    let rule = HmacRule { header: "x-signature".into(), algorithm, encoding, prefix };
    Sent::new(Verification::Hmac(rule), "Jefe", &[("x-signature", written)], "what do ya want for nothing?")
}

fn hmacs() -> Vec<Sent> {
    use HmacAlgorithm::{Sha1, Sha256, Sha512};
    use HmacEncoding::{Base64, Hex};
    vec![
        hmac(Sha1, Hex, Some("sha1="), "sha1=effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        hmac(Sha256, Hex, None, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        hmac(Sha256, Hex, None, "5BDCC146BF60754E6A042426089575C75A003F089D2739839DEC58B964EC3843"),
        hmac(Sha256, Base64, None, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="),
        hmac(
            Sha512,
            Hex,
            Some("v0="),
            "v0=164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
             9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
    ]
}

fn all() -> Vec<Sent> {
    [github(), stripe(), standard()].into_iter().chain(hmacs()).collect()
}

#[test]
fn what_providers_publish_is_believed() {
    for sent in all() {
        assert_eq!(sent.verified(), Ok(()), "{sent:?}");
    }
}

#[test]
fn another_secret_is_not_and_one_that_was_replaced_is_for_its_grace() {
    for sent in all() {
        let secrets = sent.settings.secrets.clone().expect("there are some");
        let other = SourceSecret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into());
        let with = |secrets| {
            let settings = SourceSettings { secrets: Some(secrets), ..sent.settings.clone() };
            Sent { settings, ..sent.clone() }.verified()
        };
        assert_eq!(with(SourceSecrets { current: other.clone(), previous: None }), Err(Distrust::Mismatch));
        let grace = Duration::from_secs(10);
        assert_eq!(with(secrets.clone().rotated(other.clone(), grace, sent.at)), Ok(()));
        assert_eq!(with(secrets.rotated(other, grace, sent.at.before(grace))), Err(Distrust::Mismatch));
    }
}

#[test]
fn without_a_signature_nothing_is_believed() {
    for sent in all() {
        for (name, value) in &sent.headers {
            assert_eq!(sent.without(name).verified(), Err(Distrust::Unsigned), "without {name}");
            let mut twice = sent.clone();
            twice.headers.push((name, value.clone()));
            assert_eq!(twice.verified(), Err(Distrust::Unsigned), "{name} twice");
        }
    }
    for (sent, name, bad) in [
        (github(), "x-hub-signature-256", "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
        (
            github(),
            "x-hub-signature-256",
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e1",
        ),
        (github(), "x-hub-signature-256", "sha256="),
        (stripe(), "stripe-signature", "v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7"),
        (stripe(), "stripe-signature", "t=1533204620"),
        (
            stripe(),
            "stripe-signature",
            "t=now,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7",
        ),
        (stripe(), "stripe-signature", "t=1533204620,t=1533204620,v1=00"),
        (standard(), "webhook-timestamp", "yesterday"),
    ] {
        let refused = sent.with(name, bad).verified();
        assert!(matches!(refused, Err(Distrust::Unsigned | Distrust::Mismatch)), "{bad}: {refused:?}");
    }
    let empty = github().with("x-hub-signature-256", "sha256=").verified();
    assert_eq!(empty, Err(Distrust::Mismatch), "an empty one is of another length");
}

#[test]
fn the_signature_counts_that_is_right_of_several() {
    let sent = stripe();
    let wrong = "0".repeat(64);
    let right = "2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7";
    let both = sent.with("stripe-signature", &format!("t=1533204620, v1={wrong}, v1={right}"));
    assert_eq!(both.verified(), Ok(()));
    let of_another_version = sent.with("stripe-signature", &format!("t=1533204620,v1={wrong},v0={right}"));
    assert_eq!(of_another_version.verified(), Err(Distrust::Mismatch));
    let sent = standard();
    let signatures = "v1,AAAA v1a,abc v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    assert_eq!(sent.with("webhook-signature", signatures).verified(), Ok(()));
}

#[test]
fn a_time_is_believed_as_far_as_it_is_tolerated() {
    for (sent, signed_at) in [(stripe(), 1_533_204_620), (standard(), 1_614_265_330)] {
        for (apart, believed) in [
            (0, Ok(())),
            (300, Ok(())),
            (-300, Ok(())),
            (301, Err(Distrust::Stale)),
            (-301, Err(Distrust::Stale)),
        ] {
            assert_eq!(sent.clone().at(signed_at + apart).verified(), believed, "{apart} s");
        }
    }
    // Another time is signed as well: it is not believed, however fresh.
    let moved = standard().with("webhook-timestamp", "1614265331");
    assert_eq!(moved.verified(), Err(Distrust::Mismatch));
    let extremes = standard().with("webhook-timestamp", &i64::MIN.to_string());
    assert_eq!(extremes.verified(), Err(Distrust::Mismatch));
}

#[test]
fn the_official_library_signs_what_we_believe() {
    let secret = SigningSecret::generate();
    let official = standardwebhooks::Webhook::new(&secret.reveal()).expect("its secret");
    let signature = official.sign("msg_1", 1_700_000_000, b"{}").expect("signs");
    let headers = [
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", signature.as_str()),
    ];
    let verification = Verification::StandardWebhooks { tolerance_s: 1 };
    let sent = Sent::new(verification, &secret.reveal(), &headers, "{}").at(1_700_000_001);
    assert_eq!(sent.verified(), Ok(()));
}

proptest! {
    /// A bit of the body, or a digit of the signature, and it is not believed any more.
    #[test]
    fn no_other_bit_is_believed(which in 0usize..8, place: prop::sample::Index, bit in 0u8..8) {
        let sent = all().remove(which);
        let mut body = sent.clone();
        let at = place.index(body.body.len());
        body.body[at] ^= 1 << bit;
        prop_assert_eq!(body.verified(), Err(Distrust::Mismatch));

        let (name, value) = sent.headers.last().expect("a signature");
        let signature = value.split(",v0=").next().expect("what counts");
        let start = signature.rfind(['=', ',']).filter(|i| i + 1 < signature.len()).map_or(0, |i| i + 1);
        let at = start + place.index(signature.trim_end_matches('=').len() - start);
        let other = if signature.as_bytes()[at].eq_ignore_ascii_case(&b'a') { "b" } else { "a" };
        let mut flipped = signature.to_owned();
        flipped.replace_range(at..=at, other);
        // The last digit of base64 has bits that stand for nothing: changed, it is no base64.
        prop_assert!(sent.with(name, &flipped).verified().is_err(), "{} for {}", flipped, signature);
    }
}

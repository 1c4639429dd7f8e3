//! What follows from an attempt. Pure: the attempt, the endpoint's schedule, a random number and the time in, a decision out.
//!
//! | outcome | verdict |
//! | --- | --- |
//! | 2xx, read to its end in time | delivered |
//! | 410, however its body ended | dead; the endpoint is disabled as `gone` |
//! | an address that must not be called | dead |
//! | everything else | retried by the schedule; `Retry-After` on 429 and 503 is a floor |
//! | the schedule is used up | dead |
//! | its time is over | discarded as `expired` |

use std::time::Duration;

use fairhook_common::delivery::{AttemptErrorCode, DiscardReason, Verdict};
use fairhook_common::endpoint::StatusReason;
use fairhook_common::limits;
use fairhook_common::store::Loaded;
use fairhook_common::time::Timestamp;

use crate::attempt::Attempted;
pub use crate::schedule::Class;

/// What is to be recorded of an attempt, and learnt from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of the delivery.
    pub verdict: Verdict,
    /// The endpoint is to be disabled for this reason.
    pub disable: Option<StatusReason>,
    /// What the endpoint's gate learns.
    pub class: Class,
}

/// Decides about an attempt that ended at `now`. `random` is uniform in `0.0..1.0`.
pub fn decide(loaded: &Loaded, attempted: &Attempted, random: f64, now: Timestamp) -> Decision {
    let class = classify(attempted);
    let (verdict, disable) = match (class, attempted.record.status_code) {
        (Class::Success, _) => (Verdict::Delivered, None),
        // Of a handshake it says nothing: a gateway that does not know the method may answer so.
        (_, Some(410)) if error(attempted) != Some(AttemptErrorCode::HandshakeRefused) => {
            (Verdict::Dead, Some(StatusReason::Gone))
        }
        _ if error(attempted) == Some(AttemptErrorCode::BlockedAddress) => (Verdict::Dead, None),
        _ => (again(loaded, attempted, random, now), None),
    };
    Decision { verdict, disable, class }
}

fn error(attempted: &Attempted) -> Option<AttemptErrorCode> {
    attempted.record.error.as_ref().map(|error| error.code)
}

fn classify(attempted: &Attempted) -> Class {
    use AttemptErrorCode::{
        BlockedAddress, Connect, Dns, HandshakeRefused, HttpStatus, Timeout, Tls, TooLarge,
    };
    match (error(attempted), attempted.record.status_code) {
        (None, Some(200..=299)) => Class::Success,
        (Some(Timeout | Connect | Dns | Tls), _) | (_, Some(429 | 503)) => Class::Overload,
        (None | Some(HttpStatus | BlockedAddress | TooLarge | HandshakeRefused), _) => Class::Answered,
    }
}

fn again(loaded: &Loaded, attempted: &Attempted, random: f64, now: Timestamp) -> Verdict {
    let floor = match attempted.record.status_code {
        Some(429 | 503) => attempted.retry_after.map(|wait| wait.min(limits::RETRY_AFTER_MAX)),
        _ => None,
    };
    let Some(wait) = loaded.endpoint.retry.wait(loaded.schedule_position, floor, random) else {
        return Verdict::Dead;
    };
    if now > loaded.expires_at {
        return Verdict::Discard(DiscardReason::Expired);
    }
    // An attempt after `expires_at` is never made. The delivery waits until just after it, may be cancelled until then,
    // and is discarded when it is loaded.
    let over = loaded.expires_at.after(Duration::from_millis(1));
    Verdict::Retry { due_at: now.after(wait).min(over) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use fairhook_common::delivery::{AttemptError, AttemptRecord};
    use fairhook_common::endpoint::{BodyForm, Secrets};
    use fairhook_common::ids::{DeliveryId, EndpointId, EventId, TenantId};
    use fairhook_common::retry::RetrySchedule;
    use fairhook_common::signature::SigningSecret;
    use fairhook_common::store::EndpointSnapshot;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);
    const MIDDLE: f64 = 0.5;

    fn loaded(schedule_s: &[u32], position: u32, expires_at: Timestamp) -> Loaded {
        let endpoint = EndpointSnapshot {
            id: EndpointId::generate(),
            url: "https://example.com/".into(),
            headers: vec![],
            secrets: Secrets { current: SigningSecret::generate(), previous: None },
            timeout: Duration::from_secs(15),
            retry: RetrySchedule { schedule_s: schedule_s.to_vec(), jitter: 0.2 },
            body: BodyForm::Raw,
            rate_limit_per_s: None,
            handshake: false,
        };
        Loaded {
            delivery: DeliveryId { event: EventId::generate(), ordinal: 0 },
            tenant: TenantId::generate(),
            endpoint: Arc::new(endpoint),
            event_type: "a".into(),
            payload: Bytes::from_static(b"{}"),
            cloudevent: None,
            created_at: NOW,
            expires_at,
            attempts: position,
            schedule_position: position,
        }
    }

    fn answer(status: Option<u16>, error: Option<AttemptErrorCode>, retry_after: Option<u64>) -> Attempted {
        let record = AttemptRecord {
            id: Uuid::nil(),
            started_at: NOW,
            duration_ms: 1,
            status_code: status,
            error: error.map(|code| AttemptError { code, detail: String::new() }),
            response_snippet: Bytes::new(),
        };
        let retry_after = retry_after.map(Duration::from_secs);
        Attempted { record, retry_after, elapsed: Duration::from_millis(1), new_connection: false }
    }

    fn status(status: u16) -> Attempted {
        let failed = !(200..300).contains(&status);
        answer(Some(status), failed.then_some(AttemptErrorCode::HttpStatus), None)
    }

    fn on(attempted: &Attempted) -> Decision {
        decide(&loaded(&[10, 20], 0, Timestamp::MAX), attempted, MIDDLE, NOW)
    }

    fn retry_in(seconds: u64) -> Verdict {
        Verdict::Retry { due_at: NOW.after(Duration::from_secs(seconds)) }
    }

    #[test]
    fn every_outcome_has_its_verdict() {
        use AttemptErrorCode::*;
        let rows = [
            (status(200), Verdict::Delivered, None, Class::Success),
            (status(204), Verdict::Delivered, None, Class::Success),
            (status(299), Verdict::Delivered, None, Class::Success),
            (status(410), Verdict::Dead, Some(StatusReason::Gone), Class::Answered),
            (
                answer(Some(410), Some(TooLarge), None),
                Verdict::Dead,
                Some(StatusReason::Gone),
                Class::Answered,
            ),
            (answer(None, Some(BlockedAddress), None), Verdict::Dead, None, Class::Answered),
            (status(301), retry_in(10), None, Class::Answered),
            (status(400), retry_in(10), None, Class::Answered),
            (status(404), retry_in(10), None, Class::Answered),
            (status(500), retry_in(10), None, Class::Answered),
            (status(429), retry_in(10), None, Class::Overload),
            (status(503), retry_in(10), None, Class::Overload),
            (answer(None, Some(Dns), None), retry_in(10), None, Class::Overload),
            (answer(None, Some(Connect), None), retry_in(10), None, Class::Overload),
            (answer(None, Some(Tls), None), retry_in(10), None, Class::Overload),
            (answer(None, Some(Timeout), None), retry_in(10), None, Class::Overload),
            (answer(Some(200), Some(Timeout), None), retry_in(10), None, Class::Overload),
            (answer(Some(200), Some(TooLarge), None), retry_in(10), None, Class::Answered),
            (answer(None, Some(TooLarge), None), retry_in(10), None, Class::Answered),
            (answer(Some(200), Some(HandshakeRefused), None), retry_in(10), None, Class::Answered),
            (answer(Some(405), Some(HandshakeRefused), None), retry_in(10), None, Class::Answered),
            (answer(Some(410), Some(HandshakeRefused), None), retry_in(10), None, Class::Answered),
            (answer(Some(503), Some(HandshakeRefused), None), retry_in(10), None, Class::Overload),
        ];
        for (attempted, verdict, disable, class) in rows {
            assert_eq!(on(&attempted), Decision { verdict, disable, class }, "{attempted:?}");
        }
    }

    #[test]
    fn retry_after_is_a_floor_on_429_and_503_only_and_bounded() {
        let failed = |code, wait| answer(Some(code), Some(AttemptErrorCode::HttpStatus), Some(wait));
        assert_eq!(on(&failed(429, 100)).verdict, retry_in(100));
        assert_eq!(on(&failed(503, 100)).verdict, retry_in(100));
        assert_eq!(on(&failed(503, 1)).verdict, retry_in(10));
        assert_eq!(on(&failed(500, 100)).verdict, retry_in(10));
        assert_eq!(on(&failed(429, 1_000_000)).verdict, retry_in(24 * 3600));
    }

    #[test]
    fn the_schedule_is_followed_and_used_up() {
        let at = |position| {
            decide(&loaded(&[10, 20], position, Timestamp::MAX), &status(500), MIDDLE, NOW).verdict
        };
        assert_eq!([at(0), at(1), at(2)], [retry_in(10), retry_in(20), Verdict::Dead]);
        let once = decide(&loaded(&[], 0, Timestamp::MAX), &status(500), MIDDLE, NOW).verdict;
        assert_eq!(once, Verdict::Dead);
    }

    #[test]
    fn nothing_waits_for_an_attempt_that_is_never_made() {
        let by = |expires_at, position| {
            decide(&loaded(&[10], position, expires_at), &status(500), MIDDLE, NOW).verdict
        };
        let soon = NOW.after(Duration::from_secs(3));
        assert_eq!(by(soon, 0), Verdict::Retry { due_at: Timestamp(soon.0 + 1) });
        assert_eq!(by(Timestamp(NOW.0 - 1), 0), Verdict::Discard(DiscardReason::Expired));
        assert_eq!(by(Timestamp(NOW.0 - 1), 1), Verdict::Dead);
        let late = decide(&loaded(&[10], 0, Timestamp(NOW.0 - 1)), &status(200), MIDDLE, NOW).verdict;
        assert_eq!(late, Verdict::Delivered);
    }

    proptest! {
        #[test]
        fn a_retry_is_never_in_the_past_nor_later_than_its_jitter_allows(
            code in 300u16..600, wait in 0u32..1_000_000, asked in prop::option::of(0u64..200_000), random in 0.0f64..1.0,
        ) {
            let attempted = answer(Some(code), Some(AttemptErrorCode::HttpStatus), asked);
            let decision = decide(&loaded(&[wait], 0, Timestamp::MAX), &attempted, random, NOW);
            match decision.verdict {
                Verdict::Retry { due_at } => {
                    let longest = (f64::from(wait) * 1.2).max(asked.unwrap_or(0).min(86_400) as f64);
                    prop_assert!(due_at >= NOW);
                    prop_assert!(due_at.since(NOW).as_secs_f64() <= longest + 0.001);
                }
                verdict => prop_assert!(code == 410 && verdict == Verdict::Dead),
            }
        }
    }
}

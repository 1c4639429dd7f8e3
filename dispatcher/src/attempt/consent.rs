//! What one endpoint has said in handshakes, and whose turn it is to ask. Pure but for its locks.
//!
//! One attempt asks at a time. While there is no consent the others wait for what that one hears, and it holds for them too. While
//! there is one they rely on it; and one that could not be renewed, for the endpoint gave no clear answer, goes on for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fairhook_common::limits;
use tokio::sync;

use super::failure::Failure;
use super::handshake::Allowed;

/// What an endpoint has said.
#[derive(Default)]
pub(super) struct Consent {
    said: Mutex<Said>,
    asking: sync::Mutex<()>,
}

#[derive(Default)]
struct Said {
    granted: Option<Granted>,
    /// How often it was asked while there was no consent.
    asked: u64,
    /// What it said last instead.
    refusal: Option<Refusal>,
}

#[derive(Clone, Copy)]
struct Granted {
    rate: Allowed,
    /// It is asked again then.
    renew_at: Instant,
    /// It holds no longer without an answer.
    until: Instant,
}

/// What was heard in place of a consent.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// For the record.
    pub(super) failure: Failure,
    /// The status it came with.
    pub(super) status: Option<u16>,
    /// When to come again.
    pub(super) retry_after: Option<Duration>,
}

/// How an attempt stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may send.
    Granted,
    /// It may send, and has to ask before: nobody else does.
    Renew,
    /// It may not: so often was asked before.
    Unknown(u64),
}

/// What follows for one that had to wait.
pub(super) enum Turn<'a> {
    /// It has to ask.
    Ask(Asking<'a>),
    /// Another has asked meanwhile.
    Heard(Result<(), Refusal>),
}

/// Whoever asks; the next one may when it is dropped.
pub(super) struct Asking<'a> {
    consent: &'a Consent,
    heard: bool,
    _turn: sync::MutexGuard<'a, ()>,
}

impl Consent {
    /// How an attempt at `now` stands.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let mut said = self.said();
        said.granted = said.granted.filter(|granted| now < granted.until);
        match &mut said.granted {
            None => Standing::Unknown(said.asked),
            Some(granted) if now >= granted.renew_at => {
                granted.renew_at = now + limits::HANDSHAKE_RENEWAL_PAUSE;
                Standing::Renew
            }
            Some(_) => Standing::Granted,
        }
    }

    /// Waits until nobody asks. `asked` is how often somebody had when the attempt was told that it may not send.
    pub(super) async fn turn(&self, asked: u64) -> Turn<'_> {
        let turn = self.asking.lock().await;
        let said = self.said();
        match &*said {
            Said { granted: Some(_), .. } => Turn::Heard(Ok(())),
            Said { refusal: Some(refusal), .. } if said.asked != asked => Turn::Heard(Err(refusal.clone())),
            _ => Turn::Ask(Asking { consent: self, heard: false, _turn: turn }),
        }
    }

    /// It consents.
    pub(super) fn grant(&self, rate: Allowed, now: Instant) {
        let renew_at = now + limits::HANDSHAKE_TTL;
        let until = renew_at + limits::HANDSHAKE_GRACE;
        self.said().granted = Some(Granted { rate, renew_at, until });
    }

    /// It takes its consent back.
    pub(super) fn take_back(&self) {
        self.said().granted = None;
    }

    /// Requests per minute at most; `None`: any number. Hardly any before it has said something.
    pub(super) fn per_minute(&self) -> Option<u32> {
        match self.said().granted {
            None => Some(limits::HANDSHAKES_PER_MINUTE),
            Some(Granted { rate: Allowed::PerMinute(rate), .. }) => Some(rate),
            Some(Granted { rate: Allowed::Any, .. }) => None,
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking<'_> {
    /// It was asked, and said this.
    pub(super) fn heard(mut self, answer: Result<Allowed, Refusal>, now: Instant) {
        self.heard = true;
        match answer {
            Ok(rate) => self.consent.grant(rate, now),
            Err(refusal) => self.refused(refusal),
        }
    }

    fn refused(&self, refusal: Refusal) {
        let mut said = self.consent.said();
        said.asked += 1;
        said.refusal = Some(refusal);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.heard {
            // Its time was over, and so is soon that of those who began to wait when it began to ask.
            let failure =
                Failure::unanswered("another attempt asked, and the answer was not complete in time");
            self.refused(Refusal { failure, status: None, retry_after: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn refusal() -> Refusal {
        let failure = Failure::handshake("no");
        Refusal { failure, status: Some(503), retry_after: Some(Duration::from_secs(9)) }
    }

    /// What is there without waiting.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it waits"),
        }
    }

    fn ask(consent: &Consent, at: Instant) -> Asking<'_> {
        let Standing::Unknown(asked) = consent.standing(at) else { panic!("there is consent") };
        let Turn::Ask(asking) = now(consent.turn(asked)) else { panic!("another has asked") };
        asking
    }

    #[test]
    fn one_asks_and_what_it_hears_holds_for_those_that_wait() {
        let (consent, start) = (Consent::default(), Instant::now());
        assert_eq!(consent.per_minute(), Some(limits::HANDSHAKES_PER_MINUTE));
        for answer in [Err(refusal()), Ok(Allowed::PerMinute(7))] {
            let asking = ask(&consent, start);
            let Standing::Unknown(asked) = consent.standing(start) else {
                panic!("nobody has said anything")
            };
            let mut waiting = [(); 3].map(|()| Box::pin(consent.turn(asked)));
            let mut context = Context::from_waker(Waker::noop());
            assert!(waiting.iter_mut().all(|turn| turn.as_mut().poll(&mut context).is_pending()));
            asking.heard(answer.clone(), start);
            for turn in waiting {
                match (now(turn), &answer) {
                    (Turn::Heard(Ok(())), Ok(_)) => {}
                    (Turn::Heard(Err(heard)), Err(_)) => {
                        assert_eq!((heard.status, heard.retry_after), (Some(503), refusal().retry_after));
                    }
                    _ => panic!("not what the one that asked has heard"),
                }
            }
        }
        assert_eq!(consent.per_minute(), Some(7));
        assert_eq!(consent.standing(start), Standing::Granted);
    }

    #[test]
    fn one_whose_time_is_over_has_heard_nothing_for_the_others_too() {
        let (consent, start) = (Consent::default(), Instant::now());
        let asking = ask(&consent, start);
        let mut waiting = Box::pin(consent.turn(0));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(asking);
        let Turn::Heard(Err(heard)) = now(waiting) else { panic!("it asks, when its own time is over") };
        assert_eq!(heard.status, None);
        ask(&consent, start);
    }

    #[test]
    fn a_consent_is_renewed_by_one_at_a_time_and_outlives_silence_for_a_while() {
        let (consent, start) = (Consent::default(), Instant::now());
        ask(&consent, start).heard(Ok(Allowed::Any), start);
        let due = start + limits::HANDSHAKE_TTL;
        assert_eq!(consent.standing(due - Duration::from_millis(1)), Standing::Granted);
        assert_eq!(consent.standing(due), Standing::Renew);
        assert_eq!(consent.standing(due), Standing::Granted, "the others go on meanwhile");
        let again = due + limits::HANDSHAKE_RENEWAL_PAUSE;
        assert_eq!(consent.standing(again), Standing::Renew, "the one that asked got no answer");
        let end = due + limits::HANDSHAKE_GRACE;
        assert_eq!(consent.standing(end - Duration::from_millis(1)), Standing::Renew);
        assert_eq!(consent.standing(end), Standing::Unknown(0));
        assert_eq!(consent.per_minute(), Some(limits::HANDSHAKES_PER_MINUTE));
        consent.grant(Allowed::Any, end);
        assert_eq!(consent.standing(end + limits::HANDSHAKE_TTL / 2), Standing::Granted);
        consent.take_back();
        assert_eq!(consent.standing(end), Standing::Unknown(0));
    }
}

//! How the writer's time is divided between admissions, for which somebody waits, and everything else: pure.

use std::time::{Duration, Instant};

use super::Class;
use crate::limits;

/// How many events are coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// None since `limits::ADMISSIONS_FLOW`.
    None,
    /// Fewer than `limits::MANY_EVENTS` were admitted together.
    Few,
    /// So many, or more; or their deliveries' outcomes have fallen behind.
    Many,
}

/// What decides when something else than an admission may begin, and for how long others join it.
pub(super) struct Pace {
    /// When events were last admitted, and how many together.
    admitted: Option<(Instant, usize)>,
    /// While few events are coming, nothing else begins a transaction before this.
    rest_until: Instant,
}

impl Pace {
    /// Nothing was admitted yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { admitted: None, rest_until: now }
    }

    /// A job that admits so many events begins.
    pub(super) fn admits(&mut self, now: Instant, events: usize) {
        self.admitted = Some((now, events));
    }

    /// How many events are coming, while so many parts of outcomes wait.
    pub(super) fn flow(&self, now: Instant, outcomes: usize) -> Flow {
        match self.admitted {
            Some((at, _)) if now.saturating_duration_since(at) >= limits::ADMISSIONS_FLOW => Flow::None,
            Some((_, events)) if events >= limits::MANY_EVENTS => Flow::Many,
            Some(_) if outcomes > limits::OUTCOMES_BEHIND => Flow::Many,
            Some(_) => Flow::Few,
            None => Flow::None,
        }
    }

    /// Until when nothing but admissions begins; `None`: anything may.
    pub(super) fn rests_until(&self, now: Instant, flow: Flow) -> Option<Instant> {
        (flow == Flow::Few && now < self.rest_until).then_some(self.rest_until)
    }

    /// How long a transaction of this class takes further jobs, from its beginning on; its first job took so long.
    pub(super) fn budget(class: Class, flow: Flow, first: Duration) -> Duration {
        match (class, flow) {
            (Class::Admit, Flow::Many) => 2 * first,
            (Class::Outcome, Flow::None | Flow::Many) => limits::COMMIT_BUDGET,
            (Class::Admit | Class::Outcome, _) => Duration::ZERO,
            (Class::Control, _) => limits::COMMIT_SHORT,
        }
    }

    /// A transaction of this class has ended and took so long.
    pub(super) fn ended(&mut self, class: Class, now: Instant, took: Duration) {
        if class != Class::Admit {
            self.rest_until = now + (took * limits::WRITER_REST).min(limits::WRITER_REST_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flow_is_of_the_last_admission_until_it_is_long_ago() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(pace.flow(now, usize::MAX), Flow::None);
        pace.admits(now, limits::MANY_EVENTS - 1);
        assert_eq!(pace.flow(now, limits::OUTCOMES_BEHIND), Flow::Few);
        assert_eq!(pace.flow(now, limits::OUTCOMES_BEHIND + 1), Flow::Many, "outcomes are behind");
        pace.admits(now, limits::MANY_EVENTS);
        assert_eq!(pace.flow(now, 0), Flow::Many);
        assert_eq!(pace.flow(now + limits::ADMISSIONS_FLOW, 0), Flow::None);
    }

    #[test]
    fn a_few_admissions_are_alone_and_three_quarters_of_the_time_are_theirs() {
        let (now, ms) = (Instant::now(), Duration::from_millis);
        let mut pace = Pace::new(now);
        assert_eq!(Pace::budget(Class::Admit, Flow::Few, ms(1)), Duration::ZERO);
        assert_eq!(Pace::budget(Class::Outcome, Flow::Few, ms(1)), Duration::ZERO, "one job at a time");
        pace.ended(Class::Outcome, now, ms(2));
        assert_eq!(pace.rests_until(now, Flow::Few), Some(now + ms(6)));
        assert_eq!(pace.rests_until(now + ms(6), Flow::Few), None);
        pace.ended(Class::Admit, now, ms(9));
        assert_eq!(pace.rests_until(now, Flow::Few), Some(now + ms(6)), "after an admission nobody rests");
        pace.ended(Class::Control, now, ms(900));
        assert_eq!(pace.rests_until(now, Flow::Few), Some(now + limits::WRITER_REST_MAX), "nor for ever");
    }

    #[test]
    fn everything_joins_many_admissions_for_as_long_as_they_took_and_nobody_rests_beside_none() {
        let (now, ms) = (Instant::now(), Duration::from_millis);
        let mut pace = Pace::new(now);
        pace.ended(Class::Outcome, now, ms(2));
        assert_eq!(Pace::budget(Class::Admit, Flow::Many, ms(3)), ms(6));
        for flow in [Flow::None, Flow::Many] {
            assert_eq!(Pace::budget(Class::Outcome, flow, ms(1)), limits::COMMIT_BUDGET);
            assert_eq!(pace.rests_until(now, flow), None);
        }
    }
}

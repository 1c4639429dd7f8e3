//! A window that slides over what was granted: pure, and to the microsecond what `shared/window.lua` does for all ingests.
//!
//! Spans of one length follow each other. What was granted in the current one counts whole, what was granted in the one before
//! counts as much as the last span still covers of it. What ended spans have left unused is saved up to a bound, and is granted
//! when the window is full: a burst after a quiet time.
//!
//! *Bound*: at once never more than `events + saved` are granted, and in any time `t` never more than
//! `events + saved + events × t / span` and one; with a burst a span's `events` more, for these are saved when it has ended and
//! not by and by. Without a burst nothing is saved, so that there is none at a window's edge either: what passes there is what
//! the limit allows at once. Conversely a request is refused only if the last
//! two spans have granted `events` at least.

use std::time::Duration;

use crate::limiter::shared::lease::{Grant, Window};

/// What was granted.
#[derive(Debug, Clone, Default)]
pub struct Counter {
    state: Option<State>,
    /// Time goes on, whoever asks.
    now: u64,
}

#[derive(Debug, Clone, Copy)]
struct State {
    span: u64,
    current: u64,
    previous: u64,
    saved: u64,
}

/// What is free at a moment.
struct Free {
    state: State,
    /// Of the window.
    open: u64,
    /// Microseconds since the span began.
    into: u64,
}

impl Counter {
    /// Grants as many of `wanted` as are free, nothing if these are fewer than `least`.
    pub fn grant(&mut self, window: &Window, least: u32, wanted: u32, now: Duration) -> Grant {
        let free = self.free(window, now);
        let tokens = u64::from(wanted).min(free.open + free.state.saved);
        let tokens = if tokens < u64::from(least) { 0 } else { tokens };
        self.grant_of(window, free, tokens, wanted)
    }

    /// Grants all of `wanted` or nothing.
    pub fn grant_whole(&mut self, window: &Window, wanted: u32, now: Duration) -> Grant {
        self.grant(window, wanted, wanted, now)
    }

    /// What is free.
    pub fn left(&mut self, window: &Window, now: Duration) -> u32 {
        let free = self.free(window, now);
        u32::try_from(free.open + free.state.saved).unwrap_or(u32::MAX)
    }

    fn free(&mut self, window: &Window, now: Duration) -> Free {
        self.now = self.now.max(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        let (events, span) = (u64::from(window.events), span_of(window));
        let (at, into) = (self.now / span, self.now % span);
        let mut state =
            self.state.unwrap_or(State { span: at, current: 0, previous: 0, saved: window.saved.into() });
        if at > state.span {
            let saved = state.saved + (at - state.span).saturating_mul(events) - state.current;
            state.saved = saved.min(window.saved.into());
            state.previous = if at == state.span + 1 { state.current } else { 0 };
            (state.current, state.span) = (0, at);
        }
        let covered = u128::from(state.previous) * u128::from(span - into) / u128::from(span);
        let counted = state.current + u64::try_from(covered).expect("no more than the whole");
        Free { state, open: events.saturating_sub(counted), into }
    }

    fn grant_of(&mut self, window: &Window, free: Free, tokens: u64, wanted: u32) -> Grant {
        let Free { mut state, open, into } = free;
        let of_window = tokens.min(open);
        state.current += of_window;
        state.saved -= tokens - of_window;
        if tokens > 0 {
            self.state = Some(state);
        }
        let micros = Duration::from_micros;
        let wait = if tokens > 0 { 1 } else { wait(window, &state, into, wanted.into()) };
        let left = u32::try_from(open - of_window + state.saved).unwrap_or(u32::MAX);
        Grant { tokens: tokens as u32, left, wait: micros(wait), ends: micros(span_of(window) - into) }
    }
}

/// Microseconds until so many are free: when the window has slid far enough over what it covers, in this span or in the next.
fn wait(window: &Window, state: &State, into: u64, wanted: u64) -> u64 {
    let (span, events) = (span_of(window), u64::from(window.events));
    let wanted = wanted.saturating_sub(state.saved);
    // When of so many that were granted in one span no more than `left` are covered any more, since the next one began.
    let slid = |granted: u64, left: u64| {
        let covered = (u128::from(left + 1) * u128::from(span)).div_ceil(u128::from(granted.max(1)));
        (span + 1).saturating_sub(u64::try_from(covered).unwrap_or(u64::MAX))
    };
    let wait = match events.checked_sub(state.current + wanted) {
        Some(left) => slid(state.previous, left).saturating_sub(into),
        None => span - into + slid(state.current, events.saturating_sub(wanted)),
    };
    wait.max(1)
}

fn span_of(window: &Window) -> u64 {
    u64::try_from(window.span.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPAN: u64 = 10_000_000;

    fn window(events: u32, saved: u32) -> Window {
        Window { events, span: Duration::from_micros(SPAN), saved }
    }

    fn at(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_limit_is_reached_and_recovers_as_the_window_slides() {
        let (mut counter, window) = (Counter::default(), window(10, 0));
        let mut take = |ms: u64| counter.grant_whole(&window, 1, at(ms * 1_000));
        assert_eq!((0..20).filter(|_| take(9_999).tokens == 1).count(), 10);
        assert_eq!(take(10_000).tokens, 0, "nothing more at the window's edge");
        assert_eq!(take(10_500).tokens, 1, "a twentieth of the last span has slid out");
        let refused = take(10_500);
        assert_eq!(refused.tokens, 0);
        let back = 10_500 + refused.wait.as_millis() as u64;
        assert_eq!((take(back).tokens, take(back + 1).tokens), (0, 1), "told to the millisecond");
        assert_eq!((0..20).filter(|_| take(40_000).tokens == 1).count(), 10, "all of it after a quiet time");
    }

    #[test]
    fn a_cost_is_granted_whole_or_not_at_all() {
        let (mut counter, window) = (Counter::default(), window(10, 0));
        assert_eq!(counter.grant_whole(&window, 8, at(0)).tokens, 8);
        let refused = counter.grant_whole(&window, 3, at(0));
        assert_eq!((refused.tokens, refused.left), (0, 2));
        assert_eq!(counter.grant_whole(&window, 2, at(0)).tokens, 2);
    }

    proptest! {
        /// Against a log of all that was granted: the bound of the module's documentation over any two moments, no refusal
        /// without its reason, and whoever waits as long as it is told gets what it wanted.
        #[test]
        fn what_is_granted_keeps_to_the_bound(
            events in 1_u32..40, saved in 0_u32..60,
            asks in prop::collection::vec((0_u64..2_500_000, 1_u32..5), 1..250),
        ) {
            let (mut counter, window) = (Counter::default(), window(events, saved));
            let (mut now, mut log) = (3_333_333_u64, Vec::new());
            for (later, cost) in asks {
                let cost = cost.min(events);
                now += later;
                let mut grant = counter.grant_whole(&window, cost, at(now));
                if grant.tokens == 0 {
                    let recent: u32 = log.iter().filter(|(then, _)| now - then < 2 * SPAN).map(|(_, n)| n).sum();
                    prop_assert!(recent + cost > events, "refused after {recent} of {events}");
                    now += grant.wait.as_micros() as u64;
                    grant = counter.grant_whole(&window, cost, at(now));
                    prop_assert_eq!(grant.tokens, cost, "told to wait {:?}", grant.wait);
                }
                log.push((now, grant.tokens));
                let mut got = 0;
                for (then, tokens) in log.iter().rev() {
                    got += u64::from(*tokens);
                    let most = u64::from(events + saved) as f64 + f64::from(events) * (now - then) as f64 / SPAN as f64;
                    let steps = if saved > 0 { events } else { 0 };
                    // A microsecond is the smallest time.
                    prop_assert!(got as f64 <= most + f64::from(steps) + 1.0 + 1e-4, "{got} of {most} in {} us", now - then);
                }
            }
        }
    }
}

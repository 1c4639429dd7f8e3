//! A tenant in figures: what the store has of it and what the processes tell of it, put together for metrics, `stats` and
//! `top`.

use serde::Serialize;

use super::{Board, HeldBack, Seen, Standing};
use crate::store::Surveyed;
use crate::time::Timestamp;

/// Slower than this is no draining.
const DRAIN_MIN: f64 = 0.01;
/// A prediction beyond this (a year, in seconds) says no more than none.
const DRAIN_LONGEST: f64 = 365.0 * 86_400.0;

/// A tenant in figures. Rates are per second, over the last ten seconds or so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Figures {
    /// Events admitted.
    pub events_per_s: f64,
    /// Events refused over a quota.
    pub throttled_per_s: f64,
    /// Deliveries that ended well.
    pub deliveries_per_s: f64,
    /// Attempts that ended.
    pub attempts_per_s: f64,
    /// The part of the attempts that failed, from 0 to 1.
    pub error_rate: f64,
    /// Deliveries in flight.
    pub in_flight: u64,
    /// Unfinished deliveries that are not in flight.
    pub waiting: u64,
    /// How long the longest of what is due, parked or in a dispatcher's memory has waited.
    pub oldest_age_s: f64,
    /// Slot time used, in seconds per second: the slots held on average.
    pub slot_seconds_per_s: f64,
    /// Its part of all slot time used, from 0 to 1.
    pub slot_share: f64,
    /// The part that its weight entitles it to beside those that are active, from 0 to 1.
    pub fair_share: f64,
    /// How near it is to using more than its share beside others: 1 is the limit.
    pub loudness: f64,
    /// From an event's admission to its first attempt, on average, if there was one.
    pub dispatch_delay_ms: Option<f64>,
    /// Deliveries that died.
    pub dead_per_s: f64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Endpoints whose circuit is not closed.
    pub circuits_open: u64,
    /// Endpoints that are disabled.
    pub endpoints_disabled: u64,
    /// Why nothing of what waits starts.
    pub held_back: Option<HeldBack>,
    /// Whether it waits because of others.
    pub hurt: bool,
    /// How what waits shrinks.
    pub drain: Drain,
}

/// How what waits shrinks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Drain {
    /// Deliveries that ended less those that came, per second.
    pub per_s: f64,
    /// When nothing will be left if it goes on like this, in seconds; nothing if it does not shrink.
    pub predicted_s: Option<f64>,
}

impl Figures {
    /// A tenant that the store has; `seen`: what the processes tell of it.
    pub fn of(stored: &Surveyed, board: &Board, now: Timestamp) -> Self {
        let standing = Standing { weight: stored.weight, ..Standing::default() };
        let unseen = Seen { standing, ..Seen::default() };
        // Shares are parts of what the processes tell, so with the weight that they tell of: a change reaches them a moment later.
        let known = board.tenant(stored.tenant).unwrap_or(&unseen);
        let unfinished = stored.counts.waiting();
        let in_flight = u64::from(stored.in_flight).min(unfinished);
        let stored_since = stored.waiting_since.map_or(0.0, |since| now.since(since).as_secs_f64());
        let mut figures = Self::told(known);
        figures.in_flight = in_flight;
        figures.waiting = unfinished - in_flight;
        figures.oldest_age_s = stored_since.max(known.standing.oldest_ms as f64 / 1_000.0);
        figures.slot_share = board.slot_share(known);
        figures.fair_share = board.fair_share(known);
        figures.loudness = board.loudness(known);
        figures.dead_letters = stored.counts.dead;
        figures.circuits_open = u64::from(stored.circuits);
        figures.endpoints_disabled = stored.disabled.len() as u64;
        figures.drain = Drain::predict(unfinished, known.drained_per_s());
        figures
    }

    /// All that processes do not tell of by name, together. What of them is in flight and what waits is not here: the store
    /// has it, of each.
    pub fn of_rest(board: &Board) -> Self {
        let seen = Seen { rates: board.rest.rates, ..Seen::default() };
        Self {
            slot_share: board.slot_share(&seen),
            fair_share: board.rest_share(),
            drain: Drain::predict(0, seen.drained_per_s()),
            ..Self::told(&seen)
        }
    }

    /// Puts another tenant's beside these: sums, of an age and a delay the greatest, of a ratio what it is of both.
    pub fn add(&mut self, other: &Self) {
        let attempts = self.attempts_per_s + other.attempts_per_s;
        let failures = self.error_rate * self.attempts_per_s + other.error_rate * other.attempts_per_s;
        self.error_rate = if attempts > 0.0 { failures / attempts } else { 0.0 };
        self.attempts_per_s = attempts;
        self.events_per_s += other.events_per_s;
        self.throttled_per_s += other.throttled_per_s;
        self.deliveries_per_s += other.deliveries_per_s;
        self.in_flight += other.in_flight;
        self.waiting += other.waiting;
        self.oldest_age_s = self.oldest_age_s.max(other.oldest_age_s);
        self.slot_seconds_per_s += other.slot_seconds_per_s;
        self.slot_share += other.slot_share;
        self.fair_share += other.fair_share;
        self.dispatch_delay_ms = match (self.dispatch_delay_ms, other.dispatch_delay_ms) {
            (Some(own), Some(others)) => Some(own.max(others)),
            (own, others) => own.or(others),
        };
        self.dead_per_s += other.dead_per_s;
        self.dead_letters += other.dead_letters;
        self.circuits_open += other.circuits_open;
        self.endpoints_disabled += other.endpoints_disabled;
        self.loudness = self.loudness.max(other.loudness);
        self.hurt |= other.hurt;
        self.drain = Drain::predict(self.in_flight + self.waiting, self.drain.per_s + other.drain.per_s);
    }

    /// What the processes tell.
    fn told(seen: &Seen) -> Self {
        let rates = seen.rates;
        Self {
            events_per_s: rates.events,
            throttled_per_s: rates.throttled,
            deliveries_per_s: rates.delivered,
            attempts_per_s: rates.attempts,
            error_rate: seen.error_rate(),
            slot_seconds_per_s: rates.slots,
            dispatch_delay_ms: seen.dispatch_delay().map(|delay| delay.as_secs_f64() * 1_000.0),
            dead_per_s: rates.dead,
            held_back: seen.standing.held_back,
            hurt: seen.is_hurt(),
            ..Self::default()
        }
    }
}

impl Drain {
    /// When `unfinished` deliveries will have ended if they go on to shrink by `per_s` a second.
    pub fn predict(unfinished: u64, per_s: f64) -> Self {
        let predicted_s = match unfinished {
            0 => Some(0.0),
            _ if per_s < DRAIN_MIN => None,
            _ => Some(unfinished as f64 / per_s).filter(|seconds| *seconds <= DRAIN_LONGEST),
        };
        Self { per_s, predicted_s }
    }
}

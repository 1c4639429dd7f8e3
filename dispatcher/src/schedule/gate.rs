//! An endpoint's gate: how many attempts it takes at once. Knows nothing of what waits there.
//!
//! ```text
//!            trip_after overloads in a row
//!   Closed ──────────────────────────────► Open ──── the pause is over, a delivery starts ───► Probing
//!     ▲                                      ▲                                                    │
//!     │                                      └──────────── overload: twice the pause ─────────────┤
//!     └───────────────── any answer (of the probe, or of an attempt from before) ─────────────────┘
//! ```
//!
//! **Concurrency limit.** At most `min(allowed, ceiling)`. The *ceiling* is the tenant's cap as far as one endpoint may
//! take it ([`ceiling`]). *Allowed* has no bound until the endpoint is overloaded: a timeout, 429, 503 or lost connection
//! halves what is in force, once per generation of attempts (those that started before the last cut do not cut again: fifty
//! timeouts of the same moment are one piece of news). Answers let it grow: successes by one each up to half of where it was
//! cut, then, like all others, by one per round.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairhook_common::endpoint::Circuit;
use fairhook_common::limits;

use super::moment::{Moment, micros};
use super::rate::Rate;
use super::{Class, EndpointFacts, Settings, SlotEnd};

/// What a gate has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// So many may start now, at least one.
    Free(u32),
    /// As many as it takes are in flight.
    Full,
    /// The rate limit allows the next one then.
    Limited(Moment),
    /// The circuit is open until then.
    Open(Moment),
    /// The circuit is open and its probe under way.
    Probing,
}

/// How fast a slot comes back from an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Speed {
    /// Below `Settings::quick`: the reserve serves it.
    Quick = 0,
    /// Nothing is known; it may hold one slot of the reserve and holds none.
    Newcomer = 1,
    /// Anything else.
    Slow = 2,
}

/// How many [`Speed`]s there are.
pub(super) const SPEEDS: usize = 3;

/// What else the endpoint's tenant has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    /// No other endpoint that was used lately.
    None,
    /// Others, of which none has anything waiting or in flight now.
    Idle,
    /// Others with something waiting or in flight.
    Busy,
}

/// The most that one endpoint may take of its tenant's cap.
///
/// Half of it while others are busy, and while it is not known to be quick: it may be about to hold what it gets until it times
/// out, and an eighth of the cap is not much for another with hundreds of deliveries a second. A quick one that is the only
/// busy one gets seven eighths, or half of the cap would be idle: another finds a slot at once even if this one stops
/// answering. One that has no other beside it gets seven eighths too, and all of it while it is quick: should another appear,
/// it finds a slot within a second.
pub(super) fn ceiling(cap: u32, company: Company, speed: Speed) -> u32 {
    let part = match (company, speed) {
        (Company::None, Speed::Quick) => cap,
        (Company::None, _) | (Company::Idle, Speed::Quick) => cap - (cap / 8).max(1).min(cap),
        (Company::Idle | Company::Busy, _) => cap / 2,
    };
    part.max(1).min(cap)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Moment, pause: Duration },
    Probing { slot: u64, pause: Duration },
}

/// What is in flight.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    started: Moment,
    /// When it was loaded and went on: from then on it is its receiver that takes the time.
    went_on: Option<Moment>,
}

/// The state of one endpoint's gate.
#[derive(Debug)]
pub(super) struct Gate {
    /// Whether one of its deliveries was loaded: until then one attempt at a time, for it may have a rate limit.
    known: bool,
    rate: Option<Rate>,
    /// Since when: what started before has not counted in it.
    rate_since: Moment,
    state: State,
    /// The learnt part of the concurrency limit.
    allowed: u32,
    /// Up to here it grows by one per success.
    threshold: u32,
    /// Answers since it last grew.
    progress: u32,
    /// Attempts that started before this do not cut again.
    cut_at: Moment,
    /// Overloads since the last other answer.
    overloads: u32,
    /// The moving average of its attempts' slot time, in microseconds; `None`: no history.
    estimate: Option<u64>,
    /// What is in flight, by slot.
    flights: BTreeMap<u64, InFlight>,
    /// Those of it that went on, by when they did, oldest first.
    ages: BTreeSet<(Moment, u64)>,
    /// It holds a slot of the reserve although nothing was known of it.
    in_reserve: bool,
}

impl Gate {
    pub fn new() -> Self {
        Self {
            known: false,
            rate: None,
            rate_since: Moment::default(),
            state: State::Closed,
            allowed: u32::MAX,
            threshold: u32::MAX,
            progress: 0,
            cut_at: Moment::default(),
            overloads: 0,
            estimate: None,
            flights: BTreeMap::new(),
            ages: BTreeSet::new(),
            in_reserve: false,
        }
    }

    /// Returns whether this was news.
    pub fn learn(&mut self, now: Moment, facts: EndpointFacts) -> bool {
        let rate_changed = self.rate.map(|r| r.per_minute()) != facts.rate_per_minute.map(|r| r.max(1));
        if rate_changed {
            self.rate = facts.rate_per_minute.map(Rate::new);
            self.rate_since = now;
        }
        rate_changed | !std::mem::replace(&mut self.known, true)
    }

    /// Whether the rate lets go on what has started, maybe before the rate was known: then it counts in it now.
    pub fn goes_on(&mut self, now: Moment, slot: u64) -> bool {
        let Some(flight) = self.flights.get_mut(&slot).filter(|flight| flight.went_on.is_none()) else {
            return true;
        };
        let has_counted = flight.started >= self.rate_since;
        if let Some(rate) = self.rate.as_mut().filter(|_| !has_counted) {
            if rate.room(now, Duration::ZERO) == 0 {
                return false;
            }
            rate.start(now);
        }
        flight.went_on = Some(now);
        self.ages.insert((now, slot));
        true
    }

    pub fn in_flight(&self) -> u32 {
        self.flights.len() as u32
    }

    pub fn circuit(&self) -> Circuit {
        match self.state {
            State::Closed => Circuit::Closed,
            State::Open { .. } => Circuit::Open,
            State::Probing { .. } => Circuit::HalfOpen,
        }
    }

    /// Since when the oldest attempt in flight waits for the receiver.
    pub fn oldest(&self) -> Option<Moment> {
        self.ages.first().map(|(since, _)| *since)
    }

    /// What an attempt takes, in microseconds: never less than the oldest one in flight has taken already.
    pub fn estimate(&self, now: Moment, unknown: Duration) -> u64 {
        let age = self.oldest().map_or(0, |since| micros(now.since(since)));
        self.estimate.unwrap_or(micros(unknown)).max(age)
    }

    pub fn speed(&self, now: Moment, quick: Duration) -> Speed {
        if self.estimate(now, Duration::ZERO) >= micros(quick) {
            return Speed::Slow;
        }
        match (self.estimate, self.in_reserve) {
            (Some(_), _) => Speed::Quick,
            (None, false) => Speed::Newcomer,
            (None, true) => Speed::Slow,
        }
    }

    /// How many attempts at once, while the circuit is closed.
    pub fn limit(&self, ceiling: u32) -> u32 {
        self.allowed.min(ceiling)
    }

    pub fn room(&self, now: Moment, ceiling: u32) -> Room {
        let free = match self.state {
            State::Probing { .. } => return Room::Probing,
            State::Open { until, .. } if now < until => return Room::Open(until),
            State::Open { .. } => ceiling.min(1),
            State::Closed if self.known => self.limit(ceiling).saturating_sub(self.in_flight()),
            State::Closed => self.limit(ceiling).min(1).saturating_sub(self.in_flight()),
        };
        match self.rate {
            _ if free == 0 => Room::Full,
            None => Room::Free(free),
            Some(rate) => match rate.room(now, Duration::ZERO) {
                0 => Room::Limited(rate.opens()),
                starts => Room::Free(free.min(starts)),
            },
        }
    }

    /// How many may wait here in memory, beside those for which there is room now: what the gate will take within
    /// `patience`, so none if its attempts take longer than that. None at an open circuit, but for its next probe.
    pub fn places(&self, now: Moment, ceiling: u32, settings: &Settings) -> u32 {
        match self.state {
            State::Probing { .. } => 0,
            State::Open { until, .. } => u32::from(now < until && until <= now.after(settings.patience)),
            State::Closed => {
                let estimate = self.estimate(now, settings.first_estimate).max(1);
                // An estimate of just that is too long already.
                let rounds = micros(settings.patience).saturating_sub(1) / estimate;
                let places = u64::from(self.limit(ceiling)).saturating_mul(rounds);
                let places = u32::try_from(places).unwrap_or(u32::MAX);
                self.rate.map_or(places, |rate| places.min(rate.room(now, settings.patience)))
            }
        }
    }

    pub fn start(&mut self, now: Moment, slot: u64, in_reserve: bool) {
        self.flights.insert(slot, InFlight { started: now, went_on: None });
        self.in_reserve |= in_reserve;
        if let Some(rate) = &mut self.rate {
            rate.start(now);
        }
        if let State::Open { pause, .. } = self.state {
            self.state = State::Probing { slot, pause };
        }
    }

    /// An attempt ended; `took` is its time without what the store needed to load it.
    pub fn finish(
        &mut self,
        now: Moment,
        slot: u64,
        end: SlotEnd,
        took: Duration,
        ceiling: u32,
        settings: &Settings,
    ) {
        let Some(InFlight { started, went_on }) = self.flights.remove(&slot) else { return };
        went_on.map(|since| self.ages.remove(&(since, slot)));
        match end {
            SlotEnd::NotAttempted => self.not_attempted(now, slot, started),
            SlotEnd::Attempted { class, .. } => {
                self.known = true;
                self.average(micros(took));
                match class {
                    Class::Success => {
                        self.alive();
                        self.grow(ceiling, self.allowed < self.threshold);
                    }
                    // An answer, if not the one that was hoped for: it takes its requests. Without growth an endpoint that
                    // only answers 500 after an outage would get one at a time for ever.
                    Class::Answered => {
                        self.alive();
                        self.grow(ceiling, false);
                    }
                    Class::Overload => self.overloaded(now, slot, started, ceiling, settings),
                }
            }
        }
    }

    /// The newcomer's slot of the reserve is free again.
    pub fn left_reserve(&mut self) {
        self.in_reserve = false;
    }

    fn not_attempted(&mut self, now: Moment, slot: u64, started: Moment) {
        if let Some(rate) = self.rate.as_mut().filter(|_| started >= self.rate_since) {
            rate.give_back();
        }
        if let State::Probing { slot: probe, pause } = self.state
            && probe == slot
        {
            self.state = State::Open { until: now, pause };
        }
    }

    fn average(&mut self, sample: u64) {
        self.estimate = Some(match self.estimate {
            None => sample,
            Some(mean) => (mean.saturating_mul(7).saturating_add(sample)) / 8,
        });
    }

    fn alive(&mut self) {
        self.overloads = 0;
        self.state = State::Closed;
    }

    /// By one at once if it may be `fast`, else by one per round.
    fn grow(&mut self, ceiling: u32, fast: bool) {
        if self.allowed >= ceiling {
            return;
        }
        self.progress += 1;
        if fast || self.progress >= self.allowed {
            self.allowed += 1;
            self.progress = 0;
        }
    }

    fn overloaded(&mut self, now: Moment, slot: u64, started: Moment, ceiling: u32, settings: &Settings) {
        self.overloads = self.overloads.saturating_add(1);
        match self.state {
            State::Closed => {
                if started >= self.cut_at {
                    self.allowed = (self.limit(ceiling) / 2).max(1);
                    self.threshold = self.allowed;
                    self.progress = 0;
                    self.cut_at = now;
                }
                if self.overloads >= settings.trip_after {
                    self.allowed = 1;
                    self.open(now, slot, settings.probe_pause);
                }
            }
            State::Probing { slot: probe, pause } if probe == slot => {
                self.open(now, slot, pause.saturating_mul(2).min(settings.probe_pause_max));
            }
            State::Probing { .. } | State::Open { .. } => {}
        }
    }

    /// Opens the circuit for this pause, or up to a quarter less: the endpoints of one host, which go down together, must
    /// not come back to it together.
    fn open(&mut self, now: Moment, slot: u64, pause: Duration) {
        let early = pause.mul_f64(limits::CIRCUIT_PROBE_JITTER * spread(slot));
        self.state = State::Open { until: now.after(pause - early), pause };
    }
}

/// A number from 0 to 1 for every slot, without any pattern from one to the next (the end of SplitMix64).
fn spread(slot: u64) -> f64 {
    let z = slot.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}

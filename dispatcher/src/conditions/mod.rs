//! Which conditions tenants are in: a pure structure. In every round it is given what was measured of all tenants and says
//! which conditions begin and which end.
//!
//! A condition is *raised* when its pressure has been over a limit for a while, and *cleared* when it has been under a lower
//! one for a while: what goes up and down around a limit is told of once. What is not in a round has no pressure. At most
//! `limits::CONDITIONS` are known at a time; what comes beyond them is counted, and raised when there is room.

mod samples;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairhook_common::condition::{ConditionKey, ConditionKind, Evidence};
use fairhook_common::limits;
use fairhook_common::time::Timestamp;

pub use samples::samples;

/// What was measured for one condition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The condition.
    pub key: ConditionKey,
    /// How near it is: a ratio, whose limits are those of its kind.
    pub pressure: f64,
    /// What is shown if it is raised.
    pub evidence: Evidence,
}

/// What began and what ended in a round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Conditions that begin, each with what was seen.
    pub raised: Vec<(ConditionKey, Evidence)>,
    /// Conditions that end.
    pub cleared: Vec<ConditionKey>,
    /// How many found no room.
    pub left_out: u64,
}

/// When a condition of a kind begins and ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Over this it begins,
    pub raise: f64,
    /// once it has been so for so long.
    pub after: Duration,
    /// Under this it ends,
    pub clear: f64,
    /// once it has been so for so long.
    pub until: Duration,
}

/// The rule of a kind.
pub fn rule(kind: ConditionKind) -> Rule {
    let seconds = Duration::from_secs;
    match kind {
        // A burst that is over after a moment is what slots are for.
        ConditionKind::TenantNoisy => Rule { raise: 1.0, after: seconds(8), clear: 0.8, until: seconds(20) },
        ConditionKind::QuotaWarning => Rule { raise: 0.8, after: seconds(4), clear: 0.7, until: seconds(10) },
        // These do not come and go by themselves.
        ConditionKind::DlqWarning => Rule { raise: 0.5, after: seconds(0), clear: 0.4, until: seconds(0) },
        ConditionKind::EndpointDisabled => {
            Rule { raise: 0.5, after: seconds(0), clear: 0.5, until: seconds(0) }
        }
    }
}

/// What is known of each condition. See the module.
#[derive(Debug, Clone, Default)]
pub struct Detector {
    known: BTreeMap<ConditionKey, State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Over its limit since then, not for long enough.
    Rising(Timestamp),
    /// It holds; under its lower limit since then, not for long enough.
    Held(Option<Timestamp>),
}

impl Detector {
    /// Goes on where another one stopped, which had raised these.
    pub fn resume(held: impl IntoIterator<Item = ConditionKey>) -> Self {
        Self { known: held.into_iter().map(|key| (key, State::Held(None))).collect() }
    }

    /// One look at all tenants.
    pub fn round(&mut self, now: Timestamp, samples: impl IntoIterator<Item = Sample>) -> Changes {
        let mut changes = Changes::default();
        let mut silent: BTreeSet<ConditionKey> = self.known.keys().copied().collect();
        for Sample { key, pressure, evidence } in samples {
            // One that is told of twice in a round counts as the first says.
            if self.known.contains_key(&key) {
                if silent.remove(&key) {
                    self.measured(now, key, pressure, Some(evidence), &mut changes);
                }
            } else if pressure > rule(key.kind).raise {
                self.begin(now, key, evidence, &mut changes);
            }
        }
        for key in silent {
            self.measured(now, key, 0.0, None, &mut changes);
        }
        changes
    }

    /// How many tenants are in each kind of condition, in the order of [`ConditionKind::ALL`].
    pub fn tenants_in_condition(&self) -> [usize; ConditionKind::ALL.len()] {
        ConditionKind::ALL.map(|kind| {
            let held = self.held().filter(|key| key.kind == kind);
            held.map(|key| key.tenant).collect::<BTreeSet<_>>().len()
        })
    }

    /// The conditions that hold.
    pub fn held(&self) -> impl Iterator<Item = ConditionKey> {
        let held = self.known.iter().filter(|(_, state)| matches!(state, State::Held(_)));
        held.map(|(key, _)| *key)
    }

    fn begin(&mut self, now: Timestamp, key: ConditionKey, evidence: Evidence, changes: &mut Changes) {
        if self.known.len() >= limits::CONDITIONS {
            changes.left_out += 1;
            return;
        }
        self.known.insert(key, State::Rising(now));
        self.measured(now, key, f64::INFINITY, Some(evidence), changes);
    }

    fn measured(
        &mut self,
        now: Timestamp,
        key: ConditionKey,
        pressure: f64,
        evidence: Option<Evidence>,
        changes: &mut Changes,
    ) {
        let rule = rule(key.kind);
        let Some(state) = self.known.get_mut(&key) else { return };
        match state {
            State::Rising(since) if pressure > rule.raise => {
                if let Some(evidence) = evidence.filter(|_| now.since(*since) >= rule.after) {
                    *state = State::Held(None);
                    changes.raised.push((key, evidence));
                }
            }
            State::Rising(_) => drop(self.known.remove(&key)),
            State::Held(falling) if pressure < rule.clear => {
                let since = *falling.get_or_insert(now);
                if now.since(since) >= rule.until {
                    self.known.remove(&key);
                    changes.cleared.push(key);
                }
            }
            State::Held(falling) => *falling = None,
        }
    }
}

//! How much smaller than in life the bad tenants are. Tests are of a build that is not made to be fast: with as many
//! deliveries at once as in life the machine would be measured, not who is served first.

use super::kind::Allowance;

/// Of how many there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    each: u32,
    piled_up: usize,
}

impl Scale {
    /// As in life.
    pub const FULL: Self = Self { each: 1, piled_up: 1 };
    /// For tests.
    pub const QUICK: Self = Self { each: 5, piled_up: 100 };

    /// Posts per second, their bytes, clients, endpoints, places: whatever a bad tenant has or does at once.
    pub fn part(self, number: u32) -> u32 {
        number.div_ceil(self.each)
    }

    /// [`Self::part`] of what is counted in `usize`.
    pub fn part_of(self, number: usize) -> usize {
        number.div_ceil(self.each as usize)
    }

    /// Of what is piled up before the load.
    pub fn pile(self, events: usize) -> usize {
        events / self.piled_up
    }

    /// What a tenant is allowed; what it may let wait stays.
    pub fn allowance(self, full: Allowance) -> Allowance {
        Allowance {
            events_per_s: self.part(full.events_per_s),
            concurrent: self.part(full.concurrent),
            ..full
        }
    }
}

//! A tenant's lanes: which of its endpoints have room and something waiting, oldest first; and whose turn it is.

use std::collections::BTreeSet;

use fairhook_common::delivery::Lane;
use fairhook_common::ids::EndpointId;

use super::gate::{SPEEDS, Speed};

/// Which endpoints may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serve {
    /// Any.
    Any,
    /// Those that are quick.
    Quick,
    /// Those that are quick or of which nothing is known.
    QuickOrNewcomer,
}

impl Serve {
    fn speeds(self) -> &'static [Speed] {
        match self {
            Self::Any => &[Speed::Quick, Speed::Newcomer, Speed::Slow],
            Self::Quick => &[Speed::Quick],
            Self::QuickOrNewcomer => &[Speed::Quick, Speed::Newcomer],
        }
    }
}

const LANES: usize = Lane::ALL.len();

/// An endpoint's entries in its tenant's lanes: its speed and the number of its oldest delivery in each lane.
pub(super) type Listing = (Speed, [Option<u64>; LANES]);

/// The endpoints with room and work, by lane and speed, by the age of their heads.
#[derive(Debug)]
pub(super) struct Lanes {
    open: [[BTreeSet<(u64, EndpointId)>; SPEEDS]; LANES],
    /// The lanes, the one first whose last turn was longest ago: one that could not be served goes first as soon as it can.
    order: [usize; LANES],
}

impl Default for Lanes {
    fn default() -> Self {
        Self { open: Default::default(), order: std::array::from_fn(|lane| lane) }
    }
}

impl Lanes {
    pub fn relist(&mut self, endpoint: EndpointId, old: Option<Listing>, new: Option<Listing>) {
        if old == new {
            return;
        }
        if let Some((speed, heads)) = old {
            for (lane, head) in heads.iter().enumerate() {
                head.map(|number| self.open[lane][speed as usize].remove(&(number, endpoint)));
            }
        }
        if let Some((speed, heads)) = new {
            for (lane, head) in heads.iter().enumerate() {
                head.map(|number| self.open[lane][speed as usize].insert((number, endpoint)));
            }
        }
    }

    /// Whether an endpoint of this speed can be served.
    pub fn has(&self, speed: Speed) -> bool {
        self.open.iter().any(|lane| !lane[speed as usize].is_empty())
    }

    /// Takes the next turn that can be served: a lane, and the endpoint with its head.
    pub fn take_turn(&mut self, serve: Serve) -> Option<(usize, EndpointId)> {
        let served = self.order.iter().position(|lane| self.oldest(*lane, serve).is_some())?;
        let lane = self.order[served];
        self.order[served..].rotate_left(1);
        self.oldest(lane, serve).map(|endpoint| (lane, endpoint))
    }

    fn oldest(&self, lane: usize, serve: Serve) -> Option<EndpointId> {
        let heads = serve.speeds().iter().filter_map(|speed| self.open[lane][*speed as usize].first());
        heads.min().map(|(_, endpoint)| *endpoint)
    }
}

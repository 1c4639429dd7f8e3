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
    /// None: what has to be parked is.
    Parking,
}

impl Serve {
    fn speeds(self) -> &'static [Speed] {
        match self {
            Self::Any => &[Speed::Quick, Speed::Newcomer, Speed::Slow],
            Self::Quick => &[Speed::Quick],
            Self::QuickOrNewcomer => &[Speed::Quick, Speed::Newcomer],
            Self::Parking => &[],
        }
    }
}

/// Whose turn it is within a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// The head of this lane at this endpoint starts.
    Start(usize, EndpointId),
    /// The next one that has to be parked.
    Park,
}

/// An endpoint's entries in its tenant's lanes: its speed and the number of its oldest delivery in each lane.
pub(super) type Listing = (Speed, [Option<u64>; Lane::ALL.len()]);

const LANES: usize = Lane::ALL.len();
/// The lanes take turns with what has to be parked, so that neither waits for all of the other.
const TURNS: usize = LANES + 1;

/// The endpoints with room and work, by lane and speed, by the age of their heads.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    open: [[BTreeSet<(u64, EndpointId)>; SPEEDS]; LANES],
    turn: usize,
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

    /// Takes the next turn that can be served.
    pub fn take_turn(&mut self, serve: Serve, parking: bool) -> Option<Turn> {
        for position in (self.turn..TURNS).chain(0..self.turn) {
            let turn = match position {
                LANES => parking.then_some(Turn::Park),
                lane => self.oldest(lane, serve).map(|endpoint| Turn::Start(lane, endpoint)),
            };
            if turn.is_some() {
                self.turn = (position + 1) % TURNS;
                return turn;
            }
        }
        None
    }

    fn oldest(&self, lane: usize, serve: Serve) -> Option<EndpointId> {
        let heads = serve.speeds().iter().filter_map(|speed| self.open[lane][*speed as usize].first());
        heads.min().map(|(_, endpoint)| *endpoint)
    }
}

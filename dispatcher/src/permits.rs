//! What this dispatcher may have in flight of each tenant, by what it has heard of the others: pure.
//!
//! Each dispatcher takes its share of an assignment over *everybody who may hold anything*: whoever is listed, also one
//! that is leaving, or dead and not yet forgotten. A further node never makes another's share larger, and so the shares of
//! dispatchers that know of one another never add up to more than the cap, even if each of them knows of others besides:
//!
//! * it shrinks as soon as it hears of one who has joined;
//! * who has joined holds nothing until every other has *applied* a list with it, which is said only by who has no more in
//!   flight than its share by that list, but for tenants that it names: of these it holds nothing until they are not named
//!   any more;
//! * it grows when one is no longer listed: it left in order, or has been dead for longer than any attempt takes.
//!
//! One exception, or small tenants would wait for minutes after a crash: if all who would serve a tenant are dead, the
//! others do at once. Then the cap may be exceeded at the receiver by what was in flight at the dead.
//!
//! That nothing starts once the own lease has ended is the engine's matter: it takes a clock.

use std::collections::BTreeSet;

use fairhook_common::ids::{NodeId, TenantId};
use fairhook_common::store::{Member, Membership, Standing};

use crate::assignment::assign;

/// What one dispatcher knows.
#[derive(Debug, Clone)]
pub struct Permits {
    me: NodeId,
    version: u64,
    /// When it joined by what the others know of it; it is another number after it was taken for dead.
    joined: Option<u64>,
    admitted: bool,
    /// Tenants of which others had more in flight than their share when we were admitted, and have had since.
    awaited: BTreeSet<TenantId>,
    /// Dispatchers that may hold something, this one among them.
    listed: Vec<NodeId>,
    /// Those of them that are not dead.
    living: Vec<NodeId>,
}

impl Permits {
    /// Nothing was heard: nothing is permitted.
    pub fn new(me: NodeId) -> Self {
        let (joined, awaited, listed, living) = Default::default();
        Self { me, version: 0, joined, admitted: false, awaited, listed, living }
    }

    /// The store answered a heartbeat of ours. Returns whether any share may have changed.
    pub fn heard(&mut self, membership: &Membership) -> bool {
        let before = self.standing();
        let dispatchers = || membership.members.iter().filter(|member| member.roles.dispatcher);
        let living = || dispatchers().filter(|member| member.state != Standing::Dead);
        let ids = |member: &Member| member.node;
        self.version = membership.version;
        self.listed = dispatchers().map(ids).collect();
        self.living = living().map(ids).collect();
        let joined = living().find(|member| member.node == self.me).map(|member| member.joined);
        self.admitted &= joined == self.joined;
        self.joined = joined;
        let others = || living().filter(|member| member.node != self.me);
        let behind: BTreeSet<TenantId> = others().flat_map(|member| member.behind.iter().copied()).collect();
        if self.admitted {
            // What they fall behind with because of who came later is not ours to wait for.
            self.awaited.retain(|tenant| behind.contains(tenant));
        } else if joined.is_some_and(|joined| others().all(|member| member.applied >= joined)) {
            (self.admitted, self.awaited) = (true, behind);
        }
        before != self.standing()
    }

    /// What shares follow from.
    fn standing(&self) -> (bool, BTreeSet<TenantId>, Vec<NodeId>, Vec<NodeId>) {
        (self.admitted, self.awaited.clone(), self.listed.clone(), self.living.clone())
    }

    /// This dispatcher.
    pub fn me(&self) -> NodeId {
        self.me
    }

    /// The version of what was heard last.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the others know of this one and leave its share to it.
    pub fn admitted(&self) -> bool {
        self.admitted
    }

    /// So many deliveries of a tenant with this cap it may have in flight when it starts one more.
    pub fn share(&self, tenant: TenantId, cap: u32) -> u32 {
        if self.admitted && !self.awaited.contains(&tenant) { self.bound(tenant, cap) } else { 0 }
    }

    /// With no more than so many in flight it has applied what was heard.
    pub fn bound(&self, tenant: TenantId, cap: u32) -> u32 {
        let mine = self.servers(tenant, cap).find(|(node, _)| *node == self.me);
        mine.map_or(0, |(_, share)| share)
    }

    /// Whether it is the one that looks after a tenant's queue.
    pub fn is_first(&self, tenant: TenantId) -> bool {
        self.admitted && self.servers(tenant, 1).next().is_some_and(|(node, _)| node == self.me)
    }

    fn servers(&self, tenant: TenantId, cap: u32) -> impl Iterator<Item = (NodeId, u32)> {
        let dead = |(node, _): (NodeId, u32)| !self.living.contains(&node);
        let none_lives = assign(tenant, cap, self.listed.iter().copied()).all(dead);
        let of = if none_lives { &self.living } else { &self.listed };
        assign(tenant, cap, of.iter().copied())
    }
}

#[cfg(test)]
#[path = "permits_tests.rs"]
mod tests;

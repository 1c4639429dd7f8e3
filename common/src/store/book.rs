//! The register of processes as a plain value: who lives, who leaves, who is dead, and who has which named lease. Every
//! backend keeps one, changes it in one transaction, and takes `now` from its own clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Heartbeat, Member, Membership, Roles, Standing};
use crate::ids::{NodeId, TenantId};
use crate::limits;
use crate::time::Timestamp;

/// The register.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// See [`Membership::version`].
    pub version: u64,
    /// Everybody who is listed.
    pub entries: BTreeMap<NodeId, Entry>,
    /// The named leases that were taken, by their name.
    pub leases: BTreeMap<String, Hold>,
}

/// A listed process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// For people.
    pub name: String,
    /// What it does.
    pub roles: Roles,
    /// How it stands.
    pub state: Standing,
    /// See [`Member::joined`].
    pub joined: u64,
    /// See [`Heartbeat::applied`].
    pub applied: u64,
    /// See [`Heartbeat::behind`].
    pub behind: Vec<TenantId>,
    /// See [`Heartbeat::admitted`].
    pub admitted: bool,
    /// Its lease's end.
    pub ends_at: Timestamp,
}

/// Who has a named lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Who.
    pub node: NodeId,
    /// Until then.
    pub ends_at: Timestamp,
}

impl Book {
    /// A node gave a sign of life. Buries whom it may, forgets the dead whose time has passed, and answers who is listed.
    pub fn beat(&mut self, beat: &Heartbeat, now: Timestamp) -> Membership {
        self.forget(now);
        self.renew(beat, now);
        if beat.may_bury {
            self.bury(now);
        }
        self.membership(now)
    }

    /// A node is gone in order.
    pub fn leave(&mut self, node: NodeId) {
        self.leases.retain(|_, hold| hold.node != node);
        if let Some(gone) = self.entries.remove(&node) {
            self.changed(gone.roles);
        }
    }

    /// Takes or keeps a named lease; whether this node has it.
    pub fn take_lease(&mut self, name: &str, node: NodeId, lease: Duration, now: Timestamp) -> bool {
        if self.leases.get(name).is_some_and(|hold| hold.node != node && hold.ends_at > now) {
            return false;
        }
        self.leases.insert(name.to_owned(), Hold { node, ends_at: now.after(lease) });
        true
    }

    /// Who is listed.
    pub fn membership(&self, now: Timestamp) -> Membership {
        let member = |(node, entry): (&NodeId, &Entry)| Member {
            node: *node,
            name: entry.name.clone(),
            roles: entry.roles,
            state: entry.state,
            joined: entry.joined,
            applied: entry.applied,
            behind: entry.behind.clone(),
            admitted: entry.admitted,
            ended_for: now.since(entry.ends_at),
        };
        Membership { version: self.version, now, members: self.entries.iter().map(member).collect() }
    }

    fn renew(&mut self, beat: &Heartbeat, now: Timestamp) {
        let known = self.entries.get(&beat.node).map(|entry| (entry.state, entry.joined));
        let (state, joined) = match known {
            // Who leaves does not come back, and what it still has under way is not to be forgotten.
            Some((Standing::Live, joined)) if !beat.leaving => (Standing::Live, joined),
            Some((Standing::Leaving, joined)) => (Standing::Leaving, joined),
            Some((Standing::Live, joined)) => {
                self.changed(beat.roles);
                (Standing::Leaving, joined)
            }
            Some((Standing::Dead, _)) | None => {
                self.changed(beat.roles);
                (if beat.leaving { Standing::Leaving } else { Standing::Live }, self.version)
            }
        };
        let entry = Entry {
            name: beat.name.clone(),
            roles: beat.roles,
            state,
            joined,
            applied: beat.applied,
            behind: beat.behind.clone(),
            // What it says of itself may be older than its second coming.
            admitted: beat.admitted && beat.applied >= joined,
            ends_at: now.after(beat.lease),
        };
        self.entries.insert(beat.node, entry);
    }

    fn bury(&mut self, now: Timestamp) {
        let mut version = self.version;
        for entry in self.entries.values_mut() {
            if entry.state != Standing::Dead && entry.ends_at < now {
                entry.state = Standing::Dead;
                version += u64::from(entry.roles.dispatcher);
            }
        }
        self.version = version;
    }

    fn forget(&mut self, now: Timestamp) {
        self.entries.retain(|_, entry| {
            entry.state != Standing::Dead || now.since(entry.ends_at) < limits::NODE_QUARANTINE
        });
    }

    fn changed(&mut self, roles: Roles) {
        self.version += u64::from(roles.dispatcher);
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;

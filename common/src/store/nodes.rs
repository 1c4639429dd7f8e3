//! Which processes there are, and which of them may do what only one may do.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::ids::{NodeId, TenantId};
use crate::time::Timestamp;

/// The processes over this store, by leases on the store's own clock. The rules are those of [`super::book::Book`].
#[async_trait]
pub trait Nodes: Send + Sync + 'static {
    /// Renews the node's lease, or makes it (again, if the node was taken for dead), and answers who is there. If the beat
    /// may bury, everybody whose lease has ended is dead from now on. One transaction, idempotent but for the time.
    async fn heartbeat(&self, beat: &Heartbeat) -> Result<Membership, StoreError>;

    /// The node is gone in order: it holds nothing, and its named leases are free. Idempotent.
    async fn leave(&self, node: NodeId) -> Result<(), StoreError>;

    /// Takes the named lease for `lease` from now, or keeps it for so long; answers whether this node has it. Never two at
    /// once have it.
    async fn take_lease(&self, name: &str, node: NodeId, lease: Duration) -> Result<bool, StoreError>;

    /// The mark by which the queue's data is known to be what it was; `None`: it was never marked.
    async fn queue_epoch(&self) -> Result<Option<Uuid>, StoreError>;

    /// Replaces the mark if it is still `expected`; answers whether it was.
    async fn replace_queue_epoch(&self, expected: Option<Uuid>, new: Uuid) -> Result<bool, StoreError>;
}

/// What a node says of itself.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// Who.
    pub node: NodeId,
    /// For people.
    pub name: String,
    /// What it does.
    pub roles: Roles,
    /// It lives for so long from now on.
    pub lease: Duration,
    /// It has no more in flight than its shares under this version of the membership, but for those it is behind with.
    pub applied: u64,
    /// Tenants of which it still has more in flight than that, for their receivers hang: `limits::BEHIND_TENANTS` at most.
    pub behind: Vec<TenantId>,
    /// It serves its shares. (Who has just joined does not yet.)
    pub admitted: bool,
    /// It is about to go and takes nothing new.
    pub leaving: bool,
    /// It may say who is dead: its own lease has been whole for long enough.
    pub may_bury: bool,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    /// It takes events in.
    pub ingest: bool,
    /// It delivers.
    pub dispatcher: bool,
}

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Rises whenever a dispatcher joins, begins to leave, leaves or is buried.
    pub version: u64,
    /// The store's clock.
    pub now: Timestamp,
    /// Everybody, the dead too for `limits::NODE_QUARANTINE`, in the order of their ids.
    pub members: Vec<Member>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// For people.
    pub name: String,
    /// What it does.
    pub roles: Roles,
    /// How it stands.
    pub state: Standing,
    /// The version that its joining made, or under which it joined if it is no dispatcher.
    pub joined: u64,
    /// See [`Heartbeat::applied`].
    pub applied: u64,
    /// See [`Heartbeat::behind`].
    pub behind: Vec<TenantId>,
    /// See [`Heartbeat::admitted`].
    pub admitted: bool,
    /// How long ago its lease ended; zero while it lives.
    pub ended_for: Duration,
}

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    Live,
    /// It ends what it has begun and takes nothing new.
    Leaving,
    /// It fell silent. What it had begun may be under way still.
    Dead,
}

impl Standing {
    /// The stored name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Leaving => "leaving",
            Self::Dead => "dead",
        }
    }

    /// The inverse of [`Standing::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Live, Self::Leaving, Self::Dead].into_iter().find(|one| one.name() == name)
    }
}

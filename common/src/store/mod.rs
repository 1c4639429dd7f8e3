//! The first seam: the store, which is the truth.
//!
//! Few verbs, each one transaction, over batches. Five traits, by who calls them: [`Deliveries`] (the hot path and
//! what waits), [`Control`] (tenants, keys, endpoints, sources, quotas), [`Browse`] (what the API shows), [`Nodes`] (which processes
//! there are), [`Watch`] (how all tenants fare). A backend is all of them.
//!
//! A verb that fails as a whole has changed nothing and may be called again. One item's bad data never fails another:
//! each batched verb answers per item. Times are arguments, except where a backend must use its database's clock.

mod admission;
pub mod book;
mod browse;
mod control;
mod deliveries;
mod event_ids;
mod job;
mod loading;
mod nodes;
mod outage;
pub mod postgres;
mod roster;
mod shared;
pub mod sqlite;
mod standing;
mod turns;
mod watch;

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;
use tokio::time::Instant;

pub use admission::{AcceptedEvent, Admission, Admitted, NewDelivery, OutboxId, Settled};
pub use browse::{
    AttemptView, Browse, DeliveryFilter, DeliveryView, EventFilter, EventView, Order, Page, PageRequest,
    Position,
};
pub use control::{
    Control, ControlError, EndpointChanges, EndpointRef, KeyOwner, NewEndpoint, NewSource, NewTenant,
    SourceChanges, TenantChanges, TenantRef, Usage,
};
pub use deliveries::{Claim, ClaimFrom, Claimed, Deliveries, DueWork, Recorded, Recovery, Replayed, Sweep};
pub use job::{Job, JobFilter, JobKind, JobStatus};
pub use loading::{EndpointSnapshot, Load, Loaded, Ticket};
pub use nodes::{Heartbeat, Member, Membership, Nodes, Roles, Standing};
pub use roster::{Report, Roster, RosterTenant};
pub use watch::{CountedBy, LimitCount, Surveyed, Tally, Untold, Watch, Which};

use crate::ids::TenantId;

/// A whole backend.
pub trait Store: Deliveries + Control + Browse + Nodes + Watch {
    /// What changes in the control plane, as soon as this process knows of it, each at least once. A receiver that lags must
    /// forget everything it remembers.
    fn changes(&self) -> broadcast::Receiver<Change>;

    /// Everything that was changed before this, here or elsewhere, has been told to all receivers of
    /// [`changes`](Self::changes). It stands still while that cannot be known; what was remembered is then good for
    /// `limits::CONTROL_CACHE_TTL` from here on, or from when it was read.
    fn heard_until(&self) -> Instant;
}

/// A store shared by the parts of a process.
pub type SharedStore = Arc<dyn Store>;

/// Something in the control plane is new, changed or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A tenant, one of its keys, endpoints or sources.
    Tenant(TenantId),
    /// An operator's key.
    OperatorKeys,
    /// Deliveries of this tenant became due by an act of the API (a replay, a release).
    Due(TenantId),
    /// What changed cannot be told, or is in many tenants (a plan): whoever remembers anything forgets it.
    Everything,
}

/// Why a verb failed as a whole. It has changed nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or written now (locked, disk full, connection lost): try again.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// It took longer than the caller may wait.
    #[error("the store did not answer in time")]
    TooSlow,
    /// A mistake of ours, or a damaged store.
    #[error("the store failed: {0}")]
    Internal(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Internal(_))
    }
}

/// A boxed future, as jobs on a connection are.
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes a lock whose holder cannot leave what it guards half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Who is there: only processes of this one, for nobody else has the file open. So the register is kept in memory, and
//! nothing that an earlier process said of itself counts.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{SqliteStore, locked};
use crate::ids::NodeId;
use crate::store::book::Book;
use crate::store::{Heartbeat, Membership, Nodes, StoreError};
use crate::time::Timestamp;

/// The register, and the mark of the queue (which ends with this process too).
#[derive(Debug, Default)]
pub(super) struct Cluster {
    book: Book,
    queue_epoch: Option<Uuid>,
}

#[async_trait]
impl Nodes for SqliteStore {
    async fn heartbeat(&self, beat: &Heartbeat) -> Result<Membership, StoreError> {
        Ok(locked(&self.cluster).book.beat(beat, Timestamp::local()))
    }

    async fn leave(&self, node: NodeId) -> Result<(), StoreError> {
        locked(&self.cluster).book.leave(node);
        Ok(())
    }

    async fn take_lease(&self, name: &str, node: NodeId, lease: Duration) -> Result<bool, StoreError> {
        Ok(locked(&self.cluster).book.take_lease(name, node, lease, Timestamp::local()))
    }

    async fn queue_epoch(&self) -> Result<Option<Uuid>, StoreError> {
        Ok(locked(&self.cluster).queue_epoch)
    }

    async fn replace_queue_epoch(&self, expected: Option<Uuid>, new: Uuid) -> Result<bool, StoreError> {
        let mut cluster = locked(&self.cluster);
        let replaced = cluster.queue_epoch == expected;
        if replaced {
            cluster.queue_epoch = Some(new);
        }
        Ok(replaced)
    }
}

//! The suite over RabbitMQ, and what only a broker can do to a queue.

mod broker;
mod bundles;
mod chaos;
mod many;
mod outages;
mod proxy;
mod stray;

use std::sync::Arc;

use fairhook_common::queue::Queue;
use fairhook_common::queue::rabbit::QueueType;

use self::broker::Vhost;

/// A queue in a vhost of its own.
pub async fn open(queue_type: QueueType) -> (Arc<dyn Queue>, Vhost) {
    let vhost = Vhost::new();
    (Arc::new(vhost.queue(queue_type).await), vhost)
}

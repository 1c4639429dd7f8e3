//! A consumer: a connection of its own, so that dropping it gives everything back at once.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::courier::{Courier, Order};
use super::desks::Ticket;
use super::dial;
use super::inbox::{Arrival, Inbox, Tag};
use super::serving::Parts;
use crate::ids::TenantId;
use crate::queue::{Consumer, QueueAddress, QueueDown, Receipt, Received};

/// Serves messages of the queues it subscribes to.
pub struct RabbitConsumer {
    orders: mpsc::Sender<Order>,
    inbox: Arc<Inbox>,
    connection: Arc<Connection>,
    /// Connections being closed, which whoever consumes next waits for.
    closings: TaskTracker,
}

impl RabbitConsumer {
    /// Over a connection that was just dialled.
    pub fn start(parts: Parts, closings: TaskTracker) -> Self {
        // Whoever gives an order waits for its answer.
        let (orders, received) = mpsc::channel(1);
        let (inbox, connection) = (parts.inbox.clone(), parts.connection.clone());
        tokio::spawn(Courier::new(parts).run(received));
        Self { orders, inbox, connection, closings }
    }

    /// Subscribes to what could not be routed.
    pub async fn take_unrouted(&self) -> Result<(), QueueDown> {
        self.order(Order::Unrouted).await
    }

    async fn order(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<(), QueueDown>>) -> Order,
    ) -> Result<(), QueueDown> {
        let over = || QueueDown("the connection to the broker was lost".into());
        let (answer, answered) = oneshot::channel();
        self.orders.send(order(answer)).await.map_err(|_| over())?;
        answered.await.map_err(|_| over())?
    }
}

#[async_trait]
impl Consumer for RabbitConsumer {
    async fn subscribe(&self, address: &QueueAddress, prefetch: u32) -> Result<(), QueueDown> {
        self.order(|answer| Order::Subscribe(address.clone(), prefetch, answer)).await
    }

    async fn unsubscribe(&self, tenant: TenantId) -> Result<(), QueueDown> {
        self.order(|answer| Order::Unsubscribe(tenant, answer)).await
    }

    async fn next(&self) -> Result<Received, QueueDown> {
        let (ticket, Arrival { tenant, message, tag }) = self.inbox.next().await?;
        let inbox = self.inbox.clone();
        let receipt = Box::new(RabbitReceipt { inbox, ticket, tag, acked: false });
        Ok(Received { tenant, message, receipt })
    }
}

impl Drop for RabbitConsumer {
    fn drop(&mut self) {
        self.inbox.end(QueueDown("the consumer was dropped".into()));
        if let Ok(runtime) = dial::runtime() {
            self.closings.spawn_on(dial::closing(self.connection.clone()), runtime);
        }
    }
}

struct RabbitReceipt {
    inbox: Arc<Inbox>,
    ticket: Ticket,
    tag: Tag,
    acked: bool,
}

#[async_trait]
impl Receipt for RabbitReceipt {
    async fn ack(mut self: Box<Self>) {
        self.acked = true;
        self.tag.ack();
    }
}

impl Drop for RabbitReceipt {
    fn drop(&mut self) {
        if !self.acked {
            self.tag.give_back();
        }
        self.inbox.settle(self.ticket);
    }
}

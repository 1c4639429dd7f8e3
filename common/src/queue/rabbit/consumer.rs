//! A consumer: a connection of its own, so that dropping it gives everything back at once.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::courier::{Courier, Order};
use super::desks::Ticket;
use super::dial;
use super::inbox::{Arrival, Inbox, Share};
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

    fn hand_out(&self, (ticket, arrival): (Ticket, Arrival)) -> Received {
        let Arrival { tenant, message, share, since, .. } = arrival;
        let receipt = RabbitReceipt { inbox: self.inbox.clone(), ticket, share: Some(share) };
        Received { tenant, message, waited: since.elapsed(), receipt: Box::new(receipt) }
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
        Ok(self.hand_out(self.inbox.next().await?))
    }

    fn ready(&self) -> Option<Received> {
        // That it is over, the next `next` says.
        self.inbox.ready().ok().flatten().map(|taken| self.hand_out(taken))
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
    /// `None` once acked.
    share: Option<Share>,
}

#[async_trait]
impl Receipt for RabbitReceipt {
    async fn ack(mut self: Box<Self>) {
        self.share.take().into_iter().for_each(Share::ack);
    }
}

impl Drop for RabbitReceipt {
    fn drop(&mut self) {
        self.share.take().into_iter().for_each(Share::give_back);
        self.inbox.settle(self.ticket);
    }
}

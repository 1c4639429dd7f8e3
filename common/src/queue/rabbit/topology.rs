//! The names and arguments of everything that exists at the broker.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use uuid::Uuid;

use super::QueueType;
use crate::limits;

/// Routes a message to its tenant's queue, by the tenant's id.
pub const DELIVERIES: &str = "fairhook.deliveries";
/// Takes what [`DELIVERIES`] cannot route: an exchange, and the queue behind it.
pub const UNROUTED: &str = "fairhook.unrouted";
/// What nobody can read.
pub const POISON: &str = "fairhook.poison";

/// The queue whose existence is the mark of `epoch`.
pub fn epoch_queue(epoch: Uuid) -> ShortString {
    ShortString::from(format!("fairhook.epoch.{epoch}"))
}

/// A stored queue name. Names are bounded far below what the protocol takes; a longer one is no queue of ours.
pub fn short(name: &str) -> lapin::Result<ShortString> {
    ShortString::try_new(name.to_owned()).map_err(|_| {
        let too_long = std::io::Error::new(std::io::ErrorKind::InvalidInput, "the queue's name is too long");
        lapin::Error::from(too_long)
    })
}

/// The arguments of every queue. A limit on deliveries is stated because 4.x has one of its own, and drops.
pub fn queue_arguments(queue_type: QueueType) -> FieldTable {
    let mut arguments = FieldTable::default();
    match queue_type {
        QueueType::Classic => {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
        }
        QueueType::Quorum => {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
            arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(limits::AMQP_DELIVERY_LIMIT));
        }
    }
    arguments
}

/// The arguments of a consumer, by the type of its queue if that is known. Without this one the broker, before 4.0, consumes a
/// queue again by itself that was deleted and made again quickly, tells nobody, and hands its messages to a consumer that it has
/// forgotten. Of a quorum queue it refuses it.
pub fn consumer_arguments(queue_type: Option<QueueType>) -> FieldTable {
    let mut arguments = FieldTable::default();
    if queue_type == Some(QueueType::Classic) {
        arguments.insert("x-cancel-on-ha-failover".into(), AMQPValue::Boolean(true));
    }
    arguments
}

/// Makes what every connection relies on, before it is used. A broker that was wiped is whole again with it.
pub async fn declare(connection: &Connection, queue_type: QueueType) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(UNROUTED.into(), ExchangeKind::Fanout, durable, FieldTable::default()).await?;
    let mut alternate = FieldTable::default();
    alternate.insert("alternate-exchange".into(), AMQPValue::LongString(UNROUTED.into()));
    channel.exchange_declare(DELIVERIES.into(), ExchangeKind::Direct, durable, alternate).await?;
    for name in [UNROUTED, POISON] {
        declare_if_missing(connection, name, queue_type).await?;
    }
    let (name, exchange) = (UNROUTED.into(), UNROUTED.into());
    channel.queue_bind(name, exchange, "".into(), QueueBindOptions::default(), FieldTable::default()).await?;
    channel.close(200, "done".into()).await
}

/// A queue that exists keeps its type: the setting is for new ones.
async fn declare_if_missing(connection: &Connection, name: &str, queue_type: QueueType) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    match queue(&channel, name.into(), queue_type).await {
        Ok(_) => channel.close(200, "done".into()).await,
        Err(error) if is_other_kind(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Declares a queue of ours.
pub async fn queue(
    channel: &Channel,
    name: ShortString,
    queue_type: QueueType,
) -> lapin::Result<lapin::Queue> {
    channel.queue_declare(name, QueueDeclareOptions::durable(), queue_arguments(queue_type)).await
}

/// Asks for a queue without making it.
pub async fn existing(channel: &Channel, name: ShortString) -> lapin::Result<lapin::Queue> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    channel.queue_declare(name, passive, FieldTable::default()).await
}

/// The queue exists with other arguments.
pub fn is_other_kind(error: &lapin::Error) -> bool {
    has_code(error, 406)
}

/// There is no such queue.
pub fn is_missing(error: &lapin::Error) -> bool {
    has_code(error, 404)
}

fn has_code(error: &lapin::Error, code: u16) -> bool {
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(said) if said.get_id() == code)
}

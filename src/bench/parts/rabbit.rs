//! Messages like the engine's through durable queues, one per tenant: published persistent with confirms over a few
//! channels, consumed over another connection, acked one by one.

use std::time::Duration;

use futures_util::stream::{FuturesUnordered, SelectAll, StreamExt};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::bench::BenchError;

/// Channels to publish on, and messages unconfirmed on each: as the engine has.
const LINES: usize = 4;
const WINDOW: usize = 512;
/// Messages unacked of each queue: as the engine has of a busy tenant.
const PREFETCH: u16 = 82;
/// As long as the engine's.
const BODY: [u8; 232] = [b'x'; 232];
/// Queues that a crash leaves behind go by themselves.
const EXPIRY_MS: i32 = 60_000;
/// A broker that is silent for so long has failed.
const SILENCE: Duration = Duration::from_secs(10);

/// Passes messages through so many queues for `span`; how many were acked. Returns once all are.
pub async fn pass(url: &str, queues: usize, span: Duration) -> Result<u64, BenchError> {
    let publishing = Connection::connect(url, ConnectionProperties::default()).await?;
    let consuming = Connection::connect(url, ConnectionProperties::default()).await?;
    let run = Uuid::new_v4();
    let names: Vec<ShortString> = (0..queues).map(|n| format!("fairhook.bench.{run}.{n}").into()).collect();
    let channel = consuming.create_channel().await?;
    let mut consumers = SelectAll::new();
    for name in &names {
        consumers.push(consume(&channel, name).await?);
    }
    let end = Instant::now() + span;
    let mut lines = JoinSet::new();
    for line in 0..LINES {
        let own = names.iter().skip(line).step_by(LINES).cloned().collect();
        lines.spawn(publish(publishing.create_channel().await?, own, end));
    }
    let done = take(consumers, lines).await?;
    for name in names {
        channel.queue_delete(name, QueueDeleteOptions::default()).await?;
    }
    publishing.close(200, "done".into()).await?;
    consuming.close(200, "done".into()).await?;
    Ok(done)
}

async fn consume(channel: &Channel, name: &ShortString) -> lapin::Result<Consumer> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-expires".into(), AMQPValue::LongInt(EXPIRY_MS));
    channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    channel
        .basic_consume(name.clone(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
}

/// Publishes to `queues` in turn until `end`, and waits for every confirm; how many.
async fn publish(channel: Channel, queues: Vec<ShortString>, end: Instant) -> lapin::Result<u64> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties =
        BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
    let mut unconfirmed = FuturesUnordered::new();
    let mut published = 0;
    for queue in queues.iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        while unconfirmed.len() >= WINDOW {
            unconfirmed.next().await.transpose()?;
        }
        let options = BasicPublishOptions::default();
        unconfirmed
            .push(channel.basic_publish("".into(), queue.clone(), options, &BODY, properties.clone()).await?);
        published += 1;
    }
    while unconfirmed.next().await.transpose()?.is_some() {}
    Ok(published)
}

/// Takes and acks messages until everything that was published is; how many.
async fn take(
    mut consumers: SelectAll<Consumer>,
    mut lines: JoinSet<lapin::Result<u64>>,
) -> Result<u64, BenchError> {
    let (mut published, mut taken) = (0, 0);
    while !lines.is_empty() || taken < published {
        tokio::select! {
            Some(ended) = lines.join_next() => {
                published += ended.map_err(|failed| BenchError::Subject(failed.to_string()))??;
            }
            next = timeout(SILENCE, consumers.next()) => {
                let silent = || BenchError::Subject("RabbitMQ handed out nothing for too long".to_owned());
                let delivery = next.map_err(|_| silent())?.ok_or_else(silent)??;
                delivery.ack(BasicAckOptions::default()).await?;
                taken += 1;
            }
        }
    }
    Ok(taken)
}

//! One publishing channel and the one task that owns it. `lapin` takes a message's tag under one lock and queues its frames
//! under another: with two tasks on a channel, confirms go to the wrong messages.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::metrics::Metrics;
use crate::limits;

/// A message to publish. Dropped unconfirmed it is refused.
pub struct Job {
    pub exchange: &'static str,
    pub key: ShortString,
    pub body: Vec<u8>,
    pub confirmed: oneshot::Sender<()>,
}

/// How a publish ended for its channel.
#[derive(PartialEq, Eq)]
enum Sent {
    /// The broker has answered.
    Answered,
    /// It never will: the channel is of no more use.
    Broken,
}

type Flight = FuturesUnordered<Pin<Box<dyn Future<Output = Sent> + Send>>>;

/// Publishes what comes until nothing more can come, or the connection is lost.
pub async fn run(connection: Arc<Connection>, mut jobs: mpsc::Receiver<Job>, metrics: Arc<Metrics>) {
    loop {
        let Ok(channel) = open(&connection).await else { break };
        if serve(&connection, &channel, &mut jobs, &metrics).await.is_none() {
            return;
        }
    }
    // A connection that gives no channel is of no use, and its supervisor makes another.
    let _ = timeout(limits::AMQP_CALL_DEADLINE, connection.close(200, "no channel".into())).await;
}

async fn open(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// `None` once nothing more can come; else the channel is broken.
async fn serve(
    connection: &Connection,
    channel: &Channel,
    jobs: &mut mpsc::Receiver<Job>,
    metrics: &Arc<Metrics>,
) -> Option<()> {
    let mut flight = Flight::new();
    loop {
        tokio::select! {
            biased;
            Some(sent) = flight.next(), if !flight.is_empty() => {
                if sent == Sent::Broken {
                    return Some(());
                }
            }
            job = jobs.recv(), if flight.len() < limits::AMQP_WINDOW => {
                let job = job?;
                // Nobody waits for it any more, or nothing is written while the broker blocks: it is refused.
                if job.confirmed.is_closed() || connection.status().blocked() {
                    continue;
                }
                let mut publish = Box::pin(publish(channel.clone(), job, metrics.clone()));
                // The first poll takes the tag and queues the frames: here, so that the order is that of the jobs.
                match poll_fn(|context| Poll::Ready(publish.as_mut().poll(context))).await {
                    Poll::Ready(Sent::Broken) => return Some(()),
                    Poll::Ready(Sent::Answered) => {}
                    Poll::Pending => flight.push(publish),
                }
            }
        }
    }
}

/// Awaits the confirm however late it is: one that is dropped is kept by the channel for ever.
async fn publish(channel: Channel, job: Job, metrics: Arc<Metrics>) -> Sent {
    let began = Instant::now();
    let answer = async {
        let properties =
            BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
        let options = BasicPublishOptions::default();
        channel.basic_publish(job.exchange.into(), job.key, options, &job.body, properties).await?.await
    };
    match timeout(limits::AMQP_CONFIRM_PATIENCE, answer).await {
        Ok(Ok(Confirmation::Ack(_))) => {
            metrics.confirm_seconds.observe(began.elapsed().as_secs_f64());
            // Who waited for it may have given up.
            let _ = job.confirmed.send(());
            Sent::Answered
        }
        Ok(Ok(_refused)) => Sent::Answered,
        Ok(Err(_)) | Err(_) => Sent::Broken,
    }
}

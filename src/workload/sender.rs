//! Sends events at a pace: open loop (at a rate, whatever the answers do) or closed loop (each connection waits for its
//! answer). Latency counts from the *intended* time, so that a stall is charged to every event that it delayed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use fairhook_common::limits;
use futures_util::stream::{self, StreamExt};
use rand::SeedableRng;
use rand::distr::{Alphanumeric, SampleString as _};
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Ledger;

/// Posts that may wait for their answers at once in an open loop; beyond it the next waits, at its own charge.
const IN_FLIGHT: usize = 10_000;
/// Posts at once where it does not matter how fast they go.
const FEW_AT_A_TIME: usize = 32;

/// Where events go.
pub trait Target: Send + Sync + 'static {
    /// Posts one event of `stream`; returns whether it was accepted.
    fn post(&self, stream: usize, body: String) -> impl Future<Output = Sent> + Send;
}

/// What became of a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// 202.
    Accepted,
    /// Another answer.
    Refused(u16),
    /// No answer.
    Failed,
}

/// How fast to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many events per second over all streams, evenly spaced.
    Open(f64),
    /// So many connections, each as fast as it is answered.
    Closed(usize),
}

/// Sends events of `streams` in turn for `span`; returns when every post is answered.
pub async fn drive<T: Target>(
    target: Arc<T>,
    ledger: Arc<Ledger>,
    streams: Vec<usize>,
    pace: Pace,
    span: Duration,
    payload_bytes: usize,
) {
    let flow = Arc::new(Flow { target, ledger, streams, turn: AtomicUsize::new(0), payload_bytes });
    match pace {
        Pace::Open(rate) => flow.open(rate, span).await,
        Pace::Closed(connections) => flow.closed(connections, span).await,
    }
}

/// Sends one event of each of the first `streams` streams, a few at a time; returns when every post is answered.
pub async fn each_once<T: Target>(target: Arc<T>, ledger: Arc<Ledger>, streams: usize, payload_bytes: usize) {
    let flow =
        Flow { target, ledger, streams: (0..streams).collect(), turn: AtomicUsize::new(0), payload_bytes };
    let posts = (0..streams).map(|_| flow.post(flow.ledger.elapsed()));
    stream::iter(posts).buffer_unordered(FEW_AT_A_TIME).collect::<()>().await;
}

struct Flow<T> {
    target: Arc<T>,
    ledger: Arc<Ledger>,
    streams: Vec<usize>,
    turn: AtomicUsize,
    payload_bytes: usize,
}

impl<T: Target> Flow<T> {
    async fn open(self: Arc<Self>, rate: f64, span: Duration) {
        let (begin, origin) = (Instant::now(), self.ledger.elapsed());
        let mut posts = JoinSet::new();
        for due in
            (0u32..).map(|i| Duration::from_secs_f64(f64::from(i) / rate)).take_while(|due| *due < span)
        {
            tokio::time::sleep_until(begin + due).await;
            while posts.len() >= IN_FLIGHT || posts.try_join_next().is_some() {
                if posts.len() >= IN_FLIGHT {
                    posts.join_next().await;
                }
            }
            let flow = self.clone();
            posts.spawn(async move { flow.post(origin + due).await });
        }
        while posts.join_next().await.is_some() {}
    }

    async fn closed(self: Arc<Self>, connections: usize, span: Duration) {
        let end = Instant::now() + span;
        let mut workers = JoinSet::new();
        for _ in 0..connections {
            let flow = self.clone();
            workers.spawn(async move {
                while Instant::now() < end {
                    flow.post(flow.ledger.elapsed()).await;
                }
            });
        }
        while workers.join_next().await.is_some() {}
    }

    async fn post(&self, intended: Duration) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let stream = self.streams[turn % self.streams.len()];
        let number = self.ledger.sending(stream, intended);
        let sent = self.target.post(stream, payload(stream, number, self.payload_bytes)).await;
        self.ledger.answered(stream, number, sent == Sent::Accepted);
        if let Sent::Failed = sent {
            // A target that is down must not be hammered in a tight loop.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What payloads are padded with: letters and digits that no store can compress away.
static PAD: LazyLock<String> =
    LazyLock::new(|| Alphanumeric.sample_string(&mut StdRng::seed_from_u64(0), limits::REQUEST_BODY_BYTES));

/// A payload of (at least) so many bytes that says which event it is.
fn payload(stream: usize, number: usize, bytes: usize) -> String {
    let mut text = format!(r#"{{"stream":{stream},"number":{number},"pad":""#);
    text.push_str(&PAD[..bytes.saturating_sub(text.len() + 2).min(PAD.len())]);
    text.push_str(r#""}"#);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stalling;

    impl Target for Stalling {
        async fn post(&self, stream: usize, body: String) -> Sent {
            assert_eq!(body.len(), 64);
            assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok());
            // Stream 1's first event stalls; it must be charged for it, and nobody else.
            if stream == 1 {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            Sent::Accepted
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_loop_does_not_wait_for_answers() {
        let ledger = Arc::new(Ledger::new(2));
        let begin = Instant::now();
        drive(Arc::new(Stalling), ledger.clone(), vec![0, 1], Pace::Open(10.0), Duration::from_secs(1), 64)
            .await;
        assert_eq!(
            begin.elapsed().as_millis(),
            3_900,
            "the last post of stream 1 is due at 0.9 s and takes 3 s"
        );
        let tally = ledger.tally([0, 1], Duration::ZERO);
        assert_eq!((tally.sent, tally.accepted), (10, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn each_stream_is_sent_one_event() {
        let ledger = Arc::new(Ledger::new(5));
        each_once(Arc::new(Stalling), ledger.clone(), 4, 64).await;
        let sent = (0..5).map(|stream| ledger.tally([stream], Duration::ZERO).accepted);
        assert_eq!(sent.collect::<Vec<_>>(), [1, 1, 1, 1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_waits_for_each_answer() {
        let ledger = Arc::new(Ledger::new(2));
        drive(Arc::new(Stalling), ledger.clone(), vec![1], Pace::Closed(4), Duration::from_secs(7), 64).await;
        assert_eq!(ledger.tally([1], Duration::ZERO).sent, 12, "four connections, three posts of 3 s each");
    }
}

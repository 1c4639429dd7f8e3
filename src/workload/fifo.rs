//! What other engines do: one queue for everybody, one pool of workers. Kept for comparisons only.

use std::sync::Arc;
use std::time::Duration;

use fairhook_common::limits;
use reqwest::Client;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::{Sent, Target, client};

/// A worker gives up on an attempt after this, as Fairhook's endpoints do by default.
const TIMEOUT: Duration = Duration::from_secs(15);
/// A failed delivery goes to the end of the queue after this.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Far more than is ever posted.
const QUEUE: usize = 1_000_000;

/// One FIFO queue over one worker pool. Its workers end when it is dropped.
pub struct Fifo {
    queue: mpsc::Sender<Delivery>,
    _workers: JoinSet<()>,
}

struct Delivery {
    url: String,
    body: String,
}

impl Fifo {
    /// A pool of so many workers that deliver each stream to its URL.
    pub fn start(workers: usize) -> reqwest::Result<Self> {
        let client = client(TIMEOUT)?;
        let (queue, deliveries) = mpsc::channel(QUEUE);
        let deliveries = Arc::new(Mutex::new(deliveries));
        let mut pool = JoinSet::new();
        for _ in 0..workers {
            pool.spawn(work(client.clone(), deliveries.clone(), queue.downgrade()));
        }
        Ok(Self { queue, _workers: pool })
    }

    /// This queue as the target of a load each of whose streams goes to all of these URLs.
    pub fn target(&self, urls: Vec<Vec<String>>) -> FifoTarget {
        FifoTarget { queue: self.queue.clone(), urls }
    }
}

/// Takes a delivery, attempts it, and comes back for the next one only then: that is the whole trouble.
async fn work(
    client: Client,
    deliveries: Arc<Mutex<mpsc::Receiver<Delivery>>>,
    queue: mpsc::WeakSender<Delivery>,
) {
    loop {
        let Some(delivery) = deliveries.lock().await.recv().await else { return };
        if attempt(&client, &delivery).await {
            continue;
        }
        let queue = queue.clone();
        tokio::spawn(async move {
            tokio::time::sleep(RETRY_AFTER).await;
            if let Some(queue) = queue.upgrade() {
                // A queue that is full or gone only ends a comparison that is over.
                let _ = queue.try_send(delivery);
            }
        });
    }
}

/// Whether it was delivered: 2xx, and an answer that ends.
async fn attempt(client: &Client, delivery: &Delivery) -> bool {
    let request = client.post(&delivery.url).header("content-type", "application/json");
    let Ok(mut answer) = request.body(delivery.body.clone()).send().await else { return false };
    let mut read = 0;
    while let Ok(chunk) = answer.chunk().await {
        match chunk {
            None => return answer.status().is_success(),
            Some(chunk) if read + chunk.len() <= limits::RESPONSE_BODY_BYTES => read += chunk.len(),
            Some(_) => return false,
        }
    }
    false
}

/// Posts into the queue.
pub struct FifoTarget {
    queue: mpsc::Sender<Delivery>,
    urls: Vec<Vec<String>>,
}

impl Target for FifoTarget {
    async fn post(&self, stream: usize, body: String) -> Sent {
        for url in &self.urls[stream] {
            let delivery = Delivery { url: url.clone(), body: body.clone() };
            if self.queue.send(delivery).await.is_err() {
                return Sent::Failed;
            }
        }
        Sent::Accepted
    }
}

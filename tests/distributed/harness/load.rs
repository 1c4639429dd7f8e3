//! Posts events at a pace, through whichever doors there are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Customer;
use crate::black_box::{Api, Ledger, until};

/// Who posts at once.
const CLIENTS: usize = 16;
/// A client gives up on an answer after this.
const PATIENCE: Duration = Duration::from_secs(20);

/// The APIs that a load balancer would know. Whoever is posting holds his.
#[derive(Clone, Default)]
pub struct Doors(Arc<Mutex<Vec<Arc<Api>>>>);

/// A door that nobody new goes through.
pub struct Closed(Arc<Api>);

impl Closed {
    /// Waits until nobody is in it any more, as a load balancer does before a process is stopped.
    pub async fn empty(&self) {
        until("the last request is answered", || async { (Arc::strong_count(&self.0) == 1).then_some(()) })
            .await;
    }
}

impl Doors {
    pub fn open(&self, api: Api) {
        self.0.lock().expect("no panic under it").push(Arc::new(api));
    }

    pub fn close(&self, index: usize) -> Closed {
        Closed(self.0.lock().expect("no panic under it").remove(index))
    }

    fn next(&self, turn: usize) -> Option<Arc<Api>> {
        let doors = self.0.lock().expect("no panic under it");
        (!doors.is_empty()).then(|| doors[turn % doors.len()].clone())
    }
}

/// What was answered: how often which status; 0 is no answer.
pub type Answers = BTreeMap<u16, usize>;

/// A load that goes on until it is stopped.
pub struct Load {
    flow: Arc<Flow>,
    clients: JoinSet<()>,
}

struct Flow {
    doors: Doors,
    ledgers: Vec<(String, Arc<Ledger>)>,
    interval: Duration,
    turn: AtomicUsize,
    stopped: AtomicBool,
    answers: Mutex<Answers>,
}

impl Load {
    /// So many events per second, over these in turn.
    pub fn start<'a>(
        doors: &Doors,
        customers: impl IntoIterator<Item = &'a Customer>,
        per_second: f64,
    ) -> Self {
        let ledgers = customers.into_iter().map(|customer| (customer.slug.clone(), customer.ledger.clone()));
        let flow = Arc::new(Flow {
            doors: doors.clone(),
            ledgers: ledgers.collect(),
            interval: Duration::from_secs_f64(CLIENTS as f64 / per_second),
            turn: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            answers: Mutex::default(),
        });
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(flow.clone().client());
        }
        Self { flow, clients }
    }

    /// The answers so far.
    pub fn answers(&self) -> Answers {
        self.flow.answers.lock().expect("no panic under it").clone()
    }

    /// How many were accepted so far.
    pub fn accepted(&self) -> usize {
        self.answers().get(&202).copied().unwrap_or_default()
    }

    /// Stops posting and waits for the last answers.
    pub async fn stop(mut self) -> Answers {
        self.flow.stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client ends");
        }
        self.answers()
    }
}

impl Flow {
    async fn client(self: Arc<Self>) {
        let mut due = Instant::now();
        while !self.stopped.load(Ordering::Relaxed) {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let (slug, ledger) = &self.ledgers[turn % self.ledgers.len()];
            let status = match self.doors.next(turn) {
                Some(api) => timeout(PATIENCE, post(&api, slug, ledger, turn)).await.unwrap_or_default(),
                None => 0,
            };
            *self.answers.lock().expect("no panic under it").entry(status).or_default() += 1;
            due = (due + self.interval).max(Instant::now());
            sleep_until(due).await;
        }
    }
}

/// The status. Without an answer nobody knows, and nothing was promised.
async fn post(api: &Api, slug: &str, ledger: &Ledger, number: usize) -> u16 {
    let event = json!({"type": "order.paid", "payload": {"number": number}});
    let Some(answer) = api.try_post(&format!("/tenants/{slug}/events"), event).await else { return 0 };
    if answer.status == 202 {
        ledger.note(&answer.body);
    }
    answer.status
}

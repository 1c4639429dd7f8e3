//! Every fault at random, by a seed that is printed.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::black_box::LONG;
use crate::harness::{Cluster, Customer, Load, Service, Shape, in_flight};

/// Unless told otherwise.
const SECONDS: u64 = 20;
/// The longest that anything takes to come back: the claims of a process that was killed.
const EVERYTHING_COMES_BACK: Duration = Duration::from_secs(240);

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    KillDispatcher,
    KillIngest,
    ReplaceDispatcher,
    ReplaceIngest,
    CutBroker,
    SilenceBroker,
    CutStore,
    SilenceStore,
    StopBroker,
    KillStore,
    WipeBroker,
}

const FAULTS: [Fault; 11] = [
    Fault::KillDispatcher,
    Fault::KillIngest,
    Fault::ReplaceDispatcher,
    Fault::ReplaceIngest,
    Fault::CutBroker,
    Fault::SilenceBroker,
    Fault::CutStore,
    Fault::SilenceStore,
    Fault::StopBroker,
    Fault::KillStore,
    Fault::WipeBroker,
];

/// A number that whoever runs the tests may set.
#[allow(clippy::disallowed_methods)]
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos() {
    let seed = told("CHAOS_SEED").unwrap_or_else(rand::random);
    let span = Duration::from_secs(told("CHAOS_SECONDS").unwrap_or(SECONDS));
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={}", span.as_secs());
    let cluster = Cluster::start(Shape { ingests: 2, dispatchers: 3, stops_servers: true }).await;
    let mut customers = Vec::new();
    for (slug, after) in [("quick", 20), ("slow", 400), ("middling", 100)] {
        customers.push(cluster.customer(slug, 30, 1, Duration::from_millis(after)).await);
    }
    let load = Load::start(&cluster.doors, &customers, 60.0);
    customers[0].receivers[0].wait_for(50, LONG).await;
    let (rng, excused) = (StdRng::seed_from_u64(seed), vec![0; customers.len()]);
    let mut storm = Storm { cluster, customers, rng, excused };
    let end = Instant::now() + span;
    while Instant::now() < end {
        storm.strike().await;
    }
    println!("{:?}", load.stop().await);
    for node in storm.cluster.ingests.iter().chain(&storm.cluster.dispatchers) {
        node.ready().await;
    }
    for (customer, excused) in storm.customers.iter().zip(&storm.excused) {
        storm.cluster.settle(customer, EVERYTHING_COMES_BACK, *excused).await;
    }
}

struct Storm {
    cluster: Cluster,
    customers: Vec<Customer>,
    rng: StdRng,
    /// What may come twice, of each customer.
    excused: Vec<usize>,
}

impl Storm {
    /// One fault, and a while that is mostly too short to recover from it.
    async fn strike(&mut self) {
        let fault = FAULTS[self.rng.random_range(0..FAULTS.len())];
        let lasts = Duration::from_millis(self.rng.random_range(500..5_000));
        println!("{fault:?} for {lasts:?}");
        self.excuse();
        match fault {
            Fault::KillDispatcher => {
                let index = self.rng.random_range(0..self.cluster.dispatchers.len());
                self.cluster.dispatchers.remove(index).kill().await;
                tokio::time::sleep(lasts).await;
                self.cluster.add_dispatcher().await;
            }
            Fault::KillIngest => {
                let index = self.rng.random_range(0..self.cluster.ingests.len());
                self.cluster.take_ingest(index).kill().await;
                tokio::time::sleep(lasts).await;
                self.cluster.add_ingest().await;
            }
            Fault::ReplaceDispatcher => {
                self.cluster.add_dispatcher().await;
                self.cluster.retire_dispatcher(0).await;
            }
            Fault::ReplaceIngest => {
                self.cluster.add_ingest().await;
                self.cluster.retire_ingest(0).await;
            }
            Fault::CutBroker | Fault::SilenceBroker | Fault::CutStore | Fault::SilenceStore => {
                self.cut(fault, lasts).await;
            }
            Fault::StopBroker => self.without(Service::RabbitMq, "stop", lasts).await,
            Fault::KillStore => self.without(Service::Postgres, "kill", lasts).await,
            Fault::WipeBroker => self.cluster.order("wipe", Service::RabbitMq).await,
        }
        // What was in flight when it came back may have been somebody else's meanwhile.
        self.excuse();
    }

    fn excuse(&mut self) {
        for (customer, excused) in self.customers.iter().zip(&mut self.excused) {
            *excused += in_flight([customer], Instant::now());
        }
    }

    async fn without(&self, service: Service, how: &'static str, lasts: Duration) {
        self.cluster.order(how, service).await;
        tokio::time::sleep(lasts).await;
        self.cluster.order("start", service).await;
    }

    async fn cut(&mut self, fault: Fault, lasts: Duration) {
        let nodes: Vec<_> = self.cluster.ingests.iter().chain(&self.cluster.dispatchers).collect();
        let node = nodes[self.rng.random_range(0..nodes.len())];
        let line = match fault {
            Fault::CutBroker | Fault::SilenceBroker => &node.broker,
            _ => &node.store,
        };
        match fault {
            Fault::CutBroker | Fault::CutStore => line.cut(),
            _ => line.silence(),
        }
        tokio::time::sleep(lasts).await;
        line.mend();
    }
}

//! Processes over a database and a virtual host of their own, and the tenants that use them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::json;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;
use url::Url;

use super::node::{Node, Role, Servers};
use super::services::{Service, Services, Use};
use super::tls::TlsLine;
use super::{Doors, Tally};
use crate::black_box::{Api, Ledger, Receiver, Reply, until_within};

/// How many processes, and whether the servers will be stopped.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub ingests: usize,
    pub dispatchers: usize,
    pub stops_servers: bool,
}

/// How processes reach the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Tls,
}

/// Processes that end with their test.
pub struct Cluster {
    pub ingests: Vec<Node>,
    pub dispatchers: Vec<Node>,
    /// Where events are posted: the ingests that are there.
    pub doors: Doors,
    servers: Servers,
    _lines: Vec<TlsLine>,
    started: u32,
    host: VirtualHost,
    held: Use,
}

/// A tenant with endpoints, one receiver each.
pub struct Customer {
    pub slug: String,
    pub ledger: Arc<Ledger>,
    pub receivers: Vec<Receiver>,
}

impl Cluster {
    /// Starts it; every process is ready.
    pub async fn start(shape: Shape) -> Self {
        Self::of(shape, Way::Plain, false).await
    }

    /// The same, with ingests that keep limits together in Redis.
    pub async fn with_redis(shape: Shape) -> Self {
        Self::of(shape, Way::Plain, true).await
    }

    /// The same, where every server is reached by TLS only.
    pub async fn over_tls(shape: Shape) -> Self {
        Self::of(shape, Way::Tls, true).await
    }

    async fn of(shape: Shape, way: Way, with_redis: bool) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let held = if shape.stops_servers { Use::alone().await } else { Use::shared().await };
        let name = format!("faults_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let host = VirtualHost::new(held.services, &name);
        host.make().await;
        let mut servers = Servers {
            store: database(held.services, &name).await,
            queue: with_path(held.services.setting("TEST_AMQP_URL"), &name),
            redis: with_redis.then(|| held.services.setting("TEST_REDIS_URL").parse().expect("a URL")),
            trusted: None,
        };
        let lines = match way {
            Way::Plain => Vec::new(),
            Way::Tls => servers.behind_tls().await,
        };
        let (ingests, dispatchers, doors) = (Vec::new(), Vec::new(), Doors::default());
        let mut cluster =
            Self { ingests, dispatchers, doors, servers, _lines: lines, started: 0, host, held };
        for _ in 0..shape.ingests {
            cluster.add_ingest().await;
        }
        for _ in 0..shape.dispatchers {
            cluster.add_dispatcher().await;
        }
        cluster
    }

    /// One more ingest, last in the list.
    pub async fn add_ingest(&mut self) {
        let node = self.node(Role::Ingest).await;
        self.doors.open(node.api.clone().expect("an ingest has an API"));
        self.ingests.push(node);
    }

    /// One more dispatcher, last in the list.
    pub async fn add_dispatcher(&mut self) {
        let node = self.node(Role::Dispatcher).await;
        self.dispatchers.push(node);
    }

    async fn node(&mut self, role: Role) -> Node {
        self.started += 1;
        let node = Node::start(role, &self.servers, &format!("{role:?}-{}", self.started)).await;
        node.ready().await;
        node
    }

    /// Takes an ingest out of the list; nothing new is posted to it.
    pub fn take_ingest(&mut self, index: usize) -> Node {
        self.doors.close(index);
        self.ingests.remove(index)
    }

    /// Stops an ingest in order, once nobody waits for its answer; the exit code.
    pub async fn retire_ingest(&mut self, index: usize) -> i32 {
        self.doors.close(index).empty().await;
        self.ingests.remove(index).terminate().await
    }

    /// Stops a dispatcher in order; the exit code.
    pub async fn retire_dispatcher(&mut self, index: usize) -> i32 {
        self.dispatchers.remove(index).terminate().await
    }

    /// Where the servers are, as its processes reach them.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Where its database is without anything in between.
    pub fn database(&self) -> Url {
        with_path(self.held.services.setting("TEST_POSTGRES_URL"), self.servers.store.path())
    }

    /// The API of the first ingest.
    pub fn api(&self) -> Api {
        self.ingests.first().and_then(|node| node.api.clone()).expect("there is an ingest")
    }

    /// Makes a tenant with a cap and so many endpoints, each of which takes everything after `after`.
    pub async fn customer(&self, slug: &str, cap: usize, endpoints: usize, after: Duration) -> Customer {
        let api = self.api();
        api.tenant(slug).await;
        let limits = json!({
            "max_concurrent_deliveries": cap, "max_events_per_sec": 100_000, "burst": 100_000, "max_backlog": 100_000,
        });
        api.patch(&format!("/quotas/{slug}"), limits).await.expect(200);
        let mut receivers = Vec::new();
        for _ in 0..endpoints {
            let receiver = Receiver::scripted(move |_| Reply::late(after)).await;
            api.endpoint(slug, &receiver.url(), json!({"timeout_ms": 20_000})).await;
            receivers.push(receiver);
        }
        Customer { slug: slug.to_owned(), ledger: Arc::new(Ledger::new(slug)), receivers }
    }

    /// `stop`, `start`, `kill` or `wipe` a server.
    pub async fn order(&self, verb: &'static str, service: Service) {
        self.held.services.order(verb, service).await;
        if (verb, service) == ("wipe", Service::RabbitMq) {
            // A broker without data knows no virtual host either; whoever runs one makes it again.
            self.host.make().await;
        }
    }

    /// Waits until nothing of the customer is under way, and proves that every accepted delivery is accounted for, in the
    /// list and in the counts, and that none came twice but `excused` ones.
    pub async fn settle(&self, customer: &Customer, deadline: Duration, excused: usize) {
        let began = Instant::now();
        let api = self.api();
        if timeout(deadline, customer.ledger.settled_within(deadline * 2, &api)).await.is_err() {
            let path = format!("/tenants/{}/deliveries?status=queued,scheduled,held", customer.slug);
            let waiting = api.list(&path).await;
            panic!("{} still wait after {deadline:?}, such as {:?}", waiting.len(), waiting.first());
        }
        let repeated = self.account(customer, excused).await;
        println!(
            "{}: settled in {:.1} s, {repeated} came twice of {excused} excused",
            customer.slug,
            began.elapsed().as_secs_f64()
        );
    }

    async fn account(&self, customer: &Customer, excused: usize) -> usize {
        let api = self.api();
        let (slug, accepted) = (&customer.slug, customer.ledger.ids());
        let standing = customer.ledger.account(&api, None).await;
        let delivered = standing.get("delivered").copied().unwrap_or_default();
        assert_eq!(
            standing.values().sum::<usize>(),
            delivered,
            "all receivers take everything: {standing:?}"
        );
        let mut repeated = 0;
        for receiver in &customer.receivers {
            let taken = receiver.taken();
            let missing = accepted.iter().filter(|id| !taken.contains(*id)).count();
            assert_eq!(missing, 0, "accepted and never delivered");
            repeated += Tally::of([receiver]).repeated();
        }
        let counted: usize = customer.receivers.iter().map(|receiver| receiver.taken().len()).sum();
        assert_eq!(counted, delivered, "what counts as delivered is what arrived");
        assert!(repeated <= excused, "{repeated} came twice, and only {excused} were in flight");
        // The counts are folded now and then.
        until_within(Duration::from_secs(10), "the counts of what waits come to nothing", || async {
            let usage = api.get(&format!("/quotas/{slug}")).await.expect(200)["current_usage"].clone();
            (usage["backlog"] == 0 && usage["dlq_count"] == 0).then_some(())
        })
        .await;
        repeated
    }
}

/// A virtual host of a broker, through its management API.
struct VirtualHost {
    admin: String,
    name: String,
}

impl VirtualHost {
    fn new(services: &Services, name: &str) -> Self {
        let admin = services.setting("TEST_AMQP_ADMIN").to_owned();
        Self { admin, name: name.to_owned() }
    }

    async fn make(&self) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().build().expect("a client");
        let user = Url::parse(&self.admin).expect("a URL").username().to_owned();
        let everything = json!({"configure": ".*", "write": ".*", "read": ".*"});
        for (path, body) in [
            (format!("vhosts/{}", self.name), json!({})),
            (format!("permissions/{}/{user}", self.name), everything),
        ] {
            let request = client.request(Method::PUT, format!("{}/api/{path}", self.admin)).json(&body);
            let answer = request.send().await.expect("the broker's management answers");
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
        }
    }
}

async fn database(services: &Services, name: &str) -> Url {
    let server = services.setting("TEST_POSTGRES_URL");
    let mut connection = PgConnection::connect(server).await.expect("the database answers");
    let make = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(make).execute(&mut connection).await.expect("a database of our own");
    connection.close().await.expect("closes");
    with_path(server, name)
}

fn with_path(url: &str, path: &str) -> Url {
    let mut url = Url::parse(url).expect("a URL");
    url.set_path(path);
    url
}

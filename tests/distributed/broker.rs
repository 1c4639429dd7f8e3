//! RabbitMQ goes away under load, and comes back as it was or empty.

use std::time::{Duration, Instant};

use crate::black_box::{LONG, Reply};
use crate::harness::{Cluster, Load, Service, Shape, Tally, in_flight};

const OUTAGE: Duration = Duration::from_secs(20);
/// Of these, a second, over both ingests.
const RATE: f64 = 40.0;

#[tokio::test(flavor = "multi_thread")]
async fn ingestion_and_delivery_go_on_while_the_broker_is_away() {
    let cluster = Cluster::start(Shape { ingests: 2, dispatchers: 2, stops_servers: true }).await;
    let acme = cluster.customer("acme", 40, 1, Duration::from_millis(50)).await;
    let load = Load::start(&cluster.doors, [&acme], RATE);
    acme.receivers[0].wait_for(100, LONG).await;

    let stopped_at = Instant::now();
    cluster.order("stop", Service::RabbitMq).await;
    let excused = in_flight([&acme], stopped_at);
    let (accepted, arrived) = (load.accepted(), Tally::of(&acme.receivers).len());
    tokio::time::sleep(OUTAGE).await;
    let ready = cluster.ingests[0].api.as_ref().expect("an ingest has one").get("/readyz").await;
    assert_eq!(ready.body["parts"]["queue"], "degraded", "{ready:?}");
    assert_eq!(ready.status, 200, "nobody turns away from an ingest that works: {ready:?}");
    let meanwhile = (load.accepted() - accepted, Tally::of(&acme.receivers).len() - arrived);
    let offered = (RATE * OUTAGE.as_secs_f64()) as usize;
    println!("without a broker: {offered} offered, {} accepted, {} delivered", meanwhile.0, meanwhile.1);
    assert!(meanwhile.0 >= offered * 9 / 10, "ingestion goes on: {} of {offered}", meanwhile.0);
    assert!(meanwhile.1 >= offered * 8 / 10, "delivery goes on: {} of {offered}", meanwhile.1);

    cluster.order("start", Service::RabbitMq).await;
    let again = Tally::of(&acme.receivers).len();
    acme.receivers[0].wait_for(again + 200, LONG).await;
    let answers = load.stop().await;
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&202], "nobody posting noticed anything: {answers:?}");
    cluster.settle(&acme, LONG, excused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_broker_loses_nothing() {
    let cluster = Cluster::start(Shape { ingests: 1, dispatchers: 2, stops_servers: true }).await;
    // Slow enough that the broker holds most of it when it dies.
    let acme = cluster.customer("acme", 4, 1, Duration::from_secs(2)).await;
    let load = Load::start(&cluster.doors, [&acme], 100.0);
    acme.receivers[0].wait_for(4, LONG).await;
    while load.accepted() < 400 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    load.stop().await;
    let wiped_at = Instant::now();
    cluster.order("wipe", Service::RabbitMq).await;
    let excused = in_flight([&acme], wiped_at);
    let arrived = Tally::of(&acme.receivers).len();
    assert!(arrived < 200, "most of it was in the broker: {arrived} had arrived");
    acme.receivers[0].now(|_| Reply::status(200));
    // The missing mark tells at once that everything was lost: nobody waits for the longest hold.
    cluster.settle(&acme, LONG, excused).await;
}

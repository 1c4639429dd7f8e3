//! A tenant's cap, as its receivers see it.

use std::time::{Duration, Instant};

use crate::black_box::LONG;
use crate::harness::{Cluster, Customer, Load, Shape, Tally};

const CAP: usize = 12;
/// An endpoint gets half of its tenant's share at most: so many that the cap is what binds.
const ENDPOINTS: usize = 4;

async fn most_at_once(acme: &Customer, since: Instant, span: Duration) -> usize {
    tokio::time::sleep(span).await;
    Tally::of(&acme.receivers).most_at_once(since)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cap_holds_over_three_steady_dispatchers() {
    let cluster = Cluster::start(Shape { ingests: 1, dispatchers: 3, stops_servers: false }).await;
    let acme = cluster.customer("acme", CAP, ENDPOINTS, Duration::from_millis(250)).await;
    // Four deliveries an event, far more than 12 at once can take.
    let load = Load::start(&cluster.doors, [&acme], 30.0);
    acme.receivers[0].wait_for(20, LONG).await;
    let most = most_at_once(&acme, Instant::now(), Duration::from_secs(10)).await;
    println!("steady: {most} of {CAP} at once");
    assert!(most <= CAP, "{most} at once, and the cap is {CAP}");
    assert!(most > CAP / 2, "the cap is used over all dispatchers: {most}");
    load.stop().await;
    cluster.settle(&acme, LONG * 2, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cap_holds_while_dispatchers_come_and_go() {
    let mut cluster = Cluster::start(Shape { ingests: 1, dispatchers: 1, stops_servers: false }).await;
    let acme = cluster.customer("acme", CAP, ENDPOINTS, Duration::from_millis(250)).await;
    let load = Load::start(&cluster.doors, [&acme], 20.0);
    acme.receivers[0].wait_for(20, LONG).await;
    let began = Instant::now();
    for _ in 0..3 {
        cluster.add_dispatcher().await;
        most_at_once(&acme, began, Duration::from_secs(3)).await;
    }
    for _ in 0..3 {
        assert_eq!(cluster.retire_dispatcher(0).await, 0);
        most_at_once(&acme, began, Duration::from_secs(2)).await;
    }
    load.stop().await;
    let most = most_at_once(&acme, began, Duration::ZERO).await;
    println!("through joins and leaves: {most} of {CAP} at once");
    assert!(most <= CAP, "{most} at once, and the cap is {CAP}");
    cluster.settle(&acme, LONG * 2, 0).await;
}

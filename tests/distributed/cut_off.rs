//! A dispatcher loses one of its servers while it delivers, and the others do not.

use std::time::{Duration, Instant};

use crate::black_box::LONG;
use crate::harness::{Cluster, Customer, Load, Shape, Tally, in_flight};

/// A dispatcher that cannot reach the store holds its claims to the end of their lease.
const CLAIMS_COME_BACK: Duration = Duration::from_secs(240);

async fn deliveries_go_on(acme: &Customer, more: usize) {
    let so_far = Tally::of(&acme.receivers).len();
    acme.receivers[0].wait_for(so_far + more, LONG).await;
}

async fn delivering() -> (Cluster, Customer, Load) {
    let cluster = Cluster::start(Shape { ingests: 1, dispatchers: 2, stops_servers: false }).await;
    let acme = cluster.customer("acme", 20, 1, Duration::from_millis(200)).await;
    let load = Load::start(&cluster.doors, [&acme], 30.0);
    acme.receivers[0].wait_for(60, LONG).await;
    (cluster, acme, load)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_cut_off_from_the_broker() {
    let (cluster, acme, load) = delivering().await;
    let mut excused = in_flight([&acme], Instant::now());
    cluster.dispatchers[0].broker.cut();
    deliveries_go_on(&acme, 150).await;
    excused += in_flight([&acme], Instant::now());
    cluster.dispatchers[0].broker.mend();
    deliveries_go_on(&acme, 150).await;
    cluster.dispatchers[0].ready().await;
    load.stop().await;
    cluster.settle(&acme, CLAIMS_COME_BACK, excused).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_cut_off_from_the_store() {
    let (cluster, acme, load) = delivering().await;
    let cut_at = Instant::now();
    cluster.dispatchers[0].store.cut();
    let excused = in_flight([&acme], cut_at);
    deliveries_go_on(&acme, 300).await;
    cluster.dispatchers[0].store.mend();
    deliveries_go_on(&acme, 150).await;
    cluster.dispatchers[0].ready().await;
    load.stop().await;
    cluster.settle(&acme, CLAIMS_COME_BACK, excused).await;
}

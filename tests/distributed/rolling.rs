//! A deploy: every process is replaced by another, one after the other, under load.

use std::time::Duration;

use crate::black_box::LONG;
use crate::harness::{Cluster, Load, Shape};

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_everything_repeats_and_loses_nothing() {
    let mut cluster = Cluster::start(Shape { ingests: 2, dispatchers: 2, stops_servers: false }).await;
    let acme = cluster.customer("acme", 40, 1, Duration::from_millis(200)).await;
    let load = Load::start(&cluster.doors, [&acme], 40.0);
    acme.receivers[0].wait_for(100, LONG).await;
    for _ in 0..2 {
        cluster.add_ingest().await;
        assert_eq!(cluster.retire_ingest(0).await, 0, "everything under way came to its end");
        cluster.add_dispatcher().await;
        assert_eq!(cluster.retire_dispatcher(0).await, 0, "everything under way came to its end");
    }
    let answers = load.stop().await;
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&202], "nobody posting noticed anything: {answers:?}");
    // What waited at a process that went was given back at once: no lease has to run out.
    cluster.settle(&acme, LONG, 0).await;
}

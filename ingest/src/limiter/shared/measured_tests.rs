//! What the limiter costs, and whether it holds for as long as its goals say: too long, or too dependent on the machine, for each
//! run of the tests. docs/BENCHMARKS.md says how they are run.

use std::time::Duration;

use fairhook_common::health::Health;
use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::metrics::Families;
use fairhook_common::policy::{Policy, PolicyRate};
use fairhook_common::shutdown::Shutdown;
use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::redis_tests::{Rig, Way, redis_url};
use super::{Patience, RedisAddress, Shared, Sharing};
use crate::limiter::events::{Quotas, tests};
use crate::limiter::key::Key;
use crate::limiter::windows::Windows;

const TENANTS: usize = 1_000;

fn tenants() -> Vec<TenantId> {
    (0..TENANTS).map(|_| TenantId::generate()).collect()
}

#[tokio::test]
#[ignore = "it measures"]
async fn deciding_costs_little() {
    const ROUNDS: u32 = 500;
    let (quotas, tenants) = (Quotas::new(Sharing::alone().ingests, None), tenants());
    let windows = Windows::new(Sharing::alone().ingests, None);
    let limits = tests::limits(1_000_000, 1_000_000);
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for tenant in &tenants {
            assert!(quotas.take(*tenant, &limits, &mut Patience::default()).await.allowed);
        }
    }
    println!("{:?} for the events of a second", began.elapsed() / (ROUNDS * TENANTS as u32));
    let rate: PolicyRate = "1000000000 / 24 h".parse().expect("a rate");
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for tenant in &tenants {
            let (key, mut patience) = (Key::tenant(*tenant), Patience::default());
            assert!(windows.take(Policy::EventsPerDay, &key, rate, 1, &mut patience).await.allowed);
        }
    }
    println!("{:?} for a window", began.elapsed() / (ROUNDS * TENANTS as u32));
}

/// One event after the other. What is told is the time, with the waiting for Redis in it, and the processor time of this process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures"]
async fn deciding_over_redis_costs_little() {
    let families = Families::new(Registry::new());
    let (health, shutdown, mut tasks) = (Health::default(), Shutdown::new(), JoinSet::new());
    let address = RedisAddress::parse(redis_url().as_str()).expect("a URL");
    let shared = Shared::start(address, &families, &health, &mut tasks, &shutdown);
    for per_second in [100, 1_000, 10_000] {
        shared.line.becomes(true).await;
        let quotas = Quotas::new(watch::channel(1).1, Some(shared.clone()));
        let limits = tests::limits(per_second, per_second);
        let (mut events, mut passed) = (0_u32, 0_u32);
        let (began, used) = (Instant::now(), processor_time());
        for tenant in tenants().iter().take(100) {
            for _ in 0..per_second {
                let decision = quotas.take(*tenant, &limits, &mut Patience::default()).await;
                (events, passed) = (events + 1, passed + u32::from(decision.allowed));
            }
        }
        let (time, processor) = (began.elapsed() / events, (processor_time() - used) / events);
        println!(
            "{per_second}/s: {time:?} for an event, {processor:?} of a processor; {passed} of {events} passed"
        );
    }
}

/// What this process has used of processors so far, to 10 ms (proc(5): ticks in user and system, a hundred a second).
fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let (_, fields) = told.rsplit_once(") ").expect("the name ends");
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes half a minute"]
async fn the_limit_holds_for_half_a_minute_in_the_middle_of_which_redis_dies() {
    let rig = Rig::start(200, 200).await;
    rig.flood(Duration::from_millis(1_500)).await;
    let (alive, waited) = rig.flood(Duration::from_secs(15)).await;
    rig.relay.way.send_replace(Way::Silent);
    let (dead, longest) = rig.flood(Duration::from_secs(15)).await;
    println!("{alive} of 3000, the longest {waited:?}; then {dead} of 3000, the longest {longest:?}");
    assert!((2_850.0..=3_060.0).contains(&alive), "{alive} of 3000");
    assert!((2_400.0..=3_600.0).contains(&dead), "{dead} of 3000");
    assert!(longest < limits::REDIS_BUDGET * 2, "one waited {longest:?}");
}

//! Three ingests over one Redis, reached through a relay that can be cut: no server that others use is ever stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use fairhook_common::health::Health;
use fairhook_common::ids::TenantId;
use fairhook_common::limits;
use fairhook_common::metrics::Families;
use fairhook_common::policy::Policy;
use fairhook_common::shutdown::Shutdown;
use fairhook_common::tenant::QuotaLimits;
use fairhook_common::time::Timestamp;
use prometheus::Registry;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use url::Url;
use uuid::Uuid;

use super::lease::{Grant, Window};
use super::simulation_tests::{Dice, Twin};
use super::{Patience, RedisAddress, Shared, Sharing};
use crate::limiter::Limiter;
use crate::limiter::events::{self, Quotas, Rate};
use crate::limiter::key::Key;
use crate::limiter::windows::Windows;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    Open,
    /// Connections end and are refused.
    Cut,
    /// Connections are taken and nothing is said any more.
    Silent,
}

/// Where Redis is.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where the servers are")]
pub(super) fn redis_url() -> Url {
    let told = std::env::var("TEST_REDIS_URL");
    let told = told.expect("TEST_REDIS_URL must name a Redis that these tests may write to");
    Url::parse(&told).expect("TEST_REDIS_URL is a URL")
}

/// Stands before Redis.
pub(super) struct Relay {
    pub(super) way: watch::Sender<Way>,
    dialled: Arc<AtomicUsize>,
    url: Url,
    _tasks: JoinSet<()>,
}

impl Relay {
    async fn start() -> Self {
        let mut url = redis_url();
        let target = (url.host_str().expect("a host").to_owned(), url.port().unwrap_or(6379));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        url.set_ip_host(address.ip()).expect("a host");
        url.set_port(Some(address.port())).expect("a port");
        let (way, dialled, mut tasks) =
            (watch::Sender::new(Way::Open), Arc::new(AtomicUsize::new(0)), JoinSet::new());
        let (seen, counted) = (way.subscribe(), dialled.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (seen, target) = (seen.clone(), target.clone());
                connections.spawn(relay(client, target, seen));
            }
        });
        Self { way, dialled, url, _tasks: tasks }
    }
}

async fn relay(mut client: TcpStream, target: (String, u16), mut way: watch::Receiver<Way>) {
    if *way.borrow() == Way::Open {
        let mut server = TcpStream::connect(target).await.expect("Redis is there");
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = way.wait_for(|way| *way != Way::Open) => {}
        }
    }
    // Silent: the connection stays until the way is another.
    let _ = way.wait_for(|way| *way != Way::Silent).await;
}

pub(super) struct Rig {
    pub(super) relay: Relay,
    pub(super) ingests: Vec<Arc<Quotas>>,
    shared: Vec<Arc<Shared>>,
    health: Health,
    tenant: TenantId,
    pub(super) limits: QuotaLimits,
    known: watch::Sender<usize>,
    _tasks: JoinSet<()>,
}

impl Rig {
    pub(super) async fn start(per_second: u32, burst: u32) -> Self {
        let relay = Relay::start().await;
        let (known, live) = watch::channel(3);
        let (health, shutdown, mut tasks) = (Health::default(), Shutdown::new(), JoinSet::new());
        let address = RedisAddress::parse(relay.url.as_str()).expect("a URL");
        let mut start = || {
            let families = Families::new(Registry::new());
            Shared::start(address.clone(), &families, &health, &mut tasks, &shutdown)
        };
        let shared: Vec<_> = (0..3).map(|_| start()).collect();
        for one in &shared {
            timeout(Duration::from_secs(10), one.line.becomes(true)).await.expect("Redis answers");
        }
        let ingests =
            shared.iter().map(|one| Arc::new(Quotas::new(live.clone(), Some(one.clone())))).collect();
        let limits = events::tests::limits(per_second, burst);
        let tenant = TenantId::from_uuid(Uuid::now_v7());
        Self { relay, ingests, shared, health, tenant, limits, known, _tasks: tasks }
    }

    /// Sends ten times the limit over all ingests for `span`: how many passed, and the longest that one waited.
    pub(super) async fn flood(&self, span: Duration) -> (f64, Duration) {
        let end = Instant::now() + span;
        let passed = Arc::new(AtomicU32::new(0));
        let gap = Duration::from_secs(3) / (self.limits.max_events_per_sec * 10);
        let mut senders = JoinSet::new();
        for ingest in &self.ingests {
            let (ingest, passed, tenant, limits) = (ingest.clone(), passed.clone(), self.tenant, self.limits);
            senders.spawn(async move {
                let (mut ticks, mut longest) = (interval(gap), Duration::ZERO);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
                while Instant::now() < end {
                    ticks.tick().await;
                    let asked = Instant::now();
                    let decision = ingest.take(tenant, &limits, &mut Patience::default()).await;
                    longest = longest.max(asked.elapsed());
                    passed.fetch_add(u32::from(decision.allowed), Ordering::Relaxed);
                }
                longest
            });
        }
        let longest = senders.join_all().await.into_iter().max().expect("three");
        (f64::from(passed.load(Ordering::Relaxed)), longest)
    }

    /// What a flood gets while Redis answers all the time: one answer over the budget, which a busy machine may bring about,
    /// and a share has decided.
    async fn undisturbed<T>(&self, mut flood: impl AsyncFnMut(Duration) -> T, span: Duration) -> T {
        for _ in 0..5 {
            flood(Duration::from_millis(1_500)).await;
            let before = self.errors();
            let got = flood(span).await;
            if self.errors() == before && self.away() == 0 {
                return got;
            }
            println!("disturbed, once more");
            for one in &self.shared {
                timeout(Duration::from_secs(10), one.line.becomes(true)).await.expect("Redis answers");
            }
        }
        panic!("Redis never answers for {span:?} within its budget");
    }

    fn errors(&self) -> u64 {
        self.shared.iter().map(|one| one.errors()).sum()
    }

    fn away(&self) -> usize {
        self.shared.iter().filter(|one| one.line.away().is_some()).count()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_ingests_keep_one_limit() {
    let rig = Rig::start(200, 200).await;
    rig.flood(Duration::from_millis(1_500)).await;
    let asked: u64 = rig.shared.iter().map(|one| one.metrics.round_trips.get_sample_count()).sum();
    let (passed, longest) = rig.flood(Duration::from_secs(6)).await;
    println!("{passed} of 1200 passed; the longest took {longest:?}; {asked} round trips before");
    assert!((1_140.0..=1_224.0).contains(&passed), "{passed} of 1200");
    let asked = rig.shared.iter().map(|one| one.metrics.round_trips.get_sample_count()).sum::<u64>() - asked;
    assert!(asked < 3_000, "{asked} round trips for 12,000 events");
    assert_eq!(rig.away(), 0);
}

/// Any policy's window, too, is one for all ingests; when Redis dies each goes on with its share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_ingests_keep_one_window_and_their_shares_without_redis() {
    let rig = Rig::start(1, 1).await;
    let windows: Vec<_> =
        rig.shared.iter().map(|one| Windows::new(rig.known.subscribe(), Some(one.clone()))).collect();
    let (rate, key) = ("200 / 1 s".parse().expect("a rate"), Key::tenant(rig.tenant));
    let flood = async |span: Duration| {
        let (end, mut passed, mut longest) = (Instant::now() + span, 0, Duration::ZERO);
        let mut ticks = interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for asked in 0_usize.. {
            ticks.tick().await;
            let began = Instant::now();
            if began >= end {
                break;
            }
            let decision =
                windows[asked % 3].take(Policy::ApiRequests, &key, rate, 1, &mut Patience::default()).await;
            longest = longest.max(began.elapsed());
            passed += u32::from(decision.allowed);
        }
        (passed, longest)
    };
    let (alive, _) = rig.undisturbed(&flood, Duration::from_secs(4)).await;
    assert!((760..=816).contains(&alive), "{alive} of 800");
    rig.relay.way.send_replace(Way::Silent);
    let (dead, longest) = flood(Duration::from_secs(3)).await;
    println!("{alive} of 800, then {dead} of 600; the longest took {longest:?}");
    assert!((480..=720).contains(&dead), "{dead} of 600");
    assert!(longest < limits::REDIS_BUDGET * 2, "one waited {longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_burst_is_one_for_all_ingests() {
    let rig = Rig::start(10, 300).await;
    let began = Instant::now();
    let mut passed = 0;
    for event in 0..1_200 {
        passed += u32::from(
            rig.ingests[event % 3].take(rig.tenant, &rig.limits, &mut Patience::default()).await.allowed,
        );
    }
    let most = 301 + 10 * began.elapsed().as_secs() as u32 + 10;
    assert!((297..=most).contains(&passed), "{passed} of a burst of 300");
    let refused = rig.ingests[0].take(rig.tenant, &rig.limits, &mut Patience::default()).await;
    assert!(
        !refused.allowed && refused.limit == 10 && refused.reset_after <= Duration::from_secs(2),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_shares_decide_and_it_is_taken_up_again() {
    for way in [Way::Cut, Way::Silent] {
        let rig = Rig::start(200, 200).await;
        let (alive, _) = rig.undisturbed(async |span| rig.flood(span).await, Duration::from_secs(2)).await;
        let dialled = rig.relay.dialled.load(Ordering::Relaxed);
        rig.relay.way.send_replace(way);
        let (dead, longest) = rig.flood(Duration::from_secs(3)).await;
        let probes = rig.relay.dialled.load(Ordering::Relaxed) - dialled;
        println!(
            "{way:?}: {alive} of 400, then {dead} of 600; the longest took {longest:?}; {probes} probes"
        );
        assert!((380.0..=410.0).contains(&alive), "{alive} of 400");
        assert!((570.0..=630.0).contains(&dead), "{dead} of 600");
        assert!(longest < limits::REDIS_BUDGET * 2, "one waited {longest:?}");
        // 500 ms apart from each of three.
        assert!((1..=21).contains(&probes), "{probes} probes");
        assert_eq!(rig.away(), 3);
        assert!(rig.health.standings().await.iter().all(|part| part.word() == "degraded"));
        let shares: u64 = rig.shared.iter().map(|one| one.metrics.shares.get()).sum();
        assert!(shares > 5_000, "{shares} decisions");
        rig.relay.way.send_replace(Way::Open);
        for one in &rig.shared {
            timeout(Duration::from_secs(10), one.line.becomes(true)).await.expect("it is taken up again");
        }
        assert_eq!(rig.away(), 0);
        let (again, _) = rig.flood(Duration::from_secs(2)).await;
        assert!(again <= 640.0, "{again} of 400 and a second's that came back meanwhile");
    }
}

/// Each of one key's callers needs a question of its own, one after the other: who finds no time left for it is decided about by
/// the share, and Redis, which has answered all, is not called away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_one_key_does_not_call_redis_away() {
    let rig = Rig::start(1, 1).await;
    let windows = Arc::new(Windows::new(rig.known.subscribe(), Some(rig.shared[0].clone())));
    let (rate, key) = ("10000000 / 10 s".parse().expect("a rate"), Key::tenant(rig.tenant));
    // A busy machine may keep an answer back once.
    for _ in 0..5 {
        let before = (rig.errors(), rig.shared[0].metrics.shares.get());
        let mut crowd = JoinSet::new();
        for _ in 0..2_000 {
            let (windows, key) = (windows.clone(), key.clone());
            crowd.spawn(async move {
                windows.take(Policy::BytesPerMinute, &key, rate, 1_001, &mut Patience::default()).await
            });
        }
        crowd.join_all().await;
        assert!(rig.shared[0].metrics.shares.get() > before.1, "the crowd is too small for this machine");
        if (rig.errors(), rig.away()) == (before.0, 0) {
            return;
        }
        timeout(Duration::from_secs(10), rig.shared[0].line.becomes(true)).await.expect("Redis answers");
    }
    panic!("Redis was called away each time");
}

/// All policies that decide about a request have one time for Redis: what is left of it when another has waited may be none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_has_waited_long_enough_asks_no_more() {
    let rig = Rig::start(1, 1).await;
    let windows = Windows::new(rig.known.subscribe(), Some(rig.shared[0].clone()));
    let (rate, key) = ("3 / 1 h".parse().expect("a rate"), Key::tenant(rig.tenant));
    let told = || (rig.shared[0].metrics.round_trips.get_sample_count(), rig.shared[0].metrics.shares.get());
    let (asked, shares) = told();
    let mut patience = Patience(limits::REDIS_ANSWER / 2);
    assert!(windows.take(Policy::EventsPerDay, &key, rate, 1, &mut patience).await.allowed);
    assert!(rig.ingests[0].take(rig.tenant, &rig.limits, &mut patience).await.allowed);
    assert_eq!((told(), rig.errors(), rig.away()), ((asked, shares + 2), 0, 0));
}

/// What a request does meanwhile is not waiting for Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_takes_its_time_still_asks() {
    let rig = Rig::start(1, 1).await;
    let windows = Windows::new(rig.known.subscribe(), Some(rig.shared[0].clone()));
    let (rate, mut patience) = ("9 / 1 h".parse().expect("a rate"), Patience::default());
    let shares = rig.shared[0].metrics.shares.get();
    for body in 0..2 {
        let key = Key::named(&format!("{}-{body}", rig.tenant));
        assert!(windows.take(Policy::EventsPerDay, &key, rate, 1, &mut patience).await.allowed);
        tokio::time::sleep(limits::REDIS_BUDGET * 2).await;
    }
    assert_eq!((rig.shared[0].metrics.shares.get(), rig.errors()), (shares, 0));
}

/// Whoever waits for another one's question waits no longer than for its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_waits_no_longer_than_one() {
    let rig = Rig::start(1_000, 1_000).await;
    rig.relay.way.send_replace(Way::Silent);
    let mut crowd = JoinSet::new();
    for _ in 0..200 {
        let (ingest, tenant, limits) = (rig.ingests[0].clone(), rig.tenant, rig.limits);
        crowd.spawn(async move {
            let asked = Instant::now();
            ingest.take(tenant, &limits, &mut Patience::default()).await;
            asked.elapsed()
        });
    }
    let longest = crowd.join_all().await.into_iter().max().expect("a crowd");
    assert!(longest < limits::REDIS_BUDGET * 2, "one waited {longest:?}");
    assert_eq!(rig.shared[0].metrics.errors.get(), 1, "one asked for all");
}

/// The simulation's twin of the script decides as the script does, to the microsecond.
#[tokio::test]
async fn the_script_and_its_twin_agree() {
    let relay = Relay::start().await;
    let client = redis::Client::open(relay.url.as_str()).expect("a URL");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let text = include_str!("window.lua");
    let timed = text.replace("redis.call('TIME')", "{ ARGV[7], ARGV[8] }");
    assert_ne!(timed, text, "the script reads its server's clock in one place");
    let script = redis::Script::new(&timed);
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let (per_second, burst) = (1 + dice.below(2_000) as u32, 1 + dice.below(4_000) as u32);
        let mut twin = Twin::new(Window::from(Rate { per_second, burst }));
        let key = format!("fairhook:test:{{{}}}", Uuid::now_v7());
        let (mut now, window) = (1_700_000_000_000_000 + dice.below(1_000_000), twin.window);
        let longest = 1 + dice.below(100_000);
        for step in 0..60 {
            now += dice.below(longest) * u64::from(dice.below(4) == 0);
            // A part of a batch, as events are asked for, or a whole cost or nothing, as bytes are.
            let wanted = 1 + dice.below(u64::from(window.events)) as u32;
            let (least, wanted) = match dice.below(3) {
                0 => (1, window.batch()),
                1 => (wanted, wanted),
                _ => (1 + dice.below(u64::from(wanted)) as u32, wanted),
            };
            let leased: (u64, u64, u64, u64) = script
                .key(&key)
                .arg(window.events)
                .arg(window.span.as_micros() as u64)
                .arg(window.saved)
                .arg(wanted)
                .arg(60_000)
                .arg(least)
                .arg(now / 1_000_000)
                .arg(now % 1_000_000)
                .invoke_async(&mut connection)
                .await
                .expect("the script runs");
            let Grant { tokens, left, wait, ends } = twin.grant_of((least, wanted), now);
            let micros = |span: Duration| span.as_micros() as u64;
            let of_twin = (tokens.into(), left.into(), micros(wait), micros(ends));
            assert_eq!(
                leased, of_twin,
                "seed {seed}, step {step}, {per_second}/s, burst {burst}: {least} of {wanted}"
            );
        }
    }
}

/// Who asks how the limiter stands is told the truth, and metrics say the same.
#[tokio::test]
async fn the_limiter_tells_how_it_stands() {
    let relay = Relay::start().await;
    let (registry, health) = (Registry::new(), Health::default());
    let (shutdown, mut tasks) = (Shutdown::new(), JoinSet::new());
    let sharing = Sharing {
        ingests: watch::channel(1).1,
        redis: Some(RedisAddress::parse(relay.url.as_str()).expect("a URL")),
    };
    let families = Families::new(registry.clone());
    let rates = "anonymous=off".parse().expect("rates");
    let limiter = Limiter::start(sharing, rates, &families, &health, &mut tasks, &shutdown);
    let connected = || {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == "fairhook_limiter_connected");
        let metric = &family.expect("it is there").get_metric()[0];
        (metric.get_label()[0].value().to_owned(), metric.get_gauge().get_value())
    };
    let line = &limiter.shared.as_ref().expect("Redis").line;
    timeout(Duration::from_secs(10), line.becomes(true)).await.expect("Redis answers");
    let up = limiter.standing();
    assert_eq!((up.backend, up.connected, up.errors, up.fallback_since), ("redis", true, 0, None));
    assert_eq!((up.active_policies, connected()), (6, ("redis".to_owned(), 1.0)));
    assert_eq!(health.details()["limiter"]["connected"], true);

    let before = Timestamp::now();
    relay.way.send_replace(Way::Cut);
    let key = Key::tenant(TenantId::generate());
    let rate = "5 / 1 h".parse().expect("a rate");
    limiter.take(Policy::ApiRequests, &key, rate, 1, &mut Patience::default()).await;
    timeout(Duration::from_secs(10), line.becomes(false)).await.expect("it is noticed");
    let away = limiter.standing();
    assert_eq!((away.backend, away.connected, away.errors), ("redis", false, 1));
    assert!(away.fallback_since.is_some_and(|since| since >= before), "{away:?}");
    assert_eq!(connected(), ("redis".to_owned(), 0.0));
    let told = &health.details()["limiter"];
    assert_eq!((&told["connected"], told["fallback_since"].is_string()), (&false.into(), true), "{told}");
}

/// Redis at a provider is reached by TLS. Here nobody speaks it, which is an error like any other.
#[tokio::test]
async fn tls_that_fails_is_told() {
    let mut relay = Relay::start().await;
    relay.url.set_scheme("rediss").expect("a scheme");
    let address = RedisAddress::parse(relay.url.as_str()).expect("a URL");
    let error = super::redis::dial(&address).await.map(drop).expect_err("no TLS there");
    assert!(!super::redis::told(&error).is_empty());
}

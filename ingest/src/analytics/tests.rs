use std::time::Duration;

use fairhook_common::store::Store;
use fairhook_common::store::sqlite::SqliteStore;

use super::*;

const START: Timestamp = Timestamp(1_700_000_040_000);
const MINUTE: Duration = Duration::from_secs(60);

fn answer(status: u16, tenant: Option<TenantId>, policy: Option<&'static str>) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    if let Some(tenant) = tenant {
        response.extensions_mut().insert(tenant);
    }
    if let Some(policy) = policy {
        response.extensions_mut().insert(Violated(policy));
    }
    response
}

fn posted(recorder: &Recorder, at: Timestamp, response: &Response<()>) {
    recorder.count(at, &Seen::of("POST", "/events", response));
}

fn tally(counts: &[LimitCount], by: CountedBy, name: &str) -> (u64, u64) {
    let of_name = counts.iter().filter(|count| count.by == by && count.name == name);
    of_name.fold((0, 0), |(total, blocked), c| (total + c.tally.total, blocked + c.tally.blocked))
}

#[test]
fn an_answer_is_counted_by_its_route_its_tenant_and_what_refused_it() {
    let recorder = Recorder::default();
    let acme = TenantId::generate();
    posted(&recorder, START, &answer(202, Some(acme), None));
    posted(&recorder, START, &answer(429, Some(acme), Some("events")));
    posted(&recorder, START, &answer(429, None, None));
    // What is no refusal over a limit is none, whatever the answer carries.
    posted(&recorder, START, &answer(401, None, Some("auth_failures")));
    recorder.count(START, &Seen::of("GET", "none", &answer(404, None, None)));
    recorder.count(START, &Seen::of("POST", "none", &answer(404, None, None)));
    let counts = recorder.pending(START, START.after(MINUTE));
    assert_eq!(tally(&counts, CountedBy::Route, "POST /v1/events"), (4, 2));
    assert_eq!(tally(&counts, CountedBy::Route, "none"), (2, 0));
    assert_eq!(tally(&counts, CountedBy::Tenant, &acme.to_string()), (2, 1));
    assert_eq!(tally(&counts, CountedBy::Policy, "events"), (1, 1));
    assert_eq!(tally(&counts, CountedBy::Policy, "other"), (1, 1));
    assert_eq!(counts.len(), 5, "a name is there once: {counts:?}");
    assert_eq!(recorder.pending(START.after(MINUTE), Timestamp::MAX), [], "another minute");
}

#[test]
fn of_many_tenants_the_busiest_are_kept() {
    let recorder = Recorder::default();
    let busy: Vec<_> = (0..limits::LIMIT_TENANTS_KEPT).map(|_| TenantId::generate()).collect();
    for _ in 0..limits::LIMIT_TENANTS_COUNTED {
        posted(&recorder, START, &answer(202, Some(TenantId::generate()), None));
    }
    // When so many are counted nobody else is, in this minute.
    let late = TenantId::generate();
    for _ in 0..3 {
        posted(&recorder, START, &answer(202, Some(late), None));
    }
    for tenant in busy.iter().flat_map(|tenant| [tenant, tenant]) {
        posted(&recorder, START.after(MINUTE), &answer(202, Some(*tenant), None));
    }
    posted(&recorder, START.after(MINUTE), &answer(202, Some(late), None));
    let full = recorder.pending(START, START.after(MINUTE));
    assert_eq!(
        tally(&full, CountedBy::Tenant, &late.to_string()),
        (0, 0),
        "busier than the others, and too late"
    );
    assert_eq!(tally(&full, CountedBy::Route, "POST /v1/events").0, limits::LIMIT_TENANTS_COUNTED as u64 + 3);
    let next = recorder.pending(START.after(MINUTE), START.after(MINUTE * 2));
    assert_eq!(next.iter().filter(|count| count.by == CountedBy::Tenant).count(), busy.len());
    assert_eq!(tally(&next, CountedBy::Tenant, &late.to_string()), (0, 0));
}

#[tokio::test]
async fn minutes_that_are_over_go_to_the_store_and_nothing_is_counted_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(directory.path()).await.expect("a store"));
    let (one, two) = (Recorder::default(), Recorder::default());
    let tenants: Vec<_> = (0..limits::LIMIT_ROWS_SAVED + 5).map(|_| TenantId::generate()).collect();
    for recorder in [&one, &two] {
        for tenant in &tenants {
            posted(recorder, START, &answer(429, Some(*tenant), Some("tier")));
        }
        posted(recorder, START.after(MINUTE), &answer(202, None, None));
        // A minute that is not over stays.
        recorder.close(START.after(MINUTE * 2).before(Duration::from_millis(1)));
    }
    let span = (START, START.after(MINUTE * 2));
    assert_eq!(
        tally(&one.pending(span.0, span.1), CountedBy::Policy, "tier"),
        (37, 37),
        "not in the store yet"
    );
    for recorder in [&one, &two] {
        recorder.save(&store).await.expect("kept");
    }
    assert_eq!(one.pending(START, START.after(MINUTE)), []);
    assert_eq!(tally(&one.pending(span.0, span.1), CountedBy::Route, "POST /v1/events"), (1, 0));
    let kept = store.limit_counts(span.0, span.1).await.expect("sums");
    assert_eq!(tally(&kept, CountedBy::Route, "POST /v1/events"), (74, 74), "both processes add to it");
    assert_eq!(tally(&kept, CountedBy::Tenant, &tenants[36].to_string()), (2, 2));
    one.close(Timestamp::MAX);
    one.save(&store).await.expect("kept");
    one.save(&store).await.expect("nothing is left");
    let kept = store.limit_counts(span.0, span.1).await.expect("sums");
    assert_eq!(tally(&kept, CountedBy::Route, "POST /v1/events"), (75, 74));
}

#[test]
fn minutes_that_cannot_be_kept_are_bounded() {
    let recorder = Recorder::default();
    for minute in 0..2 * limits::LIMIT_MINUTES_WAITING as u32 {
        posted(&recorder, START.after(MINUTE * minute), &answer(202, None, None));
        recorder.close(START.after(MINUTE * (minute + 1)));
    }
    let left = recorder.pending(START, Timestamp::MAX);
    assert_eq!(left.len(), limits::LIMIT_MINUTES_WAITING);
}

/// Prints what counting costs; `docs/BENCHMARKS.md` has the command.
#[test]
#[ignore = "it measures"]
fn counting_costs_little() {
    const TIMES: u32 = 2_000_000;
    let recorder = Recorder::default();
    let answers: Vec<_> = (0..1_000).map(|_| answer(202, Some(TenantId::generate()), None)).collect();
    let began = std::time::Instant::now();
    for answer in answers.iter().cycle().take(TIMES as usize) {
        posted(&recorder, Timestamp::now(), answer);
    }
    println!("{:?} for each answer", began.elapsed() / TIMES);
}

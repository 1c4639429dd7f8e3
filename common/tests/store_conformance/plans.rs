//! Plans: those that come with the schema, those that an operator makes, and what a change does to their tenants.

use std::time::Duration;

use fairhook_common::limits;
use fairhook_common::plan::{Plan, PlanChanges, PlanName};
use fairhook_common::policy::{PolicyRate, WindowLength};
use fairhook_common::store::{Change, ControlError, NewTenant, TenantChanges, TenantRef, Which};
use fairhook_common::tenant::{DlqOverflow, QuotaChanges, QuotaLimits, QuotaPatch};

use super::given::{made, new_endpoint, new_tenant};
use super::harness::{START, World, at};

fn name(text: &str) -> PlanName {
    text.parse().expect("a name")
}

fn window(seconds: u64) -> WindowLength {
    WindowLength::new(Duration::from_secs(seconds)).expect("a window")
}

/// Weight, limits in their order, and the tier of 10 seconds.
type Numbers = (u32, [u32; 6], u32);

fn numbers(plan: &Plan) -> Numbers {
    let QuotaLimits {
        max_events_per_sec,
        burst,
        max_concurrent_deliveries,
        max_dlq_size,
        max_backlog,
        max_endpoints,
        dlq_overflow,
    } = plan.limits;
    assert_eq!((dlq_overflow, plan.tier.window), (DlqOverflow::DropOldest, window(10)));
    let limits =
        [max_events_per_sec, burst, max_concurrent_deliveries, max_dlq_size, max_backlog, max_endpoints];
    (plan.weight, limits, plan.tier.limit)
}

const STARTER: Numbers = (1, [100, 1_000, 50, 100, 100_000, 50], 50);

fn weight(weight: u32) -> PlanChanges {
    PlanChanges { weight: Some(weight), ..PlanChanges::default() }
}

#[tokio::test]
async fn three_come_with_the_schema() {
    let world = World::new().await;
    let plans = world.store.list_plans().await.expect("a list");
    let plans: Vec<_> = plans.iter().map(|plan| (plan.name.as_str(), numbers(plan))).collect();
    let expected = [
        ("enterprise", (4, [10_000, 100_000, 500, 10_000, 10_000_000, 250], 1_000)),
        ("professional", (2, [1_000, 10_000, 100, 1_000, 1_000_000, 100], 200)),
        ("starter", STARTER),
    ];
    assert_eq!(plans, expected);
    assert_eq!(world.store.find_plan(&name("gold")).await.expect("read"), None);
}

#[tokio::test]
async fn a_new_one_is_the_starter_but_for_what_is_named() {
    let world = World::new().await;
    let store = &world.store;
    let changes = PlanChanges {
        limits: QuotaChanges { burst: Some(7), ..QuotaChanges::default() },
        tier_limit: Some(9),
        ..weight(3)
    };
    let (gold, new) = store.put_plan(name("gold"), changes, at(1)).await.expect("made");
    assert!(new);
    assert_eq!((numbers(&gold), gold.changed_at), ((3, [100, 7, 50, 100, 100_000, 50], 9), at(1)));
    assert_eq!(store.find_plan(&gold.name).await.expect("read"), Some(gold.clone()));
    let (same, new) = store.put_plan(name("gold"), changes, at(2)).await.expect("put");
    assert_eq!((&same, new), (&gold, false), "not even the time of its last change");

    let limits = QuotaChanges { dlq_overflow: Some(DlqOverflow::RejectNew), ..QuotaChanges::default() };
    let changes = PlanChanges { limits, tier_window: Some(window(60)), ..PlanChanges::default() };
    let (changed, _) = store.put_plan(name("gold"), changes, at(3)).await.expect("changed");
    let limits = QuotaLimits { dlq_overflow: DlqOverflow::RejectNew, ..gold.limits };
    let tier = PolicyRate { limit: 9, window: window(60) };
    assert_eq!(changed, Plan { limits, tier, changed_at: at(3), ..gold });
    let starter = store.find_plan(&PlanName::STARTER).await.expect("read").expect("there");
    assert_eq!(numbers(&starter), STARTER);
}

#[tokio::test]
async fn there_are_only_so_many() {
    let world = World::new().await;
    for n in 3..limits::PLANS_MAX {
        world.store.put_plan(name(&format!("p{n}")), weight(1), START).await.expect("made");
    }
    let full = world.store.put_plan(name("gold"), weight(1), START).await;
    assert!(matches!(full, Err(ControlError::LimitReached(limits::PLANS_MAX))), "{full:?}");
    world.store.put_plan(name("p3"), weight(2), START).await.expect("those that are there may change");
}

#[tokio::test]
async fn a_change_is_in_force_wherever_its_tenants_are_read() {
    let world = World::new().await;
    let store = &world.store;
    let gold = name("gold");
    store.put_plan(gold.clone(), weight(3), START).await.expect("made");
    let of_gold = |slug: &str| NewTenant { plan: gold.clone(), ..new_tenant(slug) };
    let tenant = store.create_tenant(of_gold("acme"), None, START).await.expect("made");
    let own = store.create_tenant(of_gold("own"), None, START).await.expect("made");
    let quota = QuotaPatch { max_endpoints: Some(Some(2)), ..QuotaPatch::default() };
    let own_weight = TenantChanges { weight: Some(Some(8)), quota, ..TenantChanges::default() };
    store.update_tenant(own.id, own_weight, START).await.expect("changed");
    let other = made(&world, "other").await;
    let version = store.roster(0).await.expect("a roster").version;

    let changes = QuotaChanges {
        max_concurrent_deliveries: Some(4),
        max_endpoints: Some(0),
        max_dlq_size: Some(0),
        dlq_overflow: Some(DlqOverflow::RejectNew),
        ..QuotaChanges::default()
    };
    let mut heard = store.changes();
    let changes = PlanChanges { limits: changes, ..weight(5) };
    let (plan, _) = store.put_plan(gold.clone(), changes, at(1)).await.expect("changed");
    assert_eq!(heard.try_recv(), Ok(Change::Everything));

    let found = store.find_tenant(&TenantRef::Id(tenant.id)).await.expect("read").expect("there");
    assert_eq!((&found.plan, found.limits(), found.effective_weight()), (&plan, plan.limits, 5));
    let refused = store.create_endpoint(new_endpoint(tenant.id, None), START).await;
    assert!(matches!(refused, Err(ControlError::LimitReached(0))), "{refused:?}");
    store.create_endpoint(new_endpoint(own.id, None), START).await.expect("its own limit is in force");

    let roster = store.roster(version).await.expect("a roster");
    let mut told: Vec<_> = roster.tenants.iter().map(|t| (t.id, t.weight, t.max_concurrent)).collect();
    told.sort_unstable();
    assert_eq!(told, [(tenant.id, 5, 4), (own.id, 8, 4)], "who has it, and nobody else");
    assert!(roster.version > version);
    assert!(store.roster(roster.version).await.expect("a roster").tenants.is_empty(), "it is told once");
    // What changes after it is newer than it.
    let paused = TenantChanges { weight: Some(Some(7)), ..TenantChanges::default() };
    store.update_tenant(other.id, paused, at(2)).await.expect("changed");
    let next = store.roster(roster.version).await.expect("a roster");
    assert_eq!(next.tenants.iter().map(|t| t.id).collect::<Vec<_>>(), [other.id]);
    assert!(next.version > roster.version);

    let surveyed = store.survey(Which::These(vec![tenant.id])).await.expect("a survey");
    assert_eq!((surveyed[0].limits, surveyed[0].weight), (plan.limits, 5));
}

#[tokio::test]
async fn what_no_dispatcher_needs_to_know_is_not_told() {
    let world = World::new().await;
    let store = &world.store;
    made(&world, "acme").await;
    let version = store.roster(0).await.expect("a roster").version;
    let changes = PlanChanges { tier_limit: Some(9), ..PlanChanges::default() };
    store.put_plan(PlanName::STARTER, changes, at(1)).await.expect("changed");
    assert!(store.roster(version).await.expect("a roster").tenants.is_empty());
    store.put_plan(name("gold"), weight(9), at(1)).await.expect("made");
    assert!(store.roster(version).await.expect("a roster").tenants.is_empty());
}

#[tokio::test]
async fn a_dead_letter_queue_is_as_long_as_the_plan_says_now() {
    let world = World::new().await;
    let tenant = world.tenant("acme").await;
    world.endpoint(tenant).await;
    let sent = world.deliveries(tenant, 3).await;
    world.record(vec![sent[0].dead(at(1))]).await;
    let limits = QuotaChanges {
        max_dlq_size: Some(1),
        dlq_overflow: Some(DlqOverflow::RejectNew),
        ..QuotaChanges::default()
    };
    let changes = PlanChanges { limits, ..PlanChanges::default() };
    world.store.put_plan(PlanName::STARTER, changes, at(2)).await.expect("changed");
    world.record(vec![sent[1].dead(at(3))]).await;
    assert_eq!(world.dead_letters(tenant).await, [sent[0].id], "there is no room");
    let limits = QuotaChanges { dlq_overflow: Some(DlqOverflow::DropOldest), ..QuotaChanges::default() };
    let changes = PlanChanges { limits, ..PlanChanges::default() };
    world.store.put_plan(PlanName::STARTER, changes, at(4)).await.expect("changed");
    world.record(vec![sent[2].dead(at(5))]).await;
    assert_eq!(world.dead_letters(tenant).await, [sent[2].id], "the oldest makes room");
    world.assert_balanced().await;
}

#[tokio::test]
async fn a_tenant_has_a_plan_that_there_is() {
    let world = World::new().await;
    let store = &world.store;
    let gold = || name("gold");
    let none = NewTenant { plan: gold(), ..new_tenant("acme") };
    let refused = store.create_tenant(none.clone(), None, START).await.err();
    assert!(matches!(refused, Some(ControlError::NoPlan(named)) if named == gold()));
    let refused = store.put_tenant(none.clone(), START).await.err();
    assert!(matches!(refused, Some(ControlError::NoPlan(_))), "{refused:?}");
    assert_eq!(store.find_tenant(&TenantRef::Slug("acme".into())).await.expect("read"), None);

    let acme = made(&world, "acme").await;
    let quota = QuotaPatch { burst: Some(Some(7)), ..QuotaPatch::default() };
    let changes = TenantChanges { plan: Some(gold()), quota, ..TenantChanges::default() };
    let refused = store.update_tenant(acme.id, changes.clone(), at(1)).await.err();
    assert!(matches!(refused, Some(ControlError::NoPlan(_))), "{refused:?}");
    assert!(matches!(store.put_tenant(none.clone(), at(1)).await, Err(ControlError::NoPlan(_))));
    let found = store.find_tenant(&TenantRef::Id(acme.id)).await.expect("read");
    assert_eq!(found, Some(acme.clone()), "nothing of it was changed");

    let (plan, _) = store.put_plan(gold(), weight(3), at(2)).await.expect("made");
    let changed = store.update_tenant(acme.id, changes, at(3)).await.expect("changed");
    assert_eq!((&changed.plan, changed.limits().burst), (&plan, 7), "in one step");
    let (put, _) = store.put_tenant(none, at(4)).await.expect("put");
    assert_eq!(put.plan, plan);
}

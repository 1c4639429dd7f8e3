//! What is seen of all tenants.

use fairhook_common::activity::{ProcessActivity, Standing, TenantActivity};
use fairhook_common::condition::{Condition, ConditionKey, ConditionKind, Evidence, QuotaName, Subject};
use fairhook_common::endpoint::{Circuit, EndpointStatus, StatusReason};
use fairhook_common::ids::{ConditionId, TenantId};
use fairhook_common::limits;
use fairhook_common::store::{Order, Report, Which};
use fairhook_common::tenant::{Dispatch, QuotaPatch};
use fairhook_common::time::Timestamp;
use uuid::Uuid;

use super::given::{all_pages, first_page};
use super::harness::{START, World, at};

#[tokio::test]
async fn activity_is_replaced_by_its_teller_and_forgotten_with_it() {
    let world = World::new().await;
    let store = &world.store;
    let acme = world.tenant("acme").await;
    let said = |in_flight| ProcessActivity {
        slots: 20,
        tenants: vec![TenantActivity {
            tenant: acme,
            rates: Default::default(),
            standing: Standing { weight: 1, in_flight, ..Standing::default() },
        }],
        ..ProcessActivity::default()
    };
    let (a, b) = (Uuid::now_v7(), Uuid::now_v7());
    for (teller, in_flight, now) in [(a, 1, START), (b, 2, at(1)), (a, 3, at(2))] {
        store.tell_activity(teller, &said(in_flight), now).await.expect("told");
    }
    let mut told = store.activities(at(2)).await.expect("what was told");
    told.sort_by_key(|one| one.tenants[0].standing.in_flight);
    assert_eq!(told, [said(2), said(3)]);
    // The second one falls silent.
    let later = at(1).after(limits::ACTIVITY_TTL + std::time::Duration::from_millis(1));
    store.tell_activity(a, &said(4), later).await.expect("told");
    assert_eq!(store.activities(later).await.expect("what was told"), [said(4)]);
}

#[tokio::test]
async fn a_survey_shows_all_tenants_as_they_stand() {
    let world = World::new().await;
    let store = &world.store;
    let quota = QuotaPatch { max_backlog: Some(Some(9)), ..QuotaPatch::default() };
    let acme = world.tenant_with("acme", quota).await;
    let idle = world.tenant("idle").await;
    let endpoint = world.endpoint(acme).await;
    let sent = world.deliveries(acme, 4).await;
    world.record(vec![sent[0].delivered(at(1)), sent[1].dead(at(1)), sent[2].retry(at(9), at(1))]).await;
    world.dispatch(acme, Dispatch::Paused).await;
    let broken = world.endpoint_for(acme, &["other"]).await;
    let reason = Some(StatusReason::Gone);
    world.set_status(acme, broken, EndpointStatus::Disabled, reason).await;
    let report = Report { in_flight: vec![(acme, 3)], circuits: vec![(endpoint, Circuit::Open)] };
    store.report("a", report, START).await.expect("reported");

    let all = store.survey(Which::Behind(None, 10)).await.expect("a survey");
    let mut order = vec![acme, idle];
    order.sort();
    assert_eq!(all.iter().map(|one| one.tenant).collect::<Vec<_>>(), order);
    let shown = all.iter().find(|one| one.tenant == acme).expect("it is there");
    assert_eq!((shown.slug.as_str(), shown.weight, shown.dispatch), ("acme", 1, Dispatch::Paused));
    assert_eq!(shown.limits.max_backlog, 9);
    assert_eq!(shown.counts, store.usage(acme).await.expect("usage").counts);
    assert_eq!((shown.in_flight, shown.endpoints, shown.circuits), (3, 2, 1));
    assert_eq!(shown.disabled, [(broken, reason)]);
    assert_eq!(shown.waiting_since, Some(at(9)), "the retry");
    let nothing = all.iter().find(|one| one.tenant == idle).expect("it is there");
    assert_eq!((nothing.endpoints, nothing.disabled.len(), nothing.waiting_since), (0, 0, None));

    let first = store.survey(Which::Behind(None, 1)).await.expect("a survey");
    let rest = store.survey(Which::Behind(Some(first[0].tenant), 10)).await.expect("a survey");
    assert_eq!([first, rest].concat(), all);
    let these = store.survey(Which::These(vec![acme, TenantId::generate()])).await.expect("a survey");
    assert_eq!(these, all.iter().filter(|one| one.tenant == acme).cloned().collect::<Vec<_>>());
    store.delete_tenant(idle, at(3)).await.expect("a job");
    assert!(store.survey(Which::These(vec![idle])).await.expect("a survey").is_empty());
}

pub fn condition(tenant: TenantId, kind: ConditionKind, subject: Subject, raised_at: Timestamp) -> Condition {
    let evidence = Evidence { value: 85.5, limit: 100.0, reason: Some(StatusReason::Gone) };
    let key = ConditionKey { kind, tenant, subject };
    Condition { id: ConditionId::generate(), key, slug: "acme".into(), evidence, raised_at, cleared_at: None }
}

#[tokio::test]
async fn a_condition_is_kept_from_its_beginning_until_its_end_is_told() {
    let world = World::new().await;
    let acme = world.tenant("acme").await;
    let endpoint = world.endpoint(acme).await;
    let quota = Subject::Quota(QuotaName::Backlog);
    let raised = [
        condition(acme, ConditionKind::QuotaWarning, quota, at(1)),
        condition(acme, ConditionKind::EndpointDisabled, Subject::Endpoint(endpoint), at(1)),
        condition(acme, ConditionKind::TenantNoisy, Subject::Tenant, at(2)),
    ];
    world.store.change_conditions(&raised, &[], at(2)).await.expect("kept");
    let twin = condition(acme, ConditionKind::QuotaWarning, quota, at(3));
    world.store.change_conditions(&[twin], &[], at(3)).await.expect("the first stays alone");
    let world = world.reopen().await;
    let store = &world.store;
    let held = |order| all_pages(2, order, |page| async move { store.conditions(None, &page).await });
    assert_eq!(held(Order::Ascending).await, raised);
    assert_eq!(held(Order::Descending).await, raised.iter().rev().cloned().collect::<Vec<_>>());
    let others = store.conditions(Some(TenantId::generate()), &first_page()).await.expect("a page");
    assert!(others.items.is_empty());

    let untold = store.untold_conditions(10).await.expect("untold");
    assert_eq!(untold.iter().map(|one| one.condition.clone()).collect::<Vec<_>>(), raised);
    assert!(untold.iter().all(|one| !one.raised_told));
    assert_eq!(store.untold_conditions(1).await.expect("untold"), untold[..1]);
    store.conditions_told(&untold[..2]).await.expect("noted");
    assert_eq!(store.untold_conditions(10).await.expect("untold"), untold[2..]);

    // One ends that was told of, and one that was not.
    let ended = [raised[0].key, raised[2].key];
    store.change_conditions(&[], &ended, at(5)).await.expect("kept");
    assert_eq!(held(Order::Ascending).await, raised[1..2]);
    let untold = store.untold_conditions(10).await.expect("untold");
    let told: Vec<_> = untold.iter().map(|one| (one.condition.id, one.raised_told)).collect();
    assert_eq!(told, [(raised[0].id, true), (raised[2].id, false)]);
    assert!(untold.iter().all(|one| one.condition.cleared_at == Some(at(5))));
    for _ in 0..2 {
        store.conditions_told(&untold).await.expect("noted");
    }
    assert!(store.untold_conditions(10).await.expect("untold").is_empty());
    // The same may begin again.
    let again = condition(acme, ConditionKind::QuotaWarning, quota, at(9));
    store.change_conditions(std::slice::from_ref(&again), &[], at(9)).await.expect("kept");
    assert!(held(Order::Ascending).await.contains(&again));
}

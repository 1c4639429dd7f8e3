//! Figures and conditions.

use std::time::Duration;

use fairhook_common::activity::{Counted, ProcessActivity, Standing, TenantActivity};
use fairhook_common::condition::{Condition, ConditionKey, ConditionKind, Evidence, QuotaName, Subject};
use fairhook_common::ids::{ConditionId, TenantId};
use fairhook_common::time::Timestamp;
use serde_json::{Value, json};

use crate::rig::{ROOT, Rig};

fn id(text: &str) -> TenantId {
    text.parse().expect("an id")
}

/// What a dispatcher of 100 slots might tell.
async fn tell(rig: &Rig, tenants: &[(&str, f64)]) {
    let tenant = |(tenant, slots): &(&str, f64)| TenantActivity {
        tenant: id(tenant),
        rates: Counted { slots: *slots, attempts: 4.0, failures: 1.0, ended: 2.0, ..Counted::default() },
        standing: Standing { weight: 1, ..Standing::default() },
    };
    let tenants = tenants.iter().map(tenant).collect();
    let told = ProcessActivity { slots: 100, tenants, ..ProcessActivity::default() };
    rig.store.tell_activity(uuid::Uuid::now_v7(), &told, Timestamp::now()).await.expect("told");
}

/// What this process has counted of a tenant, once something of it was refused.
async fn counted(rig: &Rig, tenant: &str) -> Counted {
    let tenant = id(tenant);
    for _ in 0..2_000 {
        let told = rig.store.activities(Timestamp::now()).await.expect("what was told");
        let mut of = told.iter().flat_map(|one| &one.tenants).filter(|one| one.tenant == tenant);
        if let Some(found) = of.find(|one| one.rates.throttled > 0.0) {
            return found.rates;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nothing was told of {tenant}");
}

async fn raise(rig: &Rig, tenant: &str) -> ConditionId {
    let subject = Subject::Quota(QuotaName::Backlog);
    let condition = Condition {
        id: ConditionId::generate(),
        key: ConditionKey { kind: ConditionKind::QuotaWarning, tenant: id(tenant), subject },
        slug: String::new(),
        evidence: Evidence { value: 90.0, limit: 100.0, reason: None },
        raised_at: Timestamp::now(),
        cleared_at: None,
    };
    rig.store.change_conditions(std::slice::from_ref(&condition), &[], Timestamp::now()).await.expect("kept");
    condition.id
}

#[tokio::test]
async fn a_tenants_figures_are_what_the_store_has_and_the_processes_tell() {
    let rig = Rig::start().await;
    let (acme, key) = rig.tenant("acme").await;
    let (other, _) = rig.tenant("other").await;
    rig.endpoint(&key).await;
    for _ in 0..3 {
        rig.call(&key, "POST /v1/events", json!({ "type": "a.b", "payload": 1 })).await.is(202);
    }
    tell(&rig, &[(&acme, 30.0), (&other, 10.0)]).await;
    let raised = raise(&rig, &acme).await;
    let own = rig.call(&key, "GET /v1/stats", Value::Null).await.is(200);
    let named = rig.call(ROOT, "GET /v1/tenants/acme/stats", Value::Null).await.is(200);
    for shown in [own, named] {
        let of = |name: &str| shown.body[name].clone();
        assert_eq!(
            (of("tenant_id"), of("tenant"), of("dispatch")),
            (json!(acme), json!("acme"), json!("open"))
        );
        assert_eq!((of("waiting"), of("in_flight"), of("dead_letters")), (json!(3), json!(0), json!(0)));
        assert_eq!(
            (of("error_rate"), of("slot_share"), of("fair_share")),
            (json!(0.25), json!(0.75), json!(0.5))
        );
        let drain = of("drain");
        // Two end a second; what was posted just now may be told of already.
        let per_s = drain["per_s"].as_f64().expect("a rate");
        assert!(per_s > 0.0 && per_s <= 2.0, "{drain}");
        let left = drain["predicted_s"].as_f64().expect("it shrinks") * per_s;
        assert!((left - 3.0).abs() < 1e-6, "{drain}");
        assert_eq!(of("conditions")[0]["id"], json!(raised));
    }
    let refused = rig.call(&key, "GET /v1/tenants/other/stats", Value::Null).await;
    assert_eq!(refused.problem(), (403, "wrong_tenant"));
    let idle = rig.call(ROOT, "GET /v1/tenants/other/stats", Value::Null).await.is(200);
    assert_eq!((&idle.body["waiting"], &idle.body["drain"]["predicted_s"]), (&json!(0), &json!(0.0)));
}

#[tokio::test]
async fn only_what_the_rate_of_events_refuses_counts_as_over_it() {
    let rig = Rig::start().await;
    let (slow, slow_key) = rig.tenant("slow").await;
    let (full, full_key) = rig.tenant("full").await;
    rig.call(ROOT, "PATCH /v1/quotas/slow", json!({ "max_events_per_sec": 1, "burst": 1 })).await.is(200);
    let quota = json!({ "max_events_per_sec": 100_000, "burst": 100_000, "max_backlog": 1 });
    rig.call(ROOT, "PATCH /v1/quotas/full", quota).await.is(200);
    rig.endpoint(&full_key).await;
    for (key, policy) in [(&slow_key, "events"), (&full_key, "backlog")] {
        let refused = loop {
            let answered = rig.call(key, "POST /v1/events", json!({ "type": "a.b", "payload": 1 })).await;
            if answered.status.as_u16() == 429 {
                break answered;
            }
            answered.is(202);
        };
        assert_eq!(refused.body["violated-policies"], json!([policy]), "{refused:?}");
    }
    let slow = counted(&rig, &slow).await;
    assert_eq!(slow.over_rate, slow.throttled);
    assert_eq!(counted(&rig, &full).await.over_rate, 0.0, "its rate had room");
}

#[tokio::test]
async fn the_busiest_come_first_and_only_operators_see_them() {
    let rig = Rig::start().await;
    let (acme, key) = rig.tenant("acme").await;
    let (other, _) = rig.tenant("other").await;
    let (quiet, _) = rig.tenant("quiet").await;
    rig.tenant("idle").await;
    tell(&rig, &[(&acme, 1.0), (&other, 60.0)]).await;
    tell(&rig, &[(&other, 20.0)]).await;
    raise(&rig, &quiet).await;
    let top = rig.call(ROOT, "GET /v1/top", Value::Null).await.is(200);
    let slugs: Vec<_> =
        top.body["tenants"].as_array().expect("rows").iter().map(|row| &row["tenant"]).collect();
    assert_eq!(
        slugs,
        [&json!("other"), &json!("acme"), &json!("quiet")],
        "who is in a condition is there, too"
    );
    assert_eq!((&top.body["slots"], &top.body["slots_used"]), (&json!(200), &json!(81.0)));
    assert!(top.body["tenants"][0]["loudness"].as_f64() > Some(1.0), "{}", top.body);
    let refused = rig.call(&key, "GET /v1/top", Value::Null).await;
    assert_eq!(refused.problem(), (403, "operator_required"));
}

#[tokio::test]
async fn conditions_are_listed_to_whom_they_concern() {
    let rig = Rig::start().await;
    let (acme, key) = rig.tenant("acme").await;
    let (other, _) = rig.tenant("other").await;
    let (first, second) = (raise(&rig, &acme).await, raise(&rig, &other).await);
    let listed = async |key: &str, call: &str| {
        let listed = rig.call(key, call, Value::Null).await.is(200);
        listed.body["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(listed(ROOT, "GET /v1/conditions").await, [json!(second), json!(first)]);
    assert_eq!(listed(ROOT, "GET /v1/conditions?order=asc&limit=1").await, [json!(first)]);
    assert_eq!(listed(ROOT, "GET /v1/tenants/other/conditions").await, [json!(second)]);
    assert_eq!(listed(&key, "GET /v1/conditions").await, [json!(first)]);
    let shown = rig.call(&key, "GET /v1/conditions", Value::Null).await.body["data"][0].clone();
    assert_eq!((&shown["condition"], &shown["quota"]), (&json!("quota.warning"), &json!("backlog")));
    assert_eq!((&shown["value"], &shown["limit"]), (&json!(90.0), &json!(100.0)));
    assert_eq!(shown["detail"], "acme uses 90 of 100 of its quota backlog");
    let wrong = rig.call(ROOT, "GET /v1/conditions?status=open", Value::Null).await;
    assert_eq!((wrong.problem(), wrong.places()), ((400, "invalid_request"), vec!["status"]));
}

//! Overrides of limits.

use std::time::Duration;

use fairhook_common::policy::{Override, Policy};
use fairhook_common::time::Timestamp;
use serde_json::{Value, json};

use crate::rig::{Answered, ROOT, Rig};

const TIER: &str = "PUT /v1/quotas/acme/overrides/tier";

fn time(answered: &Value, member: &str) -> Timestamp {
    answered[member].as_str().and_then(Timestamp::parse).expect("a time")
}

fn policies(list: &Value) -> Vec<&str> {
    let items = list.as_array().expect("a list").iter();
    items.map(|one| one["policy"].as_str().expect("a name")).collect()
}

async fn listed(rig: &Rig) -> Answered {
    rig.call(ROOT, "GET /v1/quotas/acme/overrides", Value::Null).await.is(200)
}

#[tokio::test]
async fn an_override_is_set_shown_replaced_and_ended() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    // What admission remembers of the tenant is known to be old at once.
    let before = rig.call(&key, "GET /v1/quotas/acme", Value::Null).await.is(200);
    assert_eq!(before.body["overrides"], json!([]));
    let made = rig.call(ROOT, TIER, json!({ "limit": 500_000, "window": "60 s" })).await.is(201);
    assert_eq!((&made.body["policy"], &made.body["limit"]), (&json!("tier"), &json!(500_000)));
    assert_eq!(made.text("window"), "1 min");
    let held = time(&made.body, "ends_at").since(time(&made.body, "created_at"));
    assert_eq!(held, Duration::from_secs(86_400), "a day unless it is said");
    let short = json!({ "limit": 7, "window": "24h", "ttl_s": 3_600 });
    let replaced = rig.call(ROOT, TIER, short).await.is(200);
    let held = time(&replaced.body, "ends_at").since(time(&replaced.body, "created_at"));
    assert_eq!(held, Duration::from_secs(3_600));
    let other = json!({ "limit": 1, "window": "1 s", "ttl_s": 2_592_000 });
    rig.call(ROOT, "PUT /v1/quotas/acme/overrides/events_per_day", other).await.is(201);

    let list = listed(&rig).await;
    assert_eq!(policies(&list.body["data"]), ["events_per_day", "tier"]);
    assert_eq!((&list.body["data"][1], &list.body["next_cursor"]), (&replaced.body, &Value::Null));
    let shown = rig.call(&key, "GET /v1/quotas/acme", Value::Null).await.is(200);
    assert_eq!(shown.body["overrides"], list.body["data"], "the tenant sees them");

    let ended = "DELETE /v1/quotas/acme/overrides/tier";
    assert_eq!(rig.call(ROOT, ended, Value::Null).await.is(204).raw, "");
    assert_eq!(rig.call(ROOT, ended, Value::Null).await.problem(), (404, "not_found"));
    assert_eq!(policies(&listed(&rig).await.body["data"]), ["events_per_day"]);
}

#[tokio::test]
async fn one_that_has_ended_is_not_there() {
    let rig = Rig::start().await;
    let (tenant, key) = rig.tenant("acme").await;
    let now = Timestamp::now();
    let hour = Duration::from_secs(3_600);
    let rate = "5 / 10 s".parse().expect("a rate");
    let (created_at, ends_at) = (now.before(hour * 2), now.before(hour));
    let ended = Override { policy: Policy::Tier, rate, created_at, ends_at };
    rig.store.put_override(tenant.parse().expect("an id"), ended, created_at).await.expect("set");
    assert_eq!(listed(&rig).await.body["data"], json!([]));
    let shown = rig.call(&key, "GET /v1/quotas/acme", Value::Null).await.is(200);
    assert_eq!(shown.body["overrides"], json!([]));
    let gone = rig.call(ROOT, "DELETE /v1/quotas/acme/overrides/tier", Value::Null).await;
    assert_eq!(gone.problem(), (404, "not_found"));
    rig.call(ROOT, TIER, json!({ "limit": 1, "window": "1 s" })).await.is(201);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_named() {
    let rig = Rig::start().await;
    rig.tenant("acme").await;
    let good = json!({ "limit": 1, "window": "1 s", "ttl_s": 1 });
    let refused = async |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value.clone();
        let refused = rig.call(ROOT, TIER, body).await;
        let place = format!("/{field}");
        assert_eq!(
            (refused.problem(), refused.places()),
            ((400, "invalid_request"), vec![place.as_str()]),
            "{value}"
        );
    };
    for limit in
        [json!(0), json!(-1), json!(1.5), json!("5"), json!(500_001), json!(18_446_744_073_709_551_615_u64)]
    {
        refused("limit", limit).await;
    }
    for window in [
        "0 s",
        "-1 s",
        "999 ms",
        "25 h",
        "10",
        "",
        "1 week",
        "18446744073709551616 s",
        "18446744073709551615 d",
    ] {
        refused("window", json!(window)).await;
    }
    refused("window", json!(10)).await;
    for ttl in [json!(0), json!(-1), json!(2_592_001), json!(1e3), json!("1 d")] {
        refused("ttl_s", ttl).await;
    }
    let empty = rig.call(ROOT, TIER, json!({})).await;
    assert_eq!(empty.places(), ["/limit", "/window"]);
    assert_eq!(listed(&rig).await.body["data"], json!([]));
    rig.call(ROOT, TIER, good).await.is(201);
}

#[tokio::test]
async fn only_a_tenants_own_policies_can_be_overridden() {
    let rig = Rig::start().await;
    rig.tenant("acme").await;
    let body = json!({ "limit": 1, "window": "1 s" });
    for name in Policy::ALL.iter().map(|policy| policy.name()).chain(["backlog", "Tier"]) {
        let known = Policy::from_name(name).is_some_and(Policy::is_a_tenants);
        for (method, body, status) in [("PUT", body.clone(), 201), ("DELETE", Value::Null, 204)] {
            let answered = rig.call(ROOT, &format!("{method} /v1/quotas/acme/overrides/{name}"), body).await;
            if known {
                answered.is(status);
                continue;
            }
            assert_eq!(answered.problem(), (404, "not_found"), "{name}");
            let detail = answered.text("detail");
            assert!(
                detail.contains("events, ") && detail.contains("tier, "),
                "it says which there are: {detail}"
            );
            assert!(!detail.contains("anonymous"), "{detail}");
        }
    }
    let nobody = rig.call(ROOT, "PUT /v1/quotas/nobody/overrides/tier", body).await;
    assert_eq!(nobody.problem(), (404, "unknown_tenant"));
}

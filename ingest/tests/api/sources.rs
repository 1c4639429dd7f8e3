//! Sources: how they are set up, and what is never shown.

use fairhook_common::limits;
use serde_json::{Value, json};

use crate::rig::Rig;

const SECRET: &str = "It's a Secret to Everybody";

fn github() -> Value {
    json!({ "verification": { "scheme": "github", "secret": SECRET } })
}

#[tokio::test]
async fn a_source_is_made_with_its_defaults_and_its_url_is_shown_once() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let made = rig.call(&key, "POST /v1/sources", github()).await.is(201);
    let (id, token) = (made.text("id"), made.text("token"));
    assert!(id.starts_with("src_") && token.starts_with("fhs_"), "{made:?}");
    assert_eq!(made.text("url"), format!("/in/{token}"));
    let expected = json!({
        "name": null, "metadata": null, "verification": { "scheme": "github" }, "previous_secret_until": null,
        "event_type": { "header": "x-github-event" }, "delivery_id": { "header": "x-github-delivery" },
        "status": "active",
    });
    let shown = rig.call(&key, &format!("GET /v1/sources/{id}"), Value::Null).await.is(200);
    for (member, value) in expected.as_object().expect("an object") {
        assert_eq!(&made.body[member], value, "{member}");
        assert_eq!(&shown.body[member], value, "{member}");
    }
    let listed = rig.call(&key, "GET /v1/sources", Value::Null).await.is(200);
    assert_eq!(listed.body["data"], json!([shown.body]));
    for later in [&shown, &listed] {
        assert!(!later.raw.contains(&token), "{later:?}");
    }
    for answered in [&made, &shown, &listed] {
        assert!(!answered.raw.contains(SECRET), "{answered:?}");
    }
}

#[tokio::test]
async fn every_scheme_has_what_belongs_to_it() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let whsec = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    for (body, shown) in [
        (
            json!({ "verification": { "scheme": "standard_webhooks", "secret": whsec } }),
            json!([
                { "scheme": "standard_webhooks", "tolerance_s": 300 }, { "pointer": "/type" }, { "header": "webhook-id" }
            ]),
        ),
        (
            json!({ "verification": { "scheme": "stripe", "secret": "whsec_x", "tolerance_s": 60 } }),
            json!([{ "scheme": "stripe", "tolerance_s": 60 }, { "pointer": "/type" }, { "pointer": "/id" }]),
        ),
        (
            json!({
                "verification": { "scheme": "hmac", "secret": "s", "header": "X-Sig" }, "event_type": { "fixed": "a.b" }
            }),
            json!([
                { "scheme": "hmac", "header": "x-sig", "algorithm": "sha256", "encoding": "hex" },
                { "fixed": "a.b" }, null
            ]),
        ),
        (
            json!({
                "verification": { "scheme": "none" }, "event_type": { "pointer": "/t", "prefix": "x." },
                "delivery_id": { "header": "X-Id" }
            }),
            json!([{ "scheme": "none" }, { "pointer": "/t", "prefix": "x." }, { "header": "x-id" }]),
        ),
    ] {
        let made = rig.call(&key, "POST /v1/sources", body).await.is(201).body;
        assert_eq!(json!([made["verification"], made["event_type"], made["delivery_id"]]), shown);
    }
}

#[tokio::test]
async fn what_does_not_belong_to_a_scheme_is_refused_where_it_is() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let of = |verification: Value| json!({ "verification": verification, "event_type": { "fixed": "a" } });
    for (body, places) in [
        (json!({}), vec!["/verification"]),
        (of(json!({})), vec!["/verification/scheme"]),
        (of(json!({ "scheme": "github" })), vec!["/verification/secret"]),
        (of(json!({ "scheme": "github", "secret": "" })), vec!["/verification/secret"]),
        (of(json!({ "scheme": "github", "secret": null })), vec!["/verification/secret"]),
        (of(json!({ "scheme": "gitub", "secret": "s" })), vec!["/verification/scheme"]),
        (of(json!({ "scheme": "none", "secret": "s" })), vec!["/verification/secret"]),
        (of(json!({ "scheme": "standard_webhooks", "secret": "s" })), vec!["/verification/secret"]),
        (
            of(json!({ "scheme": "stripe", "secret": "s", "tolerance_s": 0 })),
            vec!["/verification/tolerance_s"],
        ),
        (
            of(json!({ "scheme": "stripe", "secret": "s", "grace_period_s": 5 })),
            vec!["/verification/grace_period_s"],
        ),
        (of(json!({ "scheme": "hmac", "secret": "s" })), vec!["/verification/header"]),
        (of(json!({ "scheme": "hmac", "secret": "s", "header": "a b" })), vec!["/verification/header"]),
        (
            of(
                json!({ "scheme": "github", "secret": "s", "header": "a", "algorithm": "sha1", "tolerance_s": 9 }),
            ),
            vec!["/verification/tolerance_s", "/verification/header", "/verification/algorithm"],
        ),
        (json!({ "verification": { "scheme": "none" } }), vec!["/event_type"]),
        (json!({ "verification": { "scheme": "none" }, "event_type": {} }), vec!["/event_type"]),
        (
            json!({ "verification": { "scheme": "none" }, "event_type": { "fixed": "a b" } }),
            vec!["/event_type/fixed"],
        ),
        (
            json!({ "verification": { "scheme": "none" }, "event_type": { "fixed": "a", "prefix": "b." } }),
            vec!["/event_type/prefix"],
        ),
        (
            json!({ "verification": { "scheme": "none" }, "event_type": { "header": "a", "pointer": "/b" } }),
            vec!["/event_type"],
        ),
        (
            json!({ "verification": { "scheme": "none" }, "event_type": { "pointer": "b", "prefix": ".." } }),
            vec!["/event_type/pointer", "/event_type/prefix"],
        ),
        (
            json!({ "verification": { "scheme": "none" }, "event_type": { "fixed": "a" }, "delivery_id": { "pointer": "/~" } }),
            vec!["/delivery_id/pointer"],
        ),
    ] {
        let refused = rig.call(&key, "POST /v1/sources", body.clone()).await;
        assert_eq!(refused.problem(), (400, "invalid_request"), "{body}");
        assert_eq!(refused.places(), places, "{body}");
    }
    let shown =
        rig.call(&key, "POST /v1/sources", of(json!({ "scheme": "standard_webhooks", "secret": SECRET })));
    assert!(!shown.await.raw.contains(SECRET), "what is wrong with a secret is told, it itself is not");
}

#[tokio::test]
async fn patch_merges_and_another_scheme_begins_anew() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let body = json!({
        "name": "shop", "metadata": { "a": 1 }, "event_type": { "header": "x-topic" }, "delivery_id": { "header": "x-id" },
        "verification": { "scheme": "hmac", "secret": "s", "header": "x-sig", "encoding": "base64", "prefix": "v=" },
    });
    let id = rig.call(&key, "POST /v1/sources", body).await.is(201).text("id");
    let call = format!("PATCH /v1/sources/{id}");
    let patch = async |changes: Value| rig.call(&key, &call, changes).await;

    let changed =
        patch(json!({ "verification": { "algorithm": "sha512", "prefix": null } })).await.is(200).body;
    assert_eq!(
        changed["verification"],
        json!({ "scheme": "hmac", "header": "x-sig", "algorithm": "sha512", "encoding": "base64" })
    );
    assert_eq!((&changed["name"], &changed["metadata"]), (&json!("shop"), &json!({ "a": 1 })));
    assert_eq!(changed["previous_secret_until"], Value::Null, "no secret was changed");
    let changed = patch(json!({ "name": null, "delivery_id": null, "status": "paused" })).await.is(200).body;
    assert_eq!(
        json!([changed["name"], changed["delivery_id"], changed["status"]]),
        json!([null, null, "paused"])
    );

    let rotated =
        patch(json!({ "verification": { "secret": "t", "grace_period_s": 60 } })).await.is(200).body;
    assert!(rotated["previous_secret_until"].is_string());
    let at_once = patch(json!({ "verification": { "secret": "u", "grace_period_s": 0 } })).await.is(200).body;
    assert_eq!(at_once["previous_secret_until"], Value::Null);

    assert_eq!(
        patch(json!({ "verification": { "scheme": "github" } })).await.places(),
        ["/verification/secret"]
    );
    assert_eq!(patch(json!({ "event_type": null })).await.places(), ["/event_type"]);
    let other = json!({ "verification": { "scheme": "github", "secret": "v" }, "event_type": null });
    let other = patch(other).await.is(200).body;
    assert_eq!(other["verification"], json!({ "scheme": "github" }));
    assert_eq!(other["event_type"], json!({ "header": "x-github-event" }));
    assert_eq!(other["previous_secret_until"], Value::Null, "the other scheme's secret is of no use");
    for bad in [json!({ "status": "deleted" }), json!({ "status": null })] {
        assert_eq!(patch(bad).await.places(), ["/status"]);
    }
}

#[tokio::test]
async fn a_tenant_has_so_many_sources_at_most() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let (_, other) = rig.tenant("other").await;
    let mut last = String::new();
    for _ in 0..limits::SOURCES_PER_TENANT {
        last = rig.source(&key).await;
    }
    let full = rig.call(&key, "POST /v1/sources", github()).await;
    assert_eq!(
        (full.problem(), &full.body["limit"]),
        ((409, "limit_reached"), &json!(limits::SOURCES_PER_TENANT))
    );
    rig.source(&other).await;
    rig.call(&key, &format!("DELETE /v1/sources/{last}"), Value::Null).await.is(204);
    rig.source(&key).await;
}

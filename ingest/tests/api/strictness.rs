//! Every request that has a body: fields that are unknown, of a wrong type, null, too long, or hold U+0000.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::rig::{ROOT, Rig, filled};

struct Row {
    call: &'static str,
    /// A body that is taken.
    good: &'static str,
    /// A slip, and the field that is meant.
    slip: (&'static str, &'static str),
    /// Fields that must not be null.
    required: &'static [&'static str],
    /// Fields that hold texts, each with more characters than it may have.
    texts: &'static [(&'static str, usize)],
}

const ROWS: &[Row] = &[
    Row {
        call: "POST /v1/tenants",
        good: r#"{"name": "a"}"#,
        slip: ("nmae", "name"),
        required: &["name"],
        texts: &[("name", 257), ("slug", 64), ("plan", 257)],
    },
    Row {
        call: "PUT /v1/tenants/put",
        good: r#"{"name": "a"}"#,
        slip: ("wieght", "weight"),
        required: &["name"],
        texts: &[("name", 257)],
    },
    Row {
        call: "PATCH /v1/tenants/acme",
        good: r#"{"reason": "a"}"#,
        slip: ("dispach", "dispatch"),
        required: &["name", "plan", "ingest", "dispatch"],
        texts: &[("name", 257), ("reason", 257), ("ingest", 10)],
    },
    Row {
        call: "PUT /v1/quotas/acme/overrides/tier",
        good: r#"{"limit": 1, "window": "1 s"}"#,
        slip: ("windw", "window"),
        required: &["limit", "window"],
        texts: &[("window", 257)],
    },
    Row {
        call: "POST /v1/tenants/acme/keys",
        good: r#"{"name": "a"}"#,
        slip: ("scope", "scopes"),
        required: &[],
        texts: &[("name", 257), ("expires_at", 65)],
    },
    Row {
        call: "POST /v1/operator-keys",
        good: r#"{"name": "a"}"#,
        slip: ("expiresAt", "expires_at"),
        required: &[],
        texts: &[("name", 257)],
    },
    Row {
        call: "POST /v1/tenants/acme/endpoints",
        good: r#"{"url": "https://example.com"}"#,
        slip: ("event-types", "event_types"),
        required: &["url"],
        texts: &[("url", 2_049), ("uid", 129), ("description", 257), ("secret", 257), ("body", 20)],
    },
    Row {
        call: "PUT /v1/tenants/acme/endpoints/put",
        good: r#"{"url": "https://example.com"}"#,
        slip: ("timeout", "timeout_ms"),
        required: &["url"],
        texts: &[("url", 2_049), ("description", 257)],
    },
    Row {
        call: "PATCH /v1/tenants/acme/endpoints/{endpoint}",
        good: r#"{"description": "a"}"#,
        slip: ("desciption", "description"),
        required: &["url", "status"],
        texts: &[("url", 2_049), ("description", 257), ("status", 10)],
    },
    Row {
        call: "POST /v1/tenants/acme/endpoints/{endpoint}/secret/rotate",
        good: r#"{"grace_period_s": 1}"#,
        slip: ("grace_period", "grace_period_s"),
        required: &[],
        texts: &[],
    },
    Row {
        call: "POST /v1/tenants/acme/sources",
        good: r#"{"verification": {"scheme": "none"}, "event_type": {"fixed": "a"}}"#,
        slip: ("event-type", "event_type"),
        required: &["verification", "event_type"],
        texts: &[("name", 257), ("status", 10)],
    },
    Row {
        call: "PATCH /v1/tenants/acme/sources/{source}",
        good: r#"{"name": "a"}"#,
        slip: ("verfication", "verification"),
        required: &["verification", "status"],
        texts: &[("name", 257), ("status", 10)],
    },
    Row {
        call: "POST /v1/tenants/acme/sources/{source}/token/rotate",
        good: "{}",
        slip: ("tenantid", "tenant_id"),
        required: &[],
        texts: &[],
    },
    Row {
        call: "PATCH /v1/quotas/acme",
        good: r#"{"burst": 5}"#,
        slip: ("max_event_per_sec", "max_events_per_sec"),
        required: &["limits", "plan"],
        texts: &[("dlq_overflow", 20), ("plan", 257)],
    },
    Row {
        call: "PUT /v1/plans/gold",
        good: r#"{"weight": 5}"#,
        slip: ("wieght", "weight"),
        required: &["weight", "burst", "limits", "tier", "dlq_overflow"],
        texts: &[("dlq_overflow", 20)],
    },
    Row {
        call: "POST /v1/tenants/acme/events",
        good: r#"{"type": "a.b", "payload": {}}"#,
        slip: ("payloda", "payload"),
        required: &["type"],
        texts: &[("type", 129), ("idempotency_key", 257)],
    },
    Row {
        call: "POST /v1/tenants/acme/replays",
        good: r#"{"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}"#,
        slip: ("rate_per_sec", "rate_per_s"),
        required: &[],
        texts: &[("type", 129), ("from", 65)],
    },
];

async fn rig() -> (Rig, HashMap<&'static str, String>) {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let (endpoint, source) = (rig.endpoint(&key).await, rig.source(&key).await);
    (rig, HashMap::from([("endpoint", endpoint), ("source", source)]))
}

/// The row's good body with one field set.
fn with(row: &Row, field: &str, value: Value) -> Value {
    let mut body: Value = serde_json::from_str(row.good).expect("JSON");
    body[field] = value;
    body
}

#[tokio::test]
async fn good_bodies_are_taken() {
    let (rig, names) = rig().await;
    for row in ROWS {
        let body = serde_json::from_str(row.good).expect("JSON");
        let answered = rig.call(ROOT, &filled(row.call, &names), body).await;
        assert!(answered.status.is_success(), "{}: {answered:?}", row.call);
    }
}

#[tokio::test]
async fn an_unknown_field_is_named_with_the_one_that_is_meant() {
    let (rig, names) = rig().await;
    for row in ROWS {
        let (slip, meant) = row.slip;
        let refused = rig.call(ROOT, &filled(row.call, &names), with(row, slip, json!(1))).await;
        assert_eq!(refused.problem(), (400, "invalid_request"), "{}", row.call);
        assert_eq!(refused.places(), [format!("/{slip}")], "{}", row.call);
        let detail = refused.text("detail");
        assert!(detail.contains(&format!("`{slip}`")), "{detail}");
        assert!(detail.contains(&format!("did you mean `{meant}`?")), "{}: {detail}", row.call);
    }
}

#[tokio::test]
async fn a_text_is_a_text_of_bounded_length_without_nul() {
    let (rig, names) = rig().await;
    for row in ROWS {
        for (field, too_long) in row.texts {
            for bad in [
                json!(7),
                json!(["a"]),
                json!(true),
                json!({}),
                json!(""),
                json!("a\0b"),
                json!("a".repeat(*too_long)),
            ] {
                let shown: String = bad.to_string().chars().take(20).collect();
                let refused = rig.call(ROOT, &filled(row.call, &names), with(row, field, bad)).await;
                let said = format!("{} {field} = {shown}: {refused:?}", row.call);
                assert_eq!(refused.status.as_u16(), 400, "{said}");
                assert_eq!(refused.places(), [format!("/{field}")], "{said}");
            }
        }
    }
}

#[tokio::test]
async fn null_is_refused_where_there_is_no_default() {
    let (rig, names) = rig().await;
    for row in ROWS {
        for field in row.required {
            let refused = rig.call(ROOT, &filled(row.call, &names), with(row, field, Value::Null)).await;
            assert_eq!(refused.places(), [format!("/{field}")], "{} {field}: {refused:?}", row.call);
        }
        for (field, _) in row.texts {
            if row.required.contains(field) || matches!(*field, "from" | "type") {
                continue;
            }
            let answered = rig.call(ROOT, &filled(row.call, &names), with(row, field, Value::Null)).await;
            assert!(answered.status.is_success(), "{} {field}: {answered:?}", row.call);
        }
    }
}

#[tokio::test]
async fn a_field_given_twice_is_refused_instead_of_guessed() {
    let (rig, names) = rig().await;
    let bearer = format!("Bearer {ROOT}");
    for row in ROWS {
        let body = row.good.replacen('{', r#"{"tenant_id": "acme", "tenant_id": "acme", "#, 1);
        let call = filled(row.call, &names);
        let refused = rig.send(&call, &[("authorization", &bearer)], body).await;
        assert_eq!(refused.problem(), (400, "invalid_request"), "{call}");
        assert!(refused.text("detail").contains("twice"), "{call}: {refused:?}");
    }
}

/// A body is kept and sent as it came: one that says it is something else is no JSON, whatever it holds.
#[tokio::test]
async fn an_encoded_body_is_of_a_media_type_that_is_not_taken() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let bearer = format!("Bearer {key}");
    let event = r#"{"type":"a.b","payload":1}"#;
    let send = async |encoding| {
        let headers = [("authorization", bearer.as_str()), ("content-encoding", encoding)];
        rig.send("POST /v1/events", &headers, event).await
    };
    for encoding in ["gzip", "identity, br", "x"] {
        let refused = send(encoding).await;
        assert_eq!(refused.problem(), (415, "unsupported_media_type"), "{encoding}");
        assert!(refused.text("detail").contains("Content-Encoding"));
    }
    send("Identity").await.is(202);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_a_sentence() {
    let rig = Rig::start().await;
    let (_, key) = rig.tenant("acme").await;
    let detail = async |call: &str| rig.call(&key, call, Value::Null).await.is(400).text("detail");
    assert_eq!(
        detail("GET /v1/events?type=a/b").await,
        "`type`: an event type is made of letters, digits, `_`, `-` and `.`; found '/'"
    );
    let unread = detail("GET /v1/deliveries?endpoint_id=x").await;
    assert!(unread.starts_with("`endpoint_id`: not an id of the form "), "{unread}");
    assert_eq!(detail("GET /v1/events?limit=0").await, "`limit` must be a whole number from 1 to 250");
    assert_eq!(
        detail("GET /v1/events?from=2026-01-31T12:00:01Z&to=2026-01-31T12:00:00Z").await,
        "`from` must not be after `to`"
    );
    let unknown = json!({ "scopes": ["events:reed"] });
    let refused = rig.call(&key, "POST /v1/keys", unknown.clone()).await.is(400).text("detail");
    assert!(refused.contains("keys:write") && !refused.contains("tenants:write"), "{refused}");
    let operators = rig.call(ROOT, "POST /v1/operator-keys", unknown).await.is(400).text("detail");
    assert!(operators.contains("quotas:write"), "{operators}");
}
